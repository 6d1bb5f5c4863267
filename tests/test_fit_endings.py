"""Fits that end before their time, anywhere: what they leave is always that of a number of whole epochs."""

import math
import sys

import numpy as np
import pytest

import fastbp._training.trainer
from cases import chain, data, network
from fastbp import SGD, Adam, Affine, Network, Trainer
from util import DTYPES

OPTIMIZERS = {"sgd": lambda: SGD(0.05), "momentum": lambda: SGD(0.02, 0.9), "adam": lambda: Adam(0.01)}
EPOCHS = 4


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    return OPTIMIZERS[request.param]


class Scene:
    """A fit, and the states that it goes through when nothing ends it."""

    def __init__(self, optimizer, validation=True, dtype="float64"):
        self.layers, self.optimizer, self.dtype = chain(3, 4, 2), optimizer, dtype
        self.X, self.T = data(network(self.layers), 20)
        self.options = {"epochs": EPOCHS, "batch_size": 7, "shuffle": False}
        if validation:
            self.options["validation_data"] = data(network(self.layers), 9, seed=5)
        self.states, self.history = self.undisturbed()

    def trainer(self):
        return Trainer(network(self.layers, self.dtype), self.optimizer())

    def undisturbed(self):
        trainer = self.trainer()
        states = [trainer.net.parameters.copy()]
        history = trainer.fit(self.X, self.T, callback=lambda _: states.append(trainer.net.parameters.copy()), **{
            **self.options, "epochs": EPOCHS + 2,
        })  # fmt: skip
        return states, history

    def best(self, epochs):
        """The parameters of the lowest error among those from before the first epoch and after so many."""
        X, T = self.options["validation_data"]
        errors = [fastbp.loss(self.of(state), X, T, reduction="mean") for state in self.states[: epochs + 1]]
        return self.states[int(np.argmin(errors))]

    def of(self, state):
        net = network(self.layers, self.dtype)
        net.parameters = state
        return net

    def check(self, trainer):
        """All that the trainer has is that of the epochs in its history; and it goes on as if nothing had been."""
        history, n = trainer.history, trainer.history.epochs
        np.testing.assert_array_equal(trainer.net.parameters, self.states[n])
        assert history.loss == self.history.loss[:n]
        assert history.validation_loss == self.history.validation_loss[:n]
        if "validation_data" in self.options:
            np.testing.assert_array_equal(trainer.best_parameters, self.best(n))
        else:
            assert trainer.best_parameters is None
        trainer.fit(self.X, self.T, **{**self.options, "epochs": 2})
        np.testing.assert_array_equal(trainer.net.parameters, self.states[n + 2])


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, ValueError, SystemExit])
@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_validation_that_fails(optimizer, error, epoch, monkeypatch):
    scene = Scene(optimizer)
    right, calls = fastbp._training.trainer.loss_of, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == epoch + 1:  # the first is that of the start
            raise error
        return right(*arguments, **options)

    trainer = scene.trainer()
    monkeypatch.setattr(fastbp._training.trainer, "loss_of", failing)
    with pytest.raises(error):
        trainer.fit(scene.X, scene.T, patience=10, **scene.options)
    monkeypatch.undo()
    assert trainer.history.epochs == epoch - 1
    scene.check(trainer)


def test_validation_that_fails_at_the_start(optimizer, monkeypatch):
    """Nothing has happened then."""
    scene = Scene(optimizer)
    trainer = scene.trainer()

    def failing(*arguments, **options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(fastbp._training.trainer, "loss_of", failing)
        with pytest.raises(MemoryError):
            trainer.fit(scene.X, scene.T, **scene.options)
    assert trainer.history is None
    assert trainer.best_parameters is None
    np.testing.assert_array_equal(trainer.net.parameters, scene.states[0])
    trainer.fit(scene.X, scene.T, **scene.options)
    np.testing.assert_array_equal(trainer.net.parameters, scene.states[EPOCHS])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("validation", [False, True], ids=["training", "validation"])
def test_ctrl_c_anywhere(validation, dtype):
    """At every single instruction of the interpreter inside an epoch, and around it."""
    scene = Scene(OPTIMIZERS["adam"], validation, dtype)
    scene.options["epochs"] = 2
    seen, instruction = set(), 0
    while interrupted := fit_interrupted_at(instruction, scene):
        seen.add(interrupted.history.epochs)
        scene.check(interrupted)
        instruction += 1
    assert instruction > 100
    assert seen == {0, 1, 2}


def fit_interrupted_at(number, scene):
    """The trainer of a fit that gets a Ctrl-C at that instruction of its run; None if there are not so many."""
    left = number

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != fastbp._training.trainer.__file__ or frame.f_code.co_name == "__init__":
            return None
        frame.f_trace_opcodes = True
        # What is before the first epoch changes nothing, and its instructions are many.
        if event == "opcode" and trainer.history is not None:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    trainer, before = scene.trainer(), sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # or CPython 3.12 traces none that is asked for later
    sys.settrace(trace)
    try:
        trainer.fit(scene.X, scene.T, **scene.options)
    except KeyboardInterrupt:
        return trainer
    finally:
        sys.settrace(before)
    return None


def test_history_and_best_parameters_while_it_runs_and_after(optimizer):
    scene, seen = Scene(optimizer), []
    trainer = scene.trainer()
    assert trainer.history is trainer.best_parameters is None

    def callback(history):
        assert trainer.history is history
        seen.append(trainer.best_parameters)

    history = trainer.fit(scene.X, scene.T, callback=callback, **scene.options)
    assert trainer.history is history
    for epoch, best in enumerate(seen, 1):
        np.testing.assert_array_equal(best, scene.best(epoch))
    trainer.net.parameters = trainer.best_parameters  # which does not change them
    trainer.step(scene.X, scene.T)
    np.testing.assert_array_equal(trainer.best_parameters, scene.best(EPOCHS))
    with pytest.raises(ValueError, match="read-only"):
        trainer.best_parameters[0] = 1
    trainer.fit(scene.X, scene.T, epochs=1)
    assert trainer.best_parameters is None


def test_a_fit_inside_a_callback(optimizer):
    """Of another trainer or of the same one: each has its own epochs."""
    scene = Scene(optimizer)
    trainer = scene.trainer()

    def callback(history):
        if history.epochs == 1:
            trainer.fit(scene.X, scene.T, **{**scene.options, "epochs": 2})
        if history.epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(scene.X, scene.T, callback=callback, **scene.options)
    np.testing.assert_array_equal(trainer.net.parameters, scene.states[4])


# What patience goes back to.


def with_patience(rate, dtype="float64"):
    """One weight that starts at 2 and should be 0: each step takes it to (1 - rate) times what it was."""
    net = Network([Affine(1, 1, bias=False)], init="zeros", dtype=dtype)
    net.parameters = [2.0]
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    trainer = Trainer(net, SGD(rate))
    return trainer, trainer.fit(one, zero, epochs=500, patience=3, validation_data=(one, zero))


@pytest.mark.parametrize("rate", [2.0, 3.0, 1e200])
@pytest.mark.parametrize("dtype", DTYPES)
def test_patience_goes_back_to_the_start_if_that_was_best(rate, dtype):
    """Also where every later error is infinite, and then NaN."""
    trainer, history = with_patience(rate, dtype)
    assert history.epochs == 3
    np.testing.assert_array_equal(trainer.net.parameters, [2.0])
    np.testing.assert_array_equal(trainer.best_parameters, [2.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_patience_with_no_finite_error_at_all(wrong, dtype, monkeypatch):
    monkeypatch.setattr(fastbp._training.trainer, "loss_of", lambda *_, **__: wrong)
    trainer, history = with_patience(0.5, dtype)
    assert history.epochs == 3
    np.testing.assert_array_equal(trainer.net.parameters, [2.0])


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
@pytest.mark.parametrize("bad", [{0}, {1}, {0, 1}, {2, 3}], ids=str)
def test_patience_passes_over_what_is_not_finite(bad, wrong, monkeypatch):
    """Errors number 0 (of the start), 1, 2, ... fall, but for some that are infinite or NaN."""
    values = iter([wrong if n in bad else 1 / (1 + n) for n in range(6)] + [5.0] * 10)
    monkeypatch.setattr(fastbp._training.trainer, "loss_of", lambda *_, **__: next(values))
    trainer, history = with_patience(0.5)
    assert history.epochs == 5 + 3
    np.testing.assert_array_equal(trainer.net.parameters, [2.0 * 0.5**5])


def test_overflowing_data_of_validation():
    """The reported case: a first validation error that is infinite."""
    net = Network([Affine(1, 1)], init="zeros", dtype="float32")
    X = np.full((4, 1), 1e20, np.float32)
    before = net.parameters.copy()
    history = Trainer(net, SGD(1.0)).fit(X, X, epochs=20, patience=2, validation_data=(X, X))
    assert np.isfinite(net.parameters).all()
    assert history.epochs == 2
    np.testing.assert_array_equal(net.parameters, before)
