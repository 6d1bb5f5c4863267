"""Diagonals: exact ones against those of the reference's matrices, the approximate one against its own recursion."""

import numpy as np
import pytest

import fastbp
import reference
from cases import ARCHITECTURES, PAIRS, chain, data, network
from curvature import OUTPUTS, SMALL, divided, known, name_of, weights
from util import DTYPES, assert_close, nan, shifted

LARGE = ("odd_widths", "wide", "widest", "tied_wide", "shared_many_groups", "conv2d_many_channels")


def approximate_diagonal(*arguments, **options):
    return fastbp.hessian_diagonal(*arguments, method="approximate", **options)


EXACT = (fastbp.hessian_diagonal, fastbp.gauss_newton_diagonal)
FUNCTIONS = (*EXACT, approximate_diagonal)
exact = pytest.mark.parametrize("function", EXACT, ids=lambda function: function.__name__)
every = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)


def check(function, case, dtype, N, given=True, weight="none", reduction="sum"):
    net, X, T = known(case).batch(dtype, N)
    weight, w = weights(weight, N, dtype)
    out = nan(net.n_parameters, dtype) if given else None
    d = function(net, X, T, loss=known(case).loss, sample_weight=weight, reduction=reduction, out=out)
    assert d.dtype == dtype
    assert out is None or d is out
    assert np.isfinite(d).all()
    w = divided(w, reduction)
    if function is approximate_diagonal:
        known(case).check(d, known(case).approximate, w, "approximate")
        return
    columns = slice(None) if known(case).columns is None else known(case).columns
    known(case).check(d[columns], known(case).diagonals(function is fastbp.gauss_newton_diagonal), w, "exact")


@every
@pytest.mark.parametrize("given", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL)
def test_architectures(case, dtype, given, function):
    for N, weight in ((0, "none"), (1, "none"), (7, "some"), (33, "none")):
        check(function, case, dtype, N, given, weight)


@every
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LARGE)
def test_large_architectures(case, dtype, function):
    check(function, case, dtype, 5, weight="some")


@every
@pytest.mark.parametrize("case", OUTPUTS, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_units_with_error_functions(dtype, case, function):
    for weight in ("none", "some"):
        for reduction in ("sum", "mean"):
            for N in (0, 1, 3, 31):
                check(function, case, dtype, N, weight=weight, reduction=reduction)


@every
@pytest.mark.parametrize(
    "case",
    ["depth_4", "narrow", "tied_and_repeated", "conv2d_uneven", "max_pool_overlapping", "convolutional", "everything"],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_instruction_sets(instruction_set, dtype, case, function):
    check(function, case, dtype, 19, weight="some", reduction="mean")


@every
@pytest.mark.parametrize("N", [511, 512, 513, 1025, 9001])
@pytest.mark.parametrize("case", ["depth_2", "repeated_aab", ("softmax", "cross_entropy", 3)], ids=name_of)
def test_batches_longer_than_a_chunk(case, N, function):
    check(function, case, "float64", N, weight="some")


@every
@pytest.mark.parametrize("case", ["depth_6", "shared_softmax", "tied_deep", "conv1d_tied", "convs", "everything"])
def test_long_batch_is_the_sum_of_short_ones(case, function):
    net, X, T = known(case).batch("float64", 800)
    X = X + np.random.default_rng(0).standard_normal(X.shape) / 8
    expected = sum(function(net, X[i : i + 40], T[i : i + 40]) for i in range(0, 800, 40))
    assert_close(function(net, X, T), expected, "float64", 800)


# How far (5.81) goes.


ELEMENTWISE_PAIRS = [pair for pair in PAIRS if pair[0] != "softmax"]


@pytest.mark.parametrize("pair", ELEMENTWISE_PAIRS, ids="-".join)
def test_approximate_is_exact_for_one_hidden_layer_of_one_output(pair):
    """M is a number: nothing that is not diagonal is left out."""
    output, loss = pair
    net = network(chain(4, 6, 1, hidden="silu", output=output))
    X, T = data(net, 9, loss)
    exact = fastbp.hessian_diagonal(net, X, T, loss=loss)
    assert_close(approximate_diagonal(net, X, T, loss=loss), exact, "float64", 60)


@pytest.mark.parametrize("pair", ELEMENTWISE_PAIRS, ids="-".join)
def test_approximate_is_exact_for_one_hidden_layer_of_several_outputs(pair):
    """The diagonal of W M W^T is that of (W o W) diag M: elementwise outputs have no other elements in M."""
    output, loss = pair
    net = network(chain(4, 6, 5, hidden="gelu", output=output))
    X, T = data(net, 9, loss)
    exact = fastbp.hessian_diagonal(net, X, T, loss=loss)
    assert_close(approximate_diagonal(net, X, T, loss=loss), exact, "float64", 60)


@pytest.mark.parametrize("sizes", [(4, 6, 5, 1), (4, 6, 5, 4, 3)], ids=str)
def test_approximate_is_not_exact_for_two_hidden_layers(sizes):
    net = network(chain(*sizes))
    X, T = data(net, 9)
    difference = np.abs(approximate_diagonal(net, X, T) - fastbp.hessian_diagonal(net, X, T))
    first, scale = sizes[0] * sizes[1], np.abs(fastbp.hessian_diagonal(net, X, T)).max()
    assert difference[:first].max() > 1e-3 * scale
    assert difference[-((sizes[-2] + 1) * sizes[-1]) :].max() < 1e-13 * scale  # the last layer's is right


def test_approximate_is_not_exact_for_softmax():
    net = network(chain(4, 6, 3, output="softmax"))
    X, T = data(net, 9)
    exact, approximate = fastbp.hessian_diagonal(net, X, T), approximate_diagonal(net, X, T)
    assert np.abs(exact - approximate)[:24].max() > 1e-3 * np.abs(exact).max()
    assert_close(approximate[30:], exact[30:], "float64", 60)


@pytest.mark.parametrize("case", ["depth_3", "hidden_silu"])
def test_literal_5_79_to_5_81(case):
    """One number after the other, for every layer from the last to the first."""
    net, X, T = known(case).batch("float64", 3)
    done = reference.passes(net.layers, net.parameters, X)
    expected, last = np.zeros(net.n_parameters), len(net.layers) - 1
    for n in range(3):
        c, delta = [1.0] * net.n_outputs, list(done[last][1][n] - T[n])  # of 1/2 sum (a - t)^2
        for l in reversed(range(last + 1)):
            z, W, (at_W, at_b) = done[l][0][n], net.weights[l], reference.slots(net.layers)[0][l]
            expected[at_W] += [z[i] * z[i] * c[j] for i in range(len(z)) for j in range(len(c))]  # (5.79)
            expected[at_b] += c
            if l == 0:
                break
            name, a = net.layers[l - 1].activation, done[l - 1][1][n]
            h1, h2 = reference.derivative(name, a), reference.second_derivative(name, a)
            back = [sum(W[j, k] * delta[k] for k in range(len(c))) for j in range(len(a))]
            c = [
                h1[j] ** 2 * sum(W[j, k] ** 2 * c[k] for k in range(len(c))) + h2[j] * back[j] for j in range(len(a))
            ]  # (5.81)
            delta = [h1[j] * back[j] for j in range(len(a))]
    assert_close(approximate_diagonal(net, X, T), expected, "float64", 60)


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_class_labels_and_vectors_of_targets(dtype, function):
    net = network(chain(4, 6, 3, output="softmax"), dtype)
    X, labels = data(net, 20)[0], np.random.default_rng(3).integers(0, 3, 20)
    np.testing.assert_array_equal(function(net, X, labels), function(net, X, np.eye(3)[labels]))
    net = network(chain(4, 6, 1), dtype)
    X, T = data(net, 20)
    np.testing.assert_array_equal(function(net, X, T[:, 0]), function(net, X, T))


@exact
def test_targets_of_cross_entropy_need_not_sum_to_one(function):
    net = network(chain(3, 4, 4, output="softmax"))
    X, T = data(net, 5)
    T = 3 * T + 0.1
    matrix = fastbp.hessian if function is fastbp.hessian_diagonal else fastbp.gauss_newton
    assert_close(function(net, X, T), np.diag(matrix(net, X, T)), "float64", 60)


@every
@pytest.mark.parametrize("case", ["depth_4", "tied_and_repeated", "convolutional", "everything"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_every_time_wherever_the_arrays_lie(instruction_set, dtype, case, function):
    net, X, T = known(case).batch(dtype, 40)
    w, _ = weights("some", 40, dtype)
    d = function(net, X, T, sample_weight=w)
    for offset in (0, 1, 3):
        moved = [shifted(x, offset) for x in (X, T, w)]
        again = function(net, *moved[:2], sample_weight=moved[2], out=shifted(d, offset))
        np.testing.assert_array_equal(again, d)


@every
@pytest.mark.parametrize("case", ["depth_3", "tied_autoencoder", "conv2d"])
def test_nan_shows(case, function):
    """A sample of NaN spoils what depends on it, the first weight's element above all; nothing stays behind."""
    net, X, T = known(case).batch("float64", 6)
    expected = function(net, X, T)
    wrong = X.copy()
    wrong[2] = np.nan
    spoiled = np.isnan(function(net, wrong, T))
    np.testing.assert_array_equal(spoiled, np.isnan(function(net, wrong[2:3], T[2:3])))
    assert spoiled[0]
    np.testing.assert_array_equal(function(net, X, T), expected)


@every
def test_arguments_are_only_read(function):
    net, X, T = known("everything").batch("float64", 10)
    arrays = (net.parameters, X, T, np.ones(10))
    before = [x.copy() for x in arrays]
    function(net, X, T, sample_weight=arrays[3])
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@every
def test_networks_without_parameters(function):
    net = fastbp.Network(ARCHITECTURES["average_pool"][:1])
    X = np.ones((3, net.n_inputs))
    assert function(net, X, net(X)).shape == (0,)
