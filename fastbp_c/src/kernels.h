/* The vector kernels, as two tables of functions: one for float, one for double.
 *
 * Design:
 * a) Every loop is written once, in the *.inc.h files, over the macro REAL.
 * b) kernels.c includes them once for each instruction set the compiler can target and for each type.
 * c) fbp_select() looks at the processor at run time and hands out the two tables that Cython calls through.
 * d) No kernel allocates, calls Python or keeps state; sizes are ptrdiff_t; matrices are row-major and dense
 *    unless a leading dimension or stride is given.
 */
#ifndef FASTBP_KERNELS_H
#define FASTBP_KERNELS_H

#include <stddef.h>

enum fbp_activation {
    FBP_IDENTITY, FBP_SIGMOID, FBP_TANH, FBP_RELU, FBP_LEAKY_RELU, FBP_SOFTPLUS, FBP_GELU, FBP_SILU,
    FBP_SOFTMAX
};

enum fbp_error { FBP_SQUARED_ERROR, FBP_BINARY_CROSS_ENTROPY, FBP_CROSS_ENTROPY };

/* What a product starts from: nothing, what C holds, or one row that every row of C gets. */
enum fbp_start { FBP_ZERO, FBP_ADD, FBP_BIAS };

/* Some taps of a patch: those from first to before last are pixels one after another, the others are outside the image.
 * `pixel` is that of the first tap, or what it would be; the bits of `lanes` are the numbers inside, if there is room. */
typedef struct {
    int pixel, first, last;
    unsigned lanes;
} fbp_span;

#define FBP_KERNELS(REAL)                                                                                    \
    {                                                                                                        \
        /* z = h(a), h1 = h'(a), h2 = h''(a), elementwise; h2, or both, may be NULL; z may be a */           \
        void (*activate)(int activation, ptrdiff_t n, const REAL *a, REAL *z, REAL *h1, REAL *h2);           \
        /* z[n, :] = softmax(a[n, :]); z may be a */                                                         \
        void (*softmax)(ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *z);                                   \
        /* returns sum_n weight_n E_n; delta[n, k] = scale weight_n dE_n/da_nk unless delta is NULL;         \
         * work: 2 N K */                                                                                    \
        double (*error)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, const REAL *t,   \
                        const REAL *weight, REAL scale, REAL *delta, REAL *work);                            \
        /* M[n, :, :] = scale weight_n d2E_n/da da (or M' of the Gauss-Newton matrix); work: 3 N K */        \
        void (*error_curvature)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a,          \
                                const REAL *t, const REAL *weight, REAL scale, int gauss_newton, REAL *M,    \
                                REAL *work);                                                                 \
        /* m[n] = scale weight_n diag M_n for elementwise activations, whose M is diagonal */                \
        void (*error_diagonal)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a,           \
                               const REAL *t, const REAL *weight, REAL scale, int gauss_newton, REAL *m);    \
        /* out[n] = scale weight_n M_n v[n] for a softmax with outputs y; work: 3 K */                       \
        void (*softmax_tangent)(int error, ptrdiff_t N, ptrdiff_t K, const REAL *y, const REAL *t,           \
                                const REAL *weight, REAL scale, int gauss_newton, const REAL *v, REAL *out,  \
                                REAL *work);                                                                 \
        /* rows F[n, r, :] of a factor of M': M'_n = s_n sum_r F_r^T F_r, see error_curvature.inc.h */       \
        void (*output_factor)(int activation, int error, ptrdiff_t N, ptrdiff_t K, const REAL *a, REAL *F);  \
        /* s[n, i] (+)= sum_r c[n, r] rows[n, r, i]^2; overwrites s unless add */                            \
        void (*sum_squares)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t width, const REAL *c, const REAL *rows,      \
                            int add, REAL *s);                                                               \
        /* y = x^2 */                                                                                        \
        void (*square)(ptrdiff_t n, const REAL *x, REAL *y);                                                 \
        /* y += x */                                                                                         \
        void (*add)(ptrdiff_t n, const REAL *x, REAL *y);                                                    \
        /* z += x y */                                                                                       \
        void (*scaled_sum)(ptrdiff_t n, const REAL *h1, const REAL *x, const REAL *h2, const REAL *r, REAL *y);    \
        /* y[n, j, i] = x[n, i, j] */                                                                        \
        void (*transpose)(ptrdiff_t N, ptrdiff_t rows, ptrdiff_t columns, const REAL *x, REAL *y);           \
        /* M[n, i, i] += d[n, i]; or, unless add, M[n] = diag d[n] */                                        \
        void (*diagonal)(ptrdiff_t N, ptrdiff_t width, const REAL *d, int add, REAL *M);                     \
        /* y[n] = the upper triangle of x[n], row by row */                                                  \
        void (*triangles)(ptrdiff_t N, ptrdiff_t width, const REAL *x, REAL *y);                             \
        /* y[n, t] = z[n, i] z[n, j] for `count` pairs i <= j of an upper triangle, from (i, j) on */        \
        void (*pair_products)(ptrdiff_t N, ptrdiff_t width, ptrdiff_t i, ptrdiff_t j, ptrdiff_t count,       \
                              const REAL *z, REAL *y);                                                       \
        /* H = its upper triangle, mirrored; or, if both are to count, H + H^T */                            \
        void (*symmetrize)(ptrdiff_t P, int both, REAL *H);                                                  \
        /* whether no element is NaN or infinite */                                                          \
        int (*all_finite)(ptrdiff_t n, const REAL *x);                                                       \
        /* rows[n, :] = x[order[n], :] */                                                                    \
        void (*take_rows)(ptrdiff_t N, ptrdiff_t width, const ptrdiff_t *order, const REAL *x, REAL *rows);     \
        /* y[n, r, :] *= x[n, :] */                                                                          \
        void (*multiply)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t width, const REAL *x, REAL *y);                 \
        /* s[k] (+)= sum_n x[n, k]; overwrites s unless add */                                               \
        void (*column_sums)(ptrdiff_t N, ptrdiff_t K, const REAL *x, int add, REAL *s);                      \
        /* g[n, i, o] (+)= z[n, i] delta[n, o], their rows z_row, delta_row and g_row apart;                 \
         * overwrites g unless add */                                                                        \
        void (*outer)(ptrdiff_t N, ptrdiff_t n_in, ptrdiff_t n_out, const REAL *z, ptrdiff_t z_row,          \
                      const REAL *delta, ptrdiff_t delta_row, int add, REAL *g, ptrdiff_t g_row);            \
        /* patches of images and pools of patches, see patches.inc.h */                                      \
        void (*gather_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t S, ptrdiff_t step,   \
                               ptrdiff_t C, ptrdiff_t image, const fbp_span *spans, const REAL *x,           \
                               REAL *patches);                                                               \
        void (*scatter_patches)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t G, ptrdiff_t S, ptrdiff_t step,  \
                                ptrdiff_t C, ptrdiff_t image, const fbp_span *spans, const REAL *patches,    \
                                REAL *y);                                                                    \
        void (*average)(ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image,                 \
                        const int *taps, REAL scale, const REAL *x, REAL *y);                                \
        void (*spread_average)(ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image,          \
                               const int *taps, REAL scale, const REAL *dy, REAL *dx);                       \
        void (*maximum)(ptrdiff_t N, ptrdiff_t G, ptrdiff_t T, ptrdiff_t C, ptrdiff_t image,                 \
                        const int *taps, const REAL *x, REAL *y, int *chosen);                               \
        void (*pick)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t G, ptrdiff_t C, ptrdiff_t image, const int *chosen, \
                     const REAL *x, REAL *y);                                                                \
        void (*unpick)(ptrdiff_t N, ptrdiff_t R, ptrdiff_t G, ptrdiff_t C, ptrdiff_t image,                  \
                       const int *chosen, const REAL *dy, REAL *dx);                                         \
        /* one step of the optimizers, formulas in update.inc.h */                                           \
        void (*sgd)(ptrdiff_t n, const REAL *g, REAL *p, REAL *v, REAL rate, REAL momentum, int nesterov,    \
                    REAL decay);                                                                             \
        void (*adam)(ptrdiff_t n, const REAL *g, REAL *p, REAL *m, REAL *v, REAL rate, REAL beta1,           \
                     REAL rest1, REAL beta2, REAL rest2, REAL root_scale, REAL epsilon, REAL decay);         \
        /* y = H x, H the symmetric matrix of a lower triangle with leading dimension ld; y apart from x */  \
        void (*symv)(ptrdiff_t n, const REAL *H, ptrdiff_t ld, const REAL *x, REAL *y);                      \
        /* returns sum_i x[i] y[i] */                                                                        \
        REAL (*dot)(ptrdiff_t n, const REAL *x, const REAL *y);                                              \
        /* S = R^T R in the upper triangle; returns whether every pivot is finite and above least[j] */      \
        int (*cholesky)(ptrdiff_t k, REAL *S, const REAL *least);                                            \
        /* Z = R^-T Z for k rows of n, R upper triangular */                                                 \
        void (*solve)(ptrdiff_t k, ptrdiff_t n, const REAL *R, ptrdiff_t ldr, REAL *Z, ptrdiff_t ldz);       \
        /* C = start + A B over strided A and B, see gemm.inc.h; NULL where the compiler has no vectors */   \
        void (*gemm)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const REAL *A, ptrdiff_t a_row, ptrdiff_t a_col, \
                     const REAL *B, ptrdiff_t b_row, ptrdiff_t b_col, REAL *C, ptrdiff_t ldc, int start,     \
                     const REAL *bias);                                                                      \
    }

typedef struct FBP_KERNELS(float) fbp_kernels_f;
typedef struct FBP_KERNELS(double) fbp_kernels_d;

/* The tables of the instruction set of that name, or the best one this processor has if name is NULL.
 * Returns 0, and touches nothing, if there is no such instruction set here. */
int fbp_select(const char *name, const fbp_kernels_f **f, const fbp_kernels_d **d, const char **chosen, int *bytes);

#endif
