"""What rounding has taken from an inverse, and which removals that forbids."""

from fastbp_c.algebra.symmetric cimport Status
from fastbp_c.inverses.state cimport InverseState

cdef double EPSILON
cdef double LARGEST_LOSS

cdef void add_size(InverseState *state, const double *V, Py_ssize_t k, int kind) noexcept nogil
cdef Status check_loss(InverseState *state, const double *V, const double *Z, Py_ssize_t k) noexcept nogil
cdef void keep_errors(InverseState *state) noexcept nogil
cdef Status check_loss_of_all(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n,
) noexcept nogil
