/* All kernels for one instruction set and one type, and the table through which they are called. */
#include "activation.inc.h"
#include "error.inc.h"
#include "error_curvature.inc.h"
#if HAS_VECTORS
#include "vector.inc.h"
#endif
#include "run.inc.h"
#include "transpose.inc.h"
#if HAS_VECTORS
#include "gemm.inc.h"
#endif
#include "symmetric.inc.h"
#include "curvature.inc.h"
#include "patches.inc.h"
#include "update.inc.h"

static const TABLE NAME(kernels) = {
    .activate = NAME(activate),
    .softmax = NAME(softmax),
    .error = NAME(error),
    .error_curvature = NAME(error_curvature),
    .error_diagonal = NAME(error_diagonal),
    .softmax_tangent = NAME(softmax_tangent),
    .output_factor = NAME(output_factor),
    .sum_squares = NAME(sum_squares),
    .square = NAME(square),
    .add = NAME(add),
    .scaled_sum = NAME(scaled_sum),
    .transpose = NAME(transpose),
    .diagonal = NAME(diagonal),
    .triangles = NAME(triangles),
    .pair_products = NAME(pair_products),
    .symmetrize = NAME(symmetrize),
    .all_finite = NAME(all_finite),
    .take_rows = NAME(take_rows),
    .multiply = NAME(multiply),
    .column_sums = NAME(column_sums),
    .outer = NAME(outer),
    .gather_patches = NAME(gather_patches),
    .scatter_patches = NAME(scatter_patches),
    .average = NAME(average),
    .spread_average = NAME(spread_average),
    .maximum = NAME(maximum),
    .pick = NAME(pick),
    .unpick = NAME(unpick),
    .sgd = NAME(sgd),
    .adam = NAME(adam),
    .symv = NAME(symv),
    .dot = NAME(dot),
    .cholesky = NAME(cholesky),
    .solve = NAME(solve),
#if HAS_VECTORS
    .gemm = NAME(gemm),
#endif
};
