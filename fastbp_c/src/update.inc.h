/* Elementwise products, sums and optimizer steps: one pass through memory each. */

/* How many rows of a matrix, or numbers of a column, make a sum in REAL; how few are added to one that is there; and how
 * wide a strip of columns is */
#define SUM_ROWS 256
#define FEW_ROWS 16
#define SUM_COLUMN 1024
#define SUM_COLUMNS 512

/* y[n, r, :] *= x[n, :] */
static void NAME(multiply)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t width, const REAL *restrict x, REAL *restrict y)
{
    if (R == 1) width *= N, N = 1;
    for (ptrdiff_t n = 0; n < N; n++, x += width)
        for (ptrdiff_t r = 0; r < R; r++, y += width) {
            SIMD()
            for (ptrdiff_t i = 0; i < width; i++) y[i] *= x[i];
        }
}

/* Whether no element is NaN or infinite: those times 0 are NaN, and stay it in a sum. */
static int NAME(all_finite)(ptrdiff_t n, const REAL *x)
{
    REAL s = 0;
    SIMD(reduction(+ : s))
    for (ptrdiff_t i = 0; i < n; i++) s += 0 * x[i];
    return s == 0;
}

/* rows[n, :] = x[order[n], :] */
static void NAME(take_rows)(ptrdiff_t N, ptrdiff_t width, const ptrdiff_t *restrict order, const REAL *restrict x,
                         REAL *restrict rows)
{
    for (ptrdiff_t n = 0; n < N; n++, rows += width) {
        const REAL *from = x + order[n] * width;
        if (width * (ptrdiff_t)sizeof(REAL) < 256) {
            SIMD()
            for (ptrdiff_t k = 0; k < width; k++) rows[k] = from[k];
        } else {
            memcpy(rows, from, (size_t)width * sizeof(REAL));
        }
    }
}

/* s += sum_n x[n, :] by fours: a quarter of the traffic through s */
static INLINE void NAME(sum_block)(ptrdiff_t N, ptrdiff_t ld, ptrdiff_t K, const REAL *restrict x, REAL *restrict s)
{
    ptrdiff_t n = 0;
    for (; n + 4 <= N; n += 4, x += 4 * ld) {
        SIMD()
        for (ptrdiff_t k = 0; k < K; k++) s[k] += (x[k] + x[ld + k]) + (x[2 * ld + k] + x[3 * ld + k]);
    }
    for (; n < N; n++, x += ld)
        for (ptrdiff_t k = 0; k < K; k++) s[k] += x[k];
}

/* s += sum_n c[n] x[n, :]^2 */
static INLINE void NAME(square_block)(ptrdiff_t N, ptrdiff_t ld, ptrdiff_t K, const REAL *restrict c,
                                      const REAL *restrict x, REAL *restrict s)
{
    for (ptrdiff_t n = 0; n < N; n++, x += ld) {
        const REAL weight = c[n];
        SIMD()
        for (ptrdiff_t k = 0; k < K; k++) s[k] += weight * x[k] * x[k];
    }
}

/* s (+)= either of them, without c or with it: blocks of SUM_ROWS, which are added in double. A float chain over many
 * samples would stop where a term is half an ulp of the sum. */
static NOINLINE void NAME(sum_rows)(ptrdiff_t N, ptrdiff_t K, const REAL *c, const REAL *x, int add, REAL *s)
{
    ALIGNED double total[SUM_COLUMNS];
    ALIGNED REAL part[SUM_COLUMNS];
    for (ptrdiff_t k = 0; k < K; k += SUM_COLUMNS) {
        const ptrdiff_t width = K - k < SUM_COLUMNS ? K - k : SUM_COLUMNS;
        for (ptrdiff_t i = 0; i < width; i++) total[i] = add ? s[k + i] : 0;
        for (ptrdiff_t n = 0; n < N; n += SUM_ROWS) {
            const ptrdiff_t rows = N - n < SUM_ROWS ? N - n : SUM_ROWS;
            for (ptrdiff_t i = 0; i < width; i++) part[i] = 0;
            if (c) NAME(square_block)(rows, K, width, c + n, x + n * K + k, part);
            else NAME(sum_block)(rows, K, width, x + n * K + k, part);
            for (ptrdiff_t i = 0; i < width; i++) total[i] += part[i];
        }
        for (ptrdiff_t i = 0; i < width; i++) s[k + i] = (REAL)total[i];
    }
}

/* s[k] (+)= sum_n x[n, k] */
static void NAME(column_sums)(ptrdiff_t N, ptrdiff_t K, const REAL *restrict x, int add, REAL *restrict s)
{
    if (K == 1) {
        double total = add ? *s : 0;
        for (ptrdiff_t begin = 0; begin < N; begin += SUM_COLUMN) {
            const ptrdiff_t end = N - begin < SUM_COLUMN ? N : begin + SUM_COLUMN;
            REAL part = 0;
            SIMD(reduction(+ : part))
            for (ptrdiff_t n = begin; n < end; n++) part += x[n];
            total += part;
        }
        *s = (REAL)total;
    } else if (N > (add ? FEW_ROWS : SUM_ROWS)) {
        NAME(sum_rows)(N, K, NULL, x, add, s);
    } else {
        if (!add)
            for (ptrdiff_t k = 0; k < K; k++) s[k] = 0;
        NAME(sum_block)(N, K, K, x, s);
    }
}

/* s[n, i] (+)= sum_r c[n, r] rows[n, r, i]^2 */
static void NAME(sum_squares)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t width, const REAL *restrict c,
                              const REAL *restrict rows, int add, REAL *restrict s)
{
    /* What one sum is added to may have a long past; many are made of the rows at hand. */
    const ptrdiff_t few = add && N == 1 ? FEW_ROWS : SUM_ROWS;
    for (ptrdiff_t n = 0; n < N; n++, c += R, rows += R * width, s += width) {
        if (R > few) {
            NAME(sum_rows)(R, width, c, rows, add, s);
            continue;
        }
        if (!add)
            for (ptrdiff_t i = 0; i < width; i++) s[i] = 0;
        NAME(square_block)(R, width, width, c, rows, s);
    }
}

/* g[n, i, o] (+)= z[n, i] delta[n, o], the rows of each at distances of their own */
static void NAME(outer)(ptrdiff_t N, ptrdiff_t n_in, ptrdiff_t n_out, const REAL *restrict z, ptrdiff_t z_row,
                        const REAL *restrict delta, ptrdiff_t delta_row, int add, REAL *restrict g, ptrdiff_t g_row)
{
    for (ptrdiff_t n = 0; n < N; n++, z += z_row, delta += delta_row, g += g_row)
        for (ptrdiff_t i = 0; i < n_in; i++) {
            if (add) {
                SIMD()
                for (ptrdiff_t o = 0; o < n_out; o++) g[i * n_out + o] += z[i] * delta[o];
            } else {
                SIMD()
                for (ptrdiff_t o = 0; o < n_out; o++) g[i * n_out + o] = z[i] * delta[o];
            }
        }
}

/* v = momentum v + g,   p = (1 - rate decay) p - rate v          (Nesterov: g + momentum v in place of v)
 * v is neither read nor written if momentum is 0. */
static void NAME(sgd)(ptrdiff_t n, const REAL *restrict g, REAL *restrict p, REAL *restrict v, REAL rate,
                      REAL momentum, int nesterov, REAL decay)
{
    const REAL keep = 1 - rate * decay;
    if (momentum == 0) {
        SIMD()
        for (ptrdiff_t i = 0; i < n; i++) p[i] = keep * p[i] - rate * g[i];
    } else {
        const REAL of_g = nesterov ? 1 : 0, of_v = nesterov ? momentum : 1;
        SIMD()
        for (ptrdiff_t i = 0; i < n; i++) {
            v[i] = momentum * v[i] + g[i];
            p[i] = keep * p[i] - rate * (of_g * g[i] + of_v * v[i]);
        }
    }
}

/* m = beta1 m + rest1 g,   v = beta2 v + rest2 g^2,   p = (1 - decay) p - rate m / (root_scale sqrt(v) + epsilon)
 * The caller has put the bias corrections of step t into rate (1 / (1 - beta1^t)) and root_scale
 * (1 / sqrt(1 - beta2^t)), the learning rate into rate and decay, and rest = 1 - beta, which float would round badly. */
static void NAME(adam)(ptrdiff_t n, const REAL *restrict g, REAL *restrict p, REAL *restrict m, REAL *restrict v,
                       REAL rate, REAL beta1, REAL rest1, REAL beta2, REAL rest2, REAL root_scale, REAL epsilon,
                       REAL decay)
{
    SIMD()
    for (ptrdiff_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + rest1 * g[i];
        v[i] = beta2 * v[i] + rest2 * g[i] * g[i];
#if IS_FLOAT
        const REAL root = sqrtf(v[i]);
#else
        const REAL root = sqrt(v[i]);
#endif
        p[i] = (1 - decay) * p[i] - rate * m[i] / (root_scale * root + epsilon);
    }
}

#undef SUM_ROWS
#undef FEW_ROWS
#undef SUM_COLUMN
#undef SUM_COLUMNS
