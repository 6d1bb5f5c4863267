/* The vector kernels, as two tables of functions: one for float, one for double.
 *
 * Design:
 * a) Every kernel is declared once, in kernel_list.inc.h.
 * b) Every loop is written once, in the other *.inc.h files, over the macro REAL.
 * c) kernels.c includes them once for each instruction set the compiler can target and for each type.
 * d) fbp_select() looks at the processor at run time and hands out the two tables that Cython calls through.
 * e) No kernel allocates, calls Python or keeps anything from one call to the next; sizes are ptrdiff_t; matrices are
 *    row-major and dense unless a leading dimension or stride is given.
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

/* records.pyx keeps spans in arrays of four int32 each. */
typedef char fbp_span_is_four_int32[sizeof(int) == 4 && sizeof(fbp_span) == 16 ? 1 : -1];

#define KERNEL(result, name, arguments) result(*name) arguments;
#define VECTOR_KERNEL KERNEL
#define DOUBLE_KERNEL(result, name, arguments)
#define REAL float
typedef struct {
#include "kernel_list.inc.h"
} fbp_kernels_f;
#undef DOUBLE_KERNEL
#undef REAL

#define DOUBLE_KERNEL KERNEL
#define REAL double
typedef struct {
#include "kernel_list.inc.h"
} fbp_kernels_d;
#undef KERNEL
#undef VECTOR_KERNEL
#undef DOUBLE_KERNEL
#undef REAL

/* The tables of the instruction set of that name, or the best one this processor has if name is NULL.
 * Returns 0, and touches nothing, if there is no such instruction set here. */
int fbp_select(const char *name, const fbp_kernels_f **f, const fbp_kernels_d **d, const char **chosen, int *bytes);

#endif
