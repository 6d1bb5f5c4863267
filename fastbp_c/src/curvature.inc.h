/* What second derivatives need beside products and sums: squares, triangles, transposes. */

/* y = x^2 */
static void NAME(square)(ptrdiff_t n, const REAL *restrict x, REAL *restrict y)
{
    SIMD()
    for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] * x[i];
}

/* y += x */
static void NAME(add)(ptrdiff_t n, const REAL *restrict x, REAL *restrict y)
{
    SIMD()
    for (ptrdiff_t i = 0; i < n; i++) y[i] += x[i];
}

/* y = h1 x + h2 r, or y = h1 x if h2 is NULL. y may be x. */
static void NAME(scaled_sum)(ptrdiff_t n, const REAL *h1, const REAL *x, const REAL *h2, const REAL *r, REAL *y)
{
    if (h2) {
        SIMD()
        for (ptrdiff_t i = 0; i < n; i++) y[i] = h1[i] * x[i] + h2[i] * r[i];
    } else {
        SIMD()
        for (ptrdiff_t i = 0; i < n; i++) y[i] = h1[i] * x[i];
    }
}

/* y[n, j, i] = x[n, i, j] */
static void NAME(transpose)(ptrdiff_t N, ptrdiff_t rows, ptrdiff_t columns, const REAL *restrict x, REAL *restrict y)
{
    if (rows == 1 || columns == 1) {
        memcpy(y, x, (size_t)(N * rows * columns) * sizeof(REAL));
        return;
    }
    for (ptrdiff_t n = 0; n < N; n++, x += rows * columns, y += rows * columns)
        NAME(transpose_matrix)(rows, columns, x, columns, y, rows);
}

/* M[n, i, i] += d[n, i]; or, unless add, M[n] = diag d[n] */
static void NAME(diagonal)(ptrdiff_t N, ptrdiff_t width, const REAL *restrict d, int add, REAL *restrict M)
{
    if (!add) memset(M, 0, (size_t)(N * width * width) * sizeof(REAL));
    for (ptrdiff_t n = 0; n < N; n++, d += width, M += width * width)
        for (ptrdiff_t i = 0; i < width; i++) M[i * (width + 1)] += d[i];
}

/* y[n] = the upper triangle of x[n], row by row */
static void NAME(triangles)(ptrdiff_t N, ptrdiff_t width, const REAL *restrict x, REAL *restrict y)
{
    for (ptrdiff_t n = 0; n < N; n++)
        for (ptrdiff_t i = 0; i < width; i++, x += width) {
            NAME(copy_run)(width - i, x + i, y);
            y += width - i;
        }
}

/* y[n, t] = z[n, i] z[n, j] for `count` pairs i <= j, in the order of an upper triangle's rows from (i, j) on */
static void NAME(pair_products)(ptrdiff_t N, ptrdiff_t width, ptrdiff_t i, ptrdiff_t j, ptrdiff_t count,
                                const REAL *restrict z, REAL *restrict y)
{
    for (ptrdiff_t n = 0; n < N; n++, z += width) {
        ptrdiff_t left = count, from = j;
        for (ptrdiff_t k = i; left > 0; from = ++k) {
            const ptrdiff_t run = width - from < left ? width - from : left;
            NAME(scale_run)(run, z[k], z + from, y);
            y += run;
            left -= run;
        }
    }
}

/* H = its upper triangle, mirrored; or, if both are to count, H + H^T: the rows from first to before last, and their
 * columns. Blocks of both triangles stay in cache. */
static void NAME(symmetrize)(ptrdiff_t first, ptrdiff_t last, ptrdiff_t P, int both, REAL *H)
{
    for (ptrdiff_t i0 = first; i0 < last; i0 += 32)
        for (ptrdiff_t j0 = i0; j0 < P; j0 += 32) {
            const ptrdiff_t i1 = last - i0 < 32 ? last : i0 + 32, j1 = P - j0 < 32 ? P : j0 + 32;
            for (ptrdiff_t i = i0; i < i1; i++)
                for (ptrdiff_t j = i < j0 ? j0 : i; j < j1; j++) {
                    REAL *upper = H + i * P + j, *lower = H + j * P + i;
                    const REAL value = both ? *upper + *lower : *upper;
                    *upper = *lower = value;
                }
        }
}
