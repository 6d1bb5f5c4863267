/* Vectors of VECTOR_BYTES, and their loads and stores: anywhere, whole or in part. */
typedef REAL NAME(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(unaligned_vec) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(quad) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

static INLINE VEC NAME(load)(const REAL *p) { return *(const NAME(unaligned_vec) *)p; }
static INLINE void NAME(store)(REAL *p, VEC v) { *(NAME(unaligned_vec) *)p = v; }

/* The first n lanes, the others 0. */
static INLINE VEC NAME(load_part)(const REAL *p, ptrdiff_t n)
{
#if HAS_MASKS && IS_FLOAT
    return (VEC)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif HAS_MASKS
    return (VEC)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p);
#else
    VEC v = {0};
    for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

static INLINE void NAME(store_part)(REAL *p, VEC v, ptrdiff_t n)
{
#if HAS_MASKS && IS_FLOAT
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#elif HAS_MASKS
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1u), (__m512d)v);
#else
    for (ptrdiff_t i = 0; i < n; i++) p[i] = v[i];
#endif
}
