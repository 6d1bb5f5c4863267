/* All kernels for one instruction set (ISA, VECTOR_BYTES, HAS_MASKS, TILE_ROWS, ...), in float and double. */
#define REAL float
#define IS_FLOAT 1
#define NAME(x) PASTE(PASTE(x, ISA), f)
#define TABLE fbp_kernels_f
#include "all_kernels.inc.h"
#undef REAL
#undef IS_FLOAT
#undef NAME
#undef TABLE

#define REAL double
#define IS_FLOAT 0
#define NAME(x) PASTE(PASTE(x, ISA), d)
#define TABLE fbp_kernels_d
#include "all_kernels.inc.h"
#undef REAL
#undef IS_FLOAT
#undef NAME
#undef TABLE

#undef ISA
#undef VECTOR_BYTES
#undef HAS_MASKS
#undef TILE_ROWS
#undef LEFT_BYTES
#undef GROUP_ROWS
#undef GROUP_BYTES
