/* Every kernel: what it computes, and how it is called. No other place declares one: kernels.h makes the tables of
 * function pointers of this list, all_kernels.inc.h the prototypes and the tables' contents, and
 * build_tools/kernel_interface.py the functions that Cython calls.
 *
 * KERNEL          in float and double
 * DOUBLE_KERNEL   in double only
 * VECTOR_KERNEL   in float and double; NULL where the compiler has no vectors
 *
 * A comment stands before each. Where it says so, `work` holds that many numbers; nothing else is ever written but what
 * it names. Arrays overlap nowhere but where it says they may. A scalar of type REAL is a double to Cython, and rounded
 * once on the way. */

/* z = h(a), h1 = h'(a), h2 = h''(a), elementwise; h2, or both, may be NULL; z may be a */
KERNEL(void, activate, (int activation, ptrdiff_t n, const REAL *a, REAL *z, REAL *h1, REAL *h2))

/* z[n, :] = softmax(a[n, :]); z may be a */
KERNEL(void, softmax, (ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *z))

/* returns sum_n weight_n E_n, a NULL weight being 1; delta[n, k] = scale weight_n dE_n/da_nk unless delta is NULL;
 * work: 2 N K */
KERNEL(double, error, (int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                       const REAL *weight, REAL scale, REAL *delta, REAL *work))

/* M[n, :, :] = scale weight_n d2E_n/da da (or M' of the Gauss-Newton matrix), exactly symmetric; work: K */
KERNEL(void, error_curvature, (int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                               const REAL *weight, REAL scale, int gauss_newton, REAL *M, REAL *work))

/* m[n] = scale weight_n diag M_n */
KERNEL(void, error_diagonal, (int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,
                              const REAL *weight, REAL scale, int gauss_newton, REAL *m))

/* out[n] = scale weight_n M_n v[n] for a softmax with outputs y; work: 3 K */
KERNEL(void, softmax_tangent, (int error, ptrdiff_t N, ptrdiff_t K, const REAL *y, const REAL *t, const REAL *weight,
                               REAL scale, int gauss_newton, const REAL *v, REAL *out, REAL *work))

/* M'_n = s_n sum_r F[n, r]^T F[n, r], s_n being 1, or sum_k t_nk for the cross-entropy */
KERNEL(void, output_factor, (int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *F))

/* s[n, i] (+)= sum_r c[n, r] rows[n, r, i]^2; overwrites s unless add */
KERNEL(void, sum_squares, (ptrdiff_t N, ptrdiff_t R, ptrdiff_t width, const REAL *c, const REAL *rows, int add,
                           REAL *s))

/* y = x^2 */
KERNEL(void, square, (ptrdiff_t n, const REAL *x, REAL *y))

/* y += x */
KERNEL(void, add, (ptrdiff_t n, const REAL *x, REAL *y))

/* y = h1 x + h2 r, or y = h1 x if h2 is NULL; y may be x */
KERNEL(void, scaled_sum, (ptrdiff_t n, const REAL *h1, const REAL *x, const REAL *h2, const REAL *r, REAL *y))

/* y[n, j, i] = x[n, i, j] */
KERNEL(void, transpose, (ptrdiff_t N, ptrdiff_t rows, ptrdiff_t columns, const REAL *x, REAL *y))

/* M[n, i, i] += d[n, i]; or, unless add, M[n] = diag d[n] */
KERNEL(void, diagonal, (ptrdiff_t N, ptrdiff_t width, const REAL *d, int add, REAL *M))

/* y[n] = the upper triangle of x[n], row by row */
KERNEL(void, triangles, (ptrdiff_t N, ptrdiff_t width, const REAL *x, REAL *y))

/* y[n, t] = z[n, i] z[n, j] for `count` pairs i <= j of an upper triangle, from (i, j) on */
KERNEL(void, pair_products, (ptrdiff_t N, ptrdiff_t width, ptrdiff_t i, ptrdiff_t j, ptrdiff_t count, const REAL *z,
                             REAL *y))

/* H = its upper triangle, mirrored; or, if both are to count, H + H^T: rows first to before last, and the columns */
KERNEL(void, symmetrize, (ptrdiff_t first, ptrdiff_t last, ptrdiff_t P, int both, REAL *H))

/* whether no element is NaN or infinite */
KERNEL(int, all_finite, (ptrdiff_t n, const REAL *x))

/* rows[n, :] = x[order[n], :] */
KERNEL(void, take_rows, (ptrdiff_t N, ptrdiff_t width, const ptrdiff_t *order, const REAL *x, REAL *rows))

/* y[n, r, :] *= x[n, :] */
KERNEL(void, multiply, (ptrdiff_t N, ptrdiff_t R, ptrdiff_t width, const REAL *x, REAL *y))

/* s[k] (+)= sum_n x[n, k]; overwrites s unless add */
KERNEL(void, column_sums, (ptrdiff_t N, ptrdiff_t K, const REAL *x, int add, REAL *s))

/* g[n, i, o] (+)= z[n, i] delta[n, o], their rows z_row, delta_row and g_row apart; overwrites g unless add */
KERNEL(void, outer, (ptrdiff_t N, ptrdiff_t n_in, ptrdiff_t n_out, const REAL *z, ptrdiff_t z_row, const REAL *delta,
                     ptrdiff_t delta_row, int add, REAL *g, ptrdiff_t g_row))

/* patches[r - first, t, :] = x[r / G, taps[r % G, t], :], 0 outside, for `count` rows from `first` on */
KERNEL(void, gather_patches, (ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t S, ptrdiff_t step, ptrdiff_t C,
                              ptrdiff_t image, const fbp_span *spans, const REAL *x, REAL *patches))

/* y[r / G, taps[r % G, t], :] += patches[r - first, t, :] */
KERNEL(void, scatter_patches, (ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t S, ptrdiff_t step, ptrdiff_t C,
                               ptrdiff_t image, const fbp_span *spans, const REAL *patches, REAL *y))

/* y[n, g, :] = scale sum_t x[n, taps[g, t], :] */
KERNEL(void, average, (ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image, const int *taps, REAL scale,
                       const REAL *x, REAL *y))

/* dx[n, taps[g, t], :] += scale dy[n, g, :] */
KERNEL(void, spread_average, (ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image, const int *taps,
                              REAL scale, const REAL *dy, REAL *dx))

/* y[n, g, c] = max_t x[n, taps[g, t], c], and the pixel it came from */
KERNEL(void, maximum, (ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image, const int *taps,
                       const REAL *x, REAL *y, int *chosen))

/* y[n, r, g, c] = x[n, r, chosen[n, g, c], c] */
KERNEL(void, pick, (ptrdiff_t N, ptrdiff_t R, ptrdiff_t G, ptrdiff_t C, ptrdiff_t image, const int *chosen,
                    const REAL *x, REAL *y))

/* dx[n, r, chosen[n, g, c], c] += dy[n, r, g, c] */
KERNEL(void, unpick, (ptrdiff_t N, ptrdiff_t R, ptrdiff_t G, ptrdiff_t C, ptrdiff_t image, const int *chosen,
                      const REAL *dy, REAL *dx))

/* v = momentum v + g, p = (1 - rate decay) p - rate v; nesterov: g + momentum v in place of v */
KERNEL(void, sgd, (ptrdiff_t n, const REAL *g, REAL *p, REAL *v, REAL rate, REAL momentum, int nesterov, REAL decay))

/* m = beta1 m + rest1 g, v = beta2 v + rest2 g^2, p = (1 - decay) p - rate m / (root_scale sqrt(v) + epsilon) */
KERNEL(void, adam, (ptrdiff_t n, const REAL *g, REAL *p, REAL *m, REAL *v, REAL rate, REAL beta1, REAL rest1,
                    REAL beta2, REAL rest2, REAL root_scale, REAL epsilon, REAL decay))

/* y = H x, H the symmetric matrix of a lower triangle with leading dimension ld, of which only the rows from `first`
 * on count */
DOUBLE_KERNEL(void, symv, (ptrdiff_t first, ptrdiff_t n, const REAL *H, ptrdiff_t ld, const REAL *x, REAL *y))

/* y[j, i] = x[i, j], their rows x_row and y_row apart */
DOUBLE_KERNEL(void, turn, (ptrdiff_t rows, ptrdiff_t columns, const REAL *x, ptrdiff_t x_row, REAL *y, ptrdiff_t y_row))

/* returns sum_i x[i] y[i]; y may be x */
DOUBLE_KERNEL(REAL, dot, (ptrdiff_t n, const REAL *x, const REAL *y))

/* S = R^T R in the upper triangle; returns whether every pivot is finite and above least[j] */
DOUBLE_KERNEL(int, cholesky, (ptrdiff_t k, REAL *S, ptrdiff_t ld, const REAL *least))

/* Z = R^-T Z for k rows of n, R upper triangular */
DOUBLE_KERNEL(void, solve, (ptrdiff_t k, ptrdiff_t n, const REAL *R, ptrdiff_t ldr, REAL *Z, ptrdiff_t ldz))

/* C[m, n] = start[m, n] + sum_k A[m a_row + k a_col] B[k b_row + n b_col], of each pair of steps one being 1;
 * start: FBP_ZERO, FBP_ADD (C itself) or FBP_BIAS (bias[n]) */
VECTOR_KERNEL(void, gemm, (ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_row, ptrdiff_t a_col,
                           const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *C, ptrdiff_t ldc, int start,
                           const REAL *bias))
