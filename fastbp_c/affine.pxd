"""One affine layer on pointers: C-ordered, no allocation, no exceptions."""

from cython cimport floating


cdef void affine_forward(
    const floating *X, const floating *W, const floating *b, floating *Y, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out,
) noexcept nogil

cdef void affine_gradient(
    const floating *dY, const floating *X, floating *dW, floating *db, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out, bint accumulate,
) noexcept nogil

cdef void affine_delta(
    const floating *dY, const floating *W, floating *dX, Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out,
) noexcept nogil
