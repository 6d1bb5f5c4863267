"""The passes over the layer records: nogil, on a chunk, in the caller's workspace."""

from cython cimport floating

from fastbp_c.networks.batch cimport Batch, Quantity
from fastbp_c.networks.records cimport Net, array_at
from fastbp_c.training.optimizer cimport Step


cdef inline const floating *layer_input(const Batch *chunk, Py_ssize_t l, const floating *work) noexcept nogil:
    """z^(l-1)"""
    if l == 0:
        return <const floating *> chunk.X
    return array_at(work, chunk.net.layers[l - 1].z, chunk.N)


cdef inline floating *last_a(const Batch *chunk, const floating *work) noexcept nogil:
    """a^L"""
    return array_at(work, chunk.net.layers[chunk.net.n_layers - 1].z, chunk.N)


cdef void forward(const Batch *chunk, floating *a_last, floating *work, int order) noexcept nogil

cdef double output_delta(const Batch *chunk, floating *work, int order) noexcept nogil

cdef void deltas(const Batch *chunk, floating *work, bint exact) noexcept nogil

cdef void linearize(const Batch *chunk, floating *work, bint exact) noexcept nogil

cdef void rows_back(
    const Batch *chunk, Py_ssize_t l, Py_ssize_t R, const floating *d, floating *back, const floating *work,
) noexcept nogil

cdef void rows_forward(
    const Batch *chunk, Py_ssize_t l, Py_ssize_t R, const floating *v, floating *above, const floating *work,
) noexcept nogil

cdef void unit_rows_back(
    const Batch *chunk, Py_ssize_t l, floating *rows, floating *unit, const floating *work,
) noexcept nogil

cdef void first_rows(const Batch *chunk, floating *rows, floating *unit, const floating *work) noexcept nogil

cdef Py_ssize_t most_outputs(const Net *net) noexcept nogil

cdef size_t unit_size(const Net *net, Py_ssize_t N) noexcept nogil

cdef void gradient(const Batch *chunk, floating *g, floating *work, const Step *step) noexcept nogil

cdef Quantity prediction(const Batch *batch, void *Y) noexcept nogil
cdef Quantity loss_value(const Batch *batch) noexcept nogil
cdef Quantity gradient_sum(const Batch *batch, void *g) noexcept nogil
cdef Quantity sample_gradients(const Batch *batch, void *G) noexcept nogil
