/* Vectors of VECTOR_BYTES, and their loads and stores: anywhere, whole or in part. */
typedef REAL NAME(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(unaligned_vec) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(quad) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

static INLINE VEC NAME(load)(const REAL *p) { return *(const NAME(unaligned_vec) *)p; }
static INLINE void NAME(store)(REAL *p, VEC v) { *(NAME(unaligned_vec) *)p = v; }

#undef HAS_AVX_LANES
#if VECTOR_BYTES == 32 && defined(X86_DISPATCH)
#define HAS_AVX_LANES 1
/* All bits of the first n lanes */
static INLINE __m256i NAME(lanes)(ptrdiff_t n)
{
    static const int ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - n * (ptrdiff_t)(sizeof(REAL) / 4)));
}
#else
#define HAS_AVX_LANES 0
#endif

/* The first n lanes, the others 0. */
static INLINE VEC NAME(load_part)(const REAL *p, ptrdiff_t n)
{
#if HAS_MASKS && IS_FLOAT
    return (VEC)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif HAS_MASKS
    return (VEC)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p);
#elif HAS_AVX_LANES && IS_FLOAT
    return (VEC)_mm256_maskload_ps(p, NAME(lanes)(n));
#elif HAS_AVX_LANES
    return (VEC)_mm256_maskload_pd(p, NAME(lanes)(n));
#else
    VEC v = {0};
    for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

/* Its first n lanes. By halves and quarters with AVX: masked stores take some processors dozens of cycles. */
static INLINE void NAME(store_part)(REAL *p, VEC v, ptrdiff_t n)
{
#if HAS_MASKS && IS_FLOAT
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#elif HAS_MASKS
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1u), (__m512d)v);
#elif HAS_AVX_LANES && IS_FLOAT
    __m128 rest = _mm256_castps256_ps128((__m256)v);
    if (n & 8) {
        NAME(store)(p, v);
        return;
    }
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps((__m256)v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
#elif HAS_AVX_LANES
    __m128d rest = _mm256_castpd256_pd128((__m256d)v);
    if (n & 4) {
        NAME(store)(p, v);
        return;
    }
    if (n & 2) {
        _mm_storeu_pd(p, rest);
        rest = _mm256_extractf128_pd((__m256d)v, 1);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, rest);
#else
    for (ptrdiff_t i = 0; i < n; i++) p[i] = v[i];
#endif
}
