"""Jacobians against complex steps through the reference's forward pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
import reference
from cases import ARCHITECTURES, ELEMENTWISE, LARGE, chain, data, network
from curvature import OUTPUTS, SMALL, known, name_of
from fastbp import Affine, MaxPool2d, Network
from test_gradient_properties import problems
from util import DTYPES, assert_close, nan, shifted

OF = ("output", "preactivation")


def close(actual, samples, case, what):
    """Every row of a batch against the sample it repeats."""
    expected = samples[np.arange(len(actual)) % len(samples)]
    assert_close(actual, expected, actual.dtype, known(case).terms(1), np.abs(samples).max(initial=0.0), what)


def check(case, dtype, N, given):
    net, X, _ = known(case).batch(dtype, N)
    out = nan((N, net.n_outputs, net.n_inputs), dtype) if given else None
    J = fastbp.jacobian(net, X, out=out)
    assert J.dtype == dtype
    assert out is None or J is out
    close(J, known(case).jacobian, case, "jacobian")
    columns = slice(None) if known(case).columns is None else known(case).columns
    for of in OF:
        out = nan((N, net.n_outputs, net.n_parameters), dtype) if given else None
        J = fastbp.parameter_jacobian(net, X, of=of, out=out)
        assert J.dtype == dtype
        assert out is None or J is out
        assert np.isfinite(J).all()
        close(J[..., columns], known(case).parameter_jacobian(of), case, of)


@pytest.mark.parametrize("given", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SMALL)
def test_architectures(case, dtype, given):
    for N in (0, 1, 7, 150):
        check(case, dtype, N, given)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LARGE)
def test_large_architectures(case, dtype):
    check(case, dtype, 9, True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [case for case in OUTPUTS if case[1] == "squared_error"], ids=name_of)
def test_output_units(instruction_set, case, dtype):
    check(case, dtype, 5, True)


@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
def test_literal_5_73_to_5_76(output):
    """The recursion from the output unit's derivatives to J_ki = sum_j w_ij dy_k/da_j, one number after the other."""
    net = network(chain(4, 6, 5, 3, hidden="silu", output=output))
    X = data(net, 5)[0]
    W, a = net.weights, [a for _, a, _ in reference.passes(net.layers, net.parameters, X)]
    J = np.empty((5, 3, 4))
    for n in range(5):
        y = reference.activate(output, a[2][n : n + 1])[0]
        for k in range(3):
            slopes = reference.derivative(output, a[2][n]) if output != "softmax" else None
            d = [
                (k == l) * slopes[l] if output != "softmax" else (k == l) * y[k] - y[k] * y[l] for l in range(3)
            ]  # (5.75), (5.76)
            for layer in (1, 0):
                h1 = reference.derivative("silu", a[layer][n])
                d = [h1[j] * sum(W[layer + 1][j, m] * d[m] for m in range(len(d))) for j in range(len(h1))]  # (5.74)
            for i in range(4):
                J[n, k, i] = sum(W[0][i, j] * d[j] for j in range(6))  # (5.73)
    assert_close(fastbp.jacobian(net, X), J, "float64", 30)


# Reverse mode (few outputs), forward mode (few inputs), and both through every kind of layer.
@pytest.mark.parametrize("rows", [1, 2, 4095, 4096, 4097, 9000])
@pytest.mark.parametrize("sizes", [(3, 4, 2), (2, 4, 3), (2, 9, 9, 1), (1, 9, 9, 7)], ids=str)
def test_batches_longer_than_a_chunk(sizes, rows):
    net = network(chain(*sizes, output="softmax"))
    X = data(net, rows)[0]
    J, J_w = fastbp.jacobian(net, X), fastbp.parameter_jacobian(net, X)
    some = [*range(3), *range(rows - 3, rows), rows // 2] if rows > 6 else range(rows)
    for n in some:
        row = X[n : n + 1]
        assert_close(J[n], fastbp.jacobian(net, row)[0], "float64", 20)
        assert_close(J_w[n], fastbp.parameter_jacobian(net, row)[0], "float64", 20)
    assert_close(J[some], reference.jacobian(net.layers, net.parameters, X[some]), "float64", 60)


@pytest.mark.parametrize("case", [case for case in SMALL if ARCHITECTURES[case][-1].activation != "softmax"])
def test_both_modes_agree(case):
    """A layer of one output above everything makes reverse mode the cheaper one; one of one input below, forward."""
    net = network(ARCHITECTURES[case])
    D, K = net.n_inputs, net.n_outputs
    X, rng = data(net, 3)[0], np.random.default_rng(0)
    J, A, B = fastbp.jacobian(net, X), rng.standard_normal((K, 1)), rng.standard_normal((1, D))
    above = Network([*net.layers, Affine(K, 1, bias=False)])
    above.parameters = np.concatenate([net.parameters, A.ravel()])
    below = Network([Affine(1, D), *net.layers])
    below.parameters = np.concatenate([B.ravel(), X[0], net.parameters])
    scale = np.abs(J).max() * np.sqrt(D * K)
    assert_close(fastbp.jacobian(above, X)[:, 0], np.einsum("nki,k->ni", J, A[:, 0]), "float64", 100, scale)
    assert_close(fastbp.jacobian(below, np.zeros((1, 1)))[0, :, 0], J[0] @ B[0], "float64", 100, scale)


@settings(max_examples=50)
@given(problem=problems(largest_batch=5))
def test_complex_steps_of_any_network(problem):
    net, X, _, _ = problem
    expected = reference.jacobian(net.layers, net.parameters, X)
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    assert_close(fastbp.jacobian(net, X), expected, "float64", 100, scale)
    for of in OF:
        expected = reference.parameter_jacobian(net.layers, net.parameters, X, of) if net.n_parameters else 0
        J = fastbp.parameter_jacobian(net, X, of=of)
        if net.n_parameters:
            assert_close(J, expected, "float64", 100, max(1.0, np.abs(expected).max()))
        assert J.shape == (len(X), net.n_outputs, net.n_parameters)


@settings(max_examples=50)
@given(problem=problems(largest_batch=5))
def test_gradient_is_the_residual_times_the_jacobian(problem):
    net, X, T, _ = problem
    rows = fastbp.per_sample_gradients(net, X, T, loss="squared_error")
    J, r = fastbp.parameter_jacobian(net, X), net(X) - T
    scale = np.abs(J).max(initial=0.0) * np.abs(r).sum(axis=1).max()
    assert_close(rows, np.einsum("nk,nkp->np", r, J), "float64", 100, scale)


@pytest.mark.parametrize("case", ["depth_4", "tied_and_repeated", "convolutional", "everything"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_wherever_the_arrays_lie(instruction_set, dtype, case):
    net, X, _ = known(case).batch(dtype, 30)
    J, J_w = fastbp.jacobian(net, X), fastbp.parameter_jacobian(net, X)
    for offset in (1, 3):
        moved = shifted(X, offset)
        np.testing.assert_array_equal(fastbp.jacobian(net, moved, out=shifted(J, offset)), J)
        np.testing.assert_array_equal(fastbp.parameter_jacobian(net, moved, out=shifted(J_w, offset)), J_w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["odd_widths", "conv2d_many_channels"])
def test_products_by_blas(products_by_blas, case, dtype):
    products_by_blas(True)
    check(case, dtype, 5, True)


def test_file_in_memory_as_output(tmp_path):
    net, X, _ = known("depth_3").batch("float64", 5)
    for function, shape in ((fastbp.jacobian, (5, 4, 6)), (fastbp.parameter_jacobian, (5, 4, 109))):
        mapped = np.memmap(tmp_path / function.__name__, np.float64, "w+", shape=shape)
        assert function(net, X, out=mapped) is mapped
        mapped.flush()
        written = np.fromfile(tmp_path / function.__name__).reshape(shape)
        np.testing.assert_array_equal(written, function(net, X))


def test_networks_without_parameters():
    """Pools alone: the derivatives of a mean of maxima are whole numbers over the window's size."""
    first = MaxPool2d(2, image_shape=(4, 4, 1))
    net = Network([first, fastbp.AveragePool2d(2, image_shape=first.output_shape)])
    X = np.random.default_rng(0).permutation(48).reshape(3, 16)
    J = fastbp.jacobian(net, X)
    assert J.shape == (3, 1, 16)
    assert set(J.ravel()) == {0.0, 0.25}
    np.testing.assert_array_equal(J.sum(axis=(1, 2)), 1.0)
    assert fastbp.parameter_jacobian(net, X).shape == (3, 1, 0)


def test_nan_stays_in_its_row():
    net = network(chain(3, 4, 2))
    X = data(net, 6)[0]
    X[2, 1] = np.nan
    for J in (fastbp.jacobian(net, X), fastbp.parameter_jacobian(net, X)):
        assert np.isnan(J[2]).any()
        assert np.isfinite(np.delete(J, 2, axis=0)).all()


@given(st.data())
@settings(max_examples=30)
def test_rows_stand_alone(draw):
    net, X, _, _ = draw.draw(problems(largest_batch=9))
    n = draw.draw(st.integers(0, len(X) - 1))
    for function in (fastbp.jacobian, fastbp.parameter_jacobian):
        J, alone = function(net, X), function(net, X[n : n + 1])
        assert_close(alone[0], J[n], "float64", 30, max(1.0, np.abs(J).max(initial=0.0)))
