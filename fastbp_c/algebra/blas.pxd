"""Row-major BLAS, named as BLAS names it: header-only, scalars by value, C-ordered dense matrices.

A C-ordered (m, n) array is the column-major (n, m) array of the same leading dimension, so that a row-major product
is BLAS's product with the operands exchanged, and nothing is copied.
"""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, dsymm, dsyrk, dtrsm, sgemm, ssymm, ssyrk, strsm

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


cdef inline void symm(
    Py_ssize_t m, Py_ssize_t n, const floating *A, Py_ssize_t lda, const floating *H, Py_ssize_t ldh, floating *C,
    Py_ssize_t ldc,
) noexcept nogil:
    """C[m, n] = A[m, n] H[n, n], H symmetric, its lower triangle given"""
    cdef char side = c"L", uplo = c"U"
    cdef floating one = 1, nothing = 0
    cdef blas_int m_ = <blas_int> m, n_ = <blas_int> n, lda_ = <blas_int> max(1, lda)
    cdef blas_int ldh_ = <blas_int> max(1, ldh), ldc_ = <blas_int> max(1, ldc)
    if floating is float:
        ssymm(&side, &uplo, &n_, &m_, &one, <float *> H, &ldh_, <float *> A, &lda_, &nothing, C, &ldc_)
    else:
        dsymm(&side, &uplo, &n_, &m_, &one, <double *> H, &ldh_, <double *> A, &lda_, &nothing, C, &ldc_)


cdef inline void syrk(
    Py_ssize_t n, Py_ssize_t k, floating alpha, const floating *A, Py_ssize_t lda, floating *C, Py_ssize_t ldc,
) noexcept nogil:
    """C[n, n] += alpha A[k, n]^T A[k, n], the lower triangle of it"""
    cdef char uplo = c"U", trans = c"N"
    cdef floating one = 1
    cdef blas_int n_ = <blas_int> n, k_ = <blas_int> k
    cdef blas_int lda_ = <blas_int> max(1, lda), ldc_ = <blas_int> max(1, ldc)
    if floating is float:
        ssyrk(&uplo, &trans, &n_, &k_, &alpha, <float *> A, &lda_, &one, C, &ldc_)
    else:
        dsyrk(&uplo, &trans, &n_, &k_, &alpha, <double *> A, &lda_, &one, C, &ldc_)


cdef inline void trsm(Py_ssize_t k, Py_ssize_t n, const floating *R, floating *Z) noexcept nogil:
    """Z[k, n] = R[k, k]^-T Z[k, n], R upper triangular"""
    cdef char side = c"R", uplo = c"L", trans = c"T", diagonal = c"N"
    cdef floating one = 1
    cdef blas_int k_ = <blas_int> k, n_ = <blas_int> n, ldr = <blas_int> max(1, k), ldz = <blas_int> max(1, n)
    if floating is float:
        strsm(&side, &uplo, &trans, &diagonal, &n_, &k_, &one, <float *> R, &ldr, Z, &ldz)
    else:
        dtrsm(&side, &uplo, &trans, &diagonal, &n_, &k_, &one, <double *> R, &ldr, Z, &ldz)
