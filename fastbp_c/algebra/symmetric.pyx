"""Products with a symmetric matrix, its updates and its inverse, over the lower triangle.

product.pxd says who computes them, and has what BLAS does; here are the ways by tiles and panels of the own kernels.
`benches/bench_inverse.py` is behind the constants.
"""

from libc.math cimport INFINITY, fabs, log, sqrt
from libc.string cimport memcpy, memset

from fastbp_c.algebra.product cimport (
    blas_rank_update, blas_solve, blas_symmetric_product, is_own_triangle, own_block, product,
)
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_ZERO, kernels_d
from fastbp_c.boundary.interrupt cimport go_on, stopped

cdef enum:
    FEW_ROWS = 32           # up to which tiles beat BLAS however large the matrix is: it packs all of it
    TILE = 128              # of the matrix, for the own product: 128 KiB, used twice while it is in the cache
    PANEL = 24              # rows of the matrix, for the own update
    LEAST_PIVOTS = 32       # of an inversion, at a time
    PRODUCT_ROWS = 24       # of a symmetric product of rows
    SINGLE_ROWS = 2         # rows that are multiplied one by one
    LONG_ROWS = 512         # columns from which on that takes long enough to be counted
    SOLVED_ROWS = 12        # of a triangular system, between products
    COPIED = 16             # rows and columns that are transposed at a time
    PASS = 16               # multiply-adds in the time of moving a number of a matrix that is in no cache


cdef Py_ssize_t block_rows(Py_ssize_t P) noexcept nogil:
    """How many rows an update takes at a time: enough for products at full speed, few against P"""
    return 64 if P <= 1024 else 128 if P <= 3000 else 256


cdef size_t work_size(Py_ssize_t P, Py_ssize_t m) noexcept nogil:
    """Elements of work for functions that are given up to block_rows(P) rows, or m rows to subtract"""
    cdef size_t block = <size_t> block_rows(P), tile = <size_t> min(P, <Py_ssize_t> TILE)
    return 3 * block * <size_t> P + tile * tile + 3 * block * block + block + block * <size_t> m


cdef void transpose(
    const double *A, double *B, Py_ssize_t m, Py_ssize_t n, Py_ssize_t lda, Py_ssize_t ldb,
) noexcept nogil:
    """B[n, m] = A[m, n]^T"""
    cdef Py_ssize_t top = 0, left, i, j
    while top < m:
        left = 0
        while left < n:
            for j in range(left, min(left + COPIED, n)):
                for i in range(top, min(top + COPIED, m)):
                    B[j * ldb + i] = A[i * lda + j]
            left += COPIED
        top += COPIED


cdef void add_transpose(const double *A, double *B, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    """B[n, m] += A[m, n]^T"""
    cdef Py_ssize_t top = 0, left, i, j
    while top < m:
        left = 0
        while left < n:
            for j in range(left, min(left + COPIED, n)):
                for i in range(top, min(top + COPIED, m)):
                    B[j * m + i] += A[i * n + j]
            left += COPIED
        top += COPIED


cdef void whole_tile(const double *H, double *tile, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """tile[n, n] = both triangles of a tile on the diagonal"""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(tile + i * n, H + i * ld, (i + 1) * sizeof(double))
    mirror(tile, n)


cdef void symmetric_rows(
    const double *V, const double *H, double *U, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil:
    """U = V H"""
    cdef Py_ssize_t i
    if k <= SINGLE_ROWS:
        for i in range(k):
            if P > LONG_ROWS and not go_on(0.5 * PASS * P * P):
                return
            # U[i, q] = V[i, p] H[p, q]
            kernels_d.symv(P, H, P, V + i * P, U + i * P)
    elif kernels_d.gemm == NULL or k > FEW_ROWS and not is_own_triangle(<double> P * P * k):
        blas_symmetric_product(k, P, V, H, U)
    else:
        symmetric_rows_by_tiles(V, H, U, work, k, P)


cdef void symmetric_rows_by_tiles(
    const double *V, const double *H, double *U, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil:
    """Every tile below the diagonal serves twice, as it is and transposed; the second time it is the left factor"""
    cdef double *columns = work             # V^T
    cdef double *sums = columns + k * P     # U^T, what the transposed tiles add to it
    cdef double *tile = sums + k * P
    cdef Py_ssize_t i = 0, j, r
    transpose(V, columns, k, P, P, k)
    memset(U, 0, k * P * sizeof(double))
    memset(sums, 0, k * P * sizeof(double))
    while i < P:
        r = min(P - i, <Py_ssize_t> TILE)
        if not go_on(2.0 * k * r * i):
            return
        j = 0
        while j < i:
            # U[k, c] += V[k, r] H[r, c]
            own_block(k, TILE, r, V + i, P, 1, H + i * P + j, P, 1, FBP_ADD, <double *> NULL, U + j, P)
            # U^T[r, k] += H[r, c] V^T[c, k]
            own_block(r, k, TILE, H + i * P + j, P, 1, columns + j * k, k, 1, FBP_ADD, <double *> NULL, sums + i * k,
                      k)
            j += TILE
        whole_tile(H + i * P + i, tile, r, P)
        # U[k, c] += V[k, r] H[r, c]
        own_block(k, r, r, V + i, P, 1, tile, r, 1, FBP_ADD, <double *> NULL, U + i, P)
        i += TILE
    add_transpose(sums, U, P, k)


cdef void inner_products(
    const double *U, const double *V, double *S, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil:
    """The upper triangle of S = U V^T, for a product that is symmetric; the lower one is finite if that is"""
    cdef Py_ssize_t i = 0, rows
    if k == 1:
        S[0] = kernels_d.dot(P, U, V)
    elif not is_own_triangle(<double> k * k * P):
        # S[k, l] = U[k, p] V[l, p]^T
        product(False, True, k, k, P, U, V, FBP_ZERO, NULL, S)
    else:
        memset(S, 0, k * k * sizeof(double))
        while i < k:
            rows = min(k - i, <Py_ssize_t> PRODUCT_ROWS)
            # S[r, l] = U[r, p] V[l, p]^T   for l >= i
            own_block(rows, k - i, P, U + i * P, P, 1, V + i * P, 1, P, FBP_ZERO, <double *> NULL, S + i * k + i, k)
            i += PRODUCT_ROWS


cdef void subtract_rows(
    const double *V, const double *Z, double *U, double *work, Py_ssize_t k, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil:
    """U -= sign V Z^T Z for m rows Z; work: k m elements"""
    cdef Py_ssize_t i
    if m == 0:
        return
    # T[m, k] = Z[m, p] V[k, p]^T
    product(False, True, m, k, P, Z, V, FBP_ZERO, NULL, work)
    for i in range(m * k):
        work[i] *= -sign
    # U[k, p] += T[m, k]^T Z[m, p]
    product(True, False, k, P, m, work, Z, FBP_ADD, NULL, U)


cdef void rank_update(
    const double *Z, double *H, double *work, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil:
    """H += sign Z^T Z, sign being 1 or -1, for any number of rows m"""
    cdef Py_ssize_t block = block_rows(P), start = 0, rows
    while start < m:
        rows = min(block, m - start)
        # H[p, q] += sign Z[m, p]^T Z[m, q]
        if is_own_triangle(0.5 * P * P * rows):
            rank_update_by_panels(Z + start * P, H, work, rows, P, sign)
        else:
            blas_rank_update(P, rows, sign, Z + start * P, H)
        start += rows


cdef void rank_update_by_panels(
    const double *Z, double *H, double *work, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil:
    cdef double *corner = work
    cdef double *scaled = work + PANEL * PANEL
    cdef const double *left = Z
    cdef Py_ssize_t i = 0, j, p, rows
    if not go_on(0.5 * P * P * m):
        return
    if sign < 0:
        for p in range(m * P):
            scaled[p] = -Z[p]
        left = scaled
    while i < P:
        rows = min(P - i, <Py_ssize_t> PANEL)
        if i > 0:
            # H[r, q] += sign Z[m, r]^T Z[m, q]   for q < i
            own_block(rows, i, m, left + i, 1, P, Z, P, 1, FBP_ADD, <double *> NULL, H + i * P, P)
        # corner[r, q] = sign Z[m, r]^T Z[m, q]   for q from i on
        own_block(rows, rows, m, left + i, 1, P, Z + i, P, 1, FBP_ZERO, <double *> NULL, corner, rows)
        for p in range(rows):
            for j in range(p + 1):
                H[(i + p) * P + i + j] += corner[p * rows + j]
        i += PANEL


cdef Status factor_rows(
    double *S, double *Z, const double *least, double *log_determinant, double *squares, double *work, Py_ssize_t k,
    Py_ssize_t P,
) noexcept nogil:
    """S = R^T R, Z = R^-T Z, log_determinant = log det S, squares = sum Z^2; work: k k elements

    S is k x k, and its upper triangle counts. INDEFINITE if a pivot is not above its least, OVERFLOWN if the result
    is not finite or has no finite square, STOPPED if what led here was, and S is of no meaning.
    """
    cdef Py_ssize_t i, rows
    if stopped():
        return STOPPED
    log_determinant[0] = 0
    if not kernels_d.all_finite(k * k, S):
        return OVERFLOWN
    if not kernels_d.cholesky(k, S, least):
        return INDEFINITE
    for i in range(k):
        log_determinant[0] += 2 * log(S[i * k + i])
    if not is_own_triangle(0.5 * P * k * k):
        # Z[k, p] = R[k, k]^-T Z[k, p]
        blas_solve(k, P, S, Z)
        if stopped():
            return STOPPED
    else:
        for i in range(k * k):
            work[i] = -S[i]
        i = 0
        while i < k:
            rows = min(k - i, <Py_ssize_t> SOLVED_ROWS)
            if i > 0:
                # Z[r, p] -= R[i, r]^T Z[i, p]   by the rows above
                own_block(rows, P, i, work + i, 1, k, Z, P, 1, FBP_ADD, <double *> NULL, Z + i * P, P)
            kernels_d.solve(rows, P, S + i * k + i, k, Z + i * P, P)
            i += SOLVED_ROWS
    squares[0] = kernels_d.dot(k * P, Z, Z)
    return DONE if squares[0] < INFINITY else OVERFLOWN


cdef Status invert(
    double *H, double *log_determinant, double *work, Py_ssize_t P, double floor,
) noexcept nogil:
    """H = H^-1 in P^3 flops, log_determinant = log det H; destroyed if it is not DONE

    Block Gauss-Jordan elimination of a positive definite matrix, in place: with the pivot D = H[kk] = R^T R and
    Z = R^-T (H[k, rest], I), all of -Z^T Z is what has to be added. Swept rows carry the opposite sign until they
    have met all others. A pivot has to be above `floor` times its element of the diagonal.
    """
    cdef Py_ssize_t block = min(block_rows(P), max(<Py_ssize_t> LEAST_PIVOTS, P // 16)), start = 0, k, i, j
    cdef double *Z = work
    cdef double *S = Z + block * P
    cdef double *least = S + block * block
    cdef double *rest = least + block
    cdef double *row
    cdef double part, squares
    cdef Status status
    log_determinant[0] = 0
    while start < P:
        k = min(block, P - start)
        for i in range(k):
            row = H + (start + i) * P
            memcpy(Z + i * P, row, start * sizeof(double))
            memset(row, 0, start * sizeof(double))
            for j in range(i + 1):
                S[j * k + i] = S[i * k + j] = row[start + j]
                row[start + j] = 0
            memset(Z + i * P + start, 0, k * sizeof(double))
            Z[i * P + start + i] = 1
            least[i] = floor * S[i * k + i]
        transpose(H + (start + k) * P + start, Z + start + k, P - start - k, k, P, P)
        for i in range(start + k, P):
            memset(H + i * P + start, 0, k * sizeof(double))
        status = factor_rows(S, Z, least, &part, &squares, rest, k, P)
        if status != DONE:
            return status
        log_determinant[0] += part
        rank_update(Z, H, rest, k, P, -1)
        start += k
    if stopped():
        return STOPPED
    for i in range(P):
        for j in range(i + 1):
            H[i * P + j] = 0 - H[i * P + j]  # not -0
    return DONE


cdef void mirror(double *H, Py_ssize_t P) noexcept nogil:
    """Copy the lower triangle over the upper one"""
    cdef Py_ssize_t top = 0, left, i, j
    while top < P and go_on(<double> PASS * COPIED * top):
        left = 0
        while left <= top:
            for j in range(left, min(left + COPIED, P)):
                for i in range(max(top, j + 1), min(top + COPIED, P)):
                    H[j * P + i] = H[i * P + j]
            left += COPIED
        top += COPIED


cdef void restore(double *H, const double *diagonal, Py_ssize_t P) noexcept nogil:
    """Copy the upper triangle over the lower one, and the diagonal from where it was kept"""
    cdef Py_ssize_t top = 0, left, i, j
    while top < P:
        left = 0
        while left <= top:
            for i in range(top, min(top + COPIED, P)):
                for j in range(left, min(left + COPIED, i)):
                    H[i * P + j] = H[j * P + i]
            left += COPIED
        top += COPIED
    for i in range(P):
        H[i * P + i] = diagonal[i]


cdef bint symmetric_to(double tolerance, const double *H, Py_ssize_t P, bint *exactly) noexcept nogil:
    """Whether the triangles differ by at most tolerance sqrt(H[p, p] H[q, q]), and whether they do not at all"""
    cdef Py_ssize_t top = 0, left, i, j
    cdef double difference
    exactly[0] = True
    while top < P:
        left = 0
        while left <= top:
            for i in range(top, min(top + COPIED, P)):
                for j in range(left, min(left + COPIED, i)):
                    if H[i * P + j] != H[j * P + i]:
                        exactly[0] = False
                        difference = fabs(H[i * P + j] - H[j * P + i])
                        if difference > tolerance * sqrt(fabs(H[i * P + i])) * sqrt(fabs(H[j * P + j])):
                            return False
            left += COPIED
        top += COPIED
    return True
