"""The operators: products with matrices that are known, and what SciPy makes of them."""

import copy
import warnings

import numpy as np
import pytest
import scipy
from scipy.sparse import linalg

import fastbp
from cases import ARCHITECTURES, chain, data, network
from curvature import OUTPUTS, SMALL, divided, known, name_of, weights
from fastbp import GaussNewtonOperator, HessianOperator
from util import DTYPES, assert_close, tolerance

SCIPY = tuple(int(number) for number in scipy.__version__.split(".")[:2])
OPERATORS = (HessianOperator, GaussNewtonOperator)
DENSE = {HessianOperator: fastbp.hessian, GaussNewtonOperator: fastbp.gauss_newton}
LARGE = ("odd_widths", "wide", "widest", "tied_wide", "shared_many_groups", "conv2d_many_channels")
both = pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)


def columns(P, k, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal((P, k)).astype(dtype)


def check(operator, case, dtype, N, k=3, weight="none", reduction="sum"):
    """op @ V against the samples' matrices times V."""
    net, X, T = known(case).batch(dtype, N)
    weight, w = weights(weight, N, dtype)
    op = operator(net, X, T, loss=known(case).loss, sample_weight=weight, reduction=reduction)
    assert op.shape == (net.n_parameters,) * 2
    assert op.dtype == dtype
    V = columns(net.n_parameters, k, dtype)
    result = op @ V
    assert result.dtype == dtype
    assert result.shape == V.shape
    if known(case).columns is not None:
        matrix = DENSE[operator](net, X, T, loss=known(case).loss, sample_weight=weight, reduction=reduction)
        size = np.abs(matrix).max() * np.sqrt(net.n_parameters)
        return assert_close(result, matrix @ V, dtype, known(case).terms(N), size)
    samples = known(case).H if operator is HessianOperator else known(case).G
    return known(case).check(result, samples @ V.astype(np.float64), divided(w, reduction), operator.__name__)


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL)
def test_architectures(case, dtype, operator):
    for N, k, weight in ((0, 2, "none"), (1, 1, "none"), (7, 5, "some"), (33, 3, "none")):
        check(operator, case, dtype, N, k, weight)


@both
@pytest.mark.parametrize("case", [case for case in LARGE if case != "wide"])
def test_large_architectures(case, operator):
    check(operator, case, "float64", 5, weight="some")


@both
@pytest.mark.parametrize("case", OUTPUTS, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_units_with_error_functions(dtype, case, operator):
    for weight in ("none", "some"):
        for reduction in ("sum", "mean"):
            for N in (0, 1, 3, 31):
                check(operator, case, dtype, N, weight=weight, reduction=reduction)


@both
@pytest.mark.parametrize("case", ["depth_4", "tied_and_repeated", "conv_tied_uneven", "convolutional", "everything"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_instruction_sets(instruction_set, dtype, case, operator):
    check(operator, case, dtype, 19, weight="some", reduction="mean")


@both
@pytest.mark.parametrize("N", [255, 257, 4095, 4096, 4097, 9001])
@pytest.mark.parametrize("case", ["one_by_one", "repeated_aab", ("softmax", "cross_entropy", 3)], ids=name_of)
def test_batches_longer_than_a_chunk(case, N, operator):
    check(operator, case, "float64", N, weight="some")


@both
@pytest.mark.parametrize("case", ["tied_deep", "conv1d_tied", "convs", "convolutional", "everything", "shared_softmax"])
def test_long_batch_is_the_sum_of_short_ones(case, operator):
    net, X, T = known(case).batch("float64", 800)
    X = X + np.random.default_rng(0).standard_normal(X.shape) / 8
    V = columns(net.n_parameters, 2, "float64")
    expected = sum(operator(net, X[i : i + 40], T[i : i + 40]) @ V for i in range(0, 800, 40))
    assert_close(operator(net, X, T) @ V, expected, "float64", 800)


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_forms_of_a_product(dtype, operator):
    """A vector, columns of either order, strided, of another dtype, one column, none: the same bits."""
    net, X, T = known("tied_deep").batch(dtype, 9)
    op, P = operator(net, X, T), net.n_parameters
    V = columns(P, 6, "float32").astype(dtype)
    expected = op @ V
    np.testing.assert_array_equal(op @ np.asfortranarray(V), expected)
    np.testing.assert_array_equal(op @ np.repeat(V, 2, axis=1)[:, ::2], expected)
    np.testing.assert_array_equal(op @ V.astype("float32"), expected)
    np.testing.assert_array_equal(op @ V.astype(np.longdouble), expected)
    np.testing.assert_array_equal(op.matmat(V), expected)
    np.testing.assert_array_equal(op.rmatmat(V), expected)
    for k in range(6):
        np.testing.assert_array_equal(op @ V[:, k], expected[:, k])
        np.testing.assert_array_equal(op @ V[:, k : k + 1], expected[:, k : k + 1])
        np.testing.assert_array_equal(op.matvec(V[:, k]), expected[:, k])
        np.testing.assert_array_equal(op.rmatvec(V[:, k]), expected[:, k])
        np.testing.assert_array_equal(op(V[:, k]), expected[:, k])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Calling `matvec` on 'column vectors'", FutureWarning)  # by SciPy 1.18
        np.testing.assert_array_equal(op.matvec(V[:, :1]), expected[:, :1])
    assert (op @ V[:, :0]).shape == (P, 0)
    assert (op @ V[:, 0]).dtype == dtype
    np.testing.assert_array_equal(V, columns(P, 6, "float32"))


@pytest.mark.skipif(SCIPY < (1, 18), reason="SciPy passes more dimensions from 1.18 on")
@both
@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 3), (3, 1, 2), (0,)])
def test_many_vectors_at_once(operator, shape):
    net, X, T = known("tied_deep").batch("float64", 9)
    op = operator(net, X, T)
    rows = columns(net.n_parameters, 6, "float64").T[: np.prod(shape)].reshape(*shape, net.n_parameters)
    expected = (op @ rows.reshape(-1, net.n_parameters).T).T.reshape(rows.shape)
    np.testing.assert_array_equal(op.matvec(rows), expected)
    np.testing.assert_array_equal(op.rmatvec(rows), expected)
    if rows.ndim > 2:
        np.testing.assert_array_equal(op.matmat(rows.swapaxes(-1, -2)), expected.swapaxes(-1, -2))


@both
def test_adjoint_and_transpose_are_the_operator_itself(operator):
    op = operator(*known("depth_3").batch("float64", 5))
    assert op.T is op
    assert op.H is op
    v = np.ones(op.shape[0])
    np.testing.assert_array_equal(v @ op, op @ v)


@both
def test_sums_and_multiples_of_operators(operator):
    net, X, T = known("depth_3").batch("float64", 5)
    op, v = operator(net, X, T), np.ones(net.n_parameters)
    damped = op + 0.5 * linalg.aslinearoperator(np.eye(net.n_parameters))
    np.testing.assert_allclose(damped @ v, op @ v + 0.5 * v, rtol=1e-15)
    np.testing.assert_allclose((2 * op) @ v, 2 * (op @ v), rtol=1e-15)
    np.testing.assert_allclose((op @ op) @ v, op @ (op @ v), rtol=1e-15)


@both
@pytest.mark.parametrize("case", ["depth_3", "tied_deep", "convs", "everything"])
def test_eigenvalues_by_lanczos(case, operator):
    net, X, T = known(case).batch("float64", 20)
    op, dense = operator(net, X, T), DENSE[operator](net, X, T)
    values, vectors = linalg.eigsh(op, k=4, v0=np.ones(net.n_parameters))
    size = np.abs(np.linalg.eigvalsh(dense))
    np.testing.assert_allclose(np.sort(np.abs(values)), np.sort(size)[-4:], rtol=1e-9)
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-9 * size.max())


def test_conjugate_gradients_and_minres():
    net, X, T = known("hidden_silu").batch("float64", 20)
    P, b = net.n_parameters, columns(net.n_parameters, 1, "float64")[:, 0]
    damping = linalg.aslinearoperator(np.eye(P))
    x, info = linalg.cg(GaussNewtonOperator(net, X, T) + damping, b, rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(x, np.linalg.solve(fastbp.gauss_newton(net, X, T) + np.eye(P), b), rtol=1e-8, atol=1e-9)
    H = fastbp.hessian(net, X, T) + np.eye(P) / 4
    assert np.linalg.eigvalsh(H)[0] < 0  # which only minres can do
    x, info = linalg.minres(HessianOperator(net, X, T) + 0.25 * damping, b, rtol=1e-13, maxiter=20 * P)
    assert info == 0
    np.testing.assert_allclose(H @ x, b, atol=1e-9 * np.abs(x).max() * np.abs(H).max())


def places(net, l):
    """Where the layer's parameters are: W as its owner has it, then b."""
    parts = []
    for view in (net.weights[l], net.biases[l]):
        if view is not None:
            start = (view.ctypes.data - net.parameters.ctypes.data) // view.itemsize
            parts.append(np.arange(start, start + view.size))
    return np.concatenate([np.arange(0), *parts])


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_4", "some_biases", "odd_widths", "tied_and_repeated", "everything"])
def test_blocks(case, dtype, operator):
    net, X, T = known(case).batch(dtype, 5)
    op, dense = operator(net, X, T), DENSE[operator](net, X, T)
    L = len(net.layers)
    for a, b in ((0, 0), (0, L - 1), (L - 1, 0), (1, 2), (-1, -1), (-L, 1)):
        block = op.block(a, b)
        assert block.dtype == dtype
        expected = dense[np.ix_(places(net, a), places(net, b))]
        assert_close(block, expected, dtype, known(case).terms(5), np.abs(dense).max())


@both
def test_blocks_of_layers_without_parameters_are_empty(operator):
    net, X, T = known("max_pool").batch("float64", 5)
    op = operator(net, X, T)
    assert op.block(0, 1).shape == (0, 39)
    assert op.block(1, 0).shape == (39, 0)


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_later_changes_do_not_reach_the_operator(dtype, operator):
    """Neither of the parameters nor of the data, whether the forward pass is kept or not."""
    net, X, T = known("everything").batch(dtype, 9)
    w, v = np.ones(9, dtype), columns(net.n_parameters, 1, dtype)[:, 0]
    op = operator(net, X, T, sample_weight=w)
    expected, block = op @ v, op.block(1, 2)
    net.parameters[...] = np.nan
    for x in (X, T, w):
        x[...] = np.nan
    np.testing.assert_array_equal(op @ v, expected)
    np.testing.assert_array_equal(op.block(1, 2), block)


@both
def test_arguments_are_only_read(operator):
    net, X, T = known("everything").batch("float64", 10)
    arrays = (net.parameters, X, T, np.ones(10), columns(net.n_parameters, 2, "float64"))
    before = [x.copy() for x in arrays]
    operator(net, X, T, sample_weight=arrays[3]) @ arrays[4]
    for x, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, old)


@both
def test_result_is_an_array_of_its_own(operator):
    """Writing to it changes neither the operator nor the next product."""
    net, X, T = known("depth_3").batch("float64", 5)
    op, v = operator(net, X, T), np.ones(net.n_parameters)
    first = op @ v
    expected = first.copy()
    first[...] = np.nan
    np.testing.assert_array_equal(op @ v, expected)


@both
def test_networks_without_parameters(operator):
    net = fastbp.Network(ARCHITECTURES["average_pool"][:1])
    X = np.ones((3, net.n_inputs))
    op = operator(net, X, net(X))
    assert op.shape == (0, 0)
    assert (op @ np.zeros((0, 2))).shape == (0, 2)


@both
def test_nan_in_a_vector_stays_in_its_column(operator):
    net, X, T = known("convs").batch("float64", 5)
    op, V = operator(net, X, T), columns(net.n_parameters, 3, "float64")
    expected = op @ V
    V[4, 1] = np.nan
    result = op @ V
    assert np.isnan(result[:, 1]).any()
    np.testing.assert_array_equal(result[:, [0, 2]], expected[:, [0, 2]])


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_class_labels_and_vectors_of_targets(dtype, operator):
    net = network(chain(4, 6, 3, output="softmax"), dtype)
    X, labels = data(net, 20)[0], np.random.default_rng(3).integers(0, 3, 20)
    v = np.ones(net.n_parameters)
    np.testing.assert_array_equal(operator(net, X, labels) @ v, operator(net, X, np.eye(3)[labels]) @ v)


@both
def test_copies_are_refused_as_those_of_a_trainer_are(operator):
    op = operator(*known("depth_2").batch("float64", 5))
    with pytest.raises(TypeError):
        copy.deepcopy(op)


@both
@pytest.mark.parametrize("loss", [None, "squared_error"])
def test_products_are_linear(operator, loss):
    net, X, T = known("shared_softmax").batch("float64", 9)
    op, V = operator(net, X, T, loss=loss), columns(net.n_parameters, 2, "float64")
    combined = op @ (V @ [2.0, -3.0])
    size = np.abs(op @ V).max() * 5
    assert np.abs(combined - (op @ V) @ [2.0, -3.0]).max() < tolerance("float64", 60) * size
