"""Coefficients of the rows that the Gauss-Newton matrix is a sum of."""

from cython cimport floating


cdef void coefficients(
    int error, double scale, Py_ssize_t N, Py_ssize_t K, const floating *T, const floating *weight, floating *c,
) noexcept nogil
