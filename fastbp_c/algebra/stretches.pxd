"""Vector kernels over arrays so long that they are shared (team.pxd): the same as those of simd.pxd, by stretches."""

from cython cimport floating

cdef enum:
    ACTIVATING = 32     # multiply-adds that take as long as the activation of a number


cdef void activate(
    int activation, Py_ssize_t n, const floating *a, floating *z, floating *h1, floating *h2
) noexcept nogil

cdef void multiply(Py_ssize_t N, Py_ssize_t R, Py_ssize_t width, const floating *x, floating *y) noexcept nogil

cdef void scaled_sum(
    Py_ssize_t n, const floating *h1, const floating *x, const floating *h2, const floating *r, floating *y
) noexcept nogil

cdef void transpose(
    Py_ssize_t N, Py_ssize_t rows, Py_ssize_t columns, const floating *x, floating *y
) noexcept nogil

cdef void triangles(Py_ssize_t N, Py_ssize_t width, const floating *x, floating *y) noexcept nogil

cdef void copy(Py_ssize_t n, const floating *x, floating *y) noexcept nogil

cdef void softmax(Py_ssize_t N, Py_ssize_t K, const floating *a, floating *z) noexcept nogil
