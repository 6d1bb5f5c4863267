"""Error functions against plain NumPy, true values at extreme arguments, and differences of each other."""

import functools
import itertools
import warnings

import mpmath
import numpy as np
import pytest
from scipy.special import erf

import fastbp
from accuracy import true_values
from fastbp_c.networks.output import error, error_curvature, softmax
from util import DTYPES, assert_close, tolerance

PAIRS = [(name, "squared_error") for name in (*true_values.ACTIVATIONS, "softmax")] + [
    ("sigmoid", "binary_cross_entropy"),
    ("softmax", "cross_entropy"),
]
# One row, one output; rows that softmax takes by the vectorful, transposed (up to 32 outputs), and rows it does not
SHAPES = [(1, 1), (40, 1), (7, 3), (1, 10), (16, 10), (33, 10), (17, 32), (5, 33), (3, 100)]

pairs = pytest.mark.parametrize(("output", "loss"), PAIRS, ids=map("-".join, PAIRS))
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def batch(output, shape, dtype):
    """Pre-activations, targets and weights."""
    rng = np.random.default_rng(shape)
    a, t, weight = rng.normal(0, 2, shape), rng.uniform(0, 1, shape), rng.uniform(0.5, 2, shape[0])
    if output == "softmax":
        t /= t.sum(axis=1, keepdims=True)
    return a.astype(dtype), t.astype(dtype), weight.astype(dtype)


PLAIN = {
    "identity": lambda a: a,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "relu": lambda a: np.where(a.real > 0, a, 0),
    "leaky_relu": lambda a: np.where(a.real > 0, a, 0.01 * a),
    "softplus": lambda a: np.log(1 + np.exp(a)),
    "gelu": lambda a: a * (1 + erf(a / np.sqrt(2))) / 2,
    "silu": lambda a: a / (1 + np.exp(-a)),
    "softmax": lambda a: np.exp(a) / np.exp(a).sum(axis=1, keepdims=True),
}


def plain_errors(output, loss, a, t):
    """E_n in plain NumPy, also of complex a."""
    y = PLAIN[output](a)
    if loss == "squared_error":
        return ((y - t) ** 2).sum(axis=1) / 2
    if loss == "binary_cross_entropy":
        return -(t * np.log(y) + (1 - t) * np.log(1 - y)).sum(axis=1)
    return -(t * np.log(y)).sum(axis=1)


def plain_deltas(output, loss, a, t):
    """dE_n/da_nk by complex steps, exact but for rounding."""
    delta = np.empty(a.shape)
    for k in range(a.shape[1]):
        step = np.zeros(a.shape, complex)
        step[:, k] = 1e-30j
        delta[:, k] = plain_errors(output, loss, a + step, t).imag / 1e-30
    return delta


def plain_curvatures(output, loss, a, t):
    """d2E_n/da_nk da_nl by central differences of the deltas, of order 4."""
    M = np.empty((*a.shape, a.shape[1]))
    h = 1e-3
    for k in range(a.shape[1]):
        step = np.zeros(a.shape)
        step[:, k] = h
        near = plain_deltas(output, loss, a + step, t) - plain_deltas(output, loss, a - step, t)
        far = plain_deltas(output, loss, a + 2 * step, t) - plain_deltas(output, loss, a - 2 * step, t)
        M[:, :, k] = (8 * near - far) / (12 * h)
    return M


@functools.cache
def case(output, loss, shape, dtype):
    a, t, weight = batch(output, shape, dtype)
    wide, target = a.astype(np.float64), t.astype(np.float64)
    return a, t, weight, plain_errors(output, loss, wide, target), plain_deltas(output, loss, wide, target)


@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pairs
def test_value_and_delta(instruction_set, output, loss, shape, dtype):
    a, t, weight, errors, deltas = case(output, loss, shape, dtype)
    scale = 0.375
    terms = 4 * (shape[1] + 1)  # those of the reference too
    for w in (None, weight):
        w_n = np.ones(shape[0]) if w is None else w.astype(np.float64)
        value, delta = error(output, loss, a, t, w, scale)
        assert isinstance(value, float)
        assert_close(value, (w_n * errors).sum(), dtype, terms, shape[0] + np.abs(errors).sum(), "value")
        assert delta.dtype == dtype
        assert_close(delta, scale * w_n[:, None] * deltas, dtype, terms, 1 + np.abs(deltas).max(), "delta")
        alone, none = error(output, loss, a, t, w, scale, need_delta=False)
        assert none is None
        assert alone == pytest.approx(value, rel=tolerance(dtype))


@dtypes
@pytest.mark.parametrize("gauss_newton", [False, True], ids=["exact", "gauss_newton"])
@pytest.mark.parametrize("shape", SHAPES[:6], ids=str)
@pairs
def test_curvature(instruction_set, output, loss, shape, gauss_newton, dtype):
    a, t, weight = batch(output, shape, dtype)
    wide, target = a.astype(np.float64), t.astype(np.float64)
    if gauss_newton and loss == "squared_error":
        # S^T S, S_jk = dy_j/da_k: the deltas of E = y_j
        rows = [plain_deltas(output, loss, wide, target - unit) - plain_deltas(output, loss, wide, target)
                for unit in np.eye(shape[1])]  # fmt: skip
        expected = np.einsum("jnk,jnl->nkl", rows, rows)
    else:
        expected = plain_curvatures(output, loss, wide, target)
    for w, scale in ((None, 1.0), (weight, -2.5)):
        w_n = np.ones(shape[0]) if w is None else w.astype(np.float64)
        M = error_curvature(output, loss, a, t, w, scale, gauss_newton)
        assert M.dtype == dtype
        np.testing.assert_array_equal(M, M.transpose(0, 2, 1))
        reference = scale * w_n[:, None, None] * expected
        bound = tolerance(dtype, shape[1]) + 1e-9  # the differences' own error
        np.testing.assert_allclose(M, reference, rtol=bound, atol=bound * np.abs(reference).max())


# Rows so confident, right or wrong, that 1 - y is not in y; ties; targets that are hard, soft, and of another sum.
EXTREME_ROWS = [
    [0.0, -20.0, -35.5], [30.25, -31.0, 12.0], [-80.0, 0.1, -1e-3], [5.0, 5.0, -60.0], [1.5, 1.5, 1.5],
    [3e3, -3e3, 2.9e3], [1e-30, -1e-30, 0.0], [40.0, 39.5, -40.0],
]  # fmt: skip
EXTREME_TARGETS = [[1, 0, 0], [0, 1, 0], [0.9, 0.05, 0.05], [1e-6, 0, 1 - 1e-6], [0.5, 2.0, 0.25], [0, 0, 0]]


def true_softmax(loss, a, t):
    """E, delta, M of one row, and what their rounding is relative to."""
    e = [mpmath.exp(x - max(a)) for x in a]
    y = [x / sum(e) for x in e]
    index = range(len(a))
    S = mpmath.matrix(len(a), len(a))
    for j, k in itertools.product(index, index):
        S[j, k] = y[j] * (1 - y[j]) if j == k else -y[j] * y[k]
    if loss == "cross_entropy":
        s = sum(t)
        value = -sum(t[k] * mpmath.log(y[k]) for k in index if t[k])
        not_y = [sum(y[j] for j in index if j != k) for k in index]
        rest = [sum(t[j] for j in index if j != k) for k in index]
        delta = [rest[k] * y[k] - t[k] * not_y[k] for k in index]
        size = [max(rest[k] * y[k], t[k] * not_y[k], rest[k], s * not_y[k]) if y[k] > 0.5 else max(s * y[k], t[k])
                for k in index]  # fmt: skip
        return value, delta, s * S, size, [[abs(s * S[j, k]) for k in index] for j in index]
    d = [y[k] - t[k] for k in index]
    value = sum(x * x for x in d) / 2
    mean = sum(y[k] * d[k] for k in index)
    delta = [y[k] * (d[k] - mean) for k in index]
    M = S * S
    for j, k, m in itertools.product(index, index, index):
        # d2 y_m / da_j da_k = y_m ((j = m) - y_j) ((k = m) - y_k) - y_m S_jk
        M[j, k] += d[m] * y[m] * (((j == m) - y[j]) * ((k == m) - y[k]) - S[j, k])
    size = [y[k] * sum(y[j] * (1 + abs(d[k] - d[j])) for j in index if j != k) for k in index]
    return value, delta, M, size, [[8 * y[j] * y[k] if j != k else 8 * size[k] for k in index] for j in index]


@dtypes
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_confident_softmax(instruction_set, loss, dtype):
    """Every element of delta and M to its last digits, however small."""
    rows = np.array(list(itertools.product(EXTREME_ROWS, EXTREME_TARGETS))).astype(dtype)
    a, t = np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1])
    _, deltas = error("softmax", loss, a, t)
    Ms = error_curvature("softmax", loss, a, t)
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    for n in range(len(a)):
        with mpmath.workdps(400):
            given = [[mpmath.mpf(float(x)) for x in row[n]] for row in (a, t)]
            value, delta, M, delta_size, M_size = true_softmax(loss, *given)
            where = f"a = {a[n]}, t = {t[n]}"
            got = error("softmax", loss, a[n : n + 1], t[n : n + 1])[0]
            assert abs(got - value) <= 8 * eps * abs(value) + tiny, where
            for k in range(3):
                assert abs(deltas[n, k] - delta[k]) <= 8 * eps * delta_size[k] + 2 * tiny, (where, k)
                for j in range(3):
                    assert abs(Ms[n, j, k] - M[j, k]) <= 8 * eps * M_size[j][k] + 2 * tiny, (where, j, k)


@dtypes
def test_confident_sigmoid(instruction_set, dtype):
    a, t = (np.array(x, dtype)[:, None] for x in zip(*itertools.product(
        [0.0, 1e-20, -1e-20, 0.7, -0.7, 17.0, -17.0, 50.0, -50.0, 85.0, -85.0, 3e3, -3e3],
        [0, 1, 0.5, 0.9, 1e-6],
    ), strict=True))  # fmt: skip
    loss = "binary_cross_entropy"
    deltas = error("sigmoid", loss, a, t)[1]
    Ms = error_curvature("sigmoid", loss, a, t)
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    for n in range(len(a)):
        with mpmath.workdps(400):
            x, target = mpmath.mpf(float(a[n, 0])), mpmath.mpf(float(t[n, 0]))
            q = 1 / (1 + mpmath.exp(abs(x)))
            p = 1 - target if x > 0 else target
            value, delta = mpmath.log1p(mpmath.exp(-abs(x))) + abs(x) * p, (p - q) * (1 if x > 0 else -1)
            where = f"a = {a[n, 0]}, t = {t[n, 0]}"
            got = error("sigmoid", loss, a[n : n + 1], t[n : n + 1])[0]
            assert abs(got - value) <= 4 * eps * value + tiny, where
            assert abs(deltas[n, 0] - delta) <= 4 * eps * max(p, q) + 2 * tiny, where
            assert abs(Ms[n, 0, 0] - q * (1 - q)) <= 4 * eps * q + 2 * tiny, where


@dtypes
def test_impossible_class(instruction_set, dtype):
    """A target of 0 costs nothing, also where y is 0 or even the pre-activation is -inf."""
    for low in (-1e4, -np.inf):
        a = np.array([[low, 1.0, 2.0]] * 2, dtype)
        t = np.array([[0.0, 0.25, 0.75]] * 2, dtype)
        value, delta = error("softmax", "cross_entropy", a, t)
        expected = error("softmax", "cross_entropy", a[:, 1:].copy(), t[:, 1:].copy())
        assert value == expected[0]
        np.testing.assert_array_equal(delta, np.hstack([np.zeros((2, 1)), expected[1]]))


@dtypes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax(instruction_set, shape, dtype):
    a = batch("softmax", shape, dtype)[0] * 10
    y = softmax(a)
    wide = a.astype(np.float64)
    below = wide - wide.max(axis=1, keepdims=True)
    expected = np.exp(below) / np.exp(below).sum(axis=1, keepdims=True)
    assert y.dtype == dtype
    # the rounding of `below` is the reference's, not ours
    scale = expected * (1 if dtype == "float32" else 1 - below) + np.finfo(dtype).tiny / np.finfo(dtype).eps
    assert_close(y, expected, dtype, scale=scale)


@dtypes
@pairs
def test_rows_stand_alone(instruction_set, output, loss, dtype):
    """A row comes out the same alone and in a batch."""
    a, t, _ = batch(output, (21, 5), dtype)
    _, delta = error(output, loss, a, t)
    M = error_curvature(output, loss, a, t)
    for n in range(len(a)):
        row = slice(n, n + 1)
        np.testing.assert_allclose(error(output, loss, a[row], t[row])[1], delta[row], rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(error_curvature(output, loss, a[row], t[row]), M[row])
        if output == "softmax":
            np.testing.assert_array_equal(softmax(a[row]), softmax(a)[row])


@dtypes
@pairs
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_empty(instruction_set, shape, output, loss, dtype):
    a, t = np.empty(shape, dtype), np.empty(shape, dtype)
    for weight in (None, np.ones(shape[0], dtype)):
        value, delta = error(output, loss, a, t, weight)
        assert value == 0
        assert delta.shape == shape
        assert error_curvature(output, loss, a, t, weight).shape == (*shape, shape[1])


@dtypes
@pairs
@pytest.mark.parametrize("K", [3, 40])
@pytest.mark.parametrize("where", ["a", "t"])
def test_nan_shows(instruction_set, where, K, output, loss, dtype):
    """A NaN reaches the value and its row of delta, and no other row."""
    a, t, _ = batch(output, (6, K), dtype)
    {"a": a, "t": t}[where][2, 1] = np.nan
    value, delta = error(output, loss, a, t)
    assert np.isnan(value)
    assert np.isnan(delta[2, 1])
    assert np.isfinite(np.delete(delta, 2, axis=0)).all()


@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid"])
def test_factors_against_scikit_learn(output):
    """Those of the README's table: its gradients are of our mean, and so is its loss but for the squared error."""
    sklearn = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    X, K = rng.standard_normal((40, 3)), 3
    if output == "identity":
        estimator, T = sklearn.MLPRegressor, rng.standard_normal((40, K))
    else:
        estimator, T = sklearn.MLPClassifier, np.eye(K, dtype=int)[rng.integers(K, size=40)]
        T = T.argmax(axis=1) if output == "softmax" else T | (rng.random((40, K)) > 0.7)
    options = {"hidden_layer_sizes": (4,), "activation": "tanh", "solver": "sgd", "momentum": 0, "alpha": 0}
    model = estimator(**options, learning_rate_init=0.5, batch_size=40, shuffle=False, random_state=0, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        after = model.fit(X, T).coefs_, model.intercepts_
        before = estimator(**options, learning_rate_init=1e-300, batch_size=40, random_state=0, max_iter=1).fit(X, T)
    net = fastbp.mlp([3, 4, K], "tanh", output)
    for l in range(2):
        net.weights[l][...], net.biases[l][...] = before.coefs_[l], before.intercepts_[l]
    error, gradient = fastbp.loss_and_gradient(net, X, T, reduction="mean")
    assert model.loss_ == pytest.approx(error / K if output == "identity" else error, rel=1e-12)
    net.parameters -= 0.5 * gradient
    for l in range(2):
        np.testing.assert_allclose(net.weights[l], after[0][l], rtol=0, atol=1e-12)
        np.testing.assert_allclose(net.biases[l], after[1][l], rtol=0, atol=1e-12)
