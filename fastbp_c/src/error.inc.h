/* Output units with their error functions: E_n, delta = dE_n/da and M = d2E_n/da da, from pre-activations a.
 *
 * Included after activation.inc.h, with the same macros.
 *
 * Design:
 * a) A canonical pair (sigmoid with binary cross-entropy, softmax with cross-entropy) never rests on a rounded
 *    y: the digits of a confident prediction are in 1 - y.
 * b) softmax is written with e_k = e^(a_k - max a) and r, the sum of e but for one of its ones:
 *        y_k = e_k / (1 + r),   1 - y_k = r / (1 + r) where e_k = 1,   log sum_j e^a_j = max a + log(1 + r).
 * c) Sums over k and n are in double, also for float.
 */

/* e^y for y <= 0 */
static INLINE REAL NAME(exp_down)(REAL y)
{
    const REAL end = -BIAS * LN2;
    REAL s, p;
    NAME(exp_parts)(y < end ? end : y, 0, 0, &s, &p);
    return s + s * p;
}

static INLINE REAL NAME(max)(ptrdiff_t K, const REAL *a)
{
    REAL top = a[0];
    _Pragma("omp simd reduction(max : top)")
    for (ptrdiff_t k = 1; k < K; k++) top = a[k] > top ? a[k] : top;
    return top;
}

/* e_k = e^(a_k - top); returns r. e may be a. */
static INLINE REAL NAME(softmax_exp)(ptrdiff_t K, const REAL *a, REAL top, REAL *e)
{
    double others = 0, ones = 0;
    _Pragma("omp simd reduction(+ : others, ones)")
    for (ptrdiff_t k = 0; k < K; k++) {
        const REAL e_k = NAME(exp_down)(a[k] - top);
        others += e_k == 1 ? 0 : e_k;
        ones += e_k == 1;
        e[k] = e_k;
    }
    return (REAL)(others + (ones - 1));
}

/* z[n, :] = softmax(a[n, :]); z may be a. */
static void NAME(softmax)(ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *z)
{
    for (ptrdiff_t n = 0; n < N && K > 0; n++, a += K, z += K) {
        const REAL r = NAME(softmax_exp)(K, a, NAME(max)(K, a), z);
        _Pragma("omp simd")
        for (ptrdiff_t k = 0; k < K; k++) z[k] /= 1 + r;
    }
}

/* sum_n weight_n sum_k value_nk, and delta_nk *= scale weight_n */
static double NAME(weigh)(ptrdiff_t N, ptrdiff_t K, const REAL *value, const REAL *weight, REAL scale, REAL *delta)
{
    double total = 0;
    if (!weight) {              /* one long row */
        K *= N;
        N = 1;
    }
    for (ptrdiff_t n = 0; n < N; n++) {
        double sum = 0;
        _Pragma("omp simd reduction(+ : sum)")
        for (ptrdiff_t k = 0; k < K; k++) sum += value[n * K + k];
        total += weight ? weight[n] * sum : sum;
        if (!delta) continue;
        const REAL c = weight ? scale * weight[n] : scale;
        _Pragma("omp simd")
        for (ptrdiff_t k = 0; k < K; k++) delta[n * K + k] *= c;
    }
    return total;
}

/* E = 1/2 sum (y - t)^2,  delta = (y - t) h' */
static double NAME(squared_error)(int activation, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                  const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    REAL *y = work, *h1 = delta ? work + N * K : NULL;
    NAME(activate)(activation, N * K, a, y, h1, NULL);
    if (delta) {
        _Pragma("omp simd")
        for (ptrdiff_t i = 0; i < N * K; i++) delta[i] = (y[i] - t[i]) * h1[i];
    }
    _Pragma("omp simd")
    for (ptrdiff_t i = 0; i < N * K; i++) y[i] = (y[i] - t[i]) * (y[i] - t[i]) / 2;
    return NAME(weigh)(N, K, y, weight, scale, delta);
}

/* E = sum log(1 + e^a) - t a = sum log(1 + e^-|a|) + |a| (a > 0 ? 1 - t : t)
 * delta = y - t = a > 0 ? (1 - t) - (1 - y) : y - t,  and y, or 1 - y, = e^-|a| / (1 + e^-|a|) */
static double NAME(binary_cross_entropy)(ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                         const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    _Pragma("omp simd")
    for (ptrdiff_t i = 0; i < N * K; i++) {
        const REAL u = FABS(a[i]);
        work[i] = NAME(log1p)(NAME(exp_down)(-u)) + u * (a[i] > 0 ? 1 - t[i] : t[i]);
    }
    if (delta) {
        _Pragma("omp simd")
        for (ptrdiff_t i = 0; i < N * K; i++) {
            const REAL e = NAME(exp_down)(-FABS(a[i]));
            const REAL y = e / (1 + e);
            delta[i] = a[i] > 0 ? (1 - t[i]) - y : y - t[i];
        }
    }
    return NAME(weigh)(N, K, work, weight, scale, delta);
}

/* With s = sum_k t_k:  E = -sum_k t_k log y_k = sum_k t_k (top - a_k) + s log(1 + r),
 * delta_k = s y_k - t_k, and where e_k = 1, = (s - t_k) - s (1 - y_k) */
static double NAME(cross_entropy)(ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                  const REAL *weight, REAL scale, REAL *delta, REAL *e)
{
    double total = 0;
    for (ptrdiff_t n = 0; n < N && K > 0; n++, a += K, t += K) {
        const REAL top = NAME(max)(K, a);
        const REAL r = NAME(softmax_exp)(K, a, top, e);

        double t_top = 0, t_others = 0, cost = 0;       /* apart: s - t_top would lose digits of t_others */
        _Pragma("omp simd reduction(+ : t_top, t_others, cost)")
        for (ptrdiff_t k = 0; k < K; k++) {
            t_top += e[k] == 1 ? t[k] : 0;
            t_others += e[k] == 1 ? 0 : t[k];
            cost += t[k] * (top - a[k]);
        }
        const double s = t_top + t_others;
        cost += s * NAME(log1p)(r);
        total += weight ? weight[n] * cost : cost;
        if (!delta) continue;

        const REAL c = weight ? scale * weight[n] : scale;
        const REAL q = (REAL)s / (1 + r), not_y = q * r, T = (REAL)t_top, rest = (REAL)t_others;
        _Pragma("omp simd")
        for (ptrdiff_t k = 0; k < K; k++)
            delta[k] = c * (e[k] == 1 ? (rest + (T - t[k])) - not_y : q * e[k] - t[k]);
        delta += K;
    }
    return total;
}

/* E = 1/2 sum (y - t)^2, d = y - t:  delta_k = y_k (d_k - sum_j y_j d_j), here with d counted from that of a top
 * output, so that the sum is small as its others are */
static double NAME(softmax_squared_error)(ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                          const REAL *weight, REAL scale, REAL *delta, REAL *y)
{
    double total = 0;
    for (ptrdiff_t n = 0; n < N && K > 0; n++, a += K, t += K) {
        NAME(softmax)(1, K, a, y);
        ptrdiff_t top = 0;
        for (ptrdiff_t k = 1; k < K; k++) top = y[k] > y[top] ? k : top;
        const REAL d_top = y[top] - t[top];

        double cost = 0, mean = 0;
        for (ptrdiff_t k = 0; k < K; k++) {
            const REAL d = y[k] - t[k];
            cost += (double)d * d / 2;
            mean += (double)y[k] * (d - d_top);
        }
        total += weight ? weight[n] * cost : cost;
        if (!delta) continue;

        const REAL c = weight ? scale * weight[n] : scale;
        for (ptrdiff_t k = 0; k < K; k++) delta[k] = c * y[k] * (REAL)((y[k] - t[k] - d_top) - mean);
        delta += K;
    }
    return total;
}

/* Returns sum_n weight_n E_n (a NULL weight is 1) and, unless delta is NULL, sets
 * delta[n, k] = scale weight_n dE_n/da_nk. work holds 2 N K; delta may overlap neither a nor t. */
static double NAME(error)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                          const REAL *weight, REAL scale, REAL *delta, REAL *work)
{
    if (error == FBP_CROSS_ENTROPY) return NAME(cross_entropy)(N, K, a, t, weight, scale, delta, work);
    if (error == FBP_BINARY_CROSS_ENTROPY)
        return NAME(binary_cross_entropy)(N, K, a, t, weight, scale, delta, work);
    if (activation == FBP_SOFTMAX)
        return NAME(softmax_squared_error)(N, K, a, t, weight, scale, delta, work);
    return NAME(squared_error)(activation, N, K, a, t, weight, scale, delta, work);
}

/* M of softmax for one row, dense and symmetric. */
static void NAME(softmax_curvature)(int error, ptrdiff_t K, const REAL *a, const REAL *t, REAL c, int gauss_newton,
                                    REAL *M, REAL *y)
{
    const REAL r = NAME(softmax_exp)(K, a, NAME(max)(K, a), y);
    double s = 0, B = 0;        /* sum of t; sum of y^2 over all but the first top output */
    ptrdiff_t top = 0;
    while (top < K - 1 && y[top] < 1) top++;
    for (ptrdiff_t k = 0; k < K; k++) {
        y[k] /= 1 + r;
        s += t[k];
        B += k == top ? 0 : (double)y[k] * y[k];
    }

    if (error == FBP_CROSS_ENTROPY) {
        /* M = s (diag y - y y^T) */
        const REAL cs = c * (REAL)s;
        for (ptrdiff_t k = 0; k < K; k++) {
            M[k * K + k] = cs * y[k] * (y[k] == y[top] ? r / (1 + r) : 1 - y[k]);
            for (ptrdiff_t l = 0; l < k; l++) M[k * K + l] = M[l * K + k] = -cs * (y[k] * y[l]);
        }
        return;
    }

    /* delta_k = y_k g_k, g_k = d_k - sum_j y_j d_j, d = y - t; v_k = y_k - |y|^2; both counted from the top output:
     *     M_kl = -y_k y_l (g_k + g_l + y_k + v_l)
     *     M_kk = y_k (g_k (1 - 2 y_k) + y_k (1 - y_k - v_k))
     * The Gauss-Newton matrix S^T S is this with g = 0. */
    const REAL d_top = y[top] - t[top], not_top = r / (1 + r);
    double mean = 0;
    for (ptrdiff_t k = 0; k < K; k++) mean += (double)y[k] * (y[k] - t[k] - d_top);
    const double norm = (double)y[top] * y[top] + B, v_top = y[top] * (double)not_top - B;
    for (ptrdiff_t k = 0; k < K; k++) {
        const double g_k = gauss_newton ? 0 : (y[k] - t[k] - d_top) - mean;
        const double y_k = y[k];
        M[k * K + k] = (REAL)(c * y_k * (k == top
            ? g_k * (not_top - y_k) + y_k * ((double)not_top * not_top + B)
            : g_k * (1 - 2 * y_k) + y_k * (1 - 2 * y_k + norm)));
        for (ptrdiff_t l = 0; l < k; l++) {
            const double g_l = gauss_newton ? 0 : (y[l] - t[l] - d_top) - mean;
            const double y_l = y[l];
            const double v = k == top ? y_l + v_top : l == top ? y_k + v_top : y_k + (y_l - norm);
            M[k * K + l] = M[l * K + k] = (REAL)(-c * y_k * y_l * (g_k + g_l + v));
        }
    }
}

/* M[n] = scale weight_n d2E_n/da da, (N, K, K), exactly symmetric; gauss_newton: without the residual's term,
 * for the squared error S^T S, S = dy/da. work holds 3 N K; M may overlap neither a nor t. */
static void NAME(error_curvature)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                  const REAL *weight, REAL scale, int gauss_newton, REAL *M, REAL *work)
{
    REAL *y = work, *h1 = work + N * K, *h2 = h1 + N * K;
    if (activation != FBP_SOFTMAX) NAME(activate)(activation, N * K, a, y, h1, h2);
    for (ptrdiff_t n = 0; n < N && K > 0; n++, M += K * K) {
        const REAL c = weight ? scale * weight[n] : scale;
        if (activation == FBP_SOFTMAX) {
            NAME(softmax_curvature)(error, K, a + n * K, t + n * K, c, gauss_newton, M, work);
            continue;
        }
        memset(M, 0, (size_t)(K * K) * sizeof(REAL));
        for (ptrdiff_t k = 0; k < K; k++) {
            const ptrdiff_t i = n * K + k;
            M[k * K + k] = c * (error == FBP_BINARY_CROSS_ENTROPY ? h1[i]
                                : gauss_newton                    ? h1[i] * h1[i]
                                                                  : h1[i] * h1[i] + (y[i] - t[i]) * h2[i]);
        }
    }
}
