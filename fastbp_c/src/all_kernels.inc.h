/* All kernels for one instruction set and one type, and the table through which they are called. */
#if HAS_VECTORS
#define VECTOR_KERNEL KERNEL
#else
#define VECTOR_KERNEL(result, name, arguments)
#endif
#if IS_FLOAT
#define DOUBLE_KERNEL(result, name, arguments)
#else
#define DOUBLE_KERNEL KERNEL
#endif

/* A definition that does not fit its declaration is an error. */
#define KERNEL(result, name, arguments) static result NAME(name) arguments;
#include "kernel_list.inc.h"
#undef KERNEL

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
#if !IS_FLOAT
#include "symmetric.inc.h"
#endif
#include "curvature.inc.h"
#include "patches.inc.h"
#include "update.inc.h"

#define KERNEL(result, name, arguments) .name = NAME(name),
static const TABLE NAME(kernels) = {
#include "kernel_list.inc.h"
};
#undef KERNEL
#undef VECTOR_KERNEL
#undef DOUBLE_KERNEL
