/* One register-blocked matrix product, for all sizes.
 *
 * Design:
 * a) A tile of up to TILE_ROWS x 2 vectors of C lives in registers while k runs: every step loads two vectors
 *    of B, broadcasts one element of A per row and does 2 * TILE_ROWS fused multiply-adds. Up to WIDE_ROWS rows are
 *    too few to keep the multipliers busy: then a tile is four vectors wide.
 * b) A is read through two strides, so that A and its transpose are one case. It is copied where its columns would lie
 *    on a page each, or where a large A is used by many columns: rows one after the other, or the rows of every tile
 *    side by side.
 * c) B must run along vectors. A panel of B (2 vectors wide, at most BLOCK_K rows) is used where it lies if its
 *    columns are contiguous; it is copied into a small buffer on the stack if it has to be transposed, if it
 *    needs zero padding, or if enough rows of A come by to repay the copy with a contiguous stream.
 *    Of a large B that meets many rows, as many columns as fit RIGHT_BYTES are copied at once, by whole rows.
 *    Otherwise every row of a panel is on a page of its own, and no hardware prefetcher finds the next panel of a B
 *    that does not stay in cache: the first tile fetches it.
 * d) Few rows times a large transposed B: the packing would take longer than the product, so A is packed instead; and
 *    up to DOTTED_ROWS rows, nothing is: vectors run along k.
 * e) M and K are cut into blocks so that the part of A in use stays in the second-level cache and the panel of
 *    B in the first. Each tile of C is fetched while its sums are made, both ends of its rows: they lie anywhere.
 * f) Bits: an element of C is a sum of blocks of the inner dimension, each a sum of its own, from zero (the first:
 *    from the bias, if there is one), added to C at its end. What rounding does to long sums grows with the length of a
 *    block and the number of blocks, not with the product of the two. How K is cut depends on K alone. A block is one
 *    chain in the order of k, but where vectors run along k it is one for each lane: for few columns or rows, which
 *    depends on M, N, K and the strides. So the same shape has the same bits, always.
 * g) The buffers on the stack are 40 KiB at most (with vectors of 64 bytes): a thread may have as little as 128.
 *    Copies of parts of large matrices are in the thread's own memory, packed_left and packed_right (kernels.c).
 *
 * What depends on the instruction set is in kernels.c, in one table: TILE_ROWS, LEFT_BYTES, GROUP_ROWS, GROUP_BYTES.
 */
/* benches/bench_product.py */
#define PANEL (2 * VEC_LANES)
#define BLOCK_K 128
#define BLOCK_M (LEFT_BYTES / (ptrdiff_t)sizeof(REAL) / BLOCK_K)
#define WIDE_ROWS (TILE_ROWS / 2)
#define FLIPPED_ROWS 192
#define NARROW_ROWS 128
#define NARROW_COLUMNS (VEC_LANES / 2)
#define COPIED_DEPTH (8 * VEC_LANES)
#define DOT_ROWS (TILE_ROWS / 3)
#define DOT_COLUMNS 4
#define DOTS (DOT_ROWS * DOT_COLUMNS)
#define DOTTED_ROWS (TILE_ROWS == 12 ? 4 : 3)
/* from how many rows of A on panels of B are packed, however small; and A, if it has so many bytes and so many columns
 * of B come by */
#define PACK_FROM_ROWS 192
#define LEFT_FROM_BYTES (1 << 20)
#define LEFT_FROM_COLUMNS 512
/* a transposed A is packed from this distance of its columns on, from so many tiles' rows and panels' columns */
#define FAR_BYTES 2048
#define LEFT_FROM_TILES 4
#define LEFT_FROM_PANELS 4
#define AHEAD_FROM_BYTES (1 << 19)

#define BYTES(n) ((n) * (ptrdiff_t)sizeof(REAL))
#define LINE ((ptrdiff_t)(64 / sizeof(REAL)))
#define MASKED_LOADS (HAS_MASKS || HAS_AVX_LANES)
/* A group of packed panels. A line between two panels, or they would meet in the same sets of a cache. */
#define LEFT ((REAL *)packed_left)
#define RIGHT ((REAL *)packed_right)
#define GROUP (RIGHT_BYTES / (ptrdiff_t)sizeof(REAL) / BLOCK_K)
#define PANEL_STEP (BLOCK_K * PANEL + LINE)
#define SIDE_BY_SIDE 0 /* in place of A's column step: the rows of each tile are side by side */

/* A vector, or its first n lanes */
static INLINE VEC NAME(load_tail)(const int whole, const REAL *p, ptrdiff_t n)
{
    return whole ? NAME(load)(p) : NAME(load_part)(p, n);
}

/* C[i, :] = start[i, :] + sum_k A[i, k] B[k, :]   for `rows` rows and `vecs` vectors, the last `last` lanes wide.
 * If `ahead` is set, rows next[0], next[next_row], ... of the next panel are fetched on the way. */
static INLINE void NAME(tile)(const int rows, const int vecs, const int whole, const int ahead, ptrdiff_t last,
                       ptrdiff_t K, const REAL *restrict A, ptrdiff_t a_row, ptrdiff_t a_col,
                       const REAL *restrict B, ptrdiff_t ldb, REAL *restrict C, ptrdiff_t ldc, int start,
                       const REAL *restrict bias, const REAL *next, ptrdiff_t next_row)
{
    VEC c[TILE_ROWS][4];
    UNROLL for (int v = 0; v < vecs; v++) {
        VEC row = {0};
        if (start == FBP_BIAS) row = NAME(load_tail)(whole || v < vecs - 1, bias + v * VEC_LANES, last);
        UNROLL for (int i = 0; i < rows; i++) c[i][v] = row;
    }
    /* Four rows a pointer: a register for each row's distance from A would be too many. */
    const REAL *a[(TILE_ROWS + 3) / 4];
    UNROLL for (int j = 0; 4 * j < rows; j++) {
        a[j] = A + 4 * j * a_row;
        OPAQUE(a[j]);
    }
    UNROLL for (int i = 0; i < rows; i++)
    {
        UNROLL for (ptrdiff_t j = 0; j < vecs * VEC_LANES; j += LINE) PREFETCH(C + i * ldc + j);
        PREFETCH(C + i * ldc + vecs * VEC_LANES - 1);
    }
    for (ptrdiff_t k = 0; k < K; k++) {
        VEC b[4];
        UNROLL for (int v = 0; v < vecs; v++)
            b[v] = NAME(load_tail)(whole || !MASKED_LOADS || v < vecs - 1, B + k * ldb + v * VEC_LANES, last);
        if (ahead) {
            UNROLL for (int v = 0; v < vecs; v++) PREFETCH_AHEAD(next + v * VEC_LANES);
            next += next_row;
        }
        UNROLL for (int i = 0; i < rows; i++) {
            const REAL element = a[i / 4][i % 4 * a_row];
            UNROLL for (int v = 0; v < vecs; v++) c[i][v] += element * b[v];
        }
        UNROLL for (int j = 0; 4 * j < rows; j++) a[j] += a_col;
    }
    /* All loads before the first store: masked loads wait for masked stores beside them. */
    if (start == FBP_ADD) {
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vecs; v++)
                c[i][v] += NAME(load_tail)(whole || v < vecs - 1, C + i * ldc + v * VEC_LANES, last);
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vecs; v++) {
            if (whole || v < vecs - 1) NAME(store)(C + i * ldc + v * VEC_LANES, c[i][v]);
            else NAME(store_part)(C + i * ldc + v * VEC_LANES, c[i][v], last);
        }
}

/* All rows of one panel. Rows are cut as evenly as they go: three tiles of 11, 11 and 10 beat 12, 12 and 8. */
#define TILE(rows, vecs, whole, ahead)                                                                         \
    case rows:                                                                                                 \
        NAME(tile)(rows, vecs, whole, ahead, last, K, A, a_row, a_col, B, ldb, C, ldc, start, bias, next,      \
                   next_row);                                                                                  \
        break;
#define SIX_TILES(...)                                                                                         \
    TILE(1, __VA_ARGS__) TILE(2, __VA_ARGS__) TILE(3, __VA_ARGS__) TILE(4, __VA_ARGS__) TILE(5, __VA_ARGS__)   \
    TILE(6, __VA_ARGS__)
#if TILE_ROWS == 12
#define TILES(...)                                                                                             \
    SIX_TILES(__VA_ARGS__)                                                                                     \
    TILE(7, __VA_ARGS__) TILE(8, __VA_ARGS__) TILE(9, __VA_ARGS__) TILE(10, __VA_ARGS__) TILE(11, __VA_ARGS__) \
    TILE(12, __VA_ARGS__)
#else
#define TILES(...) SIX_TILES(__VA_ARGS__)
#endif
#define DEFINE_PANEL(name, ...)                                                                                \
    static NOINLINE void NAME(name)(ptrdiff_t last, ptrdiff_t M, ptrdiff_t K, const REAL *A, ptrdiff_t a_row,  \
                                    ptrdiff_t a_col, const REAL *B, ptrdiff_t ldb, REAL *C, ptrdiff_t ldc,     \
                                    int start, const REAL *bias, const REAL *next, ptrdiff_t next_row)         \
    {                                                                                                          \
        const int side_by_side = a_col == SIDE_BY_SIDE;                                                        \
        for (ptrdiff_t tiles = (M + TILE_ROWS - 1) / TILE_ROWS; tiles > 0; tiles--) {                          \
            const ptrdiff_t rows = (M + tiles - 1) / tiles;                                                    \
            if (side_by_side) a_col = rows;                                                                    \
            switch (rows) { TILES(__VA_ARGS__) }                                                               \
            A += rows * (side_by_side ? K : a_row);                                                            \
            C += rows * ldc;                                                                                   \
            M -= rows;                                                                                         \
            next_row = 0; /* it is there, once is enough */                                                    \
        }                                                                                                      \
    }
/* vecs, whole, ahead */
DEFINE_PANEL(panel_2_ahead, 2, 1, 1)
DEFINE_PANEL(panel_2, 2, 1, 0)
DEFINE_PANEL(panel_2_part, 2, 0, 0)
DEFINE_PANEL(panel_1_part, 1, 0, 0)
/* up to WIDE_ROWS rows */
#undef TILES
#if TILE_ROWS == 12
#define TILES(...) SIX_TILES(__VA_ARGS__)
#else
#define TILES(...) TILE(1, __VA_ARGS__) TILE(2, __VA_ARGS__) TILE(3, __VA_ARGS__)
#endif
DEFINE_PANEL(panel_4, 4, 1, 0)

/* The next block of the inner dimension, of which K is left: cut as evenly as it goes */
static INLINE ptrdiff_t NAME(depth)(ptrdiff_t K)
{
    if (K <= BLOCK_K) return K;
    const ptrdiff_t blocks = (K + BLOCK_K - 1) / BLOCK_K;
    return (K + blocks - 1) / blocks;
}

/* Panels of B, PANEL_STEP apart: packed[k, :] = B[k, :], and zero beyond the n columns. */
static NOINLINE void NAME(pack_rows)(ptrdiff_t K, ptrdiff_t n, const REAL *restrict B, ptrdiff_t ldb,
                                     REAL *restrict packed)
{
    for (ptrdiff_t k = 0; k < K; k++, B += ldb, packed += PANEL) {
        REAL *to = packed;
        ptrdiff_t j = 0;
        for (; j + PANEL <= n; j += PANEL, to += PANEL_STEP) {
            NAME(store)(to, NAME(load)(B + j));
            NAME(store)(to + VEC_LANES, NAME(load)(B + j + VEC_LANES));
        }
        if (n - j > VEC_LANES) {
            NAME(store)(to, NAME(load)(B + j));
            NAME(store)(to + VEC_LANES, NAME(load_part)(B + j + VEC_LANES, n - j - VEC_LANES));
        } else if (n > j) {
            NAME(store)(to, NAME(load_part)(B + j, n - j));
        }
    }
}

/* packed[k, j] = B[j, k] for n <= PANEL rows of B, zero beyond them where tiles read whole vectors. */
static void NAME(pack_transposed)(ptrdiff_t K, ptrdiff_t n, const REAL *restrict B, ptrdiff_t ldb,
                                  REAL *restrict packed)
{
    NAME(transpose_matrix)(n, K, B, ldb, packed, PANEL);
    if (!MASKED_LOADS)
        for (ptrdiff_t k = 0; k < K; k++)
            for (ptrdiff_t j = n; j < PANEL; j++) packed[k * PANEL + j] = 0;
}

/* Rows of A, BLOCK_K apart. */
static NOINLINE void NAME(pack_left_rows)(ptrdiff_t M, ptrdiff_t K, const REAL *restrict A, ptrdiff_t a_row,
                                          REAL *restrict packed)
{
    for (ptrdiff_t m = 0; m < M; m++, A += a_row, packed += BLOCK_K) {
        ptrdiff_t k = 0;
        for (; k + VEC_LANES <= K; k += VEC_LANES) NAME(store)(packed + k, NAME(load)(A + k));
        if (k < K) NAME(store)(packed + k, NAME(load_part)(A + k, K - k));
    }
}

/* Columns of A, tile after tile, the rows of each side by side: packed[k, i] = A[k, i]. */
static NOINLINE void NAME(pack_left_columns)(ptrdiff_t M, ptrdiff_t K, const REAL *restrict A, ptrdiff_t a_col,
                                             REAL *restrict packed)
{
    for (ptrdiff_t tiles = (M + TILE_ROWS - 1) / TILE_ROWS; tiles > 0; tiles--) {
        const ptrdiff_t rows = (M + tiles - 1) / tiles;
        const REAL *from = A;
        if (M >= TILE_ROWS + VEC_LANES) {
            /* Whole vectors reach into what is written next. */
            for (ptrdiff_t k = 0; k < K; k++, from += a_col, packed += rows)
                UNROLL for (ptrdiff_t i = 0; i < TILE_ROWS; i += VEC_LANES)
                    NAME(store)(packed + i, NAME(load)(from + i));
        } else {
            for (ptrdiff_t k = 0; k < K; k++, from += a_col, packed += rows)
                for (ptrdiff_t i = 0; i < rows; i++) packed[i] = from[i];
        }
        A += rows;
        M -= rows;
    }
}

/* The product for at most BLOCK_M rows. */
static void NAME(gemm_block)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_row, ptrdiff_t a_col,
                             const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *C, ptrdiff_t ldc,
                             int start, const REAL *bias)
{
    ALIGNED REAL one_panel[BLOCK_K * PANEL];
    const int packs_left = a_col == 1 ? N >= LEFT_FROM_COLUMNS && M >= PACK_FROM_ROWS && BYTES(M * K) >= LEFT_FROM_BYTES
                                      : BYTES(a_col) >= FAR_BYTES && N >= LEFT_FROM_PANELS * PANEL &&
                                            M > LEFT_FROM_TILES * TILE_ROWS;
    const int packs_group = b_col == 1 && (M >= PACK_FROM_ROWS || (M >= GROUP_ROWS && BYTES(N * K) >= GROUP_BYTES));
    const int ahead = b_col == 1 && !packs_group && BYTES(N * K) >= AHEAD_FROM_BYTES;
    const int is_wide = b_col == 1 && M <= WIDE_ROWS;
    ptrdiff_t k = 0;
    do {
        const ptrdiff_t depth = NAME(depth)(K - k);
        const REAL *a = A + k * a_col;
        ptrdiff_t left_row = a_row, left_col = a_col;
        if (packs_left && a_col == 1) {
            NAME(pack_left_rows)(M, depth, a, a_row, LEFT);
            a = LEFT, left_row = BLOCK_K;
        } else if (packs_left) {
            NAME(pack_left_columns)(M, depth, a, a_col, LEFT);
            a = LEFT, left_col = SIDE_BY_SIDE;
        }
        ptrdiff_t j = 0;
        if (is_wide)
            for (; j + 2 * PANEL <= N; j += 2 * PANEL) {
                const REAL *panel = B + k * b_row + j;
                NAME(panel_4)(VEC_LANES, M, depth, a, a_row, a_col, panel, b_row, C + j, ldc, start,
                              bias ? bias + j : NULL, panel, 0);
            }
        for (; j < N; j += PANEL) {
            const ptrdiff_t width = N - j < PANEL ? N - j : PANEL;
            const REAL *panel = B + k * b_row + j * b_col, *row = bias ? bias + j : NULL;
            const REAL *next = !ahead ? panel : j + PANEL < N ? panel + PANEL : B + (k + depth) * b_row;
            const ptrdiff_t next_row = ahead ? b_row : 0;
            REAL *c = C + j;
            ptrdiff_t ld = PANEL;
            if (packs_group) {
                if (j % GROUP == 0) NAME(pack_rows)(depth, N - j < GROUP ? N - j : GROUP, panel, b_row, RIGHT);
                panel = RIGHT + j % GROUP / PANEL * PANEL_STEP;
            } else if (b_col != 1) {
                NAME(pack_transposed)(depth, width, panel, b_col, one_panel);
                panel = one_panel;
            } else if ((ahead && M > 2 * TILE_ROWS) || (width < PANEL && !MASKED_LOADS)) {
                NAME(pack_rows)(depth, width, panel, b_row, one_panel);
                panel = one_panel;
            } else {
                ld = b_row;
            }
            if (width == PANEL && ahead)
                NAME(panel_2_ahead)(VEC_LANES, M, depth, a, left_row, left_col, panel, ld, c, ldc, start, row, next,
                                    next_row);
            else if (width == PANEL)
                NAME(panel_2)(VEC_LANES, M, depth, a, left_row, left_col, panel, ld, c, ldc, start, row, next,
                              next_row);
            else if (width > VEC_LANES)
                NAME(panel_2_part)(width - VEC_LANES, M, depth, a, left_row, left_col, panel, ld, c, ldc, start, row,
                                   next, next_row);
            else
                NAME(panel_1_part)(width, M, depth, a, left_row, left_col, panel, ld, c, ldc, start, row, next,
                                   next_row);
        }
        start = FBP_ADD;
        k += depth;
    } while (k < K);
}

static INLINE REAL NAME(started)(REAL sum, int start, const REAL *c, const REAL *bias, ptrdiff_t column)
{
    return sum + (start == FBP_ADD ? *c : start == FBP_BIAS ? bias[column] : 0);
}

/* The sum of a vector's elements. */
static INLINE REAL NAME(sum_of)(VEC v)
{
    QUAD part[VECTOR_BYTES / 16];
    memcpy(part, &v, sizeof part);
    for (size_t i = 1; i < VECTOR_BYTES / 16; i++) part[0] += part[i];
#if IS_FLOAT
    return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
#else
    return part[0][0] + part[0][1];
#endif
}

#if !HAS_SHUFFLE
/* The sums of the elements of QUAD_LANES vectors. */
static INLINE QUAD NAME(sums_of)(const VEC *v)
{
    QUAD sums = {0};
    for (ptrdiff_t j = 0; j < QUAD_LANES; j++) sums[j] = NAME(sum_of)(v[j]);
    return sums;
}
#endif

/* C(m, n) = start(m, n) + sum_k A[m, k] B^T[n, k], both along their rows, for `rows` x `columns` of C
 * from bias[column] on. */
static INLINE void NAME(dots)(const int rows, const int columns, ptrdiff_t K, const REAL *restrict A, ptrdiff_t a_row,
                              const REAL *restrict B, ptrdiff_t b_col, REAL *restrict C, ptrdiff_t c_row,
                              ptrdiff_t c_col, int start, const REAL *bias, ptrdiff_t column)
{
    VEC c[DOTS] = {{0}};
    ptrdiff_t k = 0;
    for (; k + VEC_LANES <= K; k += VEC_LANES) {
        VEC a[DOTS];
        UNROLL for (int i = 0; i < rows; i++) a[i] = NAME(load)(A + i * a_row + k);
        UNROLL for (int j = 0; j < columns; j++) {
            const VEC b = NAME(load)(B + j * b_col + k);
            UNROLL for (int i = 0; i < rows; i++) c[i * columns + j] += a[i] * b;
        }
    }
    if (k < K) {
        UNROLL for (int j = 0; j < columns; j++) {
            const VEC b = NAME(load_part)(B + j * b_col + k, K - k);
            UNROLL for (int i = 0; i < rows; i++)
                c[i * columns + j] += NAME(load_part)(A + i * a_row + k, K - k) * b;
        }
    }
    UNROLL for (int i = 0; i < rows * columns; i += QUAD_LANES) {
        const QUAD sums = NAME(sums_of)(c + i);
        UNROLL for (int j = 0; j < QUAD_LANES; j++) {
            const int m = (i + j) / columns, n = (i + j) % columns;
            REAL *to = C + m * c_row + n * c_col;
            if (m < rows) *to = NAME(started)(sums[j], start, to, bias, column + n);
        }
    }
}

#define DOT(which, rows, columns)                                                                              \
    case which:                                                                                                \
        NAME(dots)(rows, columns, depth, a, a_row, b, step, c, c_row, c_col, start, bias, n);                  \
        break;
/* Few columns, A along its rows: vectors run along k, over B, or a copy of it, the other way round. */
static NOINLINE void NAME(narrow_along)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_row,
                                        const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *C, ptrdiff_t c_row,
                                        ptrdiff_t c_col, int start, const REAL *bias)
{
    ALIGNED REAL transposed[(NARROW_COLUMNS > DOTTED_ROWS ? NARROW_COLUMNS : DOTTED_ROWS) * BLOCK_K];
    for (ptrdiff_t k = 0, depth; k < K; k += depth) {
        depth = NAME(depth)(K - k);
        const REAL *along = B + k;
        ptrdiff_t step = b_col;
        if (b_row != 1 || K >= COPIED_DEPTH) {
            along = transposed, step = depth;
            for (ptrdiff_t n = 0; n < N; n++)
                for (ptrdiff_t i = 0; i < depth; i++) transposed[n * depth + i] = B[(k + i) * b_row + n * b_col];
        }
        for (ptrdiff_t m = 0, rows; m < M; m += rows) {
            rows = M - m < DOT_ROWS ? 1 : N == 1 && M - m >= 2 * DOT_ROWS ? 2 * DOT_ROWS : DOT_ROWS;
            for (ptrdiff_t n = 0, columns; n < N; n += columns) {
                const REAL *a = A + m * a_row + k, *b = along + n * step;
                REAL *c = C + m * c_row + n * c_col;
                columns = N - n < DOT_COLUMNS ? N - n : DOT_COLUMNS;
                if (rows == 2 * DOT_ROWS)
                    NAME(dots)(2 * DOT_ROWS, 1, depth, a, a_row, b, step, c, c_row, c_col, start, bias, n);
                else
                    switch (rows == 1 ? columns : columns + DOT_COLUMNS) {
                        DOT(1, 1, 1) DOT(2, 1, 2) DOT(3, 1, 3) DOT(4, 1, 4)
                        DOT(5, DOT_ROWS, 1) DOT(6, DOT_ROWS, 2) DOT(7, DOT_ROWS, 3) DOT(8, DOT_ROWS, 4)
                    }
            }
        }
        start = FBP_ADD;
    }
}

/* Few columns, A down its columns: C^T[n, m] = sum_k B^T[n, k] A^T[k, m] has long rows for the vectors instead. */
static NOINLINE void NAME(narrow_down)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_col,
                                       const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *C, ptrdiff_t ldc,
                                       int start, const REAL *bias)
{
    ALIGNED REAL transposed[NARROW_COLUMNS * NARROW_ROWS];
    for (ptrdiff_t m = 0; m < M; m += NARROW_ROWS) {
        const ptrdiff_t rows = M - m < NARROW_ROWS ? M - m : NARROW_ROWS;
        NAME(gemm_block)(N, rows, K, B, b_col, b_row, A + m, a_col, 1, transposed, rows, FBP_ZERO, NULL);
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t n = 0; n < N; n++) {
                REAL *c = C + (m + i) * ldc + n;
                *c = NAME(started)(transposed[n * rows + i], start, c, bias, n);
            }
    }
}

/* Few rows, B transposed: C^T[n, m] = sum_k B^T[n, k] A^T[k, m] packs A, and transposes C, instead of packing B. */
static NOINLINE void NAME(gemm_flipped)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_row,
                                        ptrdiff_t a_col, const REAL *B, ptrdiff_t b_col, REAL *C, ptrdiff_t ldc)
{
    ALIGNED REAL flipped[FLIPPED_ROWS * PANEL];
    for (ptrdiff_t n = 0; n < N; n += FLIPPED_ROWS) {
        const ptrdiff_t rows = N - n < FLIPPED_ROWS ? N - n : FLIPPED_ROWS;
        for (ptrdiff_t m = 0; m < M; m += PANEL) {
            const ptrdiff_t columns = M - m < PANEL ? M - m : PANEL;
            NAME(gemm_block)(rows, columns, K, B + n * b_col, b_col, 1, A + m * a_row, a_col, a_row, flipped, PANEL,
                             FBP_ZERO, NULL);
            NAME(transpose_matrix)(rows, columns, flipped, PANEL, C + m * ldc + n, ldc);
        }
    }
}

/* Threads have 128 KiB under musl; no more than half of it is for buffers: those of gemm_flipped and gemm_block. */
typedef char NAME(small_buffers)[(FLIPPED_ROWS + BLOCK_K) * PANEL * (ptrdiff_t)sizeof(REAL) <= 1 << 16 ? 1 : -1];

/* C[m, n] = start[m, n] + sum_k A(m, k) B(k, n),   A(m, k) = A[m a_row + k a_col],   B(k, n) = B[k b_row + n b_col],
 * a_row or a_col, and b_row or b_col, being 1. start: FBP_ZERO, FBP_ADD (C itself) or FBP_BIAS (the row `bias`). */
static void NAME(gemm)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_row, ptrdiff_t a_col,
                       const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *C, ptrdiff_t ldc,
                       int start, const REAL *bias)
{
    /* Columns that would leave most of a last panel empty, if there is enough to do to repay the detour. */
    const ptrdiff_t narrow = N % PANEL, wide = N - narrow;
    const int repays = a_col == 1 ? M >= DOT_ROWS && (K >= COPIED_DEPTH || (N == 1 && K > 0)) : M >= PANEL;
    /* and those of a small transposed B that need not be copied */
    const int lies_along = IS_FLOAT && a_col == 1 && b_col != 1 && M >= DOT_ROWS && M <= 4 * PANEL &&
                           narrow < VEC_LANES && K < COPIED_DEPTH &&
                           K >= (narrow <= NARROW_COLUMNS ? 2 : 4) * VEC_LANES;
    if (0 < narrow && ((narrow <= NARROW_COLUMNS && repays) || lies_along)) {
        const REAL *b = B + wide * b_col, *row = bias ? bias + wide : NULL;
        if (a_col == 1) NAME(narrow_along)(M, narrow, K, A, a_row, b, b_row, b_col, C + wide, ldc, 1, start, row);
        else NAME(narrow_down)(M, narrow, K, A, a_col, b, b_row, b_col, C + wide, ldc, start, row);
        N = wide;
        if (N == 0) return;
    }
    /* few rows and a transposed B: the same, C being transposed */
    if (b_col != 1 && a_col == 1 && M <= DOTTED_ROWS && M < N && start != FBP_BIAS &&
        (K >= COPIED_DEPTH || (M == 1 && K > 0))) {
        NAME(narrow_along)(N, M, K, B, b_col, A, 1, a_row, C, 1, ldc, start, NULL);
        return;
    }
    /* what packing B, or A and C, costs: by their sizes; and by lanes that would be empty, at most four here */
    if (b_col != 1 && start == FBP_ZERO && N * K >= 2 * M * (N + K) && (M + 4) / PANEL > (M - 1) / PANEL) {
        NAME(gemm_flipped)(M, N, K, A, a_row, a_col, B, b_col, C, ldc);
        return;
    }
    for (ptrdiff_t blocks = (M + BLOCK_M - 1) / BLOCK_M; blocks > 0; blocks--) {
        const ptrdiff_t rows = (M + blocks - 1) / blocks;
        NAME(gemm_block)(rows, N, K, A, a_row, a_col, B, b_row, b_col, C, ldc, start, bias);
        A += rows * a_row;
        C += rows * ldc;
        M -= rows;
    }
}

#undef PANEL
#undef BLOCK_K
#undef BLOCK_M
#undef WIDE_ROWS
#undef FLIPPED_ROWS
#undef NARROW_ROWS
#undef NARROW_COLUMNS
#undef COPIED_DEPTH
#undef DOT_ROWS
#undef DOT_COLUMNS
#undef DOTS
#undef DOTTED_ROWS
#undef PACK_FROM_ROWS
#undef LEFT_FROM_BYTES
#undef LEFT_FROM_COLUMNS
#undef FAR_BYTES
#undef LEFT_FROM_TILES
#undef LEFT_FROM_PANELS
#undef AHEAD_FROM_BYTES
#undef BYTES
#undef LINE
#undef MASKED_LOADS
#undef LEFT
#undef RIGHT
#undef GROUP
#undef PANEL_STEP
#undef SIDE_BY_SIDE
#undef TILE
#undef SIX_TILES
#undef TILES
#undef DEFINE_PANEL
#undef DOT
