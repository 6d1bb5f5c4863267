"""Products with a symmetric matrix, its updates and its inverse, over the lower triangle.

Design:
a) Everything is done by tiles of the own kernels, in pieces that are shared with idle helpers (team.pxd). No two pieces
   write the same place; where that would cost too much, each has a result of its own, and they are added in the order
   of their numbers. How many there are follows from P and k.
b) A product of few rows is bound by memory: a tile below the diagonal is read once and serves twice, as it is and
   transposed. One of many rows is not: a stretch of its columns is a piece, to which all of H's rows and columns there
   contribute.
c) Without vector kernels, BLAS does all that (product.pxd). Where there are, it does not: with two threads it gives other
   bits than with one.

`benches/bench_inverse.py` is behind the constants.
"""

from libc.math cimport INFINITY, fabs, log, sqrt
from libc.string cimport memcpy, memset

from fastbp_c.algebra.product cimport (
    are_own_triangles, blas_rank_update, blas_solve, blas_symmetric_product, own_block, product,
)
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_ZERO, kernels_d
from fastbp_c.boundary.interrupt cimport go_on, stopped
from fastbp_c.boundary.team cimport enlisted, share
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times

cdef enum:
    SINGLE_ROWS = 2         # rows that are multiplied one by one
    FEW_ROWS = 32           # up to which a tile serves twice
    BANDS_FROM = 768        # columns from which on H is read in bands, which helpers may share
    TILE = 128              # of the matrix: 128 KiB, used twice while it is in the cache
    NARROW_STRETCH = 64     # columns of a product of many rows that are a piece, of few columns
    UPDATED = 128           # rows and columns of a tile of an update
    PANEL = 24              # rows of a tile on the diagonal, for the own update; of a product of rows with rows
    LEAST_PIVOTS = 32       # of an inversion, at a time
    FACTORED_ROWS = 32      # of a small matrix, between products
    SOLVED_ROWS = 12        # of a triangular system, between products
    SOLVED = 1 << 14        # elements of rows that are solved for in a piece
    SHORTEST = 128          # columns of them at least
    COPIED = 16             # rows and columns that are transposed at a time
    STRETCH = 256           # columns of rows that are moved in a piece
    BAND = 128              # rows of the matrix that are moved in a piece, at least
    MOST_BANDS = 64


cdef Py_ssize_t block_rows(Py_ssize_t P) noexcept nogil:
    """How many rows an update takes at a time: enough for products at full speed, few against P"""
    return 64 if P <= 1024 else 128 if P <= 3000 else 256


cdef inline Py_ssize_t pieces_of(Py_ssize_t n, Py_ssize_t length) noexcept nogil:
    return (n + length - 1) // length


cdef size_t work_size(Py_ssize_t P, Py_ssize_t m) noexcept nogil:
    """Elements of work for functions that are given up to block_rows(P) rows, or m rows to subtract"""
    cdef Py_ssize_t block = block_rows(P)
    cdef Arena few = arena_over(NULL, sizeof(double)), many = few, all = few
    cdef Rows rows
    cdef Inversion inversion
    lay_out_rows(&rows, &few, min(block, <Py_ssize_t> FEW_ROWS), P)
    lay_out_rows(&rows, &many, block, P)
    lay_out_inversion(&inversion, &all, P)  # with an update, and rows to be factored
    return max(max(times(block, m), times(block, P)), max(all.used, max(few.used, many.used)) // sizeof(double))


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


cdef void add_transpose(
    const double *A, double *B, Py_ssize_t m, Py_ssize_t n, Py_ssize_t lda, Py_ssize_t ldb,
) noexcept nogil:
    """B[n, m] += A[m, n]^T"""
    cdef Py_ssize_t top = 0, left, i, j
    while top < m:
        left = 0
        while left < n:
            for j in range(left, min(left + COPIED, n)):
                for i in range(top, min(top + COPIED, m)):
                    B[j * ldb + i] += A[i * lda + j]
            left += COPIED
        top += COPIED


cdef void whole_tile(const double *H, double *tile, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """tile[n, n] = both triangles of a tile on the diagonal"""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(tile + i * n, H + i * ld, (i + 1) * sizeof(double))
    mirror_band(tile, n, 0, n)


# ---- U = V H ----

cdef struct Rows:
    const double *V
    const double *H
    double *U
    Py_ssize_t k, P
    Py_ssize_t bands        # of rows of H, for few rows V; 0 for many
    Py_ssize_t width        # of a stretch, for many
    double *columns         # V^T
    double *sums            # U^T, what transposed tiles add to it
    double *parts           # of U: of all bands but the last
    double *tiles           # one for each band or stretch


cdef Py_ssize_t bands_of(Py_ssize_t P) noexcept nogil:
    return 1 if P < BANDS_FROM else 4 if P <= 1024 else 8 if P <= 3000 else 16


cdef void lay_out_rows(Rows *rows, Arena *arena, Py_ssize_t k, Py_ssize_t P) noexcept nogil:
    cdef size_t of_all = times(k, P)
    rows.k, rows.P = k, P
    rows.bands = bands_of(P) if k <= FEW_ROWS else 0
    rows.width = max(<Py_ssize_t> 1, min(P, <Py_ssize_t> (NARROW_STRETCH if P <= 1024 and k > FEW_ROWS else TILE)))
    rows.columns = <double *> take(arena, of_all)
    rows.sums = <double *> take(arena, of_all)
    rows.parts = <double *> take(arena, times(max(<Py_ssize_t> 0, rows.bands - 1), of_all))
    rows.tiles = <double *> take(arena, (rows.bands if rows.bands > 0 else pieces_of(P, rows.width))
                                 * <size_t> (rows.width * rows.width))


cdef void symmetric_rows(
    const double *V, const double *H, double *U, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil:
    """U = V H"""
    cdef Rows rows
    cdef Arena arena = arena_over(work, sizeof(double))
    cdef int workers = enlisted()
    if k > SINGLE_ROWS and not are_own_triangles():
        blas_symmetric_product(k, P, V, H, U)
        return
    lay_out_rows(&rows, &arena, k, P)
    rows.V, rows.H, rows.U = V, H, U
    if k > SINGLE_ROWS:
        share(pieces_of(P, STRETCH), <double> PASS * k * P, workers, turn_rows, &rows)
    if k > FEW_ROWS:
        share(pieces_of(P, rows.width), <double> k * P * P, workers, stretch_of_many, &rows)
        return
    share(rows.bands, 0.5 * max(<Py_ssize_t> PASS, 2 * k) * P * P, workers,
          band_of_few if k > SINGLE_ROWS else band_of_single, &rows)
    if k > SINGLE_ROWS or rows.bands > 1:
        share(pieces_of(P, STRETCH), 0.5 * PASS * k * P * (rows.bands + 1), workers, add_parts, &rows)


cdef void turn_rows(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """columns[p, k] = V[k, p]^T for a stretch of p"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t start = piece * STRETCH
    transpose(rows.V + start, rows.columns + start * rows.k, rows.k, min(rows.P - start, <Py_ssize_t> STRETCH), rows.P,
              rows.k)


cdef Py_ssize_t band_start(const Rows *rows, Py_ssize_t band, Py_ssize_t unit) noexcept nogil:
    """The first row of a band: all have about as many elements"""
    if band == rows.bands:
        return rows.P
    return <Py_ssize_t> (rows.P * sqrt(<double> band / rows.bands)) // unit * unit


cdef Py_ssize_t unit_of(const Rows *rows) noexcept nogil:
    return TILE if rows.k > SINGLE_ROWS else COPIED


cdef double *part_of(const Rows *rows, Py_ssize_t band) noexcept nogil:
    """k x P, of which a band has what comes before its end"""
    return rows.U if band + 1 == rows.bands else rows.parts + band * rows.k * rows.P


cdef void band_of_single(void *rows_, Py_ssize_t band, int worker) noexcept nogil:
    """One row after the other"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t first = band_start(rows, band, COPIED), last = band_start(rows, band + 1, COPIED), i
    for i in range(rows.k):
        if not go_on(0.5 * PASS * (last - first) * (last + first)):
            return
        # U[i, q] = V[i, p] H[p, q]   for what is in the rows of H
        kernels_d.symv(first, last, rows.H, rows.P, rows.V + i * rows.P, part_of(rows, band) + i * rows.P)


cdef void band_of_few(void *rows_, Py_ssize_t band, int worker) noexcept nogil:
    """Every tile below the diagonal serves twice, as it is and transposed; the second time it is the left factor"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t i = band_start(rows, band, TILE), last = band_start(rows, band + 1, TILE), k = rows.k, P = rows.P
    cdef Py_ssize_t j, r
    cdef const double *H
    cdef double *U = part_of(rows, band)
    cdef double *tile = rows.tiles + band * rows.width * rows.width
    for j in range(k):
        memset(U + j * P, 0, last * sizeof(double))
    memset(rows.sums + i * k, 0, (last - i) * k * sizeof(double))
    while i < last:
        r = min(P - i, <Py_ssize_t> TILE)
        if not go_on(2.0 * k * r * i):
            return
        H = rows.H + i * P
        j = 0
        while j < i:
            # U[k, c] += V[k, r] H[r, c]
            own_block(k, TILE, r, rows.V + i, P, 1, H + j, P, 1, FBP_ADD, <double *> NULL, U + j, P)
            # U^T[r, k] += H[r, c] V^T[c, k]
            own_block(r, k, TILE, H + j, P, 1, rows.columns + j * k, k, 1, FBP_ADD, <double *> NULL, rows.sums + i * k,
                      k)
            j += TILE
        whole_tile(H + i, tile, r, P)
        # U[k, c] += V[k, r] H[r, c]
        own_block(k, r, r, rows.V + i, P, 1, tile, r, 1, FBP_ADD, <double *> NULL, U + i, P)
        i += TILE


cdef void add_parts(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """A stretch of U gets what all bands have of it, in their order"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t start = piece * STRETCH, stop = min(start + STRETCH, rows.P), k = rows.k, P = rows.P, band, i, end
    for band in range(rows.bands - 1):
        end = min(stop, band_start(rows, band + 1, unit_of(rows)))
        for i in range(k if end > start else 0):
            kernels_d.add(end - start, part_of(rows, band) + i * P + start, rows.U + i * P + start)
    if k > SINGLE_ROWS:
        add_transpose(rows.sums + start * k, rows.U + start, stop - start, k, k, P)


cdef void stretch_of_many(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """All that contributes to a stretch of columns of U: the rows of H before and at the diagonal, and what is below"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t k = rows.k, P = rows.P, i = piece * rows.width, r = min(rows.width, P - i)
    cdef const double *H = rows.H + i * P
    cdef double *tile = rows.tiles + piece * rows.width * rows.width
    cdef double *sums = rows.sums + i * k
    if not go_on(<double> k * r * P):
        return
    whole_tile(H + i, tile, r, P)
    # U^T[r, k] = H[r, c] V^T[c, k]
    own_block(r, k, r, tile, r, 1, rows.columns + i * k, k, 1, FBP_ZERO, <double *> NULL, sums, k)
    if i > 0:
        # U^T[r, k] += H[r, q] V^T[q, k]   for q before the rows r
        own_block(r, k, i, H, P, 1, rows.columns, k, 1, FBP_ADD, <double *> NULL, sums, k)
    transpose(sums, rows.U + i, r, k, k, P)
    i += r
    if i < P:
        # U[k, r] += V[k, p] H[p, r]   for p behind them
        own_block(k, r, P - i, rows.V + i, P, 1, rows.H + i * P + i - r, P, 1, FBP_ADD, <double *> NULL, rows.U + i - r,
                  P)


# ---- S = U V^T ----

cdef struct Pairs:
    const double *U
    const double *V
    double *S
    Py_ssize_t k, P
    double *columns         # V^T, for many rows


cdef void inner_products(
    const double *U, const double *V, double *S, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil:
    """The upper triangle of S = U V^T, for a product that is symmetric; the lower one is finite if that is"""
    cdef Pairs pairs
    cdef Rows rows
    cdef int workers = enlisted()
    if k == 1:
        S[0] = kernels_d.dot(P, U, V)
        return
    if not are_own_triangles():
        # S[k, l] = U[k, p] V[l, p]^T
        product(False, True, k, k, P, U, V, FBP_ZERO, NULL, S)
        return
    pairs.U, pairs.V, pairs.S, pairs.k, pairs.P, pairs.columns = U, V, S, k, P, NULL
    memset(S, 0, k * k * sizeof(double))
    if k > FEW_ROWS:
        rows.V, rows.columns, rows.k, rows.P = V, work, k, P
        share(pieces_of(P, STRETCH), <double> PASS * k * P, workers, turn_rows, &rows)
        pairs.columns = work
    share(pieces_of(k, PANEL), 0.5 * k * k * P, workers, panel_of_pairs, &pairs)


cdef void panel_of_pairs(void *pairs_, Py_ssize_t piece, int worker) noexcept nogil:
    cdef const Pairs *pairs = <const Pairs *> pairs_
    cdef Py_ssize_t k = pairs.k, P = pairs.P, i = piece * PANEL, rows = min(k - i, <Py_ssize_t> PANEL)
    if not go_on(<double> rows * (k - i) * P):
        return
    # S[r, l] = U[r, p] V[l, p]^T   for l >= i
    if pairs.columns == NULL:
        own_block(rows, k - i, P, pairs.U + i * P, P, 1, pairs.V + i * P, 1, P, FBP_ZERO, <double *> NULL,
                  pairs.S + i * k + i, k)
    else:
        own_block(rows, k - i, P, pairs.U + i * P, P, 1, pairs.columns + i, k, 1, FBP_ZERO, <double *> NULL,
                  pairs.S + i * k + i, k)


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


# ---- H += Z^T Z ----

cdef struct Update:
    const double *Z
    double *H
    Py_ssize_t m, P, tile
    double sign
    double *left            # sign Z, and Z: one stretch of columns after the other
    double *right


cdef void lay_out_update(Update *update, Arena *arena, Py_ssize_t m, Py_ssize_t P) noexcept nogil:
    update.m, update.P, update.tile = m, P, max(<Py_ssize_t> 1, min(P, <Py_ssize_t> UPDATED))
    update.left = <double *> take(arena, times(m, P))
    update.right = <double *> take(arena, times(m, P))


cdef void rank_update(
    const double *Z, double *H, double *work, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil:
    """H += sign Z^T Z, sign being 1 or -1, for any number of rows m"""
    cdef Py_ssize_t block = block_rows(P), start = 0, rows, n
    cdef int workers = enlisted()
    cdef Update update
    cdef Arena arena
    while start < m:
        rows = min(block, m - start)
        # H[p, q] += sign Z[m, p]^T Z[m, q]
        if are_own_triangles():
            arena = arena_over(work, sizeof(double))
            lay_out_update(&update, &arena, rows, P)
            update.Z, update.H, update.sign = Z + start * P, H, sign
            n = pieces_of(P, update.tile)
            share(n, <double> PASS * rows * P, workers, stretch_of_update, &update)
            share(n * (n + 1) // 2, 0.5 * P * P * rows, workers, tile_of_update, &update)
        else:
            blas_rank_update(P, rows, sign, Z + start * P, H)
        start += rows


cdef void stretch_of_update(void *update_, Py_ssize_t piece, int worker) noexcept nogil:
    """left[m, c] = sign Z[m, c],   right[m, c] = Z[m, c]"""
    cdef const Update *update = <const Update *> update_
    cdef Py_ssize_t start = piece * update.tile, width = min(update.tile, update.P - start), i, p
    cdef const double *Z = update.Z + start
    cdef double *left = update.left + start * update.m
    cdef double *right = update.right + start * update.m
    for i in range(update.m):
        for p in range(width):
            left[i * width + p] = update.sign * Z[i * update.P + p]
            right[i * width + p] = Z[i * update.P + p]


cdef void tile_of_update(void *update_, Py_ssize_t piece, int worker) noexcept nogil:
    """H[r, c] += left[m, r]^T right[m, c]"""
    cdef const Update *update = <const Update *> update_
    cdef Py_ssize_t i = 0, j = piece, m = update.m, P = update.P, rows, columns
    cdef const double *left
    cdef const double *right
    cdef double *H
    while j > i:
        i += 1
        j -= i
    i *= update.tile
    j *= update.tile
    left, right, H = update.left + i * m, update.right + j * m, update.H + i * P + j
    rows, columns = min(update.tile, P - i), min(update.tile, P - j)
    if not go_on(<double> m * rows * columns):
        return
    if i > j:
        own_block(rows, columns, m, left, 1, rows, right, columns, 1, FBP_ADD, <double *> NULL, H, P)
    else:
        corner_of_update(left, right, H, m, rows, P)


cdef void corner_of_update(
    const double *left, const double *right, double *H, Py_ssize_t m, Py_ssize_t n, Py_ssize_t P,
) noexcept nogil:
    """H[n, n] += left[m, n]^T right[m, n], the lower triangle of it"""
    cdef double corner[PANEL * PANEL]
    cdef Py_ssize_t i = 0, j, p, rows
    while i < n:
        rows = min(n - i, <Py_ssize_t> PANEL)
        if i > 0:
            # H[r, q] += left[m, r]^T right[m, q]   for q < i
            own_block(rows, i, m, left + i, 1, n, right, n, 1, FBP_ADD, <double *> NULL, H + i * P, P)
        # corner[r, q] = left[m, r]^T right[m, q]   for q from i on
        own_block(rows, rows, m, left + i, 1, n, right + i, n, 1, FBP_ZERO, <double *> NULL, corner, rows)
        for p in range(rows):
            for j in range(p + 1):
                H[(i + p) * P + i + j] += corner[p * rows + j]
        i += PANEL


# ---- Z = R^-T Z ----

cdef struct System:
    const double *R
    double *Z
    Py_ssize_t k, P, width
    double *above           # -R
    double *squares         # of each piece


cdef Py_ssize_t solved_columns(Py_ssize_t k) noexcept nogil:
    return max(<Py_ssize_t> SHORTEST, SOLVED // k // COPIED * COPIED)


cdef void lay_out_system(System *system, Arena *arena, Py_ssize_t k, Py_ssize_t P) noexcept nogil:
    system.k, system.P, system.width = k, P, solved_columns(k)
    system.above = <double *> take(arena, times(k, k))
    system.squares = <double *> take(arena, pieces_of(P, SHORTEST))


cdef Status factor_rows(
    double *S, double *Z, const double *least, double *log_determinant, double *squares, double *work, Py_ssize_t k,
    Py_ssize_t P,
) noexcept nogil:
    """S = R^T R, Z = R^-T Z, log_determinant = log det S, squares = sum Z^2

    S is k x k, and its upper triangle counts. INDEFINITE if a pivot is not above its least, OVERFLOWN if the result
    is not finite or has no finite square, STOPPED if what led here was, and S is of no meaning.
    """
    cdef Py_ssize_t i
    cdef System system
    cdef Arena arena = arena_over(work, sizeof(double))
    if stopped():
        return STOPPED
    log_determinant[0] = 0
    if not kernels_d.all_finite(k * k, S):
        return OVERFLOWN
    lay_out_system(&system, &arena, k, P)
    system.R, system.Z = S, Z
    if not cholesky(S, least, system.above, k):
        return INDEFINITE
    for i in range(k):
        log_determinant[0] += 2 * log(S[i * k + i])
    if not are_own_triangles():
        # Z[k, p] = R[k, k]^-T Z[k, p]
        blas_solve(k, P, S, Z)
        squares[0] = kernels_d.dot(k * P, Z, Z)
    else:
        for i in range(k * k):
            system.above[i] = -S[i]
        share(pieces_of(P, system.width), max(0.5 * k, <double> PASS) * k * P, enlisted(), solve_stretch, &system)
        squares[0] = 0
        for i in range(pieces_of(P, system.width)):
            squares[0] += system.squares[i]
    if stopped():
        return STOPPED
    return DONE if squares[0] < INFINITY else OVERFLOWN


cdef bint cholesky(double *S, const double *least, double *work, Py_ssize_t k) noexcept nogil:
    """S = R^T R in the upper triangle, whether every pivot is finite and above its least; work: k k elements"""
    cdef Py_ssize_t i = 0, j, p, rows, left
    if not are_own_triangles():
        return kernels_d.cholesky(k, S, k, least)
    while i < k:
        rows = min(k - i, <Py_ssize_t> FACTORED_ROWS)
        if not kernels_d.cholesky(rows, S + i * k + i, k, least + i):
            return False
        left = k - i - rows
        if left > 0:
            kernels_d.solve(rows, left, S + i * k + i, k, S + i * k + i + rows, k)
            for j in range(rows):
                for p in range(left):
                    work[j * left + p] = -S[(i + j) * k + i + rows + p]
        j = i + rows
        while j < k:
            # S[r, q] -= R[i, r]^T R[i, q]   for q from the rows r on
            own_block(min(k - j, <Py_ssize_t> PANEL), k - j, rows, work + j - i - rows, 1, left, S + i * k + j, k, 1,
                      FBP_ADD, <double *> NULL, S + j * k + j, k)
            j += PANEL
        i += rows
    return True


cdef void solve_stretch(void *system_, Py_ssize_t piece, int worker) noexcept nogil:
    """Z[k, c] = R[k, k]^-T Z[k, c], and the sum of its squares"""
    cdef const System *system = <const System *> system_
    cdef Py_ssize_t start = piece * system.width, k = system.k, P = system.P, i = 0, rows
    cdef Py_ssize_t width = min(system.width, P - start)
    cdef double *Z = system.Z + start
    cdef double squares = 0
    if not go_on(0.5 * k * k * width):
        return
    while i < k:
        rows = min(k - i, <Py_ssize_t> SOLVED_ROWS)
        if i > 0:
            # Z[r, c] -= R[i, r]^T Z[i, c]   by the rows above
            own_block(rows, width, i, system.above + i, 1, k, Z, P, 1, FBP_ADD, <double *> NULL, Z + i * P, P)
        kernels_d.solve(rows, width, system.R + i * k + i, k, Z + i * P, P)
        i += SOLVED_ROWS
    for i in range(k):
        squares += kernels_d.dot(width, Z + i * P, Z + i * P)
    system.squares[piece] = squares


# ---- H^-1 ----

cdef struct Inversion:
    double *H
    Py_ssize_t P, start, k  # the pivots in turn
    double *Z
    double *S
    double *least
    double *work            # for the functions above


cdef void lay_out_inversion(Inversion *inversion, Arena *arena, Py_ssize_t P) noexcept nogil:
    cdef Py_ssize_t block = min(block_rows(P), max(<Py_ssize_t> LEAST_PIVOTS, P // 16))
    cdef Arena of_update = arena_over(NULL, sizeof(double)), of_system = of_update
    cdef Update update
    cdef System system
    inversion.P, inversion.k = P, block
    inversion.Z = <double *> take(arena, times(block, P))
    inversion.S = <double *> take(arena, times(block, block))
    inversion.least = <double *> take(arena, block)
    lay_out_update(&update, &of_update, block_rows(P), P)
    lay_out_system(&system, &of_system, block_rows(P), P)
    inversion.work = <double *> take(arena, max(of_update.used, of_system.used) // sizeof(double))


cdef Status invert(
    double *H, double *log_determinant, double *work, Py_ssize_t P, double floor,
) noexcept nogil:
    """H = H^-1 in P^3 flops, log_determinant = log det H; destroyed if it is not DONE

    Block Gauss-Jordan elimination of a positive definite matrix, in place: with the pivot D = H[kk] = R^T R and
    Z = R^-T (H[k, rest], I), all of -Z^T Z is what has to be added. Swept rows carry the opposite sign until they
    have met all others. A pivot has to be above `floor` times its element of the diagonal.
    """
    cdef Inversion inversion
    cdef Arena arena = arena_over(work, sizeof(double))
    cdef Py_ssize_t block, k, i, j
    cdef double *row
    cdef double part, squares
    cdef Status status
    lay_out_inversion(&inversion, &arena, P)
    block = inversion.k
    inversion.H, inversion.start = H, 0
    log_determinant[0] = 0
    while inversion.start < P:
        k = inversion.k = min(block, P - inversion.start)
        for i in range(k):
            row = H + (inversion.start + i) * P + inversion.start
            for j in range(i + 1):
                inversion.S[j * k + i] = inversion.S[i * k + j] = row[j]
            inversion.least[i] = floor * inversion.S[i * k + i]
        share(pieces_of(P, STRETCH), <double> PASS * k * P, enlisted(), pivot_rows, &inversion)
        status = factor_rows(inversion.S, inversion.Z, inversion.least, &part, &squares, inversion.work, k, P)
        if status != DONE:
            return status
        log_determinant[0] += part
        rank_update(inversion.Z, H, inversion.work, k, P, -1)
        inversion.start += k
    share(pieces_of(P, BAND), 0.5 * PASS * P * P, enlisted(), other_sign, &inversion)
    return STOPPED if stopped() else DONE


cdef void pivot_rows(void *inversion_, Py_ssize_t piece, int worker) noexcept nogil:
    """Z = (H[k, rest], I), of a stretch of columns, and 0 in H where that comes from"""
    cdef const Inversion *inversion = <const Inversion *> inversion_
    cdef Py_ssize_t first = piece * STRETCH, P = inversion.P, k = inversion.k, start = inversion.start, i, p
    cdef Py_ssize_t last = min(first + STRETCH, P), before = min(last, start), behind = max(first, start + k)
    cdef double *H = inversion.H
    cdef double *Z = inversion.Z
    for i in range(k if before > first else 0):
        memcpy(Z + i * P + first, H + (start + i) * P + first, (before - first) * sizeof(double))
        memset(H + (start + i) * P + first, 0, (before - first) * sizeof(double))
    for p in range(max(first, start), min(last, start + k)):
        for i in range(k):
            Z[i * P + p] = 0
        Z[(p - start) * P + p] = 1
        memset(H + p * P + start, 0, (p - start + 1) * sizeof(double))
    if behind < last:
        transpose(H + behind * P + start, Z + behind, last - behind, k, P, P)
        for p in range(behind, last):
            memset(H + p * P + start, 0, k * sizeof(double))


cdef void other_sign(void *inversion_, Py_ssize_t piece, int worker) noexcept nogil:
    """H = -H for a band of rows"""
    cdef const Inversion *inversion = <const Inversion *> inversion_
    cdef Py_ssize_t first = piece * BAND, last = min(first + BAND, inversion.P), i, j
    cdef double *row
    if not go_on(<double> PASS * (last - first) * last):
        return
    for i in range(first, last):
        row = inversion.H + i * inversion.P
        for j in range(i + 1):
            row[j] = 0 - row[j]  # not -0


# ---- Copies of triangles ----

cdef struct Square:
    double *H
    Py_ssize_t P, band          # rows of a piece
    double tolerance
    bint outside[MOST_BANDS]    # what each piece finds
    bint different[MOST_BANDS]


cdef Py_ssize_t band_rows(Py_ssize_t P) noexcept nogil:
    """Of a triangle that is moved"""
    return max(<Py_ssize_t> BAND, pieces_of(pieces_of(P, MOST_BANDS), COPIED) * COPIED)


cdef void mirror(double *H, Py_ssize_t P) noexcept nogil:
    """Copy the lower triangle over the upper one"""
    cdef Square square
    square.H, square.P, square.band = H, P, band_rows(P)
    share(pieces_of(P, square.band), 0.5 * PASS * P * P, enlisted(), mirror_piece, &square)


cdef void mirror_piece(void *square_, Py_ssize_t piece, int worker) noexcept nogil:
    cdef const Square *square = <const Square *> square_
    cdef Py_ssize_t first = piece * square.band, last = min(first + square.band, square.P)
    if go_on(<double> PASS * (last - first) * last):
        mirror_band(square.H, square.P, first, last)


cdef void mirror_band(double *H, Py_ssize_t P, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Copy rows of the lower triangle over columns of the upper one"""
    cdef Py_ssize_t top = first, left, i, j
    while top < last:
        left = 0
        while left <= top:
            for j in range(left, min(left + COPIED, last)):
                for i in range(max(top, j + 1), min(top + COPIED, last)):
                    H[j * P + i] = H[i * P + j]
            left += COPIED
        top += COPIED


cdef void restore(double *H, const double *diagonal, Py_ssize_t P) noexcept nogil:
    """Copy the upper triangle over the lower one, and the diagonal from where it was kept; alone: all of it has to be done"""
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
    cdef Square square
    cdef Py_ssize_t piece
    cdef bint outside = False
    square.H, square.P, square.band, square.tolerance = <double *> H, P, band_rows(P), tolerance
    share(pieces_of(P, square.band), 0.5 * PASS * P * P, enlisted(), compare_piece, &square)
    exactly[0] = True
    for piece in range(pieces_of(P, square.band)):
        exactly[0] = exactly[0] and not square.different[piece]
        outside = outside or square.outside[piece]
    return not outside


cdef void compare_piece(void *square_, Py_ssize_t piece, int worker) noexcept nogil:
    cdef Square *square = <Square *> square_
    cdef Py_ssize_t top = piece * square.band, last = min(top + square.band, square.P), P = square.P, left, i, j
    cdef const double *H = square.H
    cdef double difference
    cdef bint different = False, outside = False
    while top < last and not outside:
        left = 0
        while left <= top:
            for i in range(top, min(top + COPIED, last)):
                for j in range(left, min(left + COPIED, i)):
                    if H[i * P + j] != H[j * P + i]:
                        different = True
                        difference = fabs(H[i * P + j] - H[j * P + i])
                        if difference > square.tolerance * sqrt(fabs(H[i * P + i])) * sqrt(fabs(H[j * P + j])):
                            outside = True
            left += COPIED
        top += COPIED
    square.different[piece], square.outside[piece] = different, outside
