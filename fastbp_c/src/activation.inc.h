/* Activation functions: z = h(a), h1 = h'(a) and h2 = h''(a), elementwise.
 *
 * Included once per type and instruction set, with REAL, IS_FLOAT, NAME(x) and INLINE defined.
 *
 * Design:
 * a) A function is one branch-free scalar routine which computes all three values; the compiler drops what
 *    a loop does not store. To add one: write the routine, add a line to FBP_ACTIVATIONS.
 * b) Everything rests on one exponential, always of an argument <= 0, whose result cannot overflow.
 * c) Every element, also of the tail, goes through the same full-width vector code: its result does not
 *    depend on where it stands in the array.
 * d) NaN goes in and comes out. The comparisons are written so that they let it pass.
 *
 * Accuracy: h, h' and h'' are within 4 ulp of the true value (identity and relu exact, leaky_relu rounded
 * once), except that they are within an absolute
 *     eps           of gelu'    for |a + 0.752| < 0.75, around its root
 *     eps / 1000    of gelu''   for ||a| - 1.414| < 0.01
 *     eps / 4       of silu'    for |a + 1.278| < 0.5
 *     eps / 4       of silu''   for ||a| - 2.399| < 0.5
 *     2 tiny        of all      where the result, or tanh' in tanh'', is below tiny, the least normal one.
 * tests/accuracy/true_values.py has this table too; exhaustive.py beside it tries every float.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef ALIGNED         /* of arrays on the stack, for speed only */
#define ALIGNED
#endif
#undef BITS
#undef LIT
#undef FABS
#undef COPYSIGN
#undef MANTISSA_BITS
#undef BIAS
#undef LOW_HALF
#undef LN2_HI
#undef LN2_LO
#undef GELU_END
#if IS_FLOAT
#define BITS uint32_t
#define LIT(x) x##f
#define FABS fabsf
#define COPYSIGN copysignf
#define MANTISSA_BITS 23
#define BIAS 127
#define LOW_HALF 0xfffu         /* a 24-bit significand without these bits has an exact square */
#define LN2_HI 0x1.62e4p-1f     /* 16 bits: exact when multiplied by an exponent */
#define LN2_LO 0x1.7f7d1cp-20f
#define GELU_END 14.07978f       /* sqrt(2 (BIAS + LIFT) ln 2): e^(-u^2/2) underflows even when lifted */
#else
#define BITS uint64_t
#define LIT(x) x
#define FABS fabs
#define COPYSIGN copysign
#define MANTISSA_BITS 52
#define BIAS 1023
#define LOW_HALF 0x7ffffffu
#define LN2_HI 0x1.62e42fefa3p-1
#define LN2_LO 0x1.3de6af278ece6p-42
#define GELU_END 37.95207
#endif

#define LN2 LIT(0x1.62e42fefa39efp-1)
#define LOG2_E LIT(0x1.71547652b82fep+0)
#define SQRT_HALF LIT(0x1.6a09e667f3bcdp-1)
#define INV_SQRT_2PI LIT(0x1.9884533d43651p-2)
#define TWO_TO_MANTISSA ((REAL)((BITS)1 << MANTISSA_BITS))

/* Powers of two that keep a product in the normal range until its last factor (see exp_parts). */
#define LIFT 16
#define UNLIFT LIT(0x1p-16)

static INLINE BITS NAME(bits)(REAL x)
{
    BITS b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static INLINE REAL NAME(from_bits)(BITS b)
{
    REAL x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/* min(u, limit), but NaN for u = NaN */
static INLINE REAL NAME(at_most)(REAL u, REAL limit)
{
    return limit < u ? limit : u;
}

/* e^r - 1 for |r| <= ln(2)/2, minimax in relative error: 2^-26.0, 2^-55.5 */
static INLINE REAL NAME(expm1_reduced)(REAL r)
{
#if IS_FLOAT
    REAL c = 0x1.6bf396p-10f;
    c = 0x1.122a0ap-7f + r * c;
    c = 0x1.5556c0p-5f + r * c;
    c = 0x1.5554aep-3f + r * c;
    c = 0x1.fffffep-2f + r * c;
#else
    REAL c = 0x1.ae88dde18c40cp-26;
    c = 0x1.28a468f2c4cffp-22 + r * c;
    c = 0x1.71de7a586e399p-19 + r * c;
    c = 0x1.a019a4fdb8559p-16 + r * c;
    c = 0x1.a01a01792f7aap-13 + r * c;
    c = 0x1.6c16c17fa130fp-10 + r * c;
    c = 0x1.11111111188f4p-7 + r * c;
    c = 0x1.5555555551fe6p-5 + r * c;
    c = 0x1.555555555553ap-3 + r * c;
    c = 0x1.0000000000005p-1 + r * c;
#endif
    return r + r * r * c;
}

/* One Newton step for r near 1 / (1 + t), 0 <= t <= 1: it repairs the roundings of sum and quotient. */
static INLINE REAL NAME(refined)(REAL r, REAL t)
{
    return r + r * ((1 - r) - r * t);
}

/* 2^lift e^(y + d) = s (1 + p), s a power of two and |p| < 0.42, for -(BIAS + lift) ln 2 <= y <= 0.
 *
 * d is what y lost when it was rounded, or 0. With s and p apart, s + s p is the exponential and
 * (s - 1) + s p the exponential minus one, each to the last digit. The result is normal, or rounded into the
 * subnormals, or 0 (that is s = 0, at the lower end); lift moves this end below that of the final product. */
static INLINE void NAME(exp_parts)(REAL y, REAL d, int lift, REAL *s, REAL *p)
{
    /* Adding 1.5 2^MANTISSA_BITS rounds to an integer, which is then read from the last bits: the biased
     * exponent of s, shifted into its place. */
    const REAL shift = LIT(1.5) * TWO_TO_MANTISSA + (BIAS + lift);
    const REAL k = y * LOG2_E + shift;
    const REAL n = k - shift;
    *s = NAME(from_bits)(NAME(bits)(k) << MANTISSA_BITS);
    *p = NAME(expm1_reduced)(y - n * LN2_HI - (n * LN2_LO - d));
}

/* log(1 + x) for x >= 0 */
static INLINE REAL NAME(log1p)(REAL x)
{
    /* 1 + x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2). Both terms of f are exact. */
    const BITS k = (NAME(bits)(1 + x) - NAME(bits)(SQRT_HALF)) >> MANTISSA_BITS;
    const REAL n = NAME(from_bits)(NAME(bits)(TWO_TO_MANTISSA) + k) - TWO_TO_MANTISSA;
    const REAL scale = NAME(from_bits)((BIAS - k) << MANTISSA_BITS);
    const REAL f = x * scale - (1 - scale);

    /* log(1 + f) = 2 artanh(q) = 2 q + q w L(w), q = f / (2 + f), w = q^2; and 2 q = f - f q */
    const REAL q = f / (2 + f);
    const REAL w = q * q;
#if IS_FLOAT
    REAL c = 0x1.31e23ep-2f;
    c = 0x1.995eccp-2f + w * c;
    c = 0x1.55557ap-1f + w * c;
#else
    REAL c = 0x1.2f11aad69c88bp-3;
    c = 0x1.39a091fe31b9dp-3 + w * c;
    c = 0x1.746649cb2bd2dp-3 + w * c;
    c = 0x1.c71c51d76f89dp-3 + w * c;
    c = 0x1.249249422a871p-2 + w * c;
    c = 0x1.999999997f9f7p-2 + w * c;
    c = 0x1.5555555555593p-1 + w * c;
#endif
    return n * LN2_HI + (f - (q * (f - w * c) - n * LN2_LO));
}

static INLINE void NAME(identity)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    *z = a;
    *h1 = 1;
    *h2 = 0;
}

static INLINE void NAME(relu)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    *z = a <= 0 ? 0 : a;
    *h1 = a > 0 ? 1 : *z;
    *h2 = a == a ? 0 : a;
}

static INLINE void NAME(leaky_relu)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    const REAL slope = LIT(0.01);
    *z = a > 0 ? a : slope * a;
    *h1 = a > 0 ? 1 : a <= 0 ? slope : a;
    *h2 = a == a ? 0 : a;
}

/* h = 1 / (1 + e^-a),  h' = h (1 - h),  h'' = h' (1 - 2 h) = -h' tanh(a/2) */
static INLINE void NAME(sigmoid)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    REAL s, p;
    NAME(exp_parts)(-NAME(at_most)(FABS(a), BIAS * LN2), 0, 0, &s, &p);
    const REAL t = s + s * p;                   /* e^-|a| */
    const REAL e = (s - 1) + s * p;             /* e^-|a| - 1 */
    const REAL r = 1 / (1 + t);
    const REAL q = t * r;                       /* 1 - r = h(-|a|) */
    *z = a < 0 ? q : r;
    *h1 = q - q * q;                            /* q (1 - q), with the least weight on the error of q */
    /* the product h'' needs better factors than z and h' are; y = -tanh(|a|/2) */
    const REAL r2 = NAME(refined)(r, t), q2 = t * r2;
    const REAL y = e > LIT(-0.7) ? e * r2 : 2 * q2 - 1;
    *h2 = (q2 - q2 * q2) * COPYSIGN(y, -a);
}

/* h = (1 - t) / (1 + t), t = e^-2|a|, with the sign of a;  h' = 4 t / (1 + t)^2,  h'' = -2 h h' */
static INLINE void NAME(tanh)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    REAL s, p;
    NAME(exp_parts)(-2 * NAME(at_most)(FABS(a), (BIAS + 2) * LN2 / 2), 0, 2, &s, &p);
    const REAL t4 = s + s * p;                  /* 4 t */
    const REAL s1 = s / 4;
    const REAL e = (s1 - 1) + s1 * p;           /* t - 1 */
    const REAL r = 1 / (2 + e);
    const REAL q4 = t4 * r;
    *z = COPYSIGN(e * r, a);
    *h1 = q4 - q4 * (q4 / 4);                   /* 4 q (1 - q), q and the rest as in sigmoid */
    const REAL r2 = NAME(refined)(r, t4 / 4), q2 = t4 * r2;
    const REAL y2 = e > LIT(-0.7) ? 2 * (e * r2) : q2 - 2;
    *h2 = (q2 - q2 * (q2 / 4)) * COPYSIGN(y2, -a);
}

/* h = log(1 + e^a) = max(a, 0) + log(1 + e^-|a|);  h' and h'' are sigmoid and its h' */
static INLINE void NAME(softplus)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    REAL s, p;
    NAME(exp_parts)(-NAME(at_most)(FABS(a), BIAS * LN2), 0, 0, &s, &p);
    const REAL t = s + s * p;
    const REAL r = 1 / (1 + t);
    const REAL q = t * r;
    *z = (a <= 0 ? 0 : a) + NAME(log1p)(t);
    *h1 = a < 0 ? q : r;
    *h2 = q - q * q;
}

/* With u = |a| and q = 1 / (1 + e^u), the sigmoid of -u, which loses no digits in these sums:
 *     h = a sigmoid(a) = max(a, 0) - u q
 *     h'(-u) = 1 - h'(u) = q (1 - u + u q)
 *     h'' = q (1 - q) (2 - u + 2 u q)
 * q is kept 2^LIFT too large until the last factor, because u q is a normal number where q is not. */
static INLINE void NAME(silu)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    REAL s, p;
    const REAL u = NAME(at_most)(FABS(a), (BIAS + LIFT) * LN2);
    NAME(exp_parts)(-u, 0, LIFT, &s, &p);
    const REAL t = (s + s * p) * UNLIFT;                /* e^-u */
    const REAL sr = s * NAME(refined)(1 / (1 + t), t);
    const REAL q = sr + sr * p;                         /* a rounding less than in t r: s is a power of two */
    const REAL uq = u * q * UNLIFT;
    const REAL m1 = q * ((1 - u) + uq) * UNLIFT;
    *z = (a < 0 ? 0 : a) - uq;
    *h1 = a < 0 ? m1 : 1 - m1;
    *h2 = (q - q * (q * UNLIFT)) * ((2 - u) + 2 * uq) * UNLIFT;
}

/* Phi(-u) e^(u^2/2) for 0 <= u <= 14.2 or 38.7, as v P(w) with v = 1 / (u + 4) and
 * w = (u - 4) v = 1 - 8 v = 2 u v - 1; minimax in relative error: 2^-26.8, 2^-54.6 */
static INLINE REAL NAME(normal_tail_ratio)(REAL u)
{
    const REAL v0 = 1 / (u + 4);
#if IS_FLOAT
    /* in double: the roundings of v, w and P would add up to more than 4 ulp */
    const double v = v0 * (2 - v0 * (u + 4.0));                 /* a Newton step */
    const double w = 1 - 8 * v;
    double c = -0x1.11c450e483baap-13;
    c = 0x1.7e956498ab53cp-13 + w * c;
    c = 0x1.9bd60c4344f41p-10 + w * c;
    c = -0x1.cc95fa1735eb6p-9 + w * c;
    c = -0x1.ed3b55b299df3p-8 + w * c;
    c = 0x1.eed4694d6d7c0p-5 + w * c;
    c = -0x1.7dffedf4f7095p-3 + w * c;
    c = 0x1.8c6d9d2b72535p-2 + w * c;
    c = -0x1.373e38e92252cp-1 + w * c;
    c = 0x1.82b4bbb7ad21bp-1 + w * c;
    return (REAL)(v * c);
#else
    const REAL miss = (0.5 - u * v0) + (0.5 - 4 * v0);          /* v = v0 (1 + miss), as in refined */
    const REAL v = v0 + v0 * miss;
    const REAL w = u < 4 ? 2 * u * v - 1 : 1 - 8 * v;           /* the one with the smaller error */
    REAL c = -0x1.726097afe643cp-31;
    c = -0x1.4ce256a0ef074p-29 + w * c;
    c = 0x1.e517c835178f2p-30 + w * c;
    c = 0x1.4aafdb50682b9p-26 + w * c;
    c = 0x1.ce0e2baa32cf7p-27 + w * c;
    c = -0x1.6c436d269afd3p-24 + w * c;
    c = -0x1.4cebec1512793p-23 + w * c;
    c = 0x1.23434e54fb64dp-22 + w * c;
    c = 0x1.1236ee66f07f9p-20 + w * c;
    c = -0x1.51e628eba687ap-21 + w * c;
    c = -0x1.8d4b29ede4996p-18 + w * c;
    c = 0x1.80b22659e10f8p-21 + w * c;
    c = 0x1.26d099fd05d29p-15 + w * c;
    c = -0x1.001e538a0f63ap-19 + w * c;
    c = -0x1.e4a42575bc626p-13 + w * c;
    c = 0x1.17a4ae30880efp-13 + w * c;
    c = 0x1.ab825fc118f82p-10 + w * c;
    c = -0x1.c81719d54792ep-9 + w * c;
    c = -0x1.ee2761047fb37p-8 + w * c;
    c = 0x1.eec4cc3e4d269p-5 + w * c;
    c = -0x1.7dff2bff68397p-3 + w * c;
    c = 0x1.8c6dbf2cfc2b3p-2 + w * c;
    c = -0x1.373e3a893c28ap-1 + w * c;
    c = 0x1.82b4bb8c94dcep-1 + w * c;
    return v0 * c + v0 * c * miss;
#endif
}

/* With u = |a|, phi and Phi the normal density and distribution, and lifted as in silu:
 *     h = a Phi(a) = max(a, 0) - u Phi(-u)
 *     h'(-u) = 1 - h'(u) = Phi(-u) - u phi(u)
 *     h'' = (2 - u^2) phi(u) */
static INLINE void NAME(gelu)(REAL a, REAL *z, REAL *h1, REAL *h2)
{
    REAL s, p;
    const REAL u = NAME(at_most)(FABS(a), GELU_END);
    /* u^2/2 = y + (top^2/2 - y) + rest, all but the last exact; e^(-u^2/2) needs every digit */
    const REAL top = NAME(from_bits)(NAME(bits)(u) & ~(BITS)LOW_HALF);
    const REAL rest = (u - top) * (u + top) / 2;
    const REAL y = u * u / 2;
    NAME(exp_parts)(-y, (y - top * top / 2) - rest, LIFT, &s, &p);
    /* times s, a power of two, and 1 + p last: fewer roundings than times 2^LIFT e^(-u^2/2) = s + s p */
    const REAL q = s * NAME(normal_tail_ratio)(u);              /* Phi(-u) */
    const REAL phi = s * INV_SQRT_2PI;                          /* phi(u) */
    const REAL m = q - u * phi;
    const REAL m1 = (m + m * p) * UNLIFT;
    *z = (a < 0 ? 0 : a) - u * (q + q * p) * UNLIFT;
    *h1 = a < 0 ? m1 : 1 - m1;
    *h2 = (phi + phi * p) * ((2 - top * top) - 2 * rest) * UNLIFT;
}

#define FBP_ACTIVATIONS(ENTRY)       \
    ENTRY(FBP_IDENTITY, identity)     \
    ENTRY(FBP_SIGMOID, sigmoid)       \
    ENTRY(FBP_TANH, tanh)             \
    ENTRY(FBP_RELU, relu)             \
    ENTRY(FBP_LEAKY_RELU, leaky_relu) \
    ENTRY(FBP_SOFTPLUS, softplus)     \
    ENTRY(FBP_GELU, gelu)             \
    ENTRY(FBP_SILU, silu)

/* One cache line, and the widest vector: full vectors of every instruction set. */
#define LANES ((ptrdiff_t)(64 / sizeof(REAL)))

/* simd: z may be a, which is no dependence between iterations but looks like one */
#define LOOP(function, order)                           \
    SIMD()                                              \
    for (ptrdiff_t i = 0; i < n; i++) {                 \
        REAL z_i, h1_i, h2_i;                           \
        NAME(function)(a[i], &z_i, &h1_i, &h2_i);       \
        z[i] = z_i;                                     \
        if (order >= 1) h1[i] = h1_i;                   \
        if (order >= 2) h2[i] = h2_i;                   \
    }

#define LOOPS(id, function)                             \
    case id:                                            \
        if (h2) LOOP(function, 2)                       \
        else if (h1) LOOP(function, 1)                  \
        else LOOP(function, 0)                          \
        break;

/* activate() for n a multiple of LANES */
static void NAME(activate_lanes)(int activation, ptrdiff_t n, const REAL *a, REAL *z, REAL *h1, REAL *h2)
{
    n &= -LANES;                /* tells the compiler that no loop has a tail */
    switch (activation) {
        FBP_ACTIVATIONS(LOOPS)
    }
}

/* z = h(a), h1 = h'(a), h2 = h''(a). h2, or h1 and h2, may be NULL; z may be a; no other overlap. */
static void NAME(activate)(int activation, ptrdiff_t n, const REAL *a, REAL *z, REAL *h1, REAL *h2)
{
    const ptrdiff_t body = n & -LANES, tail = n - body;
    NAME(activate_lanes)(activation, body, a, z, h1, h2);
    if (tail > 0) {
        const size_t size = (size_t)tail * sizeof(REAL);
        REAL in[LANES] = {0}, out[LANES], out1[LANES], out2[LANES];
        memcpy(in, a + body, size);
        NAME(activate_lanes)(activation, LANES, in, out, h1 ? out1 : NULL, h2 ? out2 : NULL);
        memcpy(z + body, out, size);
        if (h1) memcpy(h1 + body, out1, size);
        if (h2) memcpy(h2 + body, out2, size);
    }
}
