"""Errors of float32 whose squares, products and weights overflow or vanish on the way: the result decides, not the way.

The float64 kernels on the same numbers are the truth: all of this lies well inside their range.
"""

import numpy as np
import pytest

from accuracy import true_values
from fastbp_c.networks.loss import error, error_curvature

ELEMENTWISE = tuple(true_values.ACTIVATIONS)
LARGEST, LEAST = np.finfo(np.float32).max, np.finfo(np.float32).tiny
LARGE = [1e10, 1.9e19, 1e25, 1e30, 3e38]
# Weights and the factor of a mean, whose product may not be a normal float32 though the result is.
FACTORS = [(1.0, 1.0), (0.5, 1e-3), (1e-30, 1.0), (1e-20, 1e-20), (1e30, 1e-25), (1e-35, 1e-6)]

factors = pytest.mark.parametrize(("weight", "scale"), FACTORS)


def check(actual, expected, what):
    """Every element within a few roundings of what it should be, if that is a normal float32; some are differences."""
    inside = (abs(expected) >= LEAST) & (abs(expected) <= LARGEST)
    largest = abs(expected[inside]).max(initial=0)
    np.testing.assert_allclose(actual[inside], expected[inside], rtol=2e-5, atol=2e-6 * largest, err_msg=what)
    assert (abs(actual[abs(expected) < LEAST]) <= LEAST).all(), what


def compare(output, loss, a, t, weight, scale):
    weights = None if weight == 1.0 else np.full(len(a), weight, np.float32)
    scale = float(np.float32(scale))
    wide = [a.astype(np.float64), t.astype(np.float64), None if weights is None else weights.astype(np.float64)]
    value, delta = error(output, loss, a, t, weights, scale)
    alone, nothing = error(output, loss, a, t, weights, scale, False)
    true_value, true_delta = error(output, loss, *wide, scale)
    assert np.isfinite(value)
    assert nothing is None
    np.testing.assert_allclose([value, alone], true_value, rtol=2e-6)
    check(delta, true_delta, "delta")
    for gauss_newton in (False, True):
        M = error_curvature(output, loss, a, t, weights, scale, gauss_newton)
        true_M = error_curvature(output, loss, *wide, scale, gauss_newton)
        if (abs(true_M) >= LEAST).any():
            check(M, true_M, f"curvature, gauss_newton {gauss_newton}")


def test_a_residual_of_1e25(instruction_set):
    a = np.array([[1e25]], np.float32)
    value, delta = error("identity", "squared_error", a, np.zeros((1, 1), np.float32))
    assert value == 0.5 * float(a[0, 0]) ** 2
    assert delta == a


@factors
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("output", ELEMENTWISE)
def test_squared_error_of_large_targets(instruction_set, output, size, weight, scale):
    for shape in ((1, 1), (40, 1), (7, 3)):
        a = np.linspace(-3, 3, shape[0] * shape[1]).reshape(shape).astype(np.float32)
        t = (size * np.where(a > 0.5, 1, -1)).astype(np.float32)
        compare(output, "squared_error", a, t, weight, scale)


@factors
@pytest.mark.parametrize("size", LARGE)
def test_squared_error_of_large_outputs(instruction_set, size, weight, scale):
    a = (size * np.linspace(-1, 1, 34)).reshape(17, 2).astype(np.float32)
    compare("identity", "squared_error", a, (a / 3).astype(np.float32), weight, scale)


@factors
@pytest.mark.parametrize("K", [2, 10, 32, 33])
@pytest.mark.parametrize("size", [1e10, 1.9e19, 1e25])
def test_squared_error_of_softmax(instruction_set, size, K, weight, scale):
    a = np.sin(np.arange(5 * K)).reshape(5, K).astype(np.float32)
    t = (size * np.cos(np.arange(5 * K) ** 2)).reshape(5, K).astype(np.float32)
    compare("softmax", "squared_error", a, t, weight, scale)


@factors
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("size", LARGE)
def test_binary_cross_entropy_of_large_numbers(instruction_set, size, K, weight, scale):
    """Wrong with all confidence; and targets, which nobody keeps between 0 and 1."""
    a = (size * np.linspace(-1, 1, 20 * K)).reshape(20, K).astype(np.float32)
    for target in (0.0, 1.0, 0.25, 1e6):
        compare("sigmoid", "binary_cross_entropy", a, np.full_like(a, target), weight, scale)


@factors
@pytest.mark.parametrize("K", [2, 10, 32, 33])
@pytest.mark.parametrize("size", LARGE)
def test_cross_entropy_of_large_numbers(instruction_set, size, K, weight, scale):
    a = (size * np.linspace(-1, 1, 5 * K)).reshape(5, K).astype(np.float32)
    for target in (1 / K, 1e6):
        compare("softmax", "cross_entropy", a, np.full_like(a, target), weight, scale)
