"""Ctrl-C during long work: it is heard while the work goes on, and everything is as before the call."""

import signal
import time

import numpy as np
import pytest

import fastbp
from cases import network
from fastbp import SGD, Adam, Affine, AveragePool2d, Conv2d, GaussNewtonOperator, HessianOperator, Shared, Tied, Trainer
from util import DTYPES

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an interval timer")


class AlarmError(Exception):
    """What the handler of these tests raises."""


@pytest.fixture
def heard():
    """A function that calls another, raises an alarm inside it after a third of its usual time, and says when."""

    def handler(signum, frame):
        raise AlarmError

    before = signal.signal(signal.SIGALRM, handler)

    def during(call):
        start = time.perf_counter()
        call()
        usual = time.perf_counter() - start
        signal.setitimer(signal.ITIMER_REAL, usual / 3)
        with pytest.raises(AlarmError):
            call()

    yield during
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def wide():
    return [Affine(200, 300, "tanh"), Affine(300, 200)]


def deep():
    return [Affine(24, 24, "tanh"), Affine(24, 24, "softplus"), Affine(24, 8)]


def tied():
    first = Affine(30, 20, "sigmoid")
    return [first, Tied(first)]


def convolution():
    first = Conv2d(1, 8, 3, "tanh", image_shape=(8, 8))
    pool = AveragePool2d(2, image_shape=first.output_shape)
    return [first, pool, Shared(8, 3, 9, "tanh"), Affine(27, 4, "softmax")]


def one_map():
    first = Conv2d(1, 8, 5, "tanh", image_shape=(28, 28))
    return [first, Conv2d(8, 2, 5, "tanh", image_shape=first.output_shape), Affine(800, 10, "softmax")]


# Samples that make each take about a second, and of its parameters enough for a result that is not made at once.
PRODUCTS = {
    "forward": (wide, 60_000, lambda net, X, T, out: net.forward(X, out=out)),
    "loss_and_gradient": (wide, 30_000, lambda net, X, T, out: fastbp.loss_and_gradient(net, X, T, out=out)),
    "jacobian": (deep, 60_000, lambda net, X, T, out: fastbp.jacobian(net, X, out=out)),
    "parameter_jacobian": (deep, 4_000, lambda net, X, T, out: fastbp.parameter_jacobian(net, X, out=out)),
    "per_sample_gradients": (deep, 30_000, lambda net, X, T, out: fastbp.per_sample_gradients(net, X, T, out=out)),
    "hessian": (deep, 12_000, lambda net, X, T, out: fastbp.hessian(net, X, T, out=out)),
    "hessian_tied": (tied, 2_000, lambda net, X, T, out: fastbp.hessian(net, X, T, out=out)),
    "hessian_convolution": (convolution, 200, lambda net, X, T, out: fastbp.hessian(net, X, T, out=out)),
    "gauss_newton": (deep, 12_000, lambda net, X, T, out: fastbp.gauss_newton(net, X, T, out=out)),
    "gauss_newton_convolution": (convolution, 20_000, lambda net, X, T, out: fastbp.gauss_newton(net, X, T, out=out)),
    "hessian_diagonal": (deep, 60_000, lambda net, X, T, out: fastbp.hessian_diagonal(net, X, T, out=out)),
    "hessian_diagonal_tied": (tied, 60_000, lambda net, X, T, out: fastbp.hessian_diagonal(net, X, T, out=out)),
    "hessian_diagonal_convolution": (one_map, 20, lambda net, X, T, out: fastbp.hessian_diagonal(net, X, T, out=out)),
    "gauss_newton_diagonal": (deep, 100_000, lambda net, X, T, out: fastbp.gauss_newton_diagonal(net, X, T, out=out)),
}


def batch(net, N, dtype):
    rng = np.random.default_rng(0)
    T = rng.random((N, net.n_outputs))
    return rng.standard_normal((N, net.n_inputs)).astype(dtype), (T / T.sum(axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", PRODUCTS)
def test_is_heard_while_a_result_is_made(heard, case, dtype):
    layers, N, call = PRODUCTS[case]
    net = network(layers(), dtype)
    X, T = batch(net, N, dtype)
    before = net.parameters.copy()
    result = call(net, X, T, None)
    complete = result[1] if isinstance(result, tuple) else result
    out = np.empty_like(complete)
    heard(lambda: (out.fill(np.nan), call(net, X, T, out)))
    assert not np.array_equal(out, complete)
    np.testing.assert_array_equal(net.parameters, before)
    again = call(net, X, T, None)
    np.testing.assert_array_equal(again[1] if isinstance(again, tuple) else again, complete)


@pytest.mark.parametrize("operator", [HessianOperator, GaussNewtonOperator])
def test_is_heard_in_a_product_with_many_vectors(heard, operator):
    net = network(wide())
    op = operator(net, *batch(net, 2000, float))
    V = np.random.default_rng(0).standard_normal((net.n_parameters, 20))
    results = []
    complete = op @ V
    heard(lambda: results.append(op @ V))
    assert len(results) == 1
    np.testing.assert_array_equal(op @ V, complete)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [SGD(1e-3), SGD(1e-3, 0.9), Adam(1e-3)], ids=["sgd", "momentum", "adam"])
def test_a_step_is_made_or_not_begun(heard, optimizer, dtype):
    net, twin = network(wide(), dtype), network(wide(), dtype)
    X, T = batch(net, 20_000, dtype)
    trainer, other = Trainer(net, optimizer), Trainer(twin, optimizer)
    steps = []

    def step():
        trainer.step(X, T)
        steps.append(net.parameters.copy())

    heard(step)
    assert len(steps) == 1
    np.testing.assert_array_equal(net.parameters, steps[0])
    trainer.step(X, T)  # goes on as if nothing had happened
    other.step(X, T)
    other.step(X, T)
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_momentum_is_kept_when_a_step_without_it_is_not_made(heard):
    net, twin = network(wide()), network(wide())
    X, T = batch(net, 20_000, float)
    optimizer = SGD(1e-3, 0.9)
    trainer, other = Trainer(net, optimizer), Trainer(twin, SGD(1e-3, 0.9))
    for both in (trainer, other):
        both.step(X[:100], T[:100])
    optimizer.momentum = 0.0
    before, first = net.parameters.copy(), [True]

    def step():
        if not first:
            trainer.step(X, T)
        first.clear()
        net(X)
        net(X)

    heard(step)
    np.testing.assert_array_equal(net.parameters, before)
    optimizer.momentum = 0.9
    for both in (trainer, other):
        both.step(X[:100], T[:100])
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_a_handler_may_use_the_network_that_is_at_work():
    net = network(wide())
    X, T = batch(net, 30_000, float)
    expected = fastbp.loss_and_gradient(net, X, T)
    few = fastbp.loss_and_gradient(net, X[:500], T[:500])
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(fastbp.loss_and_gradient(net, X[:500], T[:500])))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        value, gradient = fastbp.loss_and_gradient(net, X, T)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert value == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])
    assert len(seen) > 0
    for value, gradient in seen:
        assert value == few[0]
        np.testing.assert_array_equal(gradient, few[1])
