"""True values of the activation functions and what fastbp may differ from them; shares no code with fastbp.

`exact` is mpmath, for any argument; `wide` is NumPy and SciPy in float64, for float32 arguments. Both return h, h'
and h''. `error` measures, `allowed` is the table at the top of src/activation.inc.h.
"""

import mpmath
import numpy as np
from scipy import special

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "silu")

MAX_ULP = 4
# Around its root a derivative is within so many times eps of the true value: (name, order): roots, radius, bound
ROOTS = {
    ("gelu", 1): ((-0.7517915,), 0.75, 1),
    ("gelu", 2): ((-1.4142136, 1.4142136), 0.01, 0.001),
    ("silu", 1): ((-1.2784645,), 0.5, 0.25),
    ("silu", 2): ((-2.3993573, 2.3993573), 0.5, 0.25),
}
# Results that are not normal numbers, and tanh'' where tanh' is none, are within so many times the smallest one.
UNDERFLOW = 2

# Beyond it e^-|a| is 0 in float64: the limits, without 0 times infinity.
FAR = 3000


def exact(name, a, slope=0.01):
    """(h, h', h'') at the float a as mpf, good to 35 digits; `slope` is leaky_relu's in the dtype of a."""
    with mpmath.workdps(40):
        a = mpmath.mpf(float(a))
        return _EXACT[name](a, max(-FAR, min(FAR, a)), mpmath.mpf(float(slope)))


def _exact_sigmoid(a, b, _=None):
    y, not_y = 1 / (1 + mpmath.exp(-b)), 1 / (1 + mpmath.exp(b))
    return y, y * not_y, -y * not_y * mpmath.tanh(b / 2)


def _exact_tanh(a, b, _):
    y, slope = mpmath.tanh(b), mpmath.sech(b) ** 2
    return y, slope, -2 * y * slope


def _exact_relu(a, b, slope=0):
    return (a, 1, 0) if a > 0 else (slope * a, slope, 0)


def _exact_softplus(a, b, _):
    return max(a, 0) + mpmath.log1p(mpmath.exp(-abs(b))), *_exact_sigmoid(a, b)[:2]


def _exact_gelu(a, b, _):
    cdf, density = mpmath.erfc(-b / mpmath.sqrt(2)) / 2, mpmath.npdf(b)
    return (a if a > 0 else b) * cdf, cdf + b * density, (2 - b * b) * density


def _exact_silu(a, b, _):
    s, s1, s2 = _exact_sigmoid(a, b)
    return (a if a > 0 else b) * s, s + b * s1, 2 * s1 + b * s2


_EXACT = {
    "identity": lambda a, b, _: (a, 1, 0),
    "sigmoid": _exact_sigmoid,
    "tanh": _exact_tanh,
    "relu": lambda a, b, _: _exact_relu(a, b),
    "leaky_relu": _exact_relu,
    "softplus": _exact_softplus,
    "gelu": _exact_gelu,
    "silu": _exact_silu,
}


def wide(name, a):
    """(h, h', h'') at the float32 array a in float64, good to 1e-14 of the result or, at a root, of its terms."""
    with np.errstate(all="ignore"):
        a = np.asarray(a, np.float64)
        return _WIDE[name](a, np.clip(a, -FAR, FAR))


def _constant(a, value):
    """Of value, but NaN with a."""
    return np.where(np.isnan(a), a, value)


def _wide_sigmoid(a, b):
    t = np.exp(-np.abs(b))
    slope = t / np.square(1 + t)
    return special.expit(b), slope, -slope * np.tanh(b / 2)


def _wide_tanh(a, b):
    y, t = np.tanh(b), np.exp(-2 * np.abs(b))
    slope = 4 * t / np.square(1 + t)
    return y, slope, -2 * y * slope


def _wide_relu(a, b, slope=0.0):
    return np.where(a <= 0, slope * b, a), _constant(a, np.where(a > 0, 1, slope)), _constant(a, 0)


def _wide_leaky_relu(a, b):
    slope = float(np.float32(0.01))
    return np.where(a > 0, a, slope * a), *_wide_relu(a, b, slope)[1:]


def _wide_softplus(a, b):
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(b))), *_wide_sigmoid(a, b)[:2]


def _wide_gelu(a, b):
    density = np.exp(-b * b / 2) / np.sqrt(2 * np.pi)
    cdf = special.erfc(-b / np.sqrt(2)) / 2
    return np.where(a > 0, a, b) * cdf, cdf + b * density, (2 - b * b) * density


def _wide_silu(a, b):
    t = np.exp(-np.abs(b))
    not_y, y = t / (1 + t), 1 / (1 + t)
    s, not_s = np.where(b < 0, not_y, y), np.where(b < 0, y, not_y)
    return np.where(a > 0, a, b) * s, s * (1 + b * not_s), y * not_y * (2 - b * np.tanh(b / 2))


_WIDE = {
    "identity": lambda a, b: (a, np.ones_like(a), np.zeros_like(a)),
    "sigmoid": _wide_sigmoid,
    "tanh": _wide_tanh,
    "relu": _wide_relu,
    "leaky_relu": _wide_leaky_relu,
    "softplus": _wide_softplus,
    "gelu": _wide_gelu,
    "silu": _wide_silu,
}


def ulp(true, dtype):
    """The distance of the numbers of `dtype` around the float64 array `true`, at least that of subnormal ones."""
    info = np.finfo(dtype)
    power = (np.abs(true).view(np.int64) & 0x7FF0000000000000).view(np.float64)
    return np.clip(power, info.tiny, info.max) * info.eps


def allowed(name, order, a, true, dtype):
    """The largest error that is right for float64 arrays a and true of `dtype`."""
    info = np.finfo(dtype)
    bound = np.maximum(MAX_ULP * ulp(true, dtype), UNDERFLOW * float(info.tiny))
    roots, radius, times_eps = ROOTS.get((name, order), ((), 0, 0))
    for root in roots:
        bound = np.where(np.abs(a - root) < radius, np.maximum(bound, times_eps * info.eps), bound)
    return bound
