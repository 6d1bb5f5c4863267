/* Patches of images. An image is (pixels, C), channels last; a table names, for each of G groups, the T pixels of its
 * patch, -1 standing for one outside the image. Rows are numbered through all images: row r is group r % G of image
 * r / G. Sums over the same pixel are taken in the order of the table.
 *
 * Pixels that are neighbors in the patch and in the image are moved together. For that a patch is also S spans of `step`
 * taps each, of which those that are inside the image lie there side by side: see fbp_span. A 3 x 3 patch is three spans
 * of 3 C numbers. */

/* to[i] = 0 */
static INLINE void NAME(clear_run)(ptrdiff_t n, REAL *to)
{
    for (ptrdiff_t i = 0; i < n; i++) to[i] = 0;
}

#if HAS_MASKS
/* The lanes of which the bit is set, the others 0 and not read. */
static INLINE VEC NAME(load_lanes)(const REAL *p, unsigned lanes)
{
#if IS_FLOAT
    return (VEC)_mm512_maskz_loadu_ps((__mmask16)lanes, p);
#else
    return (VEC)_mm512_maskz_loadu_pd((__mmask8)lanes, p);
#endif
}

/* to[i] = from[i], where the bit of `lanes` is set, else 0; 16 bytes seldom lie on two cache lines, 64 nearly always do */
static INLINE void NAME(copy_quad)(const REAL *from, unsigned lanes, REAL *to, ptrdiff_t n)
{
    const __mmask8 read = (__mmask8)lanes, written = (__mmask8)((1u << n) - 1u);
#if IS_FLOAT
    _mm_mask_storeu_ps(to, written, _mm_maskz_loadu_ps(read, from));
#else
    _mm_mask_storeu_pd(to, written, _mm_maskz_loadu_pd(read, from));
#endif
}
#endif

/* patches[r - first, t, :] = x[r / G, taps[r % G, t], :], 0 outside, for `count` rows from `first` on */
static void NAME(gather_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t S, ptrdiff_t step,
                                 ptrdiff_t C, ptrdiff_t image, const fbp_span *spans, const REAL *x, REAL *patches)
{
    const ptrdiff_t n = step * C;
    ptrdiff_t g = first % G;
    const fbp_span *span = spans + g * S;
    x += first / G * image;
    for (ptrdiff_t r = 0; r < count; r++) {
#if HAS_MASKS
        /* no branches: at the border, too, a span is one vector or two, with zeros for what is outside */
        if (n <= QUAD_LANES) {
            for (ptrdiff_t s = 0; s < S; s++, span++, patches += n)
                NAME(copy_quad)(x + span->pixel * C, span->lanes, patches, n);
        } else if (n <= VEC_LANES) {
            for (ptrdiff_t s = 0; s < S; s++, span++, patches += n)
                NAME(store_part)(patches, NAME(load_lanes)(x + span->pixel * C, span->lanes), n);
        } else if (n <= 2 * VEC_LANES) {
            for (ptrdiff_t s = 0; s < S; s++, span++, patches += n) {
                const REAL *from = x + span->pixel * C;
                NAME(store)(patches, NAME(load_lanes)(from, span->lanes));
                NAME(store_part)(patches + VEC_LANES, NAME(load_lanes)(from + VEC_LANES, span->lanes >> VEC_LANES),
                                 n - VEC_LANES);
            }
        } else
#endif
        {
            for (ptrdiff_t s = 0; s < S; s++, span++, patches += n) {
                const ptrdiff_t before = span->first * C, inside = (span->last - span->first) * C;
                NAME(clear_run)(before, patches);
                if (inside > 0) NAME(copy_run)(inside, x + (span->pixel + span->first) * C, patches + before);
                NAME(clear_run)(n - before - inside, patches + before + inside);
            }
        }
        if (++g == G) {
            g = 0;
            span = spans;
            x += image;
        }
    }
}

/* y[r / G, taps[r % G, t], :] += patches[r - first, t, :]: the adjoint */
static void NAME(scatter_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t S, ptrdiff_t step,
                                  ptrdiff_t C, ptrdiff_t image, const fbp_span *spans, const REAL *patches, REAL *y)
{
    ptrdiff_t g = first % G;
    const fbp_span *span = spans + g * S;
    y += first / G * image;
    for (ptrdiff_t r = 0; r < count; r++) {
        for (ptrdiff_t s = 0; s < S; s++, span++, patches += step * C)
            if (span->last > span->first)
                NAME(add_run)((span->last - span->first) * C, patches + span->first * C,
                              y + (span->pixel + span->first) * C);
        if (++g == G) {
            g = 0;
            span = spans;
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
