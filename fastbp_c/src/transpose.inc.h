/* Transposes, by blocks of registers.
 *
 * A block is as many rows as a vector has lanes, QUAD_LANES columns wide. Each vector is made of 16 bytes of several
 * rows, so that all shuffles stay within 16 bytes, where they are cheap. What does not fill a block is done by one that
 * overlaps the block before it. */
#if HAS_SHUFFLE
typedef REAL NAME(pair) __attribute__((vector_size(32)));

/* Lanes of two vectors, a and b, for __builtin_shufflevector: four patterns for every 16 bytes, and one after the other. */
#define LANE_A(i) (int)(i)
#define LANE_B(i) (int)(VEC_LANES + (i))
#if IS_FLOAT
#define LOW(i) LANE_A(i), LANE_B(i), LANE_A(i + 1), LANE_B(i + 1)
#define HIGH(i) LANE_A(i + 2), LANE_B(i + 2), LANE_A(i + 3), LANE_B(i + 3)
#define FIRST(i) LANE_A(i), LANE_A(i + 1), LANE_B(i), LANE_B(i + 1)
#define SECOND(i) LANE_A(i + 2), LANE_A(i + 3), LANE_B(i + 2), LANE_B(i + 3)
#define LANES_4(i) (int)(i), (int)(i) + 1, (int)(i) + 2, (int)(i) + 3
#else
#define LOW(i) LANE_A(i), LANE_B(i)
#define HIGH(i) LANE_A(i + 1), LANE_B(i + 1)
#define LANES_4(i) (int)(i), (int)(i) + 1
#endif
#if VECTOR_BYTES == 16
#define EACH_QUAD(PATTERN) PATTERN(0)
#elif VECTOR_BYTES == 32
#define EACH_QUAD(PATTERN) PATTERN(0), PATTERN(QUAD_LANES)
#else
#define EACH_QUAD(PATTERN) PATTERN(0), PATTERN(QUAD_LANES), PATTERN(2 * QUAD_LANES), PATTERN(3 * QUAD_LANES)
#endif

/* Row 0, QUAD_LANES, ... of x, 16 bytes of each */
static INLINE VEC NAME(of_rows)(const REAL *x, ptrdiff_t ldx)
{
    const QUAD r0 = *(const QUAD *)x;
#if VECTOR_BYTES == 16
    return r0;
#else
    const QUAD r1 = *(const QUAD *)(x + QUAD_LANES * ldx);
    const NAME(pair) low = __builtin_shufflevector(r0, r1, LANES_4(0), LANES_4(QUAD_LANES));
#if VECTOR_BYTES == 32
    return low;
#else
    const QUAD r2 = *(const QUAD *)(x + 2 * QUAD_LANES * ldx), r3 = *(const QUAD *)(x + 3 * QUAD_LANES * ldx);
    const NAME(pair) high = __builtin_shufflevector(r2, r3, LANES_4(0), LANES_4(QUAD_LANES));
    return __builtin_shufflevector(low, high, EACH_QUAD(LANES_4));
#endif
#endif
}

/* y[j, i] = x[i, j] for i < VEC_LANES, j < QUAD_LANES */
static INLINE void NAME(transpose_block)(const REAL *x, ptrdiff_t ldx, REAL *y, ptrdiff_t ldy)
{
    const VEC r0 = NAME(of_rows)(x, ldx), r1 = NAME(of_rows)(x + ldx, ldx);
#if IS_FLOAT
    const VEC r2 = NAME(of_rows)(x + 2 * ldx, ldx), r3 = NAME(of_rows)(x + 3 * ldx, ldx);
    const VEC low01 = __builtin_shufflevector(r0, r1, EACH_QUAD(LOW));
    const VEC low23 = __builtin_shufflevector(r2, r3, EACH_QUAD(LOW));
    const VEC high01 = __builtin_shufflevector(r0, r1, EACH_QUAD(HIGH));
    const VEC high23 = __builtin_shufflevector(r2, r3, EACH_QUAD(HIGH));
    NAME(store)(y, __builtin_shufflevector(low01, low23, EACH_QUAD(FIRST)));
    NAME(store)(y + ldy, __builtin_shufflevector(low01, low23, EACH_QUAD(SECOND)));
    NAME(store)(y + 2 * ldy, __builtin_shufflevector(high01, high23, EACH_QUAD(FIRST)));
    NAME(store)(y + 3 * ldy, __builtin_shufflevector(high01, high23, EACH_QUAD(SECOND)));
#else
    NAME(store)(y, __builtin_shufflevector(r0, r1, EACH_QUAD(LOW)));
    NAME(store)(y + ldy, __builtin_shufflevector(r0, r1, EACH_QUAD(HIGH)));
#endif
}

/* The sums of the elements of QUAD_LANES vectors. */
static INLINE QUAD NAME(sums_of)(const VEC *v)
{
    QUAD part[VECTOR_BYTES / 16];
#if IS_FLOAT
    const VEC v01 = __builtin_shufflevector(v[0], v[1], EACH_QUAD(LOW)) +
                    __builtin_shufflevector(v[0], v[1], EACH_QUAD(HIGH));
    const VEC v23 = __builtin_shufflevector(v[2], v[3], EACH_QUAD(LOW)) +
                    __builtin_shufflevector(v[2], v[3], EACH_QUAD(HIGH));
    const VEC sums = __builtin_shufflevector(v01, v23, EACH_QUAD(FIRST)) +
                     __builtin_shufflevector(v01, v23, EACH_QUAD(SECOND));
#else
    const VEC sums = __builtin_shufflevector(v[0], v[1], EACH_QUAD(LOW)) +
                     __builtin_shufflevector(v[0], v[1], EACH_QUAD(HIGH));
#endif
    memcpy(part, &sums, sizeof part);
    for (size_t i = VECTOR_BYTES / 32; i > 0; i /= 2)
        for (size_t j = 0; j < i; j++) part[j] += part[j + i];
    return part[0];
}
#endif

/* y[j, i] = x[i, j] */
static NOINLINE void NAME(transpose_matrix)(ptrdiff_t rows, ptrdiff_t columns, const REAL *restrict x, ptrdiff_t ldx,
                                            REAL *restrict y, ptrdiff_t ldy)
{
#if HAS_SHUFFLE
    if (rows >= VEC_LANES && columns >= QUAD_LANES) {
        for (ptrdiff_t next_i = 0; next_i < rows; next_i += VEC_LANES) {
            const ptrdiff_t i = next_i < rows - VEC_LANES ? next_i : rows - VEC_LANES;
            for (ptrdiff_t next_j = 0; next_j < columns; next_j += QUAD_LANES) {
                const ptrdiff_t j = next_j < columns - QUAD_LANES ? next_j : columns - QUAD_LANES;
                NAME(transpose_block)(x + i * ldx + j, ldx, y + j * ldy + i, ldy);
            }
        }
        return;
    }
#endif
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) y[j * ldy + i] = x[i * ldx + j];
}

#if HAS_SHUFFLE
#undef LANE_A
#undef LANE_B
#undef LOW
#undef HIGH
#undef FIRST
#undef SECOND
#undef LANES_4
#undef EACH_QUAD
#endif
