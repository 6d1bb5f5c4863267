"""What other derivatives take from the Jacobians: rows of derivatives, and how many fit a chunk."""

from cython cimport floating

from fastbp_c.networks.records cimport Layer, Net


cdef Py_ssize_t widest(const Net *net) noexcept nogil

cdef double layer_work(const Layer *layer) noexcept nogil

cdef Py_ssize_t chunk_rows(const Net *net, Py_ssize_t R) noexcept nogil

cdef void identity_rows(Py_ssize_t N, Py_ssize_t width, floating *rows) noexcept nogil

cdef void parameter_rows(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *rows, floating *back, floating *G,
    floating *work,
) noexcept nogil
