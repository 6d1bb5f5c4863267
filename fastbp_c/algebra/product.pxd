"""Every matrix product of the library goes through here: the one place that decides who computes it.

Own kernels (src/gemm.inc.h) up to own_limit multiply-adds, BLAS beyond it. `benches/bench_product.py` shows why: below
it BLAS packs and dispatches for more than it gains. It is set once, in simd.pyx: where BLAS has one core it is ahead
only with very large products; where it may use more, it gets those that take a millisecond or longer and have a result
to divide among threads. So no small product ever wakes BLAS's threads, and no limit on them has to be set.
"""

from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.algebra.blas cimport gemm
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_BIAS, kernels_d, kernels_f, own_limit

cdef enum:
    SMALL_RESULT = 1 << 14


cdef inline bint is_own(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Whether the own kernels compute products of that size"""
    return kernels_f.gemm != NULL and (<double> M * N * K <= own_limit or 0 < own_limit and M * N <= SMALL_RESULT)


cdef inline void own_product(
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const floating *A, Py_ssize_t a_row, Py_ssize_t a_col,
    const floating *B, Py_ssize_t b_row, Py_ssize_t b_col, int start, const floating *bias, floating *C,
) noexcept nogil:
    """C[m, n] = start[m, n] + A(m, k) B(k, n), of which a step in m, k or n leads as far as given; see gemm.inc.h"""
    if floating is float:
        kernels_f.gemm(M, N, K, A, a_row, a_col, B, b_row, b_col, C, N, start, bias)
    else:
        kernels_d.gemm(M, N, K, A, a_row, a_col, B, b_row, b_col, C, N, start, bias)


cdef inline void product(
    bint trans_a, bint trans_b, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const floating *A, const floating *B,
    int start, const floating *bias, floating *C,
) noexcept nogil:
    """C[m, n] = start[m, n] + op(A)[m, k] op(B)[k, n]   start: FBP_ZERO, FBP_ADD (C itself), FBP_BIAS (bias[n])"""
    cdef Py_ssize_t m
    if M == 0 or N == 0:
        return
    if is_own(M, N, K):
        own_product(M, N, K, A, 1 if trans_a else K, M if trans_a else 1, B, 1 if trans_b else N, K if trans_b else 1,
                    start, bias, C)
        return
    if start == FBP_BIAS:
        for m in range(M):
            memcpy(C + m * N, bias, N * sizeof(floating))
    gemm(c"T" if trans_a else c"N", c"T" if trans_b else c"N", M, N, K, <floating> 1, A, M if trans_a else K, B,
         K if trans_b else N, <floating> (1 if start == FBP_ADD or start == FBP_BIAS else 0), C, N)
