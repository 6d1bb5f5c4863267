"""The outputs of networks, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from cases import ARCHITECTURES, architectures, chain, data, network, sharing_patterns, terms_of
from reference import ELEMENTWISE
from util import DTYPES, assert_close, nan, shifted


def terms(net):
    """The numbers that one output's longest chain of sums adds up."""
    return sum(terms_of(layer) + 1 for layer in net.layers)


def check_forward(net, X, out=None):
    Y = net.forward(X, out=out)
    assert Y.dtype == net.dtype
    assert out is None or Y is out
    expected = reference.forward(net.layers, net.parameters, X)
    # What the last layer adds up is of the size of 1, even if little is left of it.
    assert_close(Y, expected, net.dtype, terms(net), max(1.0, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("given_out", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("N", [0, 1, 3, 300, 1000], ids="N_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ARCHITECTURES)
def test_architectures(case, dtype, N, given_out):
    net = network(ARCHITECTURES[case], dtype)
    X, _ = data(net, N)
    check_forward(net, X, nan((N, net.n_outputs), dtype) if given_out else None)


@pytest.mark.parametrize("output", [*ELEMENTWISE, "softmax"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_units(instruction_set, dtype, output):
    for n_outputs in (1, 3, 17, 33):
        net = network(chain(5, 6, n_outputs, output=output), dtype)
        for N in (0, 1, 3, 31):
            check_forward(net, data(net, N)[0], nan((N, n_outputs), dtype))


@pytest.mark.parametrize("rows", [255, 256, 257, 511, 512, 513, 4095, 4096, 4097, 8193])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_longer_than_a_chunk(dtype, rows):
    sizes = (3, 400, 2) if rows < 1000 else (3, 4, 2)  # chunks of 256 and of 4096 rows
    net = network(chain(*sizes), dtype)
    check_forward(net, data(net, rows)[0], nan((rows, 2), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_by_row(dtype):
    net = network(chain(6, 7, 3, output="softmax"), dtype)
    X, _ = data(net, 21)
    Y = net(X)
    for n in range(21):
        assert_close(net(X[n : n + 1])[0], Y[n], dtype, terms(net))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_outputs_are_probabilities(instruction_set, dtype):
    net = network(chain(4, 6, 9, output="softmax"), dtype)
    Y = net(100 * data(net, 50)[0])
    assert (Y >= 0).all()
    assert_close(Y.sum(axis=1), np.ones(50), dtype, 9)


@pytest.mark.parametrize("case", ["depth_4", "widest", "repeated_cababc", "tied_wide", "convolutional", "everything"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_every_time_wherever_the_arrays_lie(instruction_set, dtype, case):
    net = network(ARCHITECTURES[case], dtype)
    X, _ = data(net, 300)
    first = net(X)
    for offset in (0, 1, 3):
        np.testing.assert_array_equal(net.forward(shifted(X, offset), out=shifted(first, offset)), first)


def test_call_is_forward():
    net = network(chain(3, 2))
    X, _ = data(net, 4)
    np.testing.assert_array_equal(net(X), net.forward(X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_propagate(instruction_set, dtype):
    net = network(chain(3, 8, 2, hidden="softplus"), dtype)
    X = data(net, 20)[0]
    clean = net(X)
    X[4, 1], X[11, 2] = np.nan, np.inf
    Y = net(X)
    assert np.isnan(Y[4]).all()
    with np.errstate(invalid="ignore"):
        expected = reference.activate("softplus", reference.passes(net.layers, net.parameters, X[11:12])[0][1])
        expected = expected @ net.weights[1] + net.biases[1]
    np.testing.assert_array_equal(np.isfinite(Y[11]), np.isfinite(expected[0]))
    np.testing.assert_array_equal(np.delete(Y, [4, 11], axis=0), np.delete(clean, [4, 11], axis=0))


@given(
    layers=architectures() | sharing_patterns(),
    N=st.integers(0, 40),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_random_architectures(layers, N, dtype, seed):
    net = network(layers, dtype, seed)
    X, _ = data(net, N, seed=seed)
    check_forward(net, X, nan((N, net.n_outputs), dtype))
