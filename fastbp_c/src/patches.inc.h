/* Patches of images. An image is (pixels, C), channels last; a table names, for each of G groups, the T pixels of its
 * patch, -1 standing for one outside the image. Rows are numbered through all images: row r is group r % G of image
 * r / G. Sums over the same pixel are taken in the order of the table. */

/* patches[r - first, t, :] = x[r / G, taps[r % G, t], :], 0 outside, for `count` rows from `first` on */
static void NAME(gather_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C,
                                 ptrdiff_t image, const int *taps, const REAL *x, REAL *restrict patches)
{
    ptrdiff_t g = first % G;
    x += first / G * image;
    for (ptrdiff_t r = 0; r < count; r++, patches += T * C) {
        const int *tap = taps + g * T;
        if (C == 1) {
            for (ptrdiff_t t = 0; t < T; t++) patches[t] = tap[t] < 0 ? 0 : x[tap[t]];
        } else {
            for (ptrdiff_t t = 0; t < T; t++) {
                REAL *restrict to = patches + t * C;
                if (tap[t] < 0) {
                    for (ptrdiff_t c = 0; c < C; c++) to[c] = 0;
                } else {
                    const REAL *from = x + tap[t] * C;
                    SIMD()
                    for (ptrdiff_t c = 0; c < C; c++) to[c] = from[c];
                }
            }
        }
        if (++g == G) {
            g = 0;
            x += image;
        }
    }
}

/* y[r / G, taps[r % G, t], :] += patches[r - first, t, :]: the adjoint */
static void NAME(scatter_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C,
                                  ptrdiff_t image, const int *taps, const REAL *restrict patches, REAL *restrict y)
{
    ptrdiff_t g = first % G;
    y += first / G * image;
    for (ptrdiff_t r = 0; r < count; r++, patches += T * C) {
        const int *tap = taps + g * T;
        for (ptrdiff_t t = 0; t < T; t++) {
            if (tap[t] < 0) continue;
            REAL *to = y + tap[t] * C;
            SIMD()
            for (ptrdiff_t c = 0; c < C; c++) to[c] += patches[t * C + c];
        }
        if (++g == G) {
            g = 0;
            y += image;
        }
    }
}

/* y[n, g, :] = scale sum_t x[n, taps[g, t], :] */
static void NAME(average)(ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image, const int *taps,
                          REAL scale, const REAL *restrict x, REAL *restrict y)
{
    for (ptrdiff_t n = 0; n < N; n++, x += image)
        for (ptrdiff_t g = 0; g < G; g++, y += C) {
            for (ptrdiff_t c = 0; c < C; c++) y[c] = 0;
            for (ptrdiff_t t = 0; t < T; t++) {
                const ptrdiff_t tap = taps[g * T + t];
                if (tap < 0) continue;
                SIMD()
                for (ptrdiff_t c = 0; c < C; c++) y[c] += x[tap * C + c];
            }
            for (ptrdiff_t c = 0; c < C; c++) y[c] *= scale;
        }
}

/* dx[n, taps[g, t], :] += scale dy[n, g, :]: the adjoint */
static void NAME(spread_average)(ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image, const int *taps,
                                 REAL scale, const REAL *restrict dy, REAL *restrict dx)
{
    for (ptrdiff_t n = 0; n < N; n++, dx += image)
        for (ptrdiff_t g = 0; g < G; g++, dy += C)
            for (ptrdiff_t t = 0; t < T; t++) {
                const ptrdiff_t tap = taps[g * T + t];
                if (tap < 0) continue;
                SIMD()
                for (ptrdiff_t c = 0; c < C; c++) dx[tap * C + c] += scale * dy[c];
            }
}

/* y[n, g, c] = max_t x[n, taps[g, t], c], and the pixel it came from: the first of equals, a NaN before any number */
static void NAME(maximum)(ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image, const int *taps,
                          const REAL *restrict x, REAL *restrict y, int *restrict chosen)
{
    for (ptrdiff_t n = 0; n < N; n++, x += image)
        for (ptrdiff_t g = 0; g < G; g++, y += C, chosen += C) {
            ptrdiff_t t = 0;
            while (taps[g * T + t] < 0) t++;
            const int first = taps[g * T + t];
            for (ptrdiff_t c = 0; c < C; c++) y[c] = x[first * C + c], chosen[c] = first;
            for (t++; t < T; t++) {
                const int tap = taps[g * T + t];
                if (tap < 0) continue;
                SIMD()
                for (ptrdiff_t c = 0; c < C; c++) {
                    const REAL value = x[tap * C + c];
                    const int better = value > y[c] || (value != value && y[c] == y[c]);
                    y[c] = better ? value : y[c];
                    chosen[c] = better ? tap : chosen[c];
                }
            }
        }
}

/* y[n, r, g, c] = x[n, r, chosen[n, g, c], c]: the maximum's derivative along R directions a sample */
static void NAME(pick)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t G, ptrdiff_t C, ptrdiff_t image, const int *chosen,
                       const REAL *restrict x, REAL *restrict y)
{
    for (ptrdiff_t n = 0; n < N; n++, chosen += G * C)
        for (ptrdiff_t r = 0; r < R; r++, x += image, y += G * C)
            for (ptrdiff_t g = 0; g < G; g++)
                for (ptrdiff_t c = 0; c < C; c++) y[g * C + c] = x[chosen[g * C + c] * C + c];
}

/* dx[n, r, chosen[n, g, c], c] += dy[n, r, g, c]: the adjoint */
static void NAME(unpick)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t G, ptrdiff_t C, ptrdiff_t image, const int *chosen,
                         const REAL *restrict dy, REAL *restrict dx)
{
    for (ptrdiff_t n = 0; n < N; n++, chosen += G * C)
        for (ptrdiff_t r = 0; r < R; r++, dx += image, dy += G * C)
            for (ptrdiff_t g = 0; g < G; g++)
                for (ptrdiff_t c = 0; c < C; c++) dx[chosen[g * C + c] * C + c] += dy[g * C + c];
}
