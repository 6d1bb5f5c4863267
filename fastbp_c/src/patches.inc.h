/* Patches of images. An image is (pixels, C), channels last; a table names, for each of G groups, the T pixels of its
 * patch, -1 standing for one outside the image. Rows are numbered through all images: row r is group r % G of image
 * r / G. Sums over the same pixel are taken in the order of the table.
 *
 * Pixels that are neighbors in the patch and in the image are moved together: |runs[g, t]| says how many from tap t on
 * are, or how many are outside. The 3 x 3 patches inside an image are three runs of 3 C numbers; that a whole patch is
 * inside and its runs are of one length, the sign of its first says. */

/* Runs are often shorter than a vector, and always too short for a call of memcpy. */
#if HAS_VECTORS
#define RUN_LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define QUAD_LANES ((ptrdiff_t)(16 / sizeof(REAL)))
#else
#define RUN_LANES 1
#endif

/* to[i] = from[i] */
static INLINE void NAME(copy_run)(ptrdiff_t n, const REAL *from, REAL *to)
{
#if HAS_VECTORS
    for (; n > RUN_LANES; n -= RUN_LANES, from += RUN_LANES, to += RUN_LANES) {
        OPAQUE(to); /* or the compiler makes it a memmove after all */
        NAME(store)(to, NAME(load)(from));
    }
#endif
#if HAS_MASKS
    NAME(store_part)(to, NAME(load_part)(from, n), n);
#elif HAS_VECTORS
    /* Two that overlap do for any number in between. */
    if (n == RUN_LANES) {
        NAME(store)(to, NAME(load)(from));
    } else if (n >= QUAD_LANES) {
        *(NAME(quad) *)to = *(const NAME(quad) *)from;
        *(NAME(quad) *)(to + n - QUAD_LANES) = *(const NAME(quad) *)(from + n - QUAD_LANES);
    } else {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
#else
    for (ptrdiff_t i = 0; i < n; i++) to[i] = from[i];
#endif
}

/* to[i] = 0 */
static INLINE void NAME(clear_run)(ptrdiff_t n, REAL *to)
{
    for (ptrdiff_t i = 0; i < n; i++) to[i] = 0;
}

/* to[i] += from[i] */
static INLINE void NAME(add_run)(ptrdiff_t n, const REAL *from, REAL *to)
{
    ptrdiff_t i = 0;
#if HAS_MASKS
    for (; i + RUN_LANES < n; i += RUN_LANES) NAME(store)(to + i, NAME(load)(to + i) + NAME(load)(from + i));
    NAME(store_part)(to + i, NAME(load_part)(to + i, n - i) + NAME(load_part)(from + i, n - i), n - i);
#else
#if HAS_VECTORS
    for (; i + RUN_LANES <= n; i += RUN_LANES) NAME(store)(to + i, NAME(load)(to + i) + NAME(load)(from + i));
#endif
    for (; i < n; i++) to[i] += from[i];
#endif
}

/* patches[r - first, t, :] = x[r / G, taps[r % G, t], :], 0 outside, for `count` rows from `first` on */
static void NAME(gather_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C,
                                 ptrdiff_t image, const int *taps, const int *runs, const REAL *x, REAL *patches)
{
    ptrdiff_t r = 0, g = first % G;
    x += first / G * image;
    while (r < count) {
        const int *tap = taps + g * T, *run = runs + g * T;
#if HAS_MASKS
        /* Short and equal runs, for as many rows as there are: one mask for all. */
        const ptrdiff_t even = -run[0], n = even * C;
        if (0 < n && n <= RUN_LANES) {
            do {
                for (ptrdiff_t t = 0; t < T; t += even, patches += n)
                    NAME(store_part)(patches, NAME(load_part)(x + tap[t] * C, n), n);
                tap += T, run += T, g++, r++;
            } while (r < count && g < G && run[0] == -even);
        } else
#endif
        {
            for (ptrdiff_t t = 0, taken; t < T; t += taken, patches += taken * C) {
                taken = run[t] < 0 ? -run[t] : run[t];
                if (tap[t] < 0) NAME(clear_run)(taken * C, patches);
                else NAME(copy_run)(taken * C, x + tap[t] * C, patches);
            }
            g++, r++;
        }
        if (g == G) {
            g = 0;
            x += image;
        }
    }
}

/* y[r / G, taps[r % G, t], :] += patches[r - first, t, :]: the adjoint */
static void NAME(scatter_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C,
                                  ptrdiff_t image, const int *taps, const int *runs, const REAL *patches, REAL *y)
{
    ptrdiff_t g = first % G;
    y += first / G * image;
    for (ptrdiff_t r = 0; r < count; r++) {
        const int *tap = taps + g * T, *run = runs + g * T;
        for (ptrdiff_t t = 0, taken; t < T; t += taken, patches += taken * C) {
            taken = run[t] < 0 ? -run[t] : run[t];
            if (tap[t] >= 0) NAME(add_run)(taken * C, patches, y + tap[t] * C);
        }
        if (++g == G) {
            g = 0;
            y += image;
        }
    }
}

#undef RUN_LANES
#undef QUAD_LANES

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
