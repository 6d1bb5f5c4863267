"""The same bits for any number of threads: whatever is computed, of whatever network."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from cases import ARCHITECTURES, architectures, data, error_functions, network, sharing_patterns
from fastbp import SGD, Adam, Affine, AveragePool2d, Conv2d, MaxPool2d, Network, Shared, Tied, Trainer, mlp
from fastbp_c.boundary import team
from util import DTYPES

NUMBERS = (1, 2, 3, 5, 16)


@contextmanager
def threads(n):
    team.set_threads(n)
    try:
        yield
    finally:
        team.set_threads(0)


def training(net, X, T, loss):
    """What two epochs make of the parameters, and their errors."""
    results = []
    for optimizer in (SGD(1e-4, 0.9), Adam()):
        trained = net.copy()
        trainer = Trainer(trained, optimizer, loss=loss)
        history = trainer.fit(X, T, epochs=2, batch_size=max(1, len(X) // 2), seed=0)
        results += [trained.parameters.copy(), np.array(history.loss), trainer.step(X, T), trained.parameters.copy()]
    return results


def first_order(net, X, T, loss):
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss)
    return [net(X), value, gradient, fastbp.loss(net, X, T, loss=loss), fastbp.jacobian(net, X)]


def rows(net, X, T, loss):
    return [fastbp.per_sample_gradients(net, X, T, loss=loss), fastbp.parameter_jacobian(net, X)]


def diagonals(net, X, T, loss):
    return [
        fastbp.hessian_diagonal(net, X, T, loss=loss),
        fastbp.hessian_diagonal(net, X, T, loss=loss, method="approximate"),
        fastbp.gauss_newton_diagonal(net, X, T, loss=loss),
    ]


def products(net, X, T, loss):
    V = np.random.default_rng(0).standard_normal((net.n_parameters, 3))
    operators = fastbp.HessianOperator, fastbp.GaussNewtonOperator
    return [operator(net, X, T, loss=loss) @ V for operator in operators]


def matrices(net, X, T, loss):
    return [fastbp.hessian(net, X, T, loss=loss), fastbp.gauss_newton(net, X, T, loss=loss)]


CHEAP = (first_order, training, diagonals, products)
ALL = (*CHEAP, rows, matrices)


def check(functions, net, X, T, loss=None):
    """That all numbers of threads give the bits of one."""
    with threads(1):
        expected = [function(net, X, T, loss) for function in functions]
    for n in NUMBERS[1:]:
        with threads(n):
            found = [function(net, X, T, loss) for function in functions]
        for results, singles, function in zip(found, expected, functions, strict=True):
            for x, y in zip(results, singles, strict=True):
                assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), (function.__name__, n)


@st.composite
def problems(draw, samples):
    layers = draw(architectures() | sharing_patterns())
    loss = draw(error_functions(layers))
    net = network(layers, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 1000)))
    return (net, *data(net, draw(samples), loss), loss)


@given(problem=problems(st.sampled_from((1, 2, 31, 300))))
def test_any_network(problem):
    check(ALL, *problem)


@given(problem=problems(st.integers(6_000, 12_000)))
def test_any_network_of_many_samples(problem):
    """Enough for parts of the batch."""
    check(CHEAP, *problem)


def image_layers():
    return [
        Conv2d(2, 6, 3, "tanh", padding=1, image_shape=(12, 12)),
        MaxPool2d(2, image_shape=(12, 12, 6)),
        Conv2d(6, 9, 3, "relu", image_shape=(6, 6)),
        AveragePool2d(2, image_shape=(4, 4, 9)),
        Affine(36, 5, "softmax"),
    ]


def tied_layers():
    first = Affine(90, 40, "tanh")
    middle = Shared(10, 10, 4, "silu")
    return [first, middle, middle, Tied(first, "identity")]


# Large enough for every way of sharing: parts of a batch, tiles of a product, stretches of an array, strips of a step.
LARGE = {
    "parts": (lambda: mlp([4, 32, 32, 1], "tanh").layers, 20_000, CHEAP),
    "long": (lambda: mlp([3, 5, 2], "gelu", "softmax").layers, 100_003, CHEAP),
    "tiles": (lambda: mlp([70, 150, 130, 10], "tanh", "softmax").layers, 333, CHEAP),
    "strips": (lambda: mlp([300, 450, 20], "relu").layers, 130, (first_order, training)),
    "samples": (lambda: mlp([100, 300, 7], "softplus", "softmax").layers, 1000, (first_order,)),
    "wide_output": (lambda: mlp([20, 30, 700], "tanh", "sigmoid").layers, 200, CHEAP),
    "matrices": (lambda: mlp([16, 32, 16, 4], "tanh").layers, 700, ALL),
    "images": (image_layers, 200, CHEAP),
    "tied": (tied_layers, 500, CHEAP),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LARGE)
def test_large(case, dtype):
    layers, N, functions = LARGE[case]
    net = Network(layers(), dtype=dtype, seed=1)
    check(functions, net, *data(net, N))
    assert team.helpers() > 0


@pytest.mark.parametrize("case", ["everything", "convolutional", "repeated_cababc", "conv_tied_uneven"])
def test_shared_slots(case):
    net = network(ARCHITECTURES[case], "float64")
    check(ALL, net, *data(net, 600))


def test_blocks():
    rng = np.random.default_rng(0)
    X, W, b = rng.standard_normal((700, 300)), rng.standard_normal((300, 410)), rng.standard_normal(410)
    dY = rng.standard_normal((700, 410))
    results = []
    for n in NUMBERS:
        with threads(n):
            dX, dW, db = fastbp.affine_backward(dY, X, W)
            delta = fastbp.delta_backward(dY, W, X, "tanh")
            results.append(b"".join(x.tobytes() for x in (fastbp.affine(X, W, b), dX, dW, db, delta)))
    assert len(set(results)) == 1


def test_network_without_parameters():
    net = Network([MaxPool2d(2, image_shape=(16, 16, 4))], dtype="float32")
    X, T = data(net, 4000)
    values = []
    for n in NUMBERS:
        with threads(n):
            value, gradient = fastbp.loss_and_gradient(net, X, T)
        assert gradient.shape == (0,)
        values.append(value)
    assert len(set(values)) == 1


@pytest.mark.parametrize("N", [129, 131, 193])
def test_last_batch_with_more_parts(N):
    """65 samples are cut into parts of 3, 64 of them into parts of 2: more parts, for which there has to be room."""
    layers = [
        Conv2d(4, 32, 3, "tanh", image_shape=(34, 34)),
        AveragePool2d(32, image_shape=(32, 32, 32)),
        Affine(32, 2),
    ]
    net = Network(layers, dtype="float32", seed=0)
    X, T = data(net, N)
    trained, stepped = net.copy(), net.copy()
    Trainer(trained, SGD(1e-3)).fit(X, T, epochs=1, batch_size=65, shuffle=False)
    trainer = Trainer(stepped, SGD(1e-3))
    for start in range(0, N, 65):
        trainer.step(X[start : start + 65], T[start : start + 65])
    assert trained.parameters.tobytes() == stepped.parameters.tobytes()
