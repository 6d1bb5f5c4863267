"""Row-major BLAS, named as BLAS names it: header-only, scalars by value, C-ordered dense matrices.

A C-ordered (m, n) array is the column-major (n, m) array of the same leading dimension, so that a row-major product
is BLAS's product with the operands exchanged, and nothing is copied.
"""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, sgemm

include "_blas_int.pxi"


cdef inline void gemm(
    char trans_a, char trans_b, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, floating alpha, const floating *A,
    Py_ssize_t lda, const floating *B, Py_ssize_t ldb, floating beta, floating *C, Py_ssize_t ldc,
) noexcept nogil:
    """C[m, n] = alpha op(A)[m, k] op(B)[k, n] + beta C[m, n]"""
    cdef blas_int m_ = <blas_int> m, n_ = <blas_int> n, k_ = <blas_int> k
    cdef blas_int lda_ = <blas_int> max(1, lda), ldb_ = <blas_int> max(1, ldb), ldc_ = <blas_int> max(1, ldc)
    if floating is float:
        sgemm(&trans_b, &trans_a, &n_, &m_, &k_, &alpha, <float *> B, &ldb_, <float *> A, &lda_, &beta, C, &ldc_)
    else:
        dgemm(&trans_b, &trans_a, &n_, &m_, &k_, &alpha, <double *> B, &ldb_, <double *> A, &lda_, &beta, C, &ldc_)
