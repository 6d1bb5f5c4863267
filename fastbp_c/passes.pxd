"""The passes over the layer records: nogil, on pointers, in the caller's workspace."""

from cython cimport floating

from fastbp_c.records cimport Net


cdef void predict(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *Y, floating *work,
) noexcept nogil

cdef double batch_loss(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating *work,
) noexcept nogil

cdef double batch_gradient(
    const Net *net, int error, Py_ssize_t N, const Py_ssize_t *order, const floating *p, const floating *X,
    const floating *T, const floating *weight, floating scale, floating *g, floating *work,
) noexcept nogil

cdef void sample_gradients(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *G, floating *work,
) noexcept nogil
