"""h, h' and h'' of every activation against true values, at the extremes, and wherever they stand in an array.

tests/accuracy/exhaustive.py does the same for all float32 numbers.
"""

import functools

import numpy as np
import pytest

from accuracy import true_values
from accuracy.true_values import ACTIVATIONS, ROOTS
from fastbp_c.networks.activation import activate
from util import DTYPES, shifted

INF, NAN = np.inf, np.nan


def arguments(dtype, count):
    """All magnitudes, all bit patterns, and denser where something happens: around 0, the roots and the underflow."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    smallest, largest = np.log10([float(info.smallest_subnormal), float(info.max)])
    magnitudes = 10 ** rng.uniform(smallest, largest, count)
    # e^-a underflows at `end`, e^(-a^2/2) at its root sqrt(2 end)
    end = -np.log(float(info.smallest_subnormal))
    roots = sorted({root for roots, _, _ in ROOTS.values() for root in roots})
    around = [root + sign * 10 ** rng.uniform(-8, 0, count // 10) for root in roots for sign in (-1, 1)]
    integers = rng.integers(0, 2 ** (8 * info.dtype.itemsize), count, np.uint64)
    bits = integers.astype(f"u{info.dtype.itemsize}").view(dtype)
    a = np.concatenate(
        [
            magnitudes * rng.choice([-1, 1], count),
            np.linspace(-3, 3, count),
            rng.uniform(-40, 40, count),
            rng.uniform(-1.02, 1.02, count) * end,
            rng.uniform(-1.02, 1.02, count) * np.sqrt(2 * end),
            *around,
        ]
    ).astype(dtype)
    return np.concatenate([a, bits[np.isfinite(bits)]])


@functools.cache
def cases(name, dtype):
    """Arguments and true values: as a float64 array, and what is missing from it to the true value."""
    if dtype == "float32":
        a = arguments(dtype, 50_000)
        true = np.array(true_values.wide(name, a))
        return a, true, np.zeros_like(true)
    a = arguments(dtype, 600)
    slope = np.dtype(dtype).type(0.01)
    exact = [true_values.exact(name, x, slope) for x in a]
    true = np.array([[float(v) for v in values] for values in exact]).T
    rest = np.array([[float(v - float(v)) for v in values] for values in exact]).T
    return a, true, rest


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_true_values(instruction_set, name, dtype):
    a, true, rest = cases(name, dtype)
    for order, got in enumerate(activate(name, a)):
        wide = a.astype(np.float64)
        error = np.abs((got.astype(np.float64) - true[order]) - rest[order])
        bound = true_values.allowed(name, order, wide, true[order], dtype)
        wrong = ~(error <= bound)
        worst = np.argmax(error / bound)
        ulps = error / true_values.ulp(true[order], dtype)
        assert not wrong.any(), (
            f"{name}{order * chr(39)} is off at {wrong.sum()} of {a.size} arguments; most at {a[worst]!r}: "
            f"got {got[worst]!r}, expected {true[order][worst]!r}, {ulps[worst]:.2f} ulp"
        )


# a: h, h', h'' of the functions in the order of ACTIVATIONS; the limits are reached exactly
PHI_0 = 1 / np.sqrt(2 * np.pi)
EXTREMES = {
    INF: [
        (INF, 1, 0), (1, 0, 0), (1, 0, 0), (INF, 1, 0), (INF, 1, 0), (INF, 1, 0), (INF, 1, 0), (INF, 1, 0),
    ],
    -INF: [
        (-INF, 1, 0), (0, 0, 0), (-1, 0, 0), (0, 0, 0), (-INF, 0.01, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0),
    ],
    0.0: [
        (0, 1, 0), (0.5, 0.25, 0), (0, 1, 0), (0, 0, 0), (0, 0.01, 0), (np.log(2), 0.5, 0.25), (0, 0.5, 2 * PHI_0),
        (0, 0.5, 0.5),
    ],
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("a", EXTREMES)
def test_extremes(instruction_set, a, name, dtype):
    expected = EXTREMES[a][ACTIVATIONS.index(name)]
    found = activate(name, np.array([a, -a if a == 0 else a], dtype))
    np.testing.assert_array_equal(found, np.repeat(np.array(expected, dtype)[:, None], 2, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_far_out(instruction_set, sign, name, dtype):
    """Long before infinity a derivative has its limit, and h its limit or its asymptote."""
    big = np.array([1e4, 1e30, np.finfo(dtype).max if dtype == "float32" else 1e300], dtype) * sign
    limit = EXTREMES[sign * INF][ACTIVATIONS.index(name)]
    z, h1, h2 = activate(name, big)
    slope = np.dtype(dtype).type(limit[1])
    np.testing.assert_array_equal(z, big * slope if np.isinf(limit[0]) else limit[0])
    np.testing.assert_array_equal(h1, slope)
    np.testing.assert_array_equal(h2, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan(instruction_set, name, dtype):
    found = activate(name, np.array([NAN, 1], dtype))
    expected = [NAN, 1, 0] if name == "identity" else [NAN, NAN, NAN]
    np.testing.assert_array_equal([values[0] for values in found], expected)
    assert not np.isnan([values[1] for values in found]).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["identity", "tanh", "leaky_relu", "gelu", "silu"])
def test_sign_of_zero(instruction_set, name, dtype):
    z = activate(name, np.array([0.0, -0.0], dtype), order=0)[0]
    assert np.signbit(z).tolist() == [False, True]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_same_bits_everywhere(instruction_set, name, dtype):
    """Neither the length of the array, nor the place in it, nor the derivatives asked for change a bit."""
    a = np.random.default_rng(1).normal(0, 3, 200).astype(dtype)
    whole = activate(name, a)
    for n in range(41):
        for begin in (0, 1, 7):
            for offset in (0, 3):
                part = shifted(a[begin : begin + n], offset)
                for order in range(3):
                    for got, expected in zip(activate(name, part, order), whole, strict=False):
                        np.testing.assert_array_equal(got, expected[begin : begin + n])
