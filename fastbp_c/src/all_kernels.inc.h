/* All kernels for one instruction set and one type, and the table through which they are called. */
#include "activation.inc.h"
#include "error.inc.h"
#if HAS_VECTORS
#include "gemm.inc.h"
#endif
#include "symmetric.inc.h"
#include "update.inc.h"

static const TABLE NAME(kernels) = {
    .activate = NAME(activate),
    .softmax = NAME(softmax),
    .error = NAME(error),
    .error_curvature = NAME(error_curvature),
    .all_finite = NAME(all_finite),
    .gather = NAME(gather),
    .multiply = NAME(multiply),
    .column_sums = NAME(column_sums),
    .outer = NAME(outer),
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
