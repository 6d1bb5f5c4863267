/* Symmetric matrices of which the lower triangle is stored, and small Cholesky factors: in double only. */

#define STRIP 256
#define TURNED_ROWS 64
#define TURNED_COLUMNS 2

#if HAS_VECTORS
#define SYMV_ROWS 8

/* y += what rows i to i + SYMV_ROWS - 1 of the triangle contribute to H x. */
static INLINE void NAME(symv_rows)(ptrdiff_t i, const REAL *restrict H, ptrdiff_t ld, const REAL *restrict x,
                                   REAL *restrict y)
{
    const REAL *h = H + i * ld;
    VEC sum[SYMV_ROWS] = {{0}};
    ptrdiff_t j = 0;
    for (; j + VEC_LANES <= i; j += VEC_LANES) {
        const VEC b = NAME(load)(x + j);
        VEC even = NAME(load)(y + j), odd = {0};
        UNROLL for (int r = 0; r < SYMV_ROWS; r += 2) {
            const VEC h0 = NAME(load)(h + r * ld + j), h1 = NAME(load)(h + (r + 1) * ld + j);
            even += h0 * x[i + r];
            odd += h1 * x[i + r + 1];
            sum[r] += h0 * b;
            sum[r + 1] += h1 * b;
        }
        NAME(store)(y + j, even + odd);
    }
    for (int r = 0; r < SYMV_ROWS; r++) {
        REAL s = NAME(sum_of)(sum[r]);
        for (ptrdiff_t c = j; c < i + r; c++) {
            s += h[r * ld + c] * x[c];
            y[c] += h[r * ld + c] * x[i + r];
        }
        y[i + r] += s + h[r * ld + i + r] * x[i + r];
    }
}
#endif

/* y = what rows `first` to n - 1 contribute to H x, every element read once: for its row and for its column. */
static void NAME(symv)(ptrdiff_t first, ptrdiff_t n, const REAL *restrict H, ptrdiff_t ld, const REAL *restrict x,
                       REAL *restrict y)
{
    ptrdiff_t i = first;
    for (ptrdiff_t j = 0; j < n; j++) y[j] = 0;
#if HAS_VECTORS
    for (; i + SYMV_ROWS <= n; i += SYMV_ROWS) NAME(symv_rows)(i, H, ld, x, y);
#endif
    for (; i < n; i++) {
        const REAL *restrict h = H + i * ld;
        REAL sum = 0;
        SIMD(reduction(+ : sum))
        for (ptrdiff_t j = 0; j < i; j++) {
            y[j] += h[j] * x[i];
            sum += h[j] * x[j];
        }
        y[i] += sum + h[i] * x[i];
    }
}

/* Few rows of y at a time, along which all of a block is written: they are on as many pages. */
static void NAME(turn)(ptrdiff_t rows, ptrdiff_t columns, const REAL *x, ptrdiff_t x_row, REAL *y, ptrdiff_t y_row)
{
    for (ptrdiff_t i = 0; i < rows; i += TURNED_ROWS)
        for (ptrdiff_t j = 0; j < columns; j += TURNED_COLUMNS)
            NAME(transpose_matrix)(rows - i < TURNED_ROWS ? rows - i : TURNED_ROWS,
                                   columns - j < TURNED_COLUMNS ? columns - j : TURNED_COLUMNS, x + i * x_row + j,
                                   x_row, y + j * y_row + i, y_row);
}

static REAL NAME(dot)(ptrdiff_t n, const REAL *x, const REAL *y)
{
    REAL s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    ptrdiff_t i = 0;
    for (; i + 4 * STRIP <= n; i += 4 * STRIP) {
        SIMD(reduction(+ : s0, s1, s2, s3))
        for (ptrdiff_t j = i; j < i + STRIP; j++) {
            s0 += x[j] * y[j];
            s1 += x[j + STRIP] * y[j + STRIP];
            s2 += x[j + 2 * STRIP] * y[j + 2 * STRIP];
            s3 += x[j + 3 * STRIP] * y[j + 3 * STRIP];
        }
    }
    SIMD(reduction(+ : s0))
    for (ptrdiff_t j = i; j < n; j++) s0 += x[j] * y[j];
    return (s0 + s1) + (s2 + s3);
}

/* S = R^T R, R over the upper triangle of S; the strict lower triangle is neither read nor written. Returns whether
 * every pivot R[j, j]^2 is finite and above least[j], and stops at the first that is not. For a few dozen rows. */
static int NAME(cholesky)(ptrdiff_t k, REAL *restrict S, ptrdiff_t ld, const REAL *restrict least)
{
    for (ptrdiff_t j = 0; j < k; j++) {
        REAL *restrict row = S + j * ld;
        const REAL pivot = row[j];
        if (!(pivot > least[j] && pivot - pivot == 0)) return 0;
        row[j] = sqrt(pivot);
        for (ptrdiff_t c = j + 1; c < k; c++) row[c] /= row[j];
        for (ptrdiff_t i = j + 1; i < k; i++) {
            REAL *restrict below = S + i * ld;
            SIMD()
            for (ptrdiff_t c = i; c < k; c++) below[c] -= row[i] * row[c];
        }
    }
    return 1;
}

/* Z = R^-T Z for k rows of n, R upper triangular with leading dimension ldr. For a handful of rows. */
static void NAME(solve)(ptrdiff_t k, ptrdiff_t n, const REAL *restrict R, ptrdiff_t ldr, REAL *restrict Z,
                        ptrdiff_t ldz)
{
    for (ptrdiff_t start = 0; start < n; start += STRIP) {
        const ptrdiff_t width = n - start < STRIP ? n - start : STRIP;
        for (ptrdiff_t j = 0; j < k; j++) {
            REAL *restrict z = Z + j * ldz + start;
            for (ptrdiff_t i = 0; i < j; i++) {
                const REAL *restrict above = Z + i * ldz + start;
                const REAL r = R[i * ldr + j];
                SIMD()
                for (ptrdiff_t c = 0; c < width; c++) z[c] -= r * above[c];
            }
            const REAL scale = 1 / R[j * ldr + j];
            SIMD()
            for (ptrdiff_t c = 0; c < width; c++) z[c] *= scale;
        }
    }
}

#if HAS_VECTORS
#undef SYMV_ROWS
#endif
#undef STRIP
#undef TURNED_ROWS
#undef TURNED_COLUMNS
