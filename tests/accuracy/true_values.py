"""True values of the activation functions and their derivatives, from code that shares nothing with fastbp.

``exact`` is mpmath with as many digits as it takes; ``wide`` is float64 arithmetic for float32 arguments.
Both take the order of the derivative, 0, 1 or 2, and hold wherever the result is finite and not underflowed.
"""

import mpmath
import numpy as np
from scipy import special

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "silu")


def exact(name, order, a, slope=0.01):
    """The order-th derivative of activation `name` at the float a, as an mpf good to more than 30 digits."""
    a = mpmath.mpf(float(a))
    # sums below cancel to e^-|a| or to a: carry that many digits more
    extra = 2 * abs(a) + abs(mpmath.log10(abs(a))) if a else 0
    with mpmath.workdps(40 + min(int(extra), 1800)):
        return +_EXACT[name](a, order, slope)


def _exact_piecewise(negative, positive):
    return lambda a, order, slope: (positive if a > 0 else negative)(a, order, slope)


def _exact_sigmoid(a, order, _=None):
    y, not_y = 1 / (1 + mpmath.exp(-a)), 1 / (1 + mpmath.exp(a))
    return (y, y * not_y, y * not_y * (not_y - y))[order]


def _exact_tanh(a, order, _):
    y = mpmath.tanh(a)
    slope = mpmath.sech(a) ** 2
    return (y, slope, -2 * y * slope)[order]


def _exact_softplus(a, order, _):
    return mpmath.log1p(mpmath.exp(a)) if order == 0 else _exact_sigmoid(a, order - 1)


def _exact_gelu(a, order, _):
    cdf, density = mpmath.erfc(-a / mpmath.sqrt(2)) / 2, mpmath.npdf(a)
    return (a * cdf, cdf + a * density, (2 - a * a) * density)[order]


def _exact_silu(a, order, _):
    s, s1, s2 = (_exact_sigmoid(a, k) for k in range(3))
    return (a * s, s + a * s1, 2 * s1 + a * s2)[order]


_EXACT = {
    "identity": lambda a, order, _: (a, mpmath.mpf(1), mpmath.mpf(0))[order],
    "sigmoid": _exact_sigmoid,
    "tanh": _exact_tanh,
    "relu": lambda a, order, _: (max(a, 0), mpmath.mpf(int(a > 0)), mpmath.mpf(0))[order],
    "leaky_relu": lambda a, order, slope: (
        a if a > 0 else slope * a,
        mpmath.mpf(1 if a > 0 else slope),
        mpmath.mpf(0),
    )[order],
    "softplus": _exact_softplus,
    "gelu": _exact_gelu,
    "silu": _exact_silu,
}


def wide(name, order, a):
    """The order-th derivative at float32 a, in float64: true to 1e-14, relative but near a root."""
    a = np.asarray(a, np.float64)
    with np.errstate(all="ignore"):
        return _WIDE[name](a, order)


def _wide_sigmoid(a, order):
    if order == 0:
        return special.expit(a)
    t = np.exp(-np.abs(a))
    slope = t / np.square(1 + t)
    return slope if order == 1 else -slope * np.tanh(a / 2)


def _wide_tanh(a, order):
    y = np.tanh(a)
    if order == 0:
        return y
    t = np.exp(-2 * np.abs(a))
    slope = 4 * t / np.square(1 + t)
    return slope if order == 1 else -2 * y * slope


def _wide_softplus(a, order):
    if order:
        return _wide_sigmoid(a, order - 1)
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def _wide_gelu(a, order):
    a = np.where(a == -np.inf, -1e3, a)  # the limits, where a product would be 0 times infinity
    b = np.clip(a, -1e3, 1e3)
    density = np.exp(-b * b / 2) / np.sqrt(2 * np.pi)
    if order == 2:
        return (2 - b * b) * density
    cdf = special.erfc(-b / np.sqrt(2)) / 2
    return a * cdf if order == 0 else cdf + b * density


def _wide_silu(a, order):
    a = np.where(a == -np.inf, -1e3, a)
    b = np.clip(a, -1e3, 1e3)
    s, not_s = special.expit(b), special.expit(-b)
    if order == 0:
        return a * s
    if order == 1:
        return s * (1 + b * not_s)
    return s * not_s * (2 - b * np.tanh(b / 2))


def _wide_relu(a, order):
    return (np.maximum(a, 0), np.where(np.isnan(a), a, a > 0), 0 * np.where(np.isinf(a), 0, a))[order]


def _wide_leaky_relu(a, order, slope=float(np.float32(0.01))):
    return (
        np.where(a > 0, a, slope * a),
        np.where(np.isnan(a), a, np.where(a > 0, 1, slope)),
        0 * np.where(np.isinf(a), 0, a),
    )[order]


_WIDE = {
    "identity": lambda a, order: (a, np.ones_like(a), np.zeros_like(a))[order],
    "sigmoid": _wide_sigmoid,
    "tanh": _wide_tanh,
    "relu": _wide_relu,
    "leaky_relu": _wide_leaky_relu,
    "softplus": _wide_softplus,
    "gelu": _wide_gelu,
    "silu": _wide_silu,
}
