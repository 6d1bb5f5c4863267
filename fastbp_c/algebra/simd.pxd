"""The vector kernels of src/, as fused functions. What each computes stands in src/kernels.h."""

from cython cimport floating


cdef extern from "kernels.h":
    enum:
        FBP_IDENTITY
        FBP_SIGMOID
        FBP_SOFTMAX
        FBP_SQUARED_ERROR
        FBP_BINARY_CROSS_ENTROPY
        FBP_CROSS_ENTROPY
        FBP_ZERO
        FBP_ADD
        FBP_BIAS

    ctypedef struct fbp_span:
        int pixel, first, last
        unsigned lanes

    ctypedef struct fbp_kernels_f:
        void (*activate)(int, Py_ssize_t, const float *, float *, float *, float *) noexcept nogil
        void (*softmax)(Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        double (*error)(int, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *, float,
                        float *, float *) noexcept nogil
        void (*error_curvature)(int, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *, float,
                                int, float *, float *) noexcept nogil
        void (*error_diagonal)(int, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *, float,
                               int, float *) noexcept nogil
        void (*softmax_tangent)(int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *, float,
                                int, const float *, float *, float *) noexcept nogil
        void (*output_factor)(int, int, Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        void (*sum_squares)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, const float *, int,
                            float *) noexcept nogil
        void (*square)(Py_ssize_t, const float *, float *) noexcept nogil
        void (*add)(Py_ssize_t, const float *, float *) noexcept nogil
        void (*scaled_sum)(Py_ssize_t, const float *, const float *, const float *, const float *, float *) noexcept nogil
        void (*transpose)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        void (*diagonal)(Py_ssize_t, Py_ssize_t, const float *, int, float *) noexcept nogil
        void (*triangles)(Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        void (*pair_products)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *,
                              float *) noexcept nogil
        void (*symmetrize)(Py_ssize_t, int, float *) noexcept nogil
        int (*all_finite)(Py_ssize_t, const float *) noexcept nogil
        void (*take_rows)(Py_ssize_t, Py_ssize_t, const Py_ssize_t *, const float *, float *) noexcept nogil
        void (*multiply)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        void (*column_sums)(Py_ssize_t, Py_ssize_t, const float *, int, float *) noexcept nogil
        void (*outer)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, Py_ssize_t, int,
                      float *, Py_ssize_t) noexcept nogil
        void (*gather_patches)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                               const fbp_span *, const float *, float *) noexcept nogil
        void (*scatter_patches)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                const fbp_span *, const float *, float *) noexcept nogil
        void (*average)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, float,
                        const float *, float *) noexcept nogil
        void (*spread_average)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, float,
                               const float *, float *) noexcept nogil
        void (*maximum)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, const float *,
                        float *, int *) noexcept nogil
        void (*pick)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, const float *,
                     float *) noexcept nogil
        void (*unpick)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, const float *,
                       float *) noexcept nogil
        void (*sgd)(Py_ssize_t, const float *, float *, float *, float, float, int, float) noexcept nogil
        void (*adam)(Py_ssize_t, const float *, float *, float *, float *, float, float, float, float, float, float,
                     float, float) noexcept nogil
        void (*symv)(Py_ssize_t, const float *, Py_ssize_t, const float *, float *) noexcept nogil
        float (*dot)(Py_ssize_t, const float *, const float *) noexcept nogil
        int (*cholesky)(Py_ssize_t, float *, const float *) noexcept nogil
        void (*solve)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float *, Py_ssize_t) noexcept nogil
        void (*gemm)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, Py_ssize_t, const float *,
                     Py_ssize_t, Py_ssize_t, float *, Py_ssize_t, int, const float *) noexcept nogil

    ctypedef struct fbp_kernels_d:
        void (*activate)(int, Py_ssize_t, const double *, double *, double *, double *) noexcept nogil
        void (*softmax)(Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        double (*error)(int, int, Py_ssize_t, Py_ssize_t, const double *, const double *, const double *, double,
                        double *, double *) noexcept nogil
        void (*error_curvature)(int, int, Py_ssize_t, Py_ssize_t, const double *, const double *, const double *,
                                double, int, double *, double *) noexcept nogil
        void (*error_diagonal)(int, int, Py_ssize_t, Py_ssize_t, const double *, const double *, const double *,
                               double, int, double *) noexcept nogil
        void (*softmax_tangent)(int, Py_ssize_t, Py_ssize_t, const double *, const double *, const double *, double,
                                int, const double *, double *, double *) noexcept nogil
        void (*output_factor)(int, int, Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        void (*sum_squares)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *, int,
                            double *) noexcept nogil
        void (*square)(Py_ssize_t, const double *, double *) noexcept nogil
        void (*add)(Py_ssize_t, const double *, double *) noexcept nogil
        void (*scaled_sum)(Py_ssize_t, const double *, const double *, const double *, const double *,
                     double *) noexcept nogil
        void (*transpose)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        void (*diagonal)(Py_ssize_t, Py_ssize_t, const double *, int, double *) noexcept nogil
        void (*triangles)(Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        void (*pair_products)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *,
                              double *) noexcept nogil
        void (*symmetrize)(Py_ssize_t, int, double *) noexcept nogil
        int (*all_finite)(Py_ssize_t, const double *) noexcept nogil
        void (*take_rows)(Py_ssize_t, Py_ssize_t, const Py_ssize_t *, const double *, double *) noexcept nogil
        void (*multiply)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        void (*column_sums)(Py_ssize_t, Py_ssize_t, const double *, int, double *) noexcept nogil
        void (*outer)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, Py_ssize_t, int,
                      double *, Py_ssize_t) noexcept nogil
        void (*gather_patches)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                               const fbp_span *, const double *, double *) noexcept nogil
        void (*scatter_patches)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                const fbp_span *, const double *, double *) noexcept nogil
        void (*average)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, double,
                        const double *, double *) noexcept nogil
        void (*spread_average)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, double,
                               const double *, double *) noexcept nogil
        void (*maximum)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, const double *,
                        double *, int *) noexcept nogil
        void (*pick)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, const double *,
                     double *) noexcept nogil
        void (*unpick)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const int *, const double *,
                       double *) noexcept nogil
        void (*sgd)(Py_ssize_t, const double *, double *, double *, double, double, int, double) noexcept nogil
        void (*adam)(Py_ssize_t, const double *, double *, double *, double *, double, double, double, double, double,
                     double, double, double) noexcept nogil
        void (*symv)(Py_ssize_t, const double *, Py_ssize_t, const double *, double *) noexcept nogil
        double (*dot)(Py_ssize_t, const double *, const double *) noexcept nogil
        int (*cholesky)(Py_ssize_t, double *, const double *) noexcept nogil
        void (*solve)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *, Py_ssize_t) noexcept nogil
        void (*gemm)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const double *,
                     Py_ssize_t, Py_ssize_t, double *, Py_ssize_t, int, const double *) noexcept nogil

    int fbp_select(const char *, const fbp_kernels_f **, const fbp_kernels_d **, const char **, int *) noexcept nogil


cdef const fbp_kernels_f *kernels_f
cdef const fbp_kernels_d *kernels_d
cdef double own_limit


cdef inline void activate(
    int activation, Py_ssize_t n, const floating *a, floating *z, floating *h1, floating *h2
) noexcept nogil:
    """z = h(a), h1 = h'(a), h2 = h''(a); h2, or both, may be NULL; z may be a"""
    if floating is float:
        kernels_f.activate(activation, n, a, z, h1, h2)
    else:
        kernels_d.activate(activation, n, a, z, h1, h2)


cdef inline void softmax(Py_ssize_t N, Py_ssize_t K, const floating *a, floating *z) noexcept nogil:
    """z[n, :] = softmax(a[n, :]); z may be a"""
    if floating is float:
        kernels_f.softmax(N, K, a, z)
    else:
        kernels_d.softmax(N, K, a, z)


cdef inline double error(
    int activation, int error, Py_ssize_t N, Py_ssize_t K, const floating *a, const floating *t,
    const floating *weight, floating scale, floating *delta, floating *work,
) noexcept nogil:
    """returns sum_n weight_n E_n; delta[n, k] = scale weight_n dE_n/da_nk unless delta is NULL; work: 2 N K"""
    if floating is float:
        return kernels_f.error(activation, error, N, K, a, t, weight, scale, delta, work)
    else:
        return kernels_d.error(activation, error, N, K, a, t, weight, scale, delta, work)


cdef inline void error_curvature(
    int activation, int error, Py_ssize_t N, Py_ssize_t K, const floating *a, const floating *t,
    const floating *weight, floating scale, bint gauss_newton, floating *M, floating *work,
) noexcept nogil:
    """M[n, :, :] = scale weight_n d2E_n/da da, or M' of the Gauss-Newton matrix; work: 3 N K"""
    if floating is float:
        kernels_f.error_curvature(activation, error, N, K, a, t, weight, scale, gauss_newton, M, work)
    else:
        kernels_d.error_curvature(activation, error, N, K, a, t, weight, scale, gauss_newton, M, work)


cdef inline void error_diagonal(
    int activation, int error, Py_ssize_t N, Py_ssize_t K, const floating *a, const floating *t,
    const floating *weight, floating scale, bint gauss_newton, floating *m,
) noexcept nogil:
    """m[n] = scale weight_n diag M_n"""
    if floating is float:
        kernels_f.error_diagonal(activation, error, N, K, a, t, weight, scale, gauss_newton, m)
    else:
        kernels_d.error_diagonal(activation, error, N, K, a, t, weight, scale, gauss_newton, m)


cdef inline void softmax_tangent(
    int error, Py_ssize_t N, Py_ssize_t K, const floating *y, const floating *t, const floating *weight,
    floating scale, bint gauss_newton, const floating *v, floating *out, floating *work,
) noexcept nogil:
    """out[n] = scale weight_n M_n v[n] for a softmax with outputs y; work: 3 K"""
    if floating is float:
        kernels_f.softmax_tangent(error, N, K, y, t, weight, scale, gauss_newton, v, out, work)
    else:
        kernels_d.softmax_tangent(error, N, K, y, t, weight, scale, gauss_newton, v, out, work)


cdef inline void output_factor(
    int activation, int error, Py_ssize_t N, Py_ssize_t K, const floating *a, floating *F
) noexcept nogil:
    """M'_n = s_n sum_r F[n, r]^T F[n, r], s_n being 1, or sum_k t_nk for the cross-entropy"""
    if floating is float:
        kernels_f.output_factor(activation, error, N, K, a, F)
    else:
        kernels_d.output_factor(activation, error, N, K, a, F)


cdef inline void sum_squares(
    Py_ssize_t N, Py_ssize_t R, Py_ssize_t width, const floating *c, const floating *rows, bint add, floating *s
) noexcept nogil:
    """s[n, i] (+)= sum_r c[n, r] rows[n, r, i]^2"""
    if floating is float:
        kernels_f.sum_squares(N, R, width, c, rows, add, s)
    else:
        kernels_d.sum_squares(N, R, width, c, rows, add, s)


cdef inline void square(
    Py_ssize_t n, const floating *x, floating *y
) noexcept nogil:
    """y = x^2"""
    if floating is float:
        kernels_f.square(n, x, y)
    else:
        kernels_d.square(n, x, y)


cdef inline void add(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    """y += x"""
    if floating is float:
        kernels_f.add(n, x, y)
    else:
        kernels_d.add(n, x, y)


cdef inline void scaled_sum(
    Py_ssize_t n, const floating *h1, const floating *x, const floating *h2, const floating *r, floating *y
) noexcept nogil:
    """y = h1 x + h2 r, or y = h1 x if h2 is NULL; y may be x"""
    if floating is float:
        kernels_f.scaled_sum(n, h1, x, h2, r, y)
    else:
        kernels_d.scaled_sum(n, h1, x, h2, r, y)


cdef inline void transpose(
    Py_ssize_t N, Py_ssize_t rows, Py_ssize_t columns, const floating *x, floating *y
) noexcept nogil:
    """y[n, j, i] = x[n, i, j]"""
    if floating is float:
        kernels_f.transpose(N, rows, columns, x, y)
    else:
        kernels_d.transpose(N, rows, columns, x, y)


cdef inline void diagonal(
    Py_ssize_t N, Py_ssize_t width, const floating *d, bint add, floating *M
) noexcept nogil:
    """M[n, i, i] += d[n, i]; or, unless add, M[n] = diag d[n]"""
    if floating is float:
        kernels_f.diagonal(N, width, d, add, M)
    else:
        kernels_d.diagonal(N, width, d, add, M)


cdef inline void triangles(
    Py_ssize_t N, Py_ssize_t width, const floating *x, floating *y
) noexcept nogil:
    """y[n] = the upper triangle of x[n], row by row"""
    if floating is float:
        kernels_f.triangles(N, width, x, y)
    else:
        kernels_d.triangles(N, width, x, y)


cdef inline void pair_products(
    Py_ssize_t N, Py_ssize_t width, Py_ssize_t i, Py_ssize_t j, Py_ssize_t count, const floating *z, floating *y,
) noexcept nogil:
    """y[n, t] = z[n, i] z[n, j] for `count` pairs i <= j of an upper triangle, from (i, j) on"""
    if floating is float:
        kernels_f.pair_products(N, width, i, j, count, z, y)
    else:
        kernels_d.pair_products(N, width, i, j, count, z, y)


cdef inline void symmetrize(Py_ssize_t P, bint both, floating *H) noexcept nogil:
    """H = its upper triangle, mirrored; or, if both are to count, H + H^T"""
    if floating is float:
        kernels_f.symmetrize(P, both, H)
    else:
        kernels_d.symmetrize(P, both, H)


cdef inline void take_rows(
    Py_ssize_t N, Py_ssize_t width, const Py_ssize_t *order, const floating *x, floating *rows
) noexcept nogil:
    """rows[n, :] = x[order[n], :]"""
    if floating is float:
        kernels_f.take_rows(N, width, order, x, rows)
    else:
        kernels_d.take_rows(N, width, order, x, rows)


cdef inline void multiply(
    Py_ssize_t N, Py_ssize_t R, Py_ssize_t width, const floating *x, floating *y
) noexcept nogil:
    """y[n, r, :] *= x[n, :]"""
    if floating is float:
        kernels_f.multiply(N, R, width, x, y)
    else:
        kernels_d.multiply(N, R, width, x, y)


cdef inline void column_sums(
    Py_ssize_t N, Py_ssize_t K, const floating *x, bint add, floating *s
) noexcept nogil:
    """s[k] (+)= sum_n x[n, k]"""
    if floating is float:
        kernels_f.column_sums(N, K, x, add, s)
    else:
        kernels_d.column_sums(N, K, x, add, s)


cdef inline void outer(
    Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out, const floating *z, Py_ssize_t z_row, const floating *delta,
    Py_ssize_t delta_row, bint add, floating *g, Py_ssize_t g_row,
) noexcept nogil:
    """g[n, i, o] (+)= z[n, i] delta[n, o], their rows z_row, delta_row and g_row apart"""
    if floating is float:
        kernels_f.outer(N, n_in, n_out, z, z_row, delta, delta_row, add, g, g_row)
    else:
        kernels_d.outer(N, n_in, n_out, z, z_row, delta, delta_row, add, g, g_row)


cdef inline void gather_patches(
    Py_ssize_t first, Py_ssize_t count, Py_ssize_t G, Py_ssize_t S, Py_ssize_t step, Py_ssize_t C, Py_ssize_t image,
    const fbp_span *spans, const floating *x, floating *patches,
) noexcept nogil:
    """patches[r - first, t, :] = x[r / G, taps[r % G, t], :], 0 outside, for `count` rows from `first` on"""
    if floating is float:
        kernels_f.gather_patches(first, count, G, S, step, C, image, spans, x, patches)
    else:
        kernels_d.gather_patches(first, count, G, S, step, C, image, spans, x, patches)


cdef inline void scatter_patches(
    Py_ssize_t first, Py_ssize_t count, Py_ssize_t G, Py_ssize_t S, Py_ssize_t step, Py_ssize_t C, Py_ssize_t image,
    const fbp_span *spans, const floating *patches, floating *y,
) noexcept nogil:
    """y[r / G, taps[r % G, t], :] += patches[r - first, t, :]"""
    if floating is float:
        kernels_f.scatter_patches(first, count, G, S, step, C, image, spans, patches, y)
    else:
        kernels_d.scatter_patches(first, count, G, S, step, C, image, spans, patches, y)


cdef inline void average(
    Py_ssize_t N, Py_ssize_t G, Py_ssize_t T, Py_ssize_t C, Py_ssize_t image, const int *taps, double scale,
    const floating *x, floating *y,
) noexcept nogil:
    """y[n, g, :] = scale sum_t x[n, taps[g, t], :]"""
    if floating is float:
        kernels_f.average(N, G, T, C, image, taps, <float> scale, x, y)
    else:
        kernels_d.average(N, G, T, C, image, taps, scale, x, y)


cdef inline void spread_average(
    Py_ssize_t N, Py_ssize_t G, Py_ssize_t T, Py_ssize_t C, Py_ssize_t image, const int *taps, double scale,
    const floating *dy, floating *dx,
) noexcept nogil:
    """dx[n, taps[g, t], :] += scale dy[n, g, :]"""
    if floating is float:
        kernels_f.spread_average(N, G, T, C, image, taps, <float> scale, dy, dx)
    else:
        kernels_d.spread_average(N, G, T, C, image, taps, scale, dy, dx)


cdef inline void maximum(
    Py_ssize_t N, Py_ssize_t G, Py_ssize_t T, Py_ssize_t C, Py_ssize_t image, const int *taps,
    const floating *x, floating *y, int *chosen,
) noexcept nogil:
    """y[n, g, c] = max_t x[n, taps[g, t], c], and the pixel it came from"""
    if floating is float:
        kernels_f.maximum(N, G, T, C, image, taps, x, y, chosen)
    else:
        kernels_d.maximum(N, G, T, C, image, taps, x, y, chosen)


cdef inline void pick(
    Py_ssize_t N, Py_ssize_t R, Py_ssize_t G, Py_ssize_t C, Py_ssize_t image, const int *chosen, const floating *x,
    floating *y,
) noexcept nogil:
    """y[n, r, g, c] = x[n, r, chosen[n, g, c], c]"""
    if floating is float:
        kernels_f.pick(N, R, G, C, image, chosen, x, y)
    else:
        kernels_d.pick(N, R, G, C, image, chosen, x, y)


cdef inline void unpick(
    Py_ssize_t N, Py_ssize_t R, Py_ssize_t G, Py_ssize_t C, Py_ssize_t image, const int *chosen, const floating *dy,
    floating *dx,
) noexcept nogil:
    """dx[n, r, chosen[n, g, c], c] += dy[n, r, g, c]"""
    if floating is float:
        kernels_f.unpick(N, R, G, C, image, chosen, dy, dx)
    else:
        kernels_d.unpick(N, R, G, C, image, chosen, dy, dx)


cdef inline void sgd(
    Py_ssize_t n, const floating *g, floating *p, floating *v, double rate, double momentum, bint nesterov,
    double decay,
) noexcept nogil:
    """v = momentum v + g, p = (1 - rate decay) p - rate v"""
    if floating is float:
        kernels_f.sgd(n, g, p, v, <float> rate, <float> momentum, nesterov, <float> decay)
    else:
        kernels_d.sgd(n, g, p, v, rate, momentum, nesterov, decay)


cdef inline void adam(
    Py_ssize_t n, const floating *g, floating *p, floating *m, floating *v, double rate, double beta1, double beta2,
    double root_scale, double epsilon, double decay,
) noexcept nogil:
    """p = (1 - decay) p - rate m / (root_scale sqrt(v) + epsilon), m and v being the running moments of g"""
    if floating is float:
        kernels_f.adam(n, g, p, m, v, <float> rate, <float> beta1, <float> (1 - beta1), <float> beta2,
                       <float> (1 - beta2), <float> root_scale, <float> epsilon, <float> decay)
    else:
        kernels_d.adam(n, g, p, m, v, rate, beta1, 1 - beta1, beta2, 1 - beta2, root_scale, epsilon, decay)
