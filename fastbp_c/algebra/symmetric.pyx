"""Products with a symmetric matrix, its updates and its inverse, over the lower triangle.

Design:
a) Everything is done by tiles of the own kernels, in pieces that are shared with idle helpers (team.pxd). What a piece
   is follows from P and k, and no two of an offer write the same place.
b) A product of few rows is bound by memory: what is below the diagonal is read once and serves twice, as it is and
   transposed. Of a single row, each band of H has a result of its own; they are added in the order of their numbers.
   Of some rows, stretches of the result meet in pairs. Of many, H may be read twice: each stretch of the result is a
   piece, to which all of H's rows and columns there contribute.
c) Without vector kernels, BLAS does all that (product.pxd). Where there are some it does not: with two threads it gives
   other bits than with one.

`benches/bench_inverse.py` is behind the constants.
"""

from libc.math cimport INFINITY, fabs, log, sqrt
from libc.string cimport memcpy, memset

from fastbp_c.algebra.product cimport (
    blas_rank_update, blas_solve, blas_symmetric_product, is_own, own_block, product,
)
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_ZERO, kernels_d
from fastbp_c.boundary.interrupt cimport go_on, stopped
from fastbp_c.boundary.team cimport enlisted, share
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times

cdef enum:
    SINGLE_ROWS = 2         # rows that are multiplied one by one
    FEW_ROWS = 32           # up to which a tile serves twice
    SHARED_FROM = 768       # columns from which on H is divided for that
    TILE = 128              # of the matrix: 128 KiB, used twice while it is in the cache
    NARROW_STRETCH = 64     # columns of a product of many rows that are a piece, of few columns
    UPDATED = 64            # rows and columns of a tile of an update
    DEEP = 128              # rows in an update, at least
    DISTANT = 256           # columns from which on those of a tile are copied: their rows are on as many pages
    TILE_ROWS = 4           # rows of tiles that are done column by column, while what they are made of is in the cache
    CORNER = 16             # rows of a tile on its diagonal, at a time
    PANEL = 24              # rows of a product of rows with rows
    LEAST_PIVOTS = 32       # of an inversion, at a time
    FACTORED_ROWS = 32      # of a small matrix, between products
    SOLVED_ROWS = 12        # of a triangular system, between products
    SOLVED = 1 << 14        # elements of rows that are solved for in a piece
    SHORTEST = 128          # columns of them at least
    COPIED = 16             # rows and columns that are compared at a time; a multiple of any vector
    STRETCH = 256           # columns of rows that are moved in a piece
    BAND = 128              # rows of the matrix that are moved in a piece, at least
    MOST_BANDS = 64
    MIRRORED = 64           # of them at a time


cdef Py_ssize_t block_rows(Py_ssize_t P) noexcept nogil:
    """How many rows an update takes at a time: enough for products at full speed, few against P"""
    return 64 if P <= 1024 else 128 if P <= 3000 else 256


cdef inline Py_ssize_t pieces_of(Py_ssize_t n, Py_ssize_t length) noexcept nogil:
    return (n + length - 1) // length


cdef inline Py_ssize_t up_to_multiple(Py_ssize_t n, Py_ssize_t unit) noexcept nogil:
    return pieces_of(n, unit) * unit


cdef size_t work_size(Py_ssize_t P, Py_ssize_t m) noexcept nogil:
    """Elements of work for functions that are given up to block_rows(P) rows, or m rows to subtract"""
    cdef Py_ssize_t block = block_rows(P)
    cdef Arena single = arena_over(NULL, sizeof(double)), few = single, many = single, inverse = single
    cdef Rows rows
    cdef Inversion inversion
    lay_out_rows(&rows, &single, SINGLE_ROWS, P)
    lay_out_rows(&rows, &few, FEW_ROWS, P)
    lay_out_rows(&rows, &many, block, P)
    lay_out_inversion(&inversion, &inverse, P)  # with an update, and rows to be factored
    return max(max(times(block, m), times(block, P)),
               max(max(single.used, few.used), max(many.used, inverse.used)) // sizeof(double))


cdef void whole_tile(const double *H, double *tile, Py_ssize_t n, Py_ssize_t ld) noexcept nogil:
    """tile[n, n] = both triangles of a tile on the diagonal"""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(tile + i * n, H + i * ld, (i + 1) * sizeof(double))
    mirror_rows(tile, n, 0, n)


# ---- U = V H ----

cdef struct Rows:
    const double *V
    const double *H
    double *U
    Py_ssize_t k, P
    Py_ssize_t n, width     # stretches of columns, or bands of rows, and how wide most of them are
    Py_ssize_t turn         # of the pairs of stretches
    double *columns         # V^T
    double *sums            # U^T, what transposed tiles add to it
    double *parts           # of U: of all bands but the last
    double *tiles           # one for each stretch


cdef void lay_out_rows(Rows *rows, Arena *arena, Py_ssize_t k, Py_ssize_t P) noexcept nogil:
    cdef size_t of_all = times(k, P)
    rows.k, rows.P, rows.parts = k, P, NULL
    rows.n = 1 if P < SHARED_FROM else 8 if P <= 3000 else 16
    rows.width = up_to_multiple(pieces_of(P, rows.n), COPIED)
    if k <= SINGLE_ROWS:
        rows.parts = <double *> take(arena, times(rows.n - 1, of_all))
        return
    if k > FEW_ROWS:
        rows.width = max(<Py_ssize_t> 1, min(P, <Py_ssize_t> (NARROW_STRETCH if P <= 1024 else TILE)))
        rows.n = pieces_of(P, rows.width)
    rows.columns = <double *> take(arena, of_all)
    rows.sums = <double *> take(arena, of_all)
    rows.tiles = <double *> take(arena, times(rows.n, min(rows.width, <Py_ssize_t> TILE) ** 2))


cdef void symmetric_rows(
    const double *V, const double *H, double *U, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil:
    """U = V H"""
    cdef Rows rows
    cdef Arena arena = arena_over(work, sizeof(double))
    if k > SINGLE_ROWS and not is_own():
        blas_symmetric_product(k, P, V, H, U)
        return
    lay_out_rows(&rows, &arena, k, P)
    rows.V, rows.H, rows.U = V, H, U
    if k <= SINGLE_ROWS:
        product_of_single(&rows)
    elif k <= FEW_ROWS:
        product_of_few(&rows)
    else:
        share(pieces_of(P, STRETCH), <double> PASS * k * P, enlisted(), turn_rows, &rows)
        share(rows.n, <double> k * P * P, enlisted(), stretch_of_many, &rows)


cdef void turn_rows(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """columns[p, k] = V[k, p]^T for a stretch of p"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t start = piece * STRETCH
    kernels_d.turn(rows.k, min(rows.P - start, <Py_ssize_t> STRETCH), rows.V + start, rows.P,
                   rows.columns + start * rows.k, rows.k)


cdef void product_of_single(Rows *rows) noexcept nogil:
    """Bands of rows of H, one row of V after the other, and then all that they contribute in the order of the bands"""
    cdef Py_ssize_t band, i
    share(rows.n, 0.5 * PASS * rows.k * rows.P * rows.P, enlisted(), band_of_single, rows)
    for band in range(rows.n - 1):
        for i in range(rows.k):
            kernels_d.add(band_start(rows, band + 1), part_of(rows, band) + i * rows.P, rows.U + i * rows.P)


cdef Py_ssize_t band_start(const Rows *rows, Py_ssize_t band) noexcept nogil:
    """The first row of a band: all have about as many elements"""
    if band == rows.n:
        return rows.P
    return <Py_ssize_t> (rows.P * sqrt(<double> band / rows.n)) // COPIED * COPIED


cdef double *part_of(const Rows *rows, Py_ssize_t band) noexcept nogil:
    """k x P, of which a band has what comes before its end"""
    return rows.U if band + 1 == rows.n else rows.parts + band * rows.k * rows.P


cdef void band_of_single(void *rows_, Py_ssize_t band, int worker) noexcept nogil:
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t first = band_start(rows, band), last = band_start(rows, band + 1), i
    for i in range(rows.k):
        if not go_on(0.5 * PASS * (last - first) * (last + first)):
            return
        # U[i, q] = V[i, p] H[p, q]   for what is in the rows of H
        kernels_d.symv(first, last, rows.H, rows.P, rows.V + i * rows.P, part_of(rows, band) + i * rows.P)


cdef void product_of_few(Rows *rows) noexcept nogil:
    """Stretches by themselves, and then all pairs of them, in turns in which each is in one pair

    Like the teams of a league: the last one stays where it is, the others sit around a table and move on.
    """
    cdef Py_ssize_t n = rows.n, P = rows.P
    cdef int workers = enlisted()
    share(pieces_of(P, STRETCH), <double> PASS * rows.k * P, workers, turn_rows, rows)
    share(n, <double> rows.k * rows.width * P, workers, stretch_of_few, rows)
    for rows.turn in range(n - 1):
        share(n // 2, <double> rows.k * rows.width * P, workers, pair_of_few, rows)
    share(n, <double> PASS * rows.k * P, workers, add_sums, rows)


cdef void stretch_of_few(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """What is in the rows and columns of H of a stretch"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t k = rows.k, P = rows.P, start = piece * rows.width, stop = min(start + rows.width, P)
    cdef Py_ssize_t side = min(rows.width, <Py_ssize_t> TILE), i, r
    cdef double *tile = rows.tiles + piece * side * side
    for i in range(k if start < stop else 0):
        memset(rows.U + i * P + start, 0, (stop - start) * sizeof(double))
    if start < stop:
        memset(rows.sums + start * k, 0, (stop - start) * k * sizeof(double))
    i = start
    while i < stop:
        r = min(stop - i, <Py_ssize_t> TILE)
        if not tiles_of_few(rows, i, r, start, i):
            return
        whole_tile(rows.H + i * P + i, tile, r, P)
        # U[k, c] += V[k, r] H[r, c]
        own_block(k, r, r, rows.V + i, P, 1, tile, r, 1, FBP_ADD, <double *> NULL, rows.U + i, P)
        i += TILE


cdef void pair_of_few(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """What is in the rows of H of a stretch and the columns of another"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t moving = rows.n - 1, one = (rows.turn + piece) % moving, start, stop, last, i
    cdef Py_ssize_t other = (rows.turn + moving - piece) % moving if piece > 0 else moving
    start, stop = min(one, other) * rows.width, min((min(one, other) + 1) * rows.width, rows.P)
    i = max(one, other) * rows.width
    last = min(i + rows.width, rows.P)
    while i < last:
        if not tiles_of_few(rows, i, min(last - i, <Py_ssize_t> TILE), start, stop):
            return
        i += TILE


cdef bint tiles_of_few(const Rows *rows, Py_ssize_t i, Py_ssize_t r, Py_ssize_t j, Py_ssize_t stop) noexcept nogil:
    """Every tile below the diagonal serves twice, as it is and transposed; the second time it is the left factor"""
    cdef Py_ssize_t k = rows.k, P = rows.P, c
    cdef const double *H = rows.H + i * P
    if not go_on(2.0 * k * r * (stop - j)):
        return False
    while j < stop:
        c = min(stop - j, <Py_ssize_t> TILE)
        # U[k, c] += V[k, r] H[r, c]
        own_block(k, c, r, rows.V + i, P, 1, H + j, P, 1, FBP_ADD, <double *> NULL, rows.U + j, P)
        # U^T[r, k] += H[r, c] V^T[c, k]
        own_block(r, k, c, H + j, P, 1, rows.columns + j * k, k, 1, FBP_ADD, <double *> NULL, rows.sums + i * k, k)
        j += TILE
    return True


cdef void add_sums(void *rows_, Py_ssize_t piece, int worker) noexcept nogil:
    """U[k, p] += sums[p, k]^T for a stretch of p"""
    cdef const Rows *rows = <const Rows *> rows_
    cdef Py_ssize_t start = piece * rows.width, stop = min(start + rows.width, rows.P), k = rows.k, i
    cdef double *turned = rows.columns + start * k      # whose time is over
    if start >= stop:
        return
    kernels_d.turn(stop - start, k, rows.sums + start * k, k, turned, stop - start)
    for i in range(k):
        kernels_d.add(stop - start, turned + i * (stop - start), rows.U + i * rows.P + start)


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
    kernels_d.turn(r, k, sums, k, rows.U + i, P)
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
    if not is_own():
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
    double *left            # sign Z, one stretch of columns after the other
    double *right           # Z, likewise; NULL if it is read where it is


cdef Py_ssize_t updating_rows(Py_ssize_t P) noexcept nogil:
    """How many rows at a time: enough for H to be read and written seldom"""
    return max(<Py_ssize_t> DEEP, block_rows(P))


cdef void lay_out_update(Update *update, Arena *arena, Py_ssize_t m, Py_ssize_t P) noexcept nogil:
    update.m, update.P, update.tile = m, P, max(<Py_ssize_t> 1, min(P, <Py_ssize_t> UPDATED))
    update.left = <double *> take(arena, times(m, P))
    update.right = <double *> take(arena, times(m, P if P >= DISTANT else 0))


cdef void rank_update(
    const double *Z, double *H, double *work, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil:
    """H += sign Z^T Z, sign being 1 or -1, for any number of rows m"""
    cdef Py_ssize_t start = 0, rows, n
    cdef int workers = enlisted()
    cdef Update update
    cdef Arena arena
    while start < m:
        rows = min(updating_rows(P), m - start)
        # H[p, q] += sign Z[m, p]^T Z[m, q]
        if is_own():
            arena = arena_over(work, sizeof(double))
            lay_out_update(&update, &arena, rows, P)
            update.Z, update.H, update.sign = Z + start * P, H, sign
            if P < DISTANT:
                update.right = NULL
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
    cdef double sign = update.sign
    for i in range(update.m):
        for p in range(width):
            left[p] = sign * Z[p]
        if update.right != NULL:
            memcpy(update.right + start * update.m + i * width, Z, width * sizeof(double))
        left += width
        Z += update.P


cdef void find_tile(Py_ssize_t piece, Py_ssize_t n, Py_ssize_t *i, Py_ssize_t *j) noexcept nogil:
    """Row and column of a tile on or below the diagonal, of n x n: some rows at a time, column by column"""
    cdef Py_ssize_t first = 0, rows = min(n, <Py_ssize_t> TILE_ROWS)
    while piece >= rows * first + rows * (rows + 1) // 2:
        piece -= rows * first + rows * (rows + 1) // 2
        first += rows
        rows = min(n - first, <Py_ssize_t> TILE_ROWS)
    j[0] = min(piece // rows, first)
    piece -= j[0] * rows
    while piece >= first + rows - j[0]:
        piece -= first + rows - j[0]
        j[0] += 1
    i[0] = max(first, j[0]) + piece


cdef void tile_of_update(void *update_, Py_ssize_t piece, int worker) noexcept nogil:
    """H[r, c] += left[m, r]^T right[m, c]"""
    cdef const Update *update = <const Update *> update_
    cdef Py_ssize_t i, j, m = update.m, P = update.P, rows, columns, ld
    cdef const double *left
    cdef const double *right
    cdef double *H
    find_tile(piece, pieces_of(P, update.tile), &i, &j)
    i *= update.tile
    j *= update.tile
    rows, columns = min(update.tile, P - i), min(update.tile, P - j)
    left, H = update.left + i * m, update.H + i * P + j
    if update.right != NULL:
        right, ld = update.right + j * m, columns
    else:
        right, ld = update.Z + j, P
    if not go_on(<double> m * rows * columns):
        return
    if i > j:
        own_block(rows, columns, m, left, 1, rows, right, ld, 1, FBP_ADD, <double *> NULL, H, P)
    else:
        corner_of_update(left, right, ld, H, m, rows, P)


cdef void corner_of_update(
    const double *left, const double *right, Py_ssize_t ld, double *H, Py_ssize_t m, Py_ssize_t n, Py_ssize_t P,
) noexcept nogil:
    """H[n, n] += left[m, n]^T right[m, n], the lower triangle of it"""
    cdef double corner[CORNER * CORNER]
    cdef Py_ssize_t i = 0, j, p, rows
    while i < n:
        rows = min(n - i, <Py_ssize_t> CORNER)
        if i > 0:
            # H[r, q] += left[m, r]^T right[m, q]   for q < i
            own_block(rows, i, m, left + i, 1, n, right, ld, 1, FBP_ADD, <double *> NULL, H + i * P, P)
        # corner[r, q] = left[m, r]^T right[m, q]   for q from i on
        own_block(rows, rows, m, left + i, 1, n, right + i, ld, 1, FBP_ZERO, <double *> NULL, corner, rows)
        for p in range(rows):
            for j in range(p + 1):
                H[(i + p) * P + i + j] += corner[p * rows + j]
        i += CORNER


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
    if not is_own():
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
    if not is_own():
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
    if width == P:
        squares = kernels_d.dot(k * P, Z, Z)
    else:
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
    lay_out_update(&update, &of_update, updating_rows(P), P)
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
    cdef Py_ssize_t first = piece * STRETCH, last = min(first + STRETCH, inversion.P), start = inversion.start, i, p
    cdef Py_ssize_t P = inversion.P, k = inversion.k, stop = start + k
    # of the stretch: how much comes before the pivots; from where to where they are
    cdef Py_ssize_t before = max(<Py_ssize_t> 0, min(last, start) - first), left = max(first, start)
    cdef Py_ssize_t right = min(last, stop), behind = max(first, stop)
    cdef double *H = inversion.H
    cdef double *Z = inversion.Z
    for i in range(k):
        if before > 0:
            memcpy(Z + i * P + first, H + (start + i) * P + first, before * sizeof(double))
            memset(H + (start + i) * P + first, 0, before * sizeof(double))
        if left < right:
            memset(Z + i * P + left, 0, (right - left) * sizeof(double))
    for p in range(left, right):
        Z[(p - start) * P + p] = 1
        memset(H + p * P + start, 0, (p - start + 1) * sizeof(double))
    if behind < last:
        kernels_d.turn(last - behind, k, H + behind * P + start, P, Z + behind, P)
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
    return max(<Py_ssize_t> BAND, up_to_multiple(pieces_of(P, MOST_BANDS), COPIED))


cdef void mirror(double *H, Py_ssize_t P) noexcept nogil:
    """Copy the lower triangle over the upper one"""
    cdef Square square
    square.H, square.P, square.band = H, P, band_rows(P)
    share(pieces_of(P, square.band), 0.5 * PASS * P * P, enlisted(), mirror_piece, &square)


cdef void mirror_piece(void *square_, Py_ssize_t piece, int worker) noexcept nogil:
    cdef const Square *square = <const Square *> square_
    cdef Py_ssize_t first = piece * square.band, last = min(first + square.band, square.P)
    if go_on(<double> PASS * (last - first) * last):
        mirror_rows(square.H, square.P, first, last)


cdef void mirror_rows(double *H, Py_ssize_t P, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Copy rows of the lower triangle over columns of the upper one"""
    cdef Py_ssize_t rows, part, i, j
    while first < last:
        rows = min(last - first, <Py_ssize_t> MIRRORED)
        kernels_d.turn(rows, first, H + first * P, P, H + first, P)
        while rows > 0:
            part = min(rows, <Py_ssize_t> COPIED)
            for i in range(first, first + part):
                for j in range(first, i):
                    H[j * P + i] = H[i * P + j]
            first += part
            rows -= part
            kernels_d.turn(rows, part, H + first * P + first - part, P, H + (first - part) * P + first, P)


cdef void restore(double *H, const double *diagonal, Py_ssize_t P) noexcept nogil:
    """Copy the upper triangle over the lower one, and the diagonal from where it was kept

    Nothing of that may be left out when all else has been stopped, so it is not shared.
    """
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
