"""The output unit with its error function: where all derivatives start."""

from cython cimport floating

from fastbp_c.networks.batch cimport Batch
from fastbp_c.networks.records cimport Net


cdef int loss_id(const Net *net, name) except -1
cdef void output_values(const Net *net, Py_ssize_t N, floating *Y) noexcept nogil
cdef void output_jacobian(
    const Net *net, bint preactivation, Py_ssize_t N, const floating *a, floating *rows
) noexcept nogil
cdef double output_error(const Batch *chunk, const floating *a, floating *delta, floating *work) noexcept nogil
cdef void output_curvature(
    const Batch *chunk, bint exact, const floating *a, floating *M, floating *work
) noexcept nogil
cdef bint has_diagonal(const Net *net) noexcept nogil
cdef void output_diagonal(const Batch *chunk, bint exact, const floating *a, floating *m) noexcept nogil
cdef bint has_factors(const Net *net, int error) noexcept nogil
cdef void output_factors(const Batch *chunk, const floating *a, floating *F, floating *c) noexcept nogil
cdef void keep_curvature(const Batch *chunk, bint exact, const floating *a, floating *m) noexcept nogil
cdef void curvature_times(
    const Batch *chunk, bint exact, const floating *m, const floating *v, floating *Mv, floating *work
) noexcept nogil
