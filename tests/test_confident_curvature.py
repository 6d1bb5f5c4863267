"""Second derivatives of confident outputs, against mpmath: every element to its last digits, however small.

A layer without bias, on the rows of a unit matrix, has its weights for pre-activations: its curvature is that of the
error function, sample by sample.
"""

import functools
import itertools

import mpmath
import numpy as np
import pytest

import fastbp
from fastbp import Affine, GaussNewtonOperator, HessianOperator, Network
from test_error_functions import EXTREME_ROWS, EXTREME_TARGETS, true_softmax
from util import DTYPES

ROWS = [*EXTREME_ROWS, [100.0, -100.0, 0.0], [-100.0, -100.0, 99.0]]
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def plain(matrix, n):
    return [[matrix[j, k] for k in range(n)] for j in range(n)]


@functools.cache
def true_matrices(loss, dtype):
    """(a, t), and for every row M and M' with what their roundings are relative to, as lists of mpmath's numbers."""
    rows = np.array(list(itertools.product(ROWS, EXTREME_TARGETS))).astype(dtype)
    a, t, found = np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]), []
    with mpmath.workdps(400):
        for n in range(len(a)):
            given = [[mpmath.mpf(float(x)) for x in row[n]] for row in (a, t)]
            _, _, M, _, size = true_softmax(loss, *given)
            S = true_softmax("cross_entropy", given[0], [mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0)])[2]
            absolute = S.apply(abs)
            half = (M, mpmath.matrix(size)) if loss == "cross_entropy" else (S * S, absolute * absolute)
            found.append([plain(x, 3) for x in (M, mpmath.matrix(size), *half)])
    return a, t, found


def layer(a):
    net = Network([Affine(len(a), a.shape[1], "softmax", bias=False)], dtype=a.dtype)
    net.weights[0][...] = a
    return net, np.eye(len(a), dtype=a.dtype)


def assert_exact(result, expected, size, dtype, where):
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    assert abs(float(result) - expected) <= 12 * eps * size + 4 * tiny, where


@dtypes
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_softmax(instruction_set, loss, dtype):
    a, t, true = true_matrices(loss, dtype)
    net, X = layer(a)
    options = {"loss": loss}
    diagonals = [
        f(net, X, t, **options).reshape(-1, 3) for f in (fastbp.hessian_diagonal, fastbp.gauss_newton_diagonal)
    ]
    matrices = [f(net, X, t, **options) for f in (fastbp.hessian, fastbp.gauss_newton)]
    units = np.tile(np.eye(3, dtype=dtype), (len(a), 1))
    products = [f(net, X, t, **options) @ units for f in (HessianOperator, GaussNewtonOperator)]
    for n, (M, M_size, G, G_size) in enumerate(true):
        for kind, (matrix, size) in enumerate(((M, M_size), (G, G_size))):
            for j in range(3):
                where = (loss, a[n], t[n], kind, j)
                assert_exact(diagonals[kind][n, j], matrix[j][j], size[j][j], dtype, where)
                for k in range(3):
                    assert_exact(matrices[kind][3 * n + j, 3 * n + k], matrix[j][k], size[j][k], dtype, where)
                    assert_exact(products[kind][3 * n + j, k], matrix[j][k], size[j][k], dtype, where)


@dtypes
def test_jacobian_of_softmax(instruction_set, dtype):
    a, _, true = true_matrices("cross_entropy", dtype)
    net, X = layer(a)
    J = fastbp.parameter_jacobian(net, X).reshape(len(a), 3, len(a), 3)
    ones = [n for n in range(len(a)) if n % len(EXTREME_TARGETS) == 0]  # whose targets add up to one: M is dy/da
    for n in ones:
        for j, k in np.ndindex(3, 3):
            assert_exact(J[n, j, n, k], true[n][0][j][k], true[n][1][j][k], dtype, (a[n], j, k))


@dtypes
def test_sigmoid(instruction_set, dtype):
    a = np.array([0.0, 1e-20, 0.7, -0.7, 17, -17, 50, -50, 85, -85, 100, -100, 3e3, -3e3], dtype)[:, None]
    net = Network([Affine(len(a), 1, "sigmoid", bias=False)], dtype=dtype)
    net.weights[0][...] = a
    X, t = np.eye(len(a), dtype=dtype), np.full_like(a, 0.25)
    ones = np.ones(len(a), dtype)
    results = [
        fastbp.hessian_diagonal(net, X, t),
        fastbp.gauss_newton_diagonal(net, X, t),
        HessianOperator(net, X, t) @ ones,
        GaussNewtonOperator(net, X, t) @ ones,
        np.diag(fastbp.hessian(net, X, t)),
        fastbp.parameter_jacobian(net, X)[np.arange(len(a)), 0, np.arange(len(a))],
    ]
    for n in range(len(a)):
        with mpmath.workdps(50):
            q = 1 / (1 + mpmath.exp(abs(mpmath.mpf(float(a[n, 0])))))
            for k, result in enumerate(results):
                assert_exact(result[n], q * (1 - q), q, dtype, (a[n], k))


@dtypes
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_softmax_of_one_output_has_no_derivatives(loss, dtype):
    """It is 1 whatever goes in."""
    net = Network([Affine(2, 3, "tanh"), Affine(3, 1, "softmax")], dtype=dtype, seed=0)
    X, T = np.ones((4, 2)), np.ones((4, 1))
    for function in (fastbp.hessian, fastbp.gauss_newton, fastbp.hessian_diagonal, fastbp.gauss_newton_diagonal):
        assert not function(net, X, T, loss=loss).any()
    for operator in (HessianOperator, GaussNewtonOperator):
        assert not (operator(net, X, T, loss=loss) @ np.ones(net.n_parameters)).any()
    assert not fastbp.jacobian(net, X).any()
    assert not fastbp.parameter_jacobian(net, X).any()
    assert fastbp.parameter_jacobian(net, X, of="preactivation").any()
