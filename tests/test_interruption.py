"""Exceptions in the middle of a fit: network and optimizer are as the last finished epoch left them."""

import os
import signal
import sys
import threading

import numpy as np
import pytest

import fastbp_c.affine
from cases import chain, data, network
from fastbp import SGD, Adam, Affine, Trainer
from util import nan

OPTIMIZERS = {"momentum": lambda: SGD(0.01, 0.9), "adam": lambda: Adam(0.01)}
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    return OPTIMIZERS[request.param]()


@pytest.fixture
def interrupt():
    """A function that sends Ctrl-C to this process a moment later, from another thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers = []

    def later():
        timers.append(threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()

    yield later
    for timer in timers:
        timer.join()
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def long_epoch():
    """A network and data that take far longer for an epoch than the interruption takes to come."""
    X = np.random.default_rng(0).standard_normal((1_500_000, 1))
    return chain(1, 32, 32, 1), X, np.sin(3 * X)


@posix
@pytest.mark.parametrize("shuffle", [False, True], ids=["in_order", "shuffled"])
def test_ctrl_c_undoes_the_epoch_that_it_interrupts(interrupt, long_epoch, optimizer, shuffle):
    layers, X, T = long_epoch
    net = network(layers)
    before, epochs = net.parameters.copy(), []
    interrupt()
    with pytest.raises(KeyboardInterrupt):
        Trainer(net, optimizer).fit(X, T, epochs=10**6, shuffle=shuffle, callback=epochs.append)
    assert not epochs  # else the fit did not listen during its first epoch
    np.testing.assert_array_equal(net.parameters, before)


@posix
def test_ctrl_c_leaves_the_last_finished_epoch(interrupt, long_epoch, optimizer):
    """And training goes on from it, moments and all, as if nothing had happened."""
    layers, X, T = long_epoch
    X, T = X[:400_000], T[:400_000]
    net, other = network(layers), network(layers)
    finished = []

    def callback(history):
        finished.append(net.parameters.copy())
        if history.epochs == 1:
            interrupt()

    trainer = Trainer(net, optimizer)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, T, epochs=10**6, shuffle=False, batch_size=256, callback=callback)
    np.testing.assert_array_equal(net.parameters, finished[-1])
    trainer.fit(X, T, epochs=1, shuffle=False, batch_size=256)
    Trainer(other, optimizer).fit(X, T, epochs=len(finished) + 1, shuffle=False, batch_size=256)
    assert net == other


@posix
@pytest.mark.parametrize("repeated", [False, True], ids=["layers_of_their_own", "one_layer_repeated"])
def test_ctrl_c_is_heard_long_before_the_end_of_an_epoch(repeated):
    """After 50 ms of the processor's time, in an epoch of far more: however few parameters the same work has.

    All data are 0, so is the gradient, and the decay of the weights counts the steps.
    """
    layer, steps, heard = Affine(48, 48, bias=False), 2500, []
    net = network([layer if repeated else Affine(48, 48, bias=False) for _ in range(200)])
    net.parameters = np.ones(net.n_parameters)
    zeros = np.zeros((8 * steps, 48))

    def handler(number, frame):
        heard.append(np.log(net.parameters[0]) / np.log1p(-1e-3))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGVTALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            Trainer(net, SGD(1e-3, weight_decay=1)).fit(zeros, zeros, epochs=1, batch_size=8)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert heard[0] < 0.9 * steps
    np.testing.assert_array_equal(net.parameters, 1)


@posix
def test_exception_of_any_signal_handler(long_epoch, interrupt, optimizer):
    class StopError(Exception):
        pass

    def handler(number, frame):
        raise StopError

    layers, X, T = long_epoch
    net = network(layers)
    before = net.parameters.copy()
    signal.signal(signal.SIGINT, handler)
    interrupt()
    with pytest.raises(StopError):
        Trainer(net, optimizer).fit(X, T, epochs=10**6)
    np.testing.assert_array_equal(net.parameters, before)


@posix
def test_signal_handler_that_returns_changes_nothing(interrupt, optimizer):
    heard, epochs = [], []
    layers = chain(1, 16, 1)
    net, other = network(layers), network(layers)
    X, T = data(net, 1000)
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    interrupt()
    Trainer(net, optimizer).fit(
        X, T, epochs=10**6, shuffle=False, callback=lambda history: epochs.append(1) or bool(heard)
    )
    Trainer(other, optimizer).fit(X, T, epochs=len(epochs), shuffle=False)
    assert net == other


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_of_the_callback_leaves_the_last_finished_epoch(optimizer, exception):
    net, other = network(chain(3, 5, 2)), network(chain(3, 5, 2))
    X, T = data(net, 50)

    def callback(history):
        if history.epochs == 3:
            raise exception

    trainer = Trainer(net, optimizer)
    with pytest.raises(exception):
        trainer.fit(X, T, epochs=10, shuffle=False, callback=callback)
    rest = Trainer(other, optimizer)
    rest.fit(X, T, epochs=3, shuffle=False)
    assert net == other
    trainer.fit(X, T, epochs=2, shuffle=False)
    rest.fit(X, T, epochs=2, shuffle=False)
    assert net == other


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": 1, "batch_size": 0},
        {"epochs": 1, "validation_data": 5},
        {"epochs": 1, "patience": 1},
        {"epochs": 1, "callback": 5},
        {"epochs": 1, "shuffle": "no"},
        {"epochs": 1, "seed": "x"},
    ],
    ids=lambda options: list(options)[-1],
)
def test_wrong_arguments_change_nothing(optimizer, options):
    net, other = network(chain(3, 5, 2)), network(chain(3, 5, 2))
    X, T = data(net, 50)
    trainer, rest = Trainer(net, optimizer), Trainer(other, optimizer)
    trainer.fit(X, T, epochs=2, seed=0)
    name = "validation_data" if "patience" in options else list(options)[-1]
    with pytest.raises((TypeError, ValueError), match=f"^{name}: "):
        trainer.fit(X, T, **options)
    bad = X.copy()
    bad[17, 1] = np.nan
    with pytest.raises(ValueError, match=r"^X: expected finite numbers, got nan in row 17$"):
        trainer.fit(bad, T, epochs=1)
    with pytest.raises(ValueError, match=r"^X: "):
        trainer.step(X[:, :2], T)
    rest.fit(X, T, epochs=2, seed=0)
    for each in (trainer, rest):
        each.fit(X, T, epochs=2, seed=1)
    assert net == other


LONG = 3000


def long_affine(x, out):
    fastbp_c.affine.affine(x, x, None, out)


def long_backward(x, out):
    fastbp_c.affine.affine_backward(x, x, x, out, np.empty_like(x), np.empty(LONG))


def long_delta(x, out):
    fastbp_c.affine.delta_backward(x, x, x, "tanh", out, np.empty_like(x))


@posix
@pytest.mark.parametrize("call", [long_affine, long_backward, long_delta])
def test_ctrl_c_ends_a_long_product(interrupt, call):
    """Long before its end: the last row is not there yet."""
    x, out = np.zeros((LONG, LONG)), nan((LONG, LONG), "float64")
    interrupt()
    with pytest.raises(KeyboardInterrupt):
        call(x, out)
    assert np.isnan(out[-1]).all()
    fastbp_c.affine.affine(x[:3], x, None, out[:3])  # and what comes next is not bothered
    assert not out[:3].any()
