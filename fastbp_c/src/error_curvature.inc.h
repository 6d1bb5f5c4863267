/* Second derivatives of the error functions with respect to the last layer's pre-activations: M, its factor, and products
 * with it. Where an output is near 1, 1 - y is formed from the other outputs. */

/* The diagonal of M for up to LANES numbers of an elementwise activation: h' for the canonical pair,
 * h'^2 + (y - t) h'' for the squared error. */
static void NAME(elementwise_curvature)(int activation, int error, ptrdiff_t count, const REAL *a, const REAL *t,
                                        int gauss_newton, double *m)
{
    REAL y[LANES], h1[LANES], h2[LANES];
    NAME(activate)(activation, count, a, y, h1, h2);
    for (ptrdiff_t i = 0; i < count; i++) {
        const double residual = gauss_newton ? 0 : ((double)y[i] - t[i]) * h2[i];
        m[i] = error == FBP_BINARY_CROSS_ENTROPY ? h1[i] : (double)h1[i] * h1[i] + residual;
    }
}

/* The largest of a row of softmax outputs, and what the others sum up to. */
static ptrdiff_t NAME(top_output)(ptrdiff_t K, const REAL *y, REAL *not_top)
{
    double others = 0;
    ptrdiff_t top = 0;
    for (ptrdiff_t k = 1; k < K; k++) top = y[k] > y[top] ? k : top;
    for (ptrdiff_t k = 0; k < K; k++) others += k == top ? 0 : y[k];
    *not_top = (REAL)others;
    return top;
}

/* M of one row of softmax, from its outputs; or its diagonal, which may take their place. */
static INLINE void NAME(softmax_curvature)(int error, ptrdiff_t K, const REAL *y, const REAL *t, double c,
                                           int gauss_newton, const int full, REAL *M)
{
    const ptrdiff_t next = full ? K + 1 : 1;
    REAL not_top;
    const ptrdiff_t top = NAME(top_output)(K, y, &not_top);
    if (error == FBP_CROSS_ENTROPY) {
        /* M = s (diag y - y y^T), s = sum_k t_k */
        double s = 0;
        for (ptrdiff_t k = 0; k < K; k++) s += t[k];
        for (ptrdiff_t k = 0; k < K; k++) {
            const double y_k = y[k];
            M[k * next] = (REAL)(c * s * y_k * (k == top ? not_top : 1 - y_k));
            for (ptrdiff_t l = 0; full && l < k; l++) M[k * K + l] = M[l * K + k] = (REAL)(-c * s * (y_k * y[l]));
        }
        return;
    }

    /* With f as in softmax_squared_error, g_k = f_k - sum_j y_j f_j (delta_k = y_k g_k), v_k = y_k - |y|^2:
     *     M_kl = -y_k y_l (g_k + g_l + y_k + v_l),   M_kk = y_k (g_k (1 - 2 y_k) + y_k (1 - y_k - v_k));
     * without the residual's term, S^T S, the same with g = 0. At the top 1 - y, v and 1 - y - v are formed
     * from the other outputs. */
    const double d_top = (1 - (double)t[top]) - not_top;
    double mean = 0, others = 0;                /* sum_j y_j f_j; sum of y_j^2 but for the top */
    for (ptrdiff_t k = 0; k < K; k++) {
        if (k == top) continue;
        mean += y[k] * ((double)y[k] - t[k] - d_top);
        others += (double)y[k] * y[k];
    }
    const double norm = (double)y[top] * y[top] + others, v_top = (double)y[top] * not_top - others;
    for (ptrdiff_t k = 0; k < K; k++) {
        const double y_k = y[k], f_k = k == top ? 0 : y_k - t[k] - d_top, g_k = gauss_newton ? 0 : f_k - mean;
        const double slope = k == top ? not_top - y_k : 1 - 2 * y_k;
        const double spread = k == top ? (double)not_top * not_top + others : 1 - 2 * y_k + norm;
        M[k * next] = (REAL)(c * y_k * (g_k * slope + y_k * spread));
        for (ptrdiff_t l = 0; full && l < k; l++) {
            const double y_l = y[l], f_l = l == top ? 0 : y_l - t[l] - d_top, g_l = gauss_newton ? 0 : f_l - mean;
            const double y_plus_v = k == top ? y_l + v_top : l == top ? y_k + v_top : y_k + (y_l - norm);
            M[k * K + l] = M[l * K + k] = (REAL)(-c * y_k * y_l * (g_k + g_l + y_plus_v));
        }
    }
}

/* M[n] = scale weight_n d2E_n/da da, (N, K, K), exactly symmetric. gauss_newton leaves out the residual's
 * term: the squared error's M is then S^T S, S = dy/da. work holds K; M may overlap neither a nor t. */
static void NAME(error_curvature)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a,
                                  const REAL *t, const REAL *weight, REAL scale, int gauss_newton, REAL *M,
                                  REAL *work)
{
    if (K == 0) return;
    if (activation == FBP_SOFTMAX) {
        /* The outputs lie at the end of M, of which no row reaches those that come after its own. */
        const REAL *y = M + N * K * (K - 1);
        NAME(softmax)(N, K, a, M + N * K * (K - 1));
        for (ptrdiff_t n = 0; n < N; n++) {
            memcpy(work, y + n * K, (size_t)K * sizeof(REAL));
            NAME(softmax_curvature)(error, K, work, t + n * K, NAME(factor)(weight, scale, n), gauss_newton, 1,
                                    M + n * K * K);
        }
        return;
    }
    memset(M, 0, (size_t)(N * K * K) * sizeof(REAL));
    for (ptrdiff_t begin = 0, n = 0, k = 0; begin < N * K; begin += LANES) {
        const ptrdiff_t count = N * K - begin < LANES ? N * K - begin : LANES;
        double m[LANES];
        NAME(elementwise_curvature)(activation, error, count, a + begin, t + begin, gauss_newton, m);
        for (ptrdiff_t i = 0; i < count; i++) {
            M[(n * K + k) * K + k] = (REAL)(NAME(factor)(weight, scale, n) * m[i]);
            if (++k == K) k = 0, n++;
        }
    }
}

/* Of one row: F_rk = sqrt(y_r) (delta_rk - y_k) for the cross-entropy, y_r (delta_rk - y_k) for the squared error; 1 - y
 * at the top from the other outputs. y may be the last row of F. */
static void NAME(softmax_factor)(int error, ptrdiff_t K, const REAL *y, REAL *F)
{
    REAL not_top;
    const ptrdiff_t top = NAME(top_output)(K, y, &not_top);
    for (ptrdiff_t l = 0; l < K; l++) {
        const REAL weight = error == FBP_CROSS_ENTROPY ? (REAL)sqrt(y[l]) : y[l];
        const REAL rest = y[l] == y[top] ? not_top : 1 - y[l];
        for (ptrdiff_t k = 0; k < K; k++) F[l * K + k] = k == l ? weight * rest : -weight * y[k];
    }
}

/* F[n, r, k], K rows r a sample, such that M' = s_n sum_r F_r^T F_r: M' of the Gauss-Newton matrix, s_n = 1, or for the
 * cross-entropy sum_k t_nk. For the squared error F is dy/da, which is symmetric. */
static void NAME(output_factor)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *F)
{
    if (activation == FBP_SOFTMAX) {
        REAL *y = F + N * K * (K - 1); /* as in error_curvature */
        NAME(softmax)(N, K, a, y);
        for (ptrdiff_t n = 0; n < N; n++) NAME(softmax_factor)(error, K, y + n * K, F + n * K * K);
        return;
    }
    memset(F, 0, (size_t)(N * K * K) * sizeof(REAL));
    for (ptrdiff_t begin = 0, n = 0, k = 0; begin < N * K; begin += LANES) {
        const ptrdiff_t count = N * K - begin < LANES ? N * K - begin : LANES;
        REAL y[LANES], h1[LANES];
        NAME(activate)(activation, count, a + begin, y, h1, NULL);
        for (ptrdiff_t i = 0; i < count; i++) {
            F[(n * K + k) * K + k] = error == FBP_BINARY_CROSS_ENTROPY ? (REAL)sqrt(h1[i]) : h1[i];
            if (++k == K) k = 0, n++;
        }
    }
}

/* x_k - x_top and its mean under y, which is as exact as the other outputs if y_top is near 1. */
static double NAME(shifted)(ptrdiff_t K, const REAL *y, const REAL *x, ptrdiff_t top, REAL *shift)
{
    double mean = 0;
    for (ptrdiff_t k = 0; k < K; k++) {
        shift[k] = x[k] - x[top];
        mean += (double)y[k] * shift[k];
    }
    return mean;
}

/* M v of one row of softmax, by S v = y (v - y . v):  cross-entropy: sum_k t_k S v;
 * squared error, with d = y - t, q = S v:  S q + q (d - y . d) - y (q . d)   (Gauss-Newton: S q). work holds 3 K. */
static void NAME(softmax_row_tangent)(int error, ptrdiff_t K, const REAL *y, const REAL *t, double c, int gauss_newton,
                                      const REAL *v, REAL *out, REAL *work)
{
    REAL *q = work, *shift = work + K, *d = work + 2 * K;
    double s = 0, not_top = 0, cross = 0, mean;
    ptrdiff_t top = 0;
    for (ptrdiff_t k = 1; k < K; k++) top = y[k] > y[top] ? k : top;
    mean = NAME(shifted)(K, y, v, top, shift);
    if (error == FBP_CROSS_ENTROPY) {
        for (ptrdiff_t k = 0; k < K; k++) s += t[k];
        for (ptrdiff_t k = 0; k < K; k++) out[k] = (REAL)(c * s * y[k] * (shift[k] - mean));
        return;
    }
    for (ptrdiff_t k = 0; k < K; k++) q[k] = y[k] * (REAL)(shift[k] - mean);
    mean = NAME(shifted)(K, y, q, top, shift);
    for (ptrdiff_t k = 0; k < K; k++) out[k] = (REAL)(c * y[k] * (shift[k] - mean));
    if (gauss_newton) return;
    for (ptrdiff_t k = 0; k < K; k++) not_top += k == top ? 0 : y[k];
    for (ptrdiff_t k = 0; k < K; k++) d[k] = k == top ? (REAL)((1 - t[k]) - not_top) : y[k] - t[k];
    mean = NAME(shifted)(K, y, d, top, shift);
    for (ptrdiff_t k = 0; k < K; k++) cross += (double)q[k] * shift[k];     /* sum_k q_k is 0 */
    for (ptrdiff_t k = 0; k < K; k++) out[k] += (REAL)(c * (q[k] * (shift[k] - mean) - y[k] * cross));
}

/* out[n] = scale weight_n M_n v[n] for a softmax with outputs y, M being that of error_curvature, which is never formed.
 * work holds 3 K. */
static void NAME(softmax_tangent)(int error, ptrdiff_t N, ptrdiff_t K, const REAL *y, const REAL *t,
                                  const REAL *weight, REAL scale, int gauss_newton, const REAL *v, REAL *out,
                                  REAL *work)
{
    for (ptrdiff_t n = 0; n < N; n++, y += K, t += K, v += K, out += K)
        NAME(softmax_row_tangent)(error, K, y, t, NAME(factor)(weight, scale, n), gauss_newton, v, out, work);
}

/* m[n] = scale weight_n diag M_n */
static void NAME(error_diagonal)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                                 const REAL *weight, REAL scale, int gauss_newton, REAL *m)
{
    if (K == 0) return;
    if (activation == FBP_SOFTMAX) {
        NAME(softmax)(N, K, a, m);
        for (ptrdiff_t n = 0; n < N; n++, t += K, m += K)
            NAME(softmax_curvature)(error, K, m, t, NAME(factor)(weight, scale, n), gauss_newton, 0, m);
        return;
    }
    for (ptrdiff_t begin = 0, n = 0, k = 0; begin < N * K; begin += LANES) {
        const ptrdiff_t count = N * K - begin < LANES ? N * K - begin : LANES;
        double each[LANES];
        NAME(elementwise_curvature)(activation, error, count, a + begin, t + begin, gauss_newton, each);
        for (ptrdiff_t i = 0; i < count; i++) {
            m[begin + i] = (REAL)(NAME(factor)(weight, scale, n) * each[i]);
            if (++k == K) k = 0, n++;
        }
    }
}
