/* Rows that are often shorter than a vector, and always too short for a call of memcpy or for a loop with a tail. */

/* to[i] = from[i] for n > 0 */
static INLINE void NAME(copy_run)(ptrdiff_t n, const REAL *from, REAL *to)
{
#if HAS_VECTORS
    for (; n > VEC_LANES; n -= VEC_LANES, from += VEC_LANES, to += VEC_LANES) {
        OPAQUE(to); /* or the compiler makes it a memmove after all */
        NAME(store)(to, NAME(load)(from));
    }
#endif
#if HAS_MASKS
    NAME(store_part)(to, NAME(load_part)(from, n), n);
#elif HAS_VECTORS
    /* Two that overlap do for any number in between. */
    if (n == VEC_LANES) {
        NAME(store)(to, NAME(load)(from));
    } else if (n >= QUAD_LANES) {
        *(QUAD *)to = *(const QUAD *)from;
        *(QUAD *)(to + n - QUAD_LANES) = *(const QUAD *)(from + n - QUAD_LANES);
    } else {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
#else
    for (ptrdiff_t i = 0; i < n; i++) to[i] = from[i];
#endif
}

/* to[i] += from[i] */
static INLINE void NAME(add_run)(ptrdiff_t n, const REAL *from, REAL *to)
{
    ptrdiff_t i = 0;
#if HAS_MASKS
    for (; i + VEC_LANES < n; i += VEC_LANES) NAME(store)(to + i, NAME(load)(to + i) + NAME(load)(from + i));
    NAME(store_part)(to + i, NAME(load_part)(to + i, n - i) + NAME(load_part)(from + i, n - i), n - i);
#else
#if HAS_VECTORS
    for (; i + VEC_LANES <= n; i += VEC_LANES) NAME(store)(to + i, NAME(load)(to + i) + NAME(load)(from + i));
#endif
    for (; i < n; i++) to[i] += from[i];
#endif
}

/* to[i] = a from[i] */
static INLINE void NAME(scale_run)(ptrdiff_t n, REAL a, const REAL *from, REAL *to)
{
    ptrdiff_t i = 0;
#if HAS_VECTORS
    for (; i + VEC_LANES <= n; i += VEC_LANES) NAME(store)(to + i, a * NAME(load)(from + i));
#endif
#if HAS_MASKS
    NAME(store_part)(to + i, a * NAME(load_part)(from + i, n - i), n - i);
#else
    for (; i < n; i++) to[i] = a * from[i];
#endif
}
