"""The Hessian and the Gauss-Newton matrix against complex steps of the reference's gradient, sample by sample."""

import numpy as np
import pytest

import fastbp
import reference
from cases import ELEMENTWISE, chain, data, network
from curvature import OUTPUTS, SMALL, divided, known, name_of, weights
from fastbp import Affine, Network
from util import DTYPES, assert_close, nan, shifted

FUNCTIONS = (fastbp.hessian, fastbp.gauss_newton)
both = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
# Too large for a dense matrix in a test: 18067 parameters.
LARGE = ("odd_widths", "widest", "tied_wide", "shared_many_groups", "conv2d_many_channels")


def check(function, case, dtype, N, given=True, weight="none", reduction="sum"):
    """The whole matrix, symmetric to the bit, against the weighted sum of the samples' own."""
    net, X, T = known(case).batch(dtype, N)
    weight, w = weights(weight, N, dtype)
    out = nan((net.n_parameters,) * 2, dtype) if given else None
    M = function(net, X, T, loss=known(case).loss, sample_weight=weight, reduction=reduction, out=out)
    assert M.dtype == dtype
    assert out is None or M is out
    np.testing.assert_array_equal(M, M.T)
    compare(function, case, M, divided(w, reduction))


def compare(function, case, M, w):
    columns = slice(None) if known(case).columns is None else known(case).columns
    if function is fastbp.hessian:
        assert np.isfinite(M).all()
        known(case).check(M[:, columns], known(case).H, w, "hessian")
    else:
        known(case).check(M[columns][:, columns], known(case).G, w, "gauss_newton")


@both
@pytest.mark.parametrize("given", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL)
def test_architectures(case, dtype, given, function):
    for N, weight in ((0, "none"), (1, "none"), (7, "some"), (33, "none")):
        check(function, case, dtype, N, given, weight)


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LARGE)
def test_large_architectures(case, dtype, function):
    check(function, case, dtype, 5, weight="some")


@both
@pytest.mark.parametrize("case", OUTPUTS, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_units_with_error_functions(dtype, case, function):
    for weight in ("none", "some"):
        for reduction in ("sum", "mean"):
            for N in (0, 1, 3, 31):
                check(function, case, dtype, N, weight=weight, reduction=reduction)


@both
@pytest.mark.parametrize(
    "case",
    ["depth_4", "narrow", "tied_and_repeated", "shared_and_tied", "conv_tied_uneven", "convolutional", "everything"],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_instruction_sets(instruction_set, dtype, case, function):
    check(function, case, dtype, 19, weight="some", reduction="mean")


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_5", "everything"])
def test_products_by_blas(products_by_blas, case, dtype, function):
    products_by_blas(True)
    check(function, case, dtype, 12, weight="some")


# Chunks have at most 512 samples; those of images and many groups have few.
@both
@pytest.mark.parametrize("N", [511, 512, 513, 1025])
@pytest.mark.parametrize("case", ["depth_3", "repeated_aab", "tied_autoencoder", "shared_to_independent", "max_pool"])
def test_batches_longer_than_a_chunk(case, N, function):
    check(function, case, "float64", N, weight="some")


@both
@pytest.mark.parametrize("case", ["hidden_gelu", "tied_deep", "shared_and_tied", "conv1d_tied", "convs", "everything"])
def test_long_batch_is_the_sum_of_short_ones(case, function):
    net, X, T = known(case).batch("float64", 600)
    X = X + np.random.default_rng(0).standard_normal(X.shape) / 8
    expected = sum(function(net, X[i : i + 40], T[i : i + 40]) for i in range(0, 600, 40))
    assert_close(function(net, X, T), expected, "float64", 600)


# The three formulas of a network with two layers, number by number.


def two_layers(output):
    """(net, X, T), and x, z, h', h'', delta, M of every sample."""
    net = network(chain(3, 4, 2, hidden="tanh", output=output))
    X, T = data(net, 5)
    (_, a, _), (z, a_k, _) = reference.passes(net.layers, net.parameters, X)
    loss = reference.canonical(output)
    delta, M = reference.output_delta(output, loss, a_k, T), reference.output_curvatures(output, loss, a_k, T)
    h1, h2 = reference.derivative("tanh", a), reference.second_derivative("tanh", a)
    return (net, X, T), (X, z, h1, h2, delta, M)


def blocks(net, X, T):
    """The Hessian's blocks (W1, W1), (W1, W2) and (W2, W2) as arrays of four indices."""
    H = fastbp.hessian(net, X, T)
    W1, W2 = slice(0, 12), slice(16, 24)
    return H[W1, W1].reshape(3, 4, 3, 4), H[W1, W2].reshape(3, 4, 4, 2), H[W2, W2].reshape(4, 2, 4, 2)


two_layer_outputs = pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax", "tanh"])


@two_layer_outputs
def test_literal_5_93(output):
    """Both weights in the second layer: z_j z_j' M_kk'."""
    problem, (_, z, _, _, _, M) = two_layers(output)
    expected = np.zeros((4, 2, 4, 2))
    for j, k, jj, kk in np.ndindex(4, 2, 4, 2):
        expected[j, k, jj, kk] = sum(z[n, j] * z[n, jj] * M[n, k, kk] for n in range(5))
    assert_close(blocks(*problem)[2], expected, "float64", 20)


@two_layer_outputs
def test_literal_5_94(output):
    """Both in the first: x_i x_i' (h''(a_j) I_jj' sum_k w_kj delta_k + h'(a_j) h'(a_j') sum_kk' w_kj w_k'j' M_kk')."""
    problem, (x, _, h1, h2, delta, M) = two_layers(output)
    w, expected = problem[0].weights[1], np.zeros((3, 4, 3, 4))
    for i, j, ii, jj in np.ndindex(3, 4, 3, 4):
        for n in range(5):
            bent = h2[n, jj] * (j == jj) * sum(w[jj, k] * delta[n, k] for k in range(2))
            pairs = sum(w[jj, kk] * w[j, k] * M[n, k, kk] for k in range(2) for kk in range(2))
            expected[i, j, ii, jj] += x[n, i] * x[n, ii] * (bent + h1[n, jj] * h1[n, j] * pairs)
    assert_close(blocks(*problem)[0], expected, "float64", 40)


@two_layer_outputs
def test_literal_5_95(output):
    """One in each: x_i h'(a_j) (delta_k I_jj' + z_j' sum_k' w_k'j M_kk')."""
    problem, (x, z, h1, _, delta, M) = two_layers(output)
    w, expected = problem[0].weights[1], np.zeros((3, 4, 4, 2))
    for i, j, jj, k in np.ndindex(3, 4, 4, 2):
        for n in range(5):
            inner = delta[n, k] * (j == jj) + z[n, jj] * sum(w[j, kk] * M[n, k, kk] for kk in range(2))
            expected[i, j, jj, k] += x[n, i] * h1[n, j] * inner
    assert_close(blocks(*problem)[1], expected, "float64", 40)


@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
def test_gauss_newton_of_a_squared_error_is_the_sum_of_outer_products(output):
    net = network(chain(3, 5, 4, output=output))
    X, T = data(net, 6, "squared_error")
    G = sum(J.T @ J for J in fastbp.parameter_jacobian(net, X))
    assert_close(fastbp.gauss_newton(net, X, T, loss="squared_error"), G, "float64", 60)
    np.testing.assert_array_equal(
        fastbp.gauss_newton(net, X, T, loss="squared_error"), fastbp.gauss_newton(net, X, -5 * T, loss="squared_error")
    )


def test_untied_layer_of_its_own_between_others_keeps_its_blocks():
    """The blocks of a linear layer's bias with everything are columns of those of its weights for an input of one."""
    net = network([Affine(3, 4), Affine(4, 4, "tanh"), Affine(4, 2)])
    X, T = data(net, 8)
    with_ones = Network([Affine(4, 4, bias=False), *net.layers[1:]])
    with_ones.parameters = net.parameters
    H = fastbp.hessian(net, X, T)
    np.testing.assert_allclose(
        fastbp.hessian(with_ones, np.hstack([X, np.ones((8, 1))]), T), H, rtol=0, atol=1e-14 * np.abs(H).max()
    )


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_class_labels_and_vectors_of_targets(dtype, function):
    net = network(chain(4, 6, 3, output="softmax"), dtype)
    X, labels = data(net, 20)[0], np.random.default_rng(3).integers(0, 3, 20)
    np.testing.assert_array_equal(function(net, X, labels), function(net, X, np.eye(3)[labels]))
    net = network(chain(4, 6, 1), dtype)
    X, T = data(net, 20)
    np.testing.assert_array_equal(function(net, X, T[:, 0]), function(net, X, T))


@both
def test_targets_of_cross_entropy_need_not_sum_to_one(function):
    net = network(chain(3, 4, 4, output="softmax"))
    X, T = data(net, 5)
    T = 3 * T + 0.1
    reference_of = {fastbp.hessian: reference.hessians, fastbp.gauss_newton: reference.gauss_newtons}[function]
    expected = reference_of(net.layers, net.parameters, X, T).sum(axis=0)
    assert_close(function(net, X, T), expected, "float64", 60)


@both
@pytest.mark.parametrize("case", ["depth_4", "tied_and_repeated", "convolutional", "everything"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_every_time_wherever_the_arrays_lie(instruction_set, dtype, case, function):
    net, X, T = known(case).batch(dtype, 40)
    w, _ = weights("some", 40, dtype)
    M = function(net, X, T, sample_weight=w)
    for offset in (0, 1, 3):
        moved = [shifted(x, offset) for x in (X, T, w)]
        again = function(net, *moved[:2], sample_weight=moved[2], out=shifted(M, offset))
        np.testing.assert_array_equal(again, M)


@both
def test_file_in_memory_as_output(tmp_path, function):
    net, X, T = known("everything").batch("float64", 5)
    P = net.n_parameters
    mapped = np.memmap(tmp_path / "matrix", np.float64, "w+", shape=(P, P))
    mapped[...] = np.nan
    assert function(net, X, T, out=mapped) is mapped
    mapped.flush()
    written = np.fromfile(tmp_path / "matrix").reshape(P, P)
    np.testing.assert_array_equal(written, function(net, X, T))


@both
def test_arguments_are_only_read(function):
    net, X, T = known("everything").batch("float64", 10)
    arrays = (net.parameters, X, T, np.ones(10))
    before = [x.copy() for x in arrays]
    function(net, X, T, sample_weight=arrays[3])
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@both
@pytest.mark.parametrize("case", ["depth_3", "tied_autoencoder", "shared_to_shared", "conv2d"])
def test_nan_shows(case, function):
    """A sample of NaN spoils what depends on it, all that has to do with the first weight; nothing stays behind."""
    net, X, T = known(case).batch("float64", 6)
    expected = function(net, X, T)
    wrong = X.copy()
    wrong[2] = np.nan
    spoiled = np.isnan(function(net, wrong, T))
    np.testing.assert_array_equal(spoiled, np.isnan(function(net, wrong[2:3], T[2:3])))
    assert spoiled[0].all()
    np.testing.assert_array_equal(function(net, X, T), expected)


@both
@pytest.mark.parametrize("case", ["depth_3", "hidden_gelu", "repeated_aaa", "tied_deep", "shared_to_shared", "convs"])
def test_float64_is_exact_to_the_last_digits(case, function):
    """A float64 result must never have passed through float32."""
    net, X, T = known(case).batch("float64", 7)
    samples = known(case).H if function is fastbp.hessian else known(case).G
    expected = samples.sum(axis=0)
    assert np.abs(function(net, X, T) - expected).max() < 1e-14 * np.abs(expected).max()
