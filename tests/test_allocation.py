"""Calls that are given their outputs, and training steps, allocate no arrays, as far as Python and NumPy count."""

import tracemalloc

import numpy as np
import pytest

import fastbp
from cases import ARCHITECTURES, chain, data, network
from fastbp import SGD, Adam, Trainer
from fastbp_c.derivatives.hessian import route
from util import DTYPES

# Room for the numbers and tuples of one call; the smallest array here is larger by far.
SMALL = 2048


def peak_of(call, times=100):
    """The most memory, in bytes, that was in use above the first call's level during many more."""
    call()
    tracemalloc.start()
    try:
        call()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(times):
            call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_an_array_would_be_noticed():
    assert peak_of(lambda: np.empty(500)) > SMALL


@pytest.mark.parametrize("dtype", DTYPES)
def test_affine_into_out(dtype):
    X, W, b, out = np.ones((50, 40), dtype), np.ones((40, 30), dtype), np.ones(30, dtype), np.ones((50, 30), dtype)
    assert peak_of(lambda: fastbp.affine(X, W, b, out=out)) < SMALL


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_4", "repeated_cababc", "widest", "convolutional", "everything"])
@pytest.mark.parametrize("function", ["forward", "loss", "loss_and_gradient", "per_sample_gradients"])
def test_derivatives_into_out(function, case, dtype):
    net = network(ARCHITECTURES[case], dtype)
    X, T = data(net, 600)
    if function == "forward":
        out = net(X)
        assert peak_of(lambda: net.forward(X, out=out)) < SMALL
    elif function == "loss":
        assert peak_of(lambda: fastbp.loss(net, X, T)) < SMALL
    else:
        call = getattr(fastbp, function)
        result = call(net, X, T)
        out = result if function == "per_sample_gradients" else result[1]
        assert peak_of(lambda: call(net, X, T, out=out)) < SMALL


# The walk over the layers keeps a small table of places; products with unit vectors take some of those at a time.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_4", "repeated_cababc", "convolutional", "everything"])
@pytest.mark.parametrize(
    "function",
    ["hessian", "gauss_newton", "hessian_diagonal", "gauss_newton_diagonal", "jacobian", "parameter_jacobian"],
)
def test_second_derivatives_into_out(function, case, dtype):
    net = network(ARCHITECTURES[case], dtype)
    batch = data(net, 20)[: 1 if "jacobian" in function else 2]
    call = getattr(fastbp, function)
    out = call(net, *batch)
    chooses = function == "hessian" or (function == "hessian_diagonal" and net._plan.repeats)
    by_products = chooses and route(net._plan, False, out.ndim == 2) == "products"
    units = 3 * 64 * net.n_parameters * out.itemsize if by_products else 0
    assert peak_of(lambda: call(net, *batch, out=out), times=5) < SMALL + units


@pytest.mark.parametrize("operator", [fastbp.HessianOperator, fastbp.GaussNewtonOperator])
def test_small_block_of_a_large_network(operator):
    """A few columns of 200 thousand parameters at a time: 8 MB of unit vectors and as much of products."""
    net = network(chain(1000, 200, 1))
    op = operator(net, *data(net, 2))
    assert peak_of(lambda: op.block(1, 1), times=1) < 40e6
    assert op.block(1, 1).shape == (201, 201)


@pytest.mark.parametrize("optimizer", [SGD(0.01), SGD(0.01, 0.9), Adam()], ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", [chain(20, 40, 10), ARCHITECTURES["everything"]], ids=["affine", "everything"])
def test_steps(layers, dtype, optimizer):
    net = network(layers, dtype)
    X, T = data(net, 200)
    trainer = Trainer(net, optimizer)
    assert peak_of(lambda: trainer.step(X, T)) < SMALL


def test_steps_of_alternating_shapes():
    net = network(chain(20, 40, 10))
    X, T = data(net, 200)
    trainer = Trainer(net, Adam())

    def both():
        trainer.step(X, T)
        trainer.step(X[:100], T[:100])

    assert peak_of(both) < SMALL


@pytest.mark.parametrize("shuffle", [False, True], ids=["in_order", "shuffled"])
def test_epochs(shuffle):
    """A longer fit needs no more memory than a short one, but for its history."""
    net = network(chain(20, 40, 10))
    X, T = data(net, 500)
    trainer = Trainer(net, Adam())
    peaks = []
    for epochs in (2, 2, 50):
        tracemalloc.start()
        trainer.fit(X, T, epochs=epochs, shuffle=shuffle, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 50 * 64 + SMALL
