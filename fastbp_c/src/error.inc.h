/* Output units with their error functions: E_n, delta = dE_n/da and M = d2E_n/da da, from pre-activations a.
 *
 * Included after activation.inc.h, with the same macros.
 *
 * Design:
 * a) A canonical pair (sigmoid with binary cross-entropy, softmax with cross-entropy) never rests on a
 *    rounded y: the digits of a confident prediction are in 1 - y.
 * b) softmax is written with e_k = e^(a_k - max a) and r, the sum of e but for one of its ones:
 *        y_k = e_k / (1 + r),   1 - y_k = r / (1 + r) where e_k = 1,   log sum_j e^a_j = max a + log(1 + r).
 * c) Rows too short to fill vectors are taken LANES at a time, transposed, one row to a lane.
 * d) E_n is formed in double, also for float, and so are the sums over K or N: a square overflows long before its root.
 *    Weights are multiplied in double too: only what delta or M itself is has to be a float.
 */

/* The longest row that is transposed: above, vectors along the row are faster. */
#define NARROW 32
/* How many numbers are in float64 at once. */
#define AT_ONCE 256

/* e^(y + d) for y <= 0 and d what y lost when it was rounded */
static INLINE REAL NAME(exp_down)(REAL y, REAL d)
{
    const REAL end = -BIAS * LN2, zero = 0;
    REAL s, p;
    NAME(exp_parts)(y < end ? end : y, y < end ? zero : d, 0, &s, &p);
    return s + s * p;
}

/* e^(a - top), a <= top. In the exponent the rounding of a - top would be many times eps. */
static INLINE REAL NAME(exp_below)(REAL a, REAL top)
{
    const REAL y = a - top, minus_top = y - a;
    return NAME(exp_down)(y, (a - (y - minus_top)) - (top + minus_top));
}

/* t x, and 0 for t = 0 even if x is infinite: t log y vanishes with t */
static INLINE double NAME(times_log)(double t, double x)
{
    const double product = t * x;
    return t == 0 ? 0 : product;
}

static INLINE REAL NAME(max)(ptrdiff_t K, const REAL *a)
{
    REAL top = a[0];
    SIMD(reduction(max : top))
    for (ptrdiff_t k = 1; k < K; k++) top = a[k] > top ? a[k] : top;
    return top;
}

/* e_k = e^(a_k - top); returns r. e may be a. */
static INLINE REAL NAME(softmax_exp)(ptrdiff_t K, const REAL *a, REAL top, REAL *e)
{
    double others = 0, ones = 0;
    SIMD(reduction(+ : others, ones))
    for (ptrdiff_t k = 0; k < K; k++) {
        const REAL e_k = NAME(exp_below)(a[k], top);
        const REAL one = e_k == 1;
        ones += one;
        others += e_k - one;
        e[k] = e_k;
    }
    return (REAL)(others + (ones - 1));
}

/* Where the rows of a tile start. Lanes without a row of their own repeat the last one. */
static INLINE void NAME(tile_rows)(ptrdiff_t rows, ptrdiff_t K, ptrdiff_t *start)
{
    for (ptrdiff_t l = 0; l < LANES; l++) start[l] = (l < rows ? l : rows - 1) * K;
}

static INLINE void NAME(load_tile)(ptrdiff_t K, const ptrdiff_t *start, const REAL *a, REAL *tile)
{
    for (ptrdiff_t k = 0; k < K; k++)
        for (ptrdiff_t l = 0; l < LANES; l++) tile[k * LANES + l] = a[start[l] + k];
}

static INLINE void NAME(store_tile)(ptrdiff_t K, const ptrdiff_t *start, const REAL *tile, REAL *a)
{
    for (ptrdiff_t k = 0; k < K; k++)
        for (ptrdiff_t l = 0; l < LANES; l++) a[start[l] + k] = tile[k * LANES + l];
}

static INLINE void NAME(tile_max)(ptrdiff_t K, const REAL *a, REAL *top)
{
    for (ptrdiff_t l = 0; l < LANES; l++) top[l] = a[l];
    for (ptrdiff_t k = 1; k < K; k++)
        SIMD()
        for (ptrdiff_t l = 0; l < LANES; l++) top[l] = a[k * LANES + l] > top[l] ? a[k * LANES + l] : top[l];
}

static void NAME(softmax_tile)(ptrdiff_t rows, ptrdiff_t K, const REAL *a, REAL *z)
{
    ptrdiff_t start[LANES];
    REAL x[NARROW * LANES], top[LANES];
    double sum[LANES] = {0};
    NAME(tile_rows)(rows, K, start);
    NAME(load_tile)(K, start, a, x);
    NAME(tile_max)(K, x, top);
    for (ptrdiff_t k = 0; k < K; k++)
        SIMD()
        for (ptrdiff_t l = 0; l < LANES; l++) {
            const REAL e = NAME(exp_below)(x[k * LANES + l], top[l]);
            sum[l] += e;
            x[k * LANES + l] = e;
        }
    for (ptrdiff_t k = 0; k < K; k++)
        SIMD()
        for (ptrdiff_t l = 0; l < LANES; l++) x[k * LANES + l] /= (REAL)sum[l];
    NAME(store_tile)(K, start, x, z);
}

/* z[n, :] = softmax(a[n, :]); z may be a. */
static void NAME(softmax)(ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *z)
{
    if (K == 0) return;
    const ptrdiff_t height = K <= NARROW ? LANES : 1;
    for (ptrdiff_t n = 0; n < N; n += height, a += height * K, z += height * K) {
        if (K <= NARROW) {
            NAME(softmax_tile)(N - n < LANES ? N - n : LANES, K, a, z);
            continue;
        }
        const REAL r = NAME(softmax_exp)(K, a, NAME(max)(K, a), z);
        SIMD()
        for (ptrdiff_t k = 0; k < K; k++) z[k] /= 1 + r;
    }
}

/* What delta_n is multiplied by: the weight of a sample may be NULL, for 1 */
static INLINE double NAME(factor)(const REAL *weight, REAL scale, ptrdiff_t n)
{
    return weight ? (double)scale * weight[n] : scale;
}

/* Returns the sum of weight_n value_i over the next `count` numbers of rows of K, from (n, k) on, which is advanced;
 * and multiplies delta_i by scale weight_n, unless delta is NULL. */
static INLINE double NAME(weigh)(ptrdiff_t count, ptrdiff_t K, const double *value, const REAL *weight, REAL scale,
                                 REAL *delta, ptrdiff_t *n, ptrdiff_t *k)
{
    double total = 0;
    for (ptrdiff_t begin = 0, end; begin < count; begin = end) {
        end = count - begin < K - *k ? count : begin + K - *k;
        double sum = 0;
        SIMD(reduction(+ : sum))
        for (ptrdiff_t i = begin; i < end; i++) sum += value[i];
        total += weight ? weight[*n] * sum : sum;
        if (delta) {
            const double c = NAME(factor)(weight, scale, *n);
            SIMD()
            for (ptrdiff_t i = begin; i < end; i++) delta[i] = (REAL)(c * delta[i]);
        }
        *k += end - begin;
        if (*k == K) *k = 0, ++*n;
    }
    return total;
}

/* E = 1/2 sum (y - t)^2,  delta = (y - t) h' */
static double NAME(squared_error)(int activation, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                  const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    const REAL *y = activation == FBP_IDENTITY ? a : work, *h1 = work + N * K;
    ALIGNED double value[AT_ONCE];
    double total = 0;
    if (activation != FBP_IDENTITY) NAME(activate)(activation, N * K, a, work, delta ? work + N * K : NULL, NULL);
    if (!weight) K *= N, N = 1;      /* one long row */
    for (ptrdiff_t begin = 0, n = 0, k = 0; begin < N * K; begin += AT_ONCE) {
        const ptrdiff_t count = N * K - begin < AT_ONCE ? N * K - begin : AT_ONCE;
        REAL *d = delta ? delta + begin : NULL;
        SIMD()
        for (ptrdiff_t i = 0; i < count; i++) {
            const double difference = (double)y[begin + i] - t[begin + i];
            value[i] = difference * (difference / 2);
        }
        if (d && activation == FBP_IDENTITY) {
            SIMD()
            for (ptrdiff_t i = 0; i < count; i++) d[i] = y[begin + i] - t[begin + i];
        } else if (d) {
            SIMD()
            for (ptrdiff_t i = 0; i < count; i++) d[i] = (y[begin + i] - t[begin + i]) * h1[begin + i];
        }
        total += NAME(weigh)(count, K, value, weight, scale, d, &n, &k);
    }
    return total;
}

/* With u = |a|, q = e^-u / (1 + e^-u), which is 1 - y for a > 0 and else y, and p = 1 - t, or t, likewise:
 * E = log(1 + e^a) - t a = log(1 + e^-u) + p u,  delta = y - t = p - q for a > 0 and else q - p.
 * Here the logarithm and delta. */
static INLINE void NAME(binary_cross_entropy_unit)(REAL a, REAL t, REAL *logarithm, REAL *delta)
{
    const REAL e = NAME(exp_down)(-FABS(a), 0), q = e / (1 + e), p = a > 0 ? 1 - t : t;
    *logarithm = NAME(log1p)(e);
    *delta = a > 0 ? p - q : q - p;
}

static double NAME(binary_cross_entropy)(ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                         const REAL *weight, REAL scale, REAL *delta)
{
    ALIGNED double value[AT_ONCE];
    ALIGNED REAL logarithm[AT_ONCE], unused[AT_ONCE];
    double total = 0;
    if (!weight) K *= N, N = 1;      /* one long row */
    for (ptrdiff_t begin = 0, n = 0, k = 0; begin < N * K; begin += AT_ONCE, a += AT_ONCE, t += AT_ONCE) {
        const ptrdiff_t count = N * K - begin < AT_ONCE ? N * K - begin : AT_ONCE;
        REAL *d = delta ? delta + begin : unused;
        SIMD()
        for (ptrdiff_t i = 0; i < count; i++) NAME(binary_cross_entropy_unit)(a[i], t[i], &logarithm[i], &d[i]);
        SIMD()
        for (ptrdiff_t i = 0; i < count; i++) {
            const double p = a[i] > 0 ? 1 - (double)t[i] : t[i];
            value[i] = logarithm[i] + NAME(times_log)(p, FABS(a[i]));
        }
        total += NAME(weigh)(count, K, value, weight, scale, delta ? d : NULL, &n, &k);
    }
    return total;
}

/* With s = sum_k t_k:  E = -sum_k t_k log y_k = sum_k t_k (max a - a_k) + s log(1 + r),
 * delta_k = s y_k - t_k = q e_k - t_k,  q = s / (1 + r), and where e_k = 1, (s - t_k) - s (1 - y_k).
 * s comes as t_top, the targets where e_k = 1, and t_others: after s - t_top nothing would be left of small
 * t_others. */
static INLINE REAL NAME(cross_entropy_delta)(REAL e, REAL t, REAL q, REAL r, REAL t_top, REAL t_others)
{
    const REAL at_top = (t_others + (t_top - t)) - q * r, elsewhere = q * e - t;
    return e == 1 ? at_top : elsewhere;
}

static double NAME(cross_entropy_row)(ptrdiff_t K, const REAL *a, const REAL *t, double c, REAL *delta, REAL *e)
{
    const REAL top = NAME(max)(K, a);
    const REAL r = NAME(softmax_exp)(K, a, top, e);
    double t_top = 0, t_others = 0, cost = 0;
    SIMD(reduction(+ : t_top, t_others, cost))
    for (ptrdiff_t k = 0; k < K; k++) {
        const REAL t_one = e[k] == 1 ? t[k] : 0;
        t_top += t_one;
        t_others += t[k] - t_one;
        cost += NAME(times_log)(t[k], (double)top - a[k]);
    }
    const double s = t_top + t_others;
    if (delta) {
        const REAL q = (REAL)s / (1 + r);
        SIMD()
        for (ptrdiff_t k = 0; k < K; k++)
            delta[k] = (REAL)(c * NAME(cross_entropy_delta)(e[k], t[k], q, r, (REAL)t_top, (REAL)t_others));
    }
    return cost + s * NAME(log1p)(r);
}

/* E_n into cost[n], and delta times c[n], of up to LANES narrow rows */
static void NAME(cross_entropy_tile)(ptrdiff_t rows, ptrdiff_t K, const REAL *a, const REAL *t, const double *c,
                                     REAL *delta, double *cost)
{
    ptrdiff_t start[LANES];
    REAL x[NARROW * LANES], u[NARROW * LANES];          /* a, then e, then delta; t */
    REAL top[LANES], ones[LANES] = {0}, t_top[LANES] = {0}, r[LANES], q[LANES];
    double others[LANES] = {0}, t_others[LANES] = {0};
    NAME(tile_rows)(rows, K, start);
    NAME(load_tile)(K, start, a, x);
    NAME(load_tile)(K, start, t, u);
    NAME(tile_max)(K, x, top);

    for (ptrdiff_t l = 0; l < LANES; l++) cost[l] = 0;
    for (ptrdiff_t k = 0; k < K; k++)
        SIMD()
        for (ptrdiff_t l = 0; l < LANES; l++) {
            const REAL a_k = x[k * LANES + l], t_k = u[k * LANES + l];
            const REAL e = NAME(exp_below)(a_k, top[l]), one = e == 1;
            ones[l] += one;
            others[l] += e - one;
            t_top[l] += one * t_k;
            t_others[l] += t_k - one * t_k;
            cost[l] += NAME(times_log)(t_k, (double)top[l] - a_k);
            x[k * LANES + l] = e;
        }
    SIMD()
    for (ptrdiff_t l = 0; l < LANES; l++) {
        const REAL s = (REAL)(t_top[l] + t_others[l]);
        r[l] = (REAL)(others[l] + (ones[l] - 1));
        q[l] = s / (1 + r[l]);
        cost[l] += (double)s * NAME(log1p)(r[l]);
    }
    if (!delta) return;
    for (ptrdiff_t k = 0; k < K; k++)
        SIMD()
        for (ptrdiff_t l = 0; l < LANES; l++) {
            const ptrdiff_t i = k * LANES + l;
            x[i] = (REAL)(c[l] * NAME(cross_entropy_delta)(x[i], u[i], q[l], r[l], t_top[l], (REAL)t_others[l]));
        }
    NAME(store_tile)(K, start, x, delta);
}

static double NAME(cross_entropy)(ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                  const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    const ptrdiff_t height = K <= NARROW ? LANES : 1;
    double total = 0, cost[LANES], c[LANES];
    for (ptrdiff_t n = 0; n < N; n += height) {
        const ptrdiff_t rows = N - n < height ? N - n : height;
        for (ptrdiff_t l = 0; l < height; l++)
            c[l] = NAME(factor)(weight, scale, n + (l < rows ? l : rows - 1));
        REAL *delta_n = delta ? delta + n * K : NULL;
        if (K <= NARROW)
            NAME(cross_entropy_tile)(rows, K, a + n * K, t + n * K, c, delta_n, cost);
        else
            cost[0] = NAME(cross_entropy_row)(K, a + n * K, t + n * K, c[0], delta_n, work);
        for (ptrdiff_t l = 0; l < rows; l++) total += weight ? weight[n + l] * cost[l] : cost[l];
    }
    return total;
}

/* E = 1/2 sum d^2, d = y - t;  delta_k = y_k (d_k - sum_j y_j d_j) = y_k (f_k - sum_j y_j f_j), where
 * f = d - d_top, top the largest output: if it is near 1, the last sum is as small, and as exact, as the
 * other outputs. */
static double NAME(softmax_squared_error)(ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                          const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    double total = 0;
    NAME(softmax)(N, K, a, work);
    for (ptrdiff_t n = 0; n < N; n++, t += K) {
        const REAL *y = work + n * K;
        REAL *f = work + (N + n) * K;
        ptrdiff_t top = 0;
        double not_top = 0, cost = 0, mean = 0;
        for (ptrdiff_t k = 1; k < K; k++) top = y[k] > y[top] ? k : top;
        for (ptrdiff_t k = 0; k < K; k++) not_top += k == top ? 0 : y[k];
        const double d_top = (1 - (double)t[top]) - not_top;
        for (ptrdiff_t k = 0; k < K; k++) {
            const double d = k == top ? d_top : (double)y[k] - t[k];
            cost += d * (d / 2);
            f[k] = (REAL)(d - d_top);
            mean += (double)y[k] * f[k];
        }
        total += weight ? weight[n] * cost : cost;
        if (!delta) continue;
        const double c = NAME(factor)(weight, scale, n);
        for (ptrdiff_t k = 0; k < K; k++) delta[n * K + k] = (REAL)(c * y[k] * (f[k] - mean));
    }
    return total;
}

/* Returns sum_n weight_n E_n (a NULL weight is 1) and, unless delta is NULL, sets
 * delta[n, k] = scale weight_n dE_n/da_nk. work holds 2 N K; delta may overlap neither a nor t. */
static double NAME(error)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                          const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    if (N == 0 || K == 0) return 0;
    if (error == FBP_CROSS_ENTROPY) return NAME(cross_entropy)(N, K, a, t, weight, scale, delta, work);
    if (error == FBP_BINARY_CROSS_ENTROPY)
        return NAME(binary_cross_entropy)(N, K, a, t, weight, scale, delta);
    if (activation == FBP_SOFTMAX)
        return NAME(softmax_squared_error)(N, K, a, t, weight, scale, delta, work);
    return NAME(squared_error)(activation, N, K, a, t, weight, scale, delta, work);
}
