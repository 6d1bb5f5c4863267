"""One affine layer on pointers: C-ordered, no exceptions, no allocation but for one case.

affine_gradient of float32 adds what each 4096 of more rows give in float64, for which it allocates 8 (n_in + 1) n_out
bytes; where there are none, it adds in float32.
"""

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
