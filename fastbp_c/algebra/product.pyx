"""Large products, cut into tiles."""

from cython cimport floating

from fastbp_c.algebra.simd cimport FBP_ADD
from fastbp_c.boundary.interrupt cimport go_on
from fastbp_c.boundary.team cimport enlisted, share

cdef enum:
    TILE_WORK = 1 << 19     # multiply-adds of a tile, at least
    # Every tile packs its part of B anew: the more rows it has, the better. A small B that runs along vectors is not
    # packed. Where A lies along its rows and has but few of them, columns are cut instead.
    ROWS = 144
    COLUMNS = 256
    SMALL_BYTES = 1 << 19
    ROWS_OF_SMALL = 72
    FEW_ROWS = 256
    ROWS_OF_FEW = 128
    COLUMNS_OF_FEW = 64
    ROW_STEP = 24           # so that no tile of the kernel is cut
    COLUMN_STEP = 64


cdef struct Tiles:
    bint single
    Py_ssize_t M, N, K, rows, columns, across       # across: how many tiles side by side
    const void *A
    Py_ssize_t a_row, a_col
    const void *B
    Py_ssize_t b_row, b_col
    int start
    const void *bias
    void *C
    Py_ssize_t ldc


cdef inline Py_ssize_t even_cut(Py_ssize_t size, Py_ssize_t largest, Py_ssize_t step) noexcept nogil:
    """Of tiles of about the same size, a multiple of the step, the size of all but the last"""
    cdef Py_ssize_t tiles = (size + largest - 1) // largest
    return ((size + tiles - 1) // tiles + step - 1) // step * step


cdef void tile_of(const Tiles *tiles, Py_ssize_t m, Py_ssize_t n, const floating *of_type) noexcept nogil:
    """The tile that begins at row m and column n, in pieces of K if it is long"""
    cdef Py_ssize_t rows = min(tiles.rows, tiles.M - m), columns = min(tiles.columns, tiles.N - n), k = 0, depth
    cdef Py_ssize_t step = piece_depth(rows, columns)
    cdef const floating *A = <const floating *> tiles.A + m * tiles.a_row
    cdef const floating *B = <const floating *> tiles.B + n * tiles.b_col
    cdef const floating *bias = <const floating *> tiles.bias + n if tiles.bias != NULL else NULL
    while k < tiles.K and go_on(<double> rows * columns * min(step, tiles.K - k)):
        depth = min(step, tiles.K - k)
        own_block(rows, columns, depth, A + k * tiles.a_col, tiles.a_row, tiles.a_col, B + k * tiles.b_row,
                  tiles.b_row, tiles.b_col, tiles.start if k == 0 else <int> FBP_ADD, bias,
                  <floating *> tiles.C + m * tiles.ldc + n, tiles.ldc)
        k += depth


cdef void tile_piece(void *tiles_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Tiles *tiles = <const Tiles *> tiles_
    cdef Py_ssize_t m = number // tiles.across * tiles.rows, n = number % tiles.across * tiles.columns
    if tiles.single:
        tile_of(tiles, m, n, <const float *> NULL)
    else:
        tile_of(tiles, m, n, <const double *> NULL)


cdef void tiled_product(
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K, const floating *A, Py_ssize_t a_row, Py_ssize_t a_col,
    const floating *B, Py_ssize_t b_row, Py_ssize_t b_col, int start, const floating *bias, floating *C,
    Py_ssize_t ldc,
) noexcept nogil:
    """C[m, n] = start[m, n] + A(m, k) B(k, n), of which a step in m, k or n leads as far as given, by tiles"""
    cdef double work = <double> M * N * K
    cdef bint small = b_col == 1 and N * K * <Py_ssize_t> sizeof(floating) < SMALL_BYTES
    cdef bint few = not small and a_col == 1 and M <= FEW_ROWS
    cdef Py_ssize_t columns = even_cut(N, COLUMNS_OF_FEW if few else COLUMNS, COLUMN_STEP)
    cdef Py_ssize_t rows = even_cut(M, ROWS_OF_SMALL if small else ROWS_OF_FEW if few else ROWS, ROW_STEP)
    rows = max(rows, min(M, <Py_ssize_t> (TILE_WORK / (columns * K)) // ROW_STEP * ROW_STEP))
    cdef Py_ssize_t down = (M + rows - 1) // rows, across = (N + columns - 1) // columns
    cdef Tiles tiles = Tiles(floating is float, M, N, K, rows, columns, across, A, a_row, a_col, B, b_row, b_col,
                             start, bias, C, ldc)
    share(down * across, work, enlisted(), tile_piece, &tiles)
