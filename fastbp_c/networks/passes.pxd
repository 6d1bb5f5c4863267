"""The passes over the layer records: nogil, on pointers, in the caller's workspace."""

from cython cimport floating

from fastbp_c.training.optimizer cimport Step
from fastbp_c.networks.records cimport Layer, Net


cdef inline const floating *part(const floating *x, Py_ssize_t place) noexcept nogil:
    """x from that place on; NULL for a missing array (x is NULL) or part (place is negative)"""
    if x == NULL or place < 0:
        return NULL
    return x + place


cdef inline int *chosen(const Layer *layer, Py_ssize_t block, const floating *work) noexcept nogil:
    """The pixels that a maximum took"""
    return <int *> (work + layer.chosen * block)


cdef inline floating *strip(const Net *net, Py_ssize_t block, const floating *work) noexcept nogil:
    return <floating *> work + net.width * block


cdef inline const floating *layer_input(
    const Net *net, Py_ssize_t l, Py_ssize_t block, const floating *X, const floating *work,
) noexcept nogil:
    """z^(l-1)"""
    return X if l == 0 else work + net.layers[l - 1].z * block


cdef void forward(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *a_last, floating *work, int order,
) noexcept nogil

cdef void step_back(
    const Net *net, Py_ssize_t l, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *d, floating *back,
    const floating *work,
) noexcept nogil

cdef void step_forward(
    const Net *net, Py_ssize_t l, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *v, floating *ahead,
    const floating *work,
) noexcept nogil

cdef void deltas(const Net *net, Py_ssize_t N, const floating *p, floating *work, bint bent) noexcept nogil

cdef double output_delta(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *work, int order,
) noexcept nogil

cdef void predict(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *Y, floating *work,
) noexcept nogil

cdef double batch_loss(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating *work,
) noexcept nogil

cdef double batch_gradient(
    const Net *net, int error, Py_ssize_t N, const Py_ssize_t *order, const floating *p, const floating *X,
    const floating *T, const floating *weight, floating scale, floating *g, floating *work, const Step *step,
) noexcept nogil

cdef void sample_gradients(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *G, floating *work,
) noexcept nogil
