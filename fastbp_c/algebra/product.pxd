"""Every matrix product of the library goes through here: the one place that decides who computes it.

Own kernels (src/gemm.inc.h) wherever there are some: BLAS on several threads has other bits than on one, and nothing
limits its threads for a call. Builds without vector kernels leave all products to BLAS. A product that takes some time
is cut into tiles, by its shape alone, which are shared with helpers (team.pxd). `benches/bench_product.py` is behind
the constants.

Long products are computed in pieces, with a look for signals before each (interrupt.pxd). Of one that was stopped the
result is of no meaning.
"""

from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.algebra.blas cimport gemm, symm, syrk, trsm
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_BIAS, FBP_ZERO, by_blas, kernels_d, kernels_f
from fastbp_c.boundary.interrupt cimport go_on

cdef enum:
    DIVIDED = 1 << 20       # multiply-adds from which on a product is cut into tiles
    # benches/bench_product.py, bench_inverse.py: what pieces cost is lost in the noise.
    LONG = 1 << 24          # multiply-adds that are worth a look
    PIECE = 1 << 30         # multiply-adds without one: 0.03 s
    PIECE_SIDE = 2048       # rows and columns of a piece at least, if there are as many: BLAS packs A and B for each
    PIECE_DEPTH = 512       # K of a piece at least, a multiple of what the own kernel takes at a time
    WHOLE_COLUMNS = 4096    # of a symmetric matrix at most, in one call of BLAS, if that is not too long
    STRIP = 2048            # its rows in a call otherwise


cdef inline bint is_own() noexcept nogil:
    """Whether the own kernels compute products"""
    return kernels_f.gemm != NULL and not by_blas


cdef inline Py_ssize_t even_piece(Py_ssize_t size, Py_ssize_t largest) noexcept nogil:
    """Of pieces of about the same size, the size of the first"""
    cdef Py_ssize_t pieces = (size + largest - 1) // largest
    return (size + pieces - 1) // pieces


cdef inline Py_ssize_t rows_in_a_call(Py_ssize_t k, Py_ssize_t P) noexcept nogil:
    """How many rows of a symmetric matrix BLAS takes for k others"""
    return P if P <= WHOLE_COLUMNS and <double> k * P * P <= 2.0 * PIECE else min(P, <Py_ssize_t> STRIP)


cdef inline Py_ssize_t piece_depth(Py_ssize_t M, Py_ssize_t N) noexcept nogil:
    """K of a piece of M x N elements"""
    return max(<Py_ssize_t> 1, PIECE // PIECE_DEPTH // max(<Py_ssize_t> 1, M * N)) * PIECE_DEPTH


cdef inline void own_block(
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const floating *A, Py_ssize_t a_row, Py_ssize_t a_col,
    const floating *B, Py_ssize_t b_row, Py_ssize_t b_col, int start, const floating *bias, floating *C,
    Py_ssize_t ldc,
) noexcept nogil:
    """C[m, n] = start[m, n] + A(m, k) B(k, n), of which a step in m, k or n leads as far as given; see gemm.inc.h"""
    if floating is float:
        kernels_f.gemm(M, N, K, A, a_row, a_col, B, b_row, b_col, C, ldc, start, bias)
    else:
        kernels_d.gemm(M, N, K, A, a_row, a_col, B, b_row, b_col, C, ldc, start, bias)


cdef inline void blas_product(
    bint trans_a, bint trans_b, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, floating factor, const floating *A,
    Py_ssize_t lda, const floating *B, Py_ssize_t ldb, bint add, floating *C, Py_ssize_t ldc,
) noexcept nogil:
    """C[m, n] (+)= factor op(A)[m, k] op(B)[k, n], in pieces if it is long"""
    cdef double work = <double> M * N * K
    cdef Py_ssize_t rows = M, columns = N, depth = K, m = 0, n, k, I, J, L
    if work > PIECE:
        rows, columns = even_piece(M, PIECE_SIDE), even_piece(N, PIECE_SIDE)
        depth = piece_depth(rows, columns)
    while m < M:
        I = min(rows, M - m)
        n = 0
        while n < N:
            J = min(columns, N - n)
            k = 0
            while k < K or k == 0:
                L = min(depth, K - k)
                if work > LONG and not go_on(<double> I * J * L):
                    return
                gemm(c"T" if trans_a else c"N", c"T" if trans_b else c"N", I, J, L, factor,
                     A + (k * lda + m if trans_a else m * lda + k), lda,
                     B + (n * ldb + k if trans_b else k * ldb + n), ldb,
                     <floating> (1 if add or k > 0 else 0), C + m * ldc + n, ldc)
                k += max(<Py_ssize_t> 1, L)
            n += J
        m += I


cdef inline void product(
    bint trans_a, bint trans_b, Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const floating *A, const floating *B,
    int start, const floating *bias, floating *C,
) noexcept nogil:
    """C[m, n] = start[m, n] + op(A)[m, k] op(B)[k, n]   start: FBP_ZERO, FBP_ADD (C itself), FBP_BIAS (bias[n])"""
    cdef Py_ssize_t m
    if M == 0 or N == 0:
        return
    if is_own():
        if <double> M * N * K < DIVIDED:
            own_block(M, N, K, A, 1 if trans_a else K, M if trans_a else 1, B, 1 if trans_b else N,
                      K if trans_b else 1, start, bias, C, N)
        else:
            tiled_product(M, N, K, A, 1 if trans_a else K, M if trans_a else 1, B, 1 if trans_b else N,
                          K if trans_b else 1, start, bias, C, N)
        return
    if start == FBP_BIAS:
        for m in range(M):
            memcpy(C + m * N, bias, N * sizeof(floating))
    blas_product(trans_a, trans_b, M, N, K, <floating> 1, A, M if trans_a else K, B, K if trans_b else N,
                 start != FBP_ZERO, C, N)


cdef void tiled_product(
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const floating *A, Py_ssize_t a_row, Py_ssize_t a_col,
    const floating *B, Py_ssize_t b_row, Py_ssize_t b_col, int start, const floating *bias, floating *C,
    Py_ssize_t ldc,
) noexcept nogil


cdef inline void blas_symmetric_product(
    Py_ssize_t k, Py_ssize_t P, const floating *V, const floating *H, floating *U,
) noexcept nogil:
    """U[k, q] = V[k, p] H[p, q], H symmetric, its lower triangle given"""
    cdef Py_ssize_t step = rows_in_a_call(k, P), i = 0, rows
    while i < P:
        rows = min(step, P - i)
        if not go_on(<double> k * rows * rows):
            return
        # U[k, q] = V[k, r] H[r, q]   for q among the rows r
        symm(k, rows, V + i, P, H + i * P + i, P, U + i, P)
        # U[k, r] += V[k, q] H[r, q]^T,   U[k, q] += V[k, r] H[r, q]   for q before the rows r
        blas_product(False, True, k, rows, i, <floating> 1, V, P, H + i * P, P, True, U + i, P)
        blas_product(False, False, k, i, rows, <floating> 1, V + i, P, H + i * P, P, True, U, P)
        i += rows


cdef inline void blas_rank_update(
    Py_ssize_t P, Py_ssize_t k, floating factor, const floating *Z, floating *H,
) noexcept nogil:
    """H[p, q] += factor Z[k, p]^T Z[k, q], the lower triangle of it

    In strips: with two threads and 15000 columns, SYRK of OpenBLAS 0.3.30 runs over the end of its buffer.
    """
    cdef Py_ssize_t step = rows_in_a_call(k, P), i = 0, rows
    while i < P:
        rows = min(step, P - i)
        if not go_on(0.5 * k * rows * rows):
            return
        # H[r, q] += factor Z[k, r]^T Z[k, q]   for q before the rows r
        blas_product(True, False, rows, i, k, factor, Z + i, P, Z, P, True, H + i * P, P)
        # H[r, q] += factor Z[k, r]^T Z[k, q]   for q among them
        syrk(rows, k, factor, Z + i, P, H + i * P + i, P)
        i += rows


cdef inline void blas_solve(Py_ssize_t k, Py_ssize_t P, const floating *R, floating *Z) noexcept nogil:
    """Z[k, p] = R[k, k]^-T Z[k, p], R upper triangular"""
    if go_on(0.5 * k * k * P):
        trsm(k, P, R, Z)
