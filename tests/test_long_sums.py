"""Sums over many samples keep float32's digits: they are made of short float32 chains that are added in float64."""

import numpy as np
import pytest

import fastbp
from fastbp import SGD, Affine, Conv1d, GaussNewtonOperator, HessianOperator, Network, Shared, Tied, Trainer

# A few roundings of the result's largest element; a chain of all samples is off by a thousand times as much.
BOUND = 8 * float(np.finfo(np.float32).eps)


def dense():
    return [Affine(2, 3, "tanh"), Affine(3, 1, "softplus")], 1_000_003


def shared():
    return [Shared(1, 2, 2, "tanh"), Affine(4, 1)], 300_007


def tied():
    first = Affine(2, 3, "sigmoid")
    return [first, Tied(first)], 300_007


def convolution():
    return [Conv1d(1, 2, 2, "tanh", image_shape=4), Affine(6, 1)], 300_007


NETWORKS = {case.__name__: case for case in (dense, shared, tied, convolution)}


@pytest.fixture(scope="module", params=NETWORKS)
def problem(request):
    """A network in float32 and one of the same parameters in float64; samples whose terms all have the same sign."""
    layers, N = NETWORKS[request.param]()
    net = Network(layers, dtype=np.float32, seed=1)
    twin = Network(layers, dtype=np.float64, seed=1)
    twin.parameters[:] = net.parameters
    rng = np.random.default_rng(0)
    X = (1 + rng.random((N, net.n_inputs))).astype(np.float32)
    T = (285 + rng.standard_normal((N, net.n_outputs))).astype(np.float32)
    return net, twin, X, T


def check(actual, expected):
    assert actual.dtype == np.float32
    assert np.abs(actual - expected).max() <= BOUND * np.abs(expected).max()


FUNCTIONS = ["hessian", "gauss_newton", "hessian_diagonal", "gauss_newton_diagonal"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_second_derivatives(problem, function):
    net, twin, X, T = problem
    call = getattr(fastbp, function)
    check(call(net, X, T), call(twin, X.astype(float), T.astype(float)))


def test_approximate_diagonal(problem):
    net, twin, X, T = problem
    check(
        fastbp.hessian_diagonal(net, X, T, method="approximate"),
        fastbp.hessian_diagonal(twin, X.astype(float), T.astype(float), method="approximate"),
    )


def test_gradient(problem):
    net, twin, X, T = problem
    value, gradient = fastbp.loss_and_gradient(net, X, T)
    exact_value, exact = fastbp.loss_and_gradient(twin, X.astype(float), T.astype(float))
    check(gradient, exact)
    assert value == pytest.approx(exact_value, rel=1e-6)


@pytest.mark.parametrize("operator", [HessianOperator, GaussNewtonOperator])
def test_operators(problem, operator):
    net, twin, X, T = problem
    V = np.random.default_rng(1).random((net.n_parameters, 2)).astype(np.float32)
    check(operator(net, X, T) @ V, operator(twin, X.astype(float), T.astype(float)) @ V.astype(float))


@pytest.mark.parametrize("optimizer", [SGD(1e-6), SGD(1e-6, 0.9, nesterov=True)], ids=["sgd", "momentum"])
def test_full_batch_step(problem, optimizer):
    """Against a step by the float64 gradient: the parameters have only float32's digits, whatever the gradient has."""
    net, twin, X, T = problem
    start = net.parameters.copy()
    try:
        Trainer(net, optimizer).step(X, T)
        factor = 1 if optimizer.momentum == 0 else 1.9
        gradient = fastbp.loss_and_gradient(twin, X.astype(float), T.astype(float))[1] / len(X)
        expected = start - factor * optimizer.learning_rate * gradient
        assert np.all(np.abs(net.parameters - expected) <= np.spacing(np.abs(start)) + 1e-6 * np.abs(expected - start))
    finally:
        net.parameters[:] = start


def test_targets_of_a_large_mean():
    """A full batch's step takes a bias from 0 to the mean."""
    N = 2_000_000
    net = Network([Affine(1, 1)], dtype=np.float32, seed=0)
    net.parameters[:] = 0
    T = np.full((N, 1), 285.0, np.float32)
    T[::2] += 1
    T[1::2] -= 1
    Trainer(net, SGD(1.0)).step(np.zeros((N, 1), np.float32), T)
    assert net.parameters[0] == 0
    assert net.parameters[1] == pytest.approx(285, rel=BOUND)


def many_shared(groups):
    return [Shared(2, 1, groups, "tanh")]


def many_pixels(pixels):
    return [Conv1d(1, 2, 3, "tanh", image_shape=pixels)]


def many_pixels_transposed(pixels):
    first = Conv1d(1, 2, 3, "tanh", image_shape=pixels)
    return [first, Tied(first, "softplus")]


@pytest.mark.parametrize("layers", [many_shared, many_pixels, many_pixels_transposed])
def test_samples_of_very_many_groups(layers):
    """A few samples, whose groups or pixels are as many as a long batch has rows."""
    layers = layers(100_003)
    net, twin = Network(layers, dtype=np.float32, seed=1), Network(layers, dtype=np.float64, seed=1)
    twin.parameters[:] = net.parameters
    rng = np.random.default_rng(0)
    X = (1 + rng.random((5, net.n_inputs))).astype(np.float32)
    T = (285 + rng.standard_normal((5, net.n_outputs))).astype(np.float32)
    check(fastbp.loss_and_gradient(net, X, T)[1], fastbp.loss_and_gradient(twin, X.astype(float), T.astype(float))[1])
    v = rng.random(net.n_parameters).astype(np.float32)
    check(HessianOperator(net, X, T) @ v, HessianOperator(twin, X.astype(float), T.astype(float)) @ v.astype(float))
