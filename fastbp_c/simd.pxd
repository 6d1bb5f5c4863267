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

    ctypedef struct fbp_kernels_f:
        void (*activate)(int, Py_ssize_t, const float *, float *, float *, float *) noexcept nogil
        void (*softmax)(Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        double (*error)(int, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *, float,
                        float *, float *) noexcept nogil
        void (*error_curvature)(int, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *, float,
                                int, float *, float *) noexcept nogil
        int (*all_finite)(Py_ssize_t, const float *) noexcept nogil
        void (*gather)(Py_ssize_t, Py_ssize_t, const Py_ssize_t *, const float *, float *) noexcept nogil
        void (*multiply)(Py_ssize_t, const float *, float *) noexcept nogil
        void (*column_sums)(Py_ssize_t, Py_ssize_t, const float *, int, float *) noexcept nogil
        void (*outer)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, const float *, int, float *,
                      Py_ssize_t) noexcept nogil
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
        int (*all_finite)(Py_ssize_t, const double *) noexcept nogil
        void (*gather)(Py_ssize_t, Py_ssize_t, const Py_ssize_t *, const double *, double *) noexcept nogil
        void (*multiply)(Py_ssize_t, const double *, double *) noexcept nogil
        void (*column_sums)(Py_ssize_t, Py_ssize_t, const double *, int, double *) noexcept nogil
        void (*outer)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *, int, double *,
                      Py_ssize_t) noexcept nogil
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


cdef inline void gather(
    Py_ssize_t N, Py_ssize_t width, const Py_ssize_t *order, const floating *x, floating *rows
) noexcept nogil:
    """rows[n, :] = x[order[n], :]"""
    if floating is float:
        kernels_f.gather(N, width, order, x, rows)
    else:
        kernels_d.gather(N, width, order, x, rows)


cdef inline void multiply(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    """y *= x"""
    if floating is float:
        kernels_f.multiply(n, x, y)
    else:
        kernels_d.multiply(n, x, y)


cdef inline void column_sums(
    Py_ssize_t N, Py_ssize_t K, const floating *x, bint add, floating *s
) noexcept nogil:
    """s[k] (+)= sum_n x[n, k]"""
    if floating is float:
        kernels_f.column_sums(N, K, x, add, s)
    else:
        kernels_d.column_sums(N, K, x, add, s)


cdef inline void outer(
    Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out, const floating *z, const floating *delta, bint add,
    floating *g, Py_ssize_t stride,
) noexcept nogil:
    """g[n stride + i n_out + o] (+)= z[n, i] delta[n, o]"""
    if floating is float:
        kernels_f.outer(N, n_in, n_out, z, delta, add, g, stride)
    else:
        kernels_d.outer(N, n_in, n_out, z, delta, add, g, stride)


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
