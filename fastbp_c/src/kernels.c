/* Instantiates the *.inc.h kernels for every instruction set this compiler can target, and picks one. */
#include "kernels.h"

#include <math.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define INLINE __forceinline
#define NOINLINE __declspec(noinline)
#define ALIGNED __declspec(align(64))
#define restrict __restrict
#define SIMD(clauses)
#else
#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define ALIGNED __attribute__((aligned(64)))
#define PREFETCH(p) __builtin_prefetch(p)
#define PREFETCH_AHEAD(p) __builtin_prefetch(p, 0, 2)      /* into the second-level cache */
#define OPAQUE(p) __asm__("" : "+r"(p))   /* the compiler must not derive it from anything else */
#define PRAGMA(text) _Pragma(#text)
#define SIMD(clauses) PRAGMA(omp simd clauses)
#ifdef __clang__
#define UNROLL PRAGMA(clang loop unroll(full))
#else
#define UNROLL PRAGMA(GCC unroll 16)
#endif
#define HAS_VECTORS 1
#endif

#if HAS_VECTORS && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAS_SHUFFLE 1
#endif
#endif
#ifndef HAS_SHUFFLE
#define HAS_SHUFFLE 0
#endif

#if HAS_VECTORS && (defined(__x86_64__) || defined(__i386__))
#define X86_DISPATCH 1
#include <immintrin.h>
#endif

/* What they stand for depends on REAL, NAME and VECTOR_BYTES where they are used. */
#define VEC NAME(vec)
#define QUAD NAME(quad)
#define VEC_LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define QUAD_LANES ((ptrdiff_t)(16 / sizeof(REAL)))

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)

#if HAS_VECTORS
/* What the matrix product packs for large products (gemm.inc.h), a thread's own, and in its memory from the first of
 * them on. Beyond what fits RIGHT_BYTES is a line for each panel. */
#define LEFT_MOST (384 << 10)
#define RIGHT_BYTES (64 << 10)
static __thread ALIGNED char packed_left[LEFT_MOST];
static __thread ALIGNED char packed_right[RIGHT_BYTES + (8 << 10)];
#endif

/* For each instruction set:
 * TILE_ROWS    rows of a tile: with 2 vectors each they leave a quarter of the registers for A and B
 * LEFT_BYTES   packed part of A: half of the second-level cache that processors with this set have at least (512 KiB
 *              with AVX2, 1 MiB with AVX-512), and no more columns of C at once than it has sets for
 * GROUP_ROWS   from how many rows of A on a B of
 * GROUP_BYTES  is packed by groups of panels
 * benches/bench_product.py */

/* What every machine of this architecture has: SSE2 on x86-64, NEON on arm64. */
#define ISA baseline
#define VECTOR_BYTES 16
#define HAS_MASKS 0
#ifdef __aarch64__
#define TILE_ROWS 12
#else
#define TILE_ROWS 6
#endif
#define LEFT_BYTES (256 << 10)
#define GROUP_ROWS 48
#define GROUP_BYTES (1 << 20)
#include "both_types.inc.h"

#ifdef X86_DISPATCH

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define ISA avx2
#define VECTOR_BYTES 32
#define HAS_MASKS 0
#define TILE_ROWS 6
#define LEFT_BYTES (256 << 10)
#define GROUP_ROWS 48
#define GROUP_BYTES (1 << 20)
#include "both_types.inc.h"
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif
#define ISA avx512
#define VECTOR_BYTES 64
#define HAS_MASKS 1
#define TILE_ROWS 12
#define LEFT_BYTES LEFT_MOST
#define GROUP_ROWS 96
#define GROUP_BYTES (2 << 20)
#include "both_types.inc.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

static const struct {
    const char *name;
    int vector_bytes;
    const fbp_kernels_f *f;
    const fbp_kernels_d *d;
} INSTRUCTION_SETS[] = {
    {"baseline", 16, &kernels_baseline_f, &kernels_baseline_d},
#ifdef X86_DISPATCH
    {"avx2", 32, &kernels_avx2_f, &kernels_avx2_d},
    {"avx512", 64, &kernels_avx512_f, &kernels_avx512_d},
#endif
};

/* How many of INSTRUCTION_SETS this processor runs; each includes the ones before it. */
static int supported(void)
{
#ifdef X86_DISPATCH
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 1;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 2;
    return 3;
#else
    return 1;
#endif
}

int fbp_select(const char *name, const fbp_kernels_f **f, const fbp_kernels_d **d, const char **chosen, int *bytes)
{
    for (int i = supported() - 1; i >= 0; i--)
        if (!name || !strcmp(name, INSTRUCTION_SETS[i].name)) {
            *f = INSTRUCTION_SETS[i].f;
            *d = INSTRUCTION_SETS[i].d;
            *chosen = INSTRUCTION_SETS[i].name;
            *bytes = INSTRUCTION_SETS[i].vector_bytes;
            return 1;
        }
    return 0;
}
