"""Several Python threads at once: the same bits as one after the other."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

import numpy as np
import pytest

import fastbp
from cases import ARCHITECTURES, chain, data, network
from fastbp import SGD, Adam, Trainer
from util import DTYPES

THREADS = 8


def at_once(tasks):
    """The results of the tasks, each in a thread of its own, all let go together."""
    gate = Barrier(len(tasks))

    def run(task):
        gate.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(run, task) for task in tasks]]


def everything(net, X, T):
    """All that a network computes from a batch, several times over."""
    results = []
    for _ in range(3):
        value, gradient = fastbp.loss_and_gradient(net, X, T)
        results += [net(X), value, gradient, fastbp.per_sample_gradients(net, X, T), fastbp.loss(net, X, T)]
    return results


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_4", "repeated_cababc", "widest", "convolutional", "everything"])
def test_one_network(case, dtype):
    net = network(ARCHITECTURES[case], dtype)
    batches = [data(net, N, seed=N) for N in (1, 5, 16, 64, 100, 257, 300, 400)]
    serial = [everything(net, *batch) for batch in batches]
    found = at_once([lambda batch=batch: everything(net, *batch) for batch in batches])
    for results, expected in zip(found, serial, strict=True):
        for x, y in zip(results, expected, strict=True):
            np.testing.assert_array_equal(x, y)


def curvature(net, X, T):
    """All second derivatives of a batch, and its Jacobians."""
    V = np.random.default_rng(0).standard_normal((net.n_parameters, 3))
    operators = fastbp.HessianOperator(net, X, T), fastbp.GaussNewtonOperator(net, X, T)
    return [
        fastbp.jacobian(net, X),
        fastbp.parameter_jacobian(net, X),
        *(function(net, X, T) for function in (fastbp.hessian, fastbp.gauss_newton)),
        *(function(net, X, T) for function in (fastbp.hessian_diagonal, fastbp.gauss_newton_diagonal)),
        fastbp.hessian_diagonal(net, X, T, method="approximate"),
        *(op @ V for op in operators),
        operators[0].block(0, -1),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_4", "repeated_cababc", "convolutional", "everything"])
def test_second_derivatives_of_one_network(case, dtype):
    net = network(ARCHITECTURES[case], dtype)
    batches = [data(net, N, seed=N) for N in (1, 5, 16, 40, 64, 100)]
    serial = [curvature(net, *batch) for batch in batches]
    found = at_once([lambda batch=batch: curvature(net, *batch) for batch in batches])
    for results, expected in zip(found, serial, strict=True):
        for x, y in zip(results, expected, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("case", ["depth_4", "conv_tied_uneven", "everything"])
@pytest.mark.parametrize("operator", [fastbp.HessianOperator, fastbp.GaussNewtonOperator])
def test_one_operator(operator, case):
    net = network(ARCHITECTURES[case])
    op = operator(net, *data(net, 300))
    vectors = [np.random.default_rng(k).standard_normal((net.n_parameters, k)) for k in (1, 2, 3, 4, 5, 6)]
    serial = [op @ V for V in vectors]
    found = at_once([lambda V=V: [op @ V for _ in range(5)] for V in vectors])
    for results, expected in zip(found, serial, strict=True):
        for result in results:
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [lambda: SGD(0.01, 0.9), Adam], ids=["momentum", "adam"])
def test_several_trainers(optimizer, dtype):
    X, T = data(network(chain(6, 20, 3), dtype), 300)

    def train(seed):
        net = network(chain(6, 20, 3), dtype, seed)
        history = Trainer(net, optimizer()).fit(X, T, epochs=10, seed=seed, validation_data=(X[:50], T[:50]))
        return net, history.loss, history.validation_loss

    serial = [train(seed) for seed in range(THREADS)]
    assert at_once([lambda seed=seed: train(seed) for seed in range(THREADS)]) == serial


def test_shuffling_waits_for_the_generators_lock():
    """Two threads that draw from one generator at once would get the same numbers, or none that are random."""
    generator, net = np.random.default_rng(0), network(chain(3, 2))
    X, T = data(net, 20)
    thread = Thread(target=lambda: Trainer(net, SGD(0.1)).fit(X, T, epochs=1, seed=generator))
    before = net.parameters.copy()
    with generator.bit_generator.lock:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        np.testing.assert_array_equal(net.parameters, before)
    thread.join()
    assert (net.parameters != before).any()


def test_forward_while_another_network_trains():
    net, busy = network(chain(6, 20, 3)), network(chain(6, 20, 3), seed=1)
    X, T = data(net, 200)
    expected = net(X)
    found = at_once(
        [lambda: Trainer(busy, Adam()).fit(X, T, epochs=50, seed=0)] + [lambda: [net(X) for _ in range(100)]] * 3
    )
    for outputs in found[1:]:
        for Y in outputs:
            np.testing.assert_array_equal(Y, expected)
