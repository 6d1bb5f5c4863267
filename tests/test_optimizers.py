"""SGD and Adam: their update rules step by step, and what they are as objects."""

import copy
import pickle

import numpy as np
import pytest

import fastbp
import reference
from cases import ARCHITECTURES, chain, data, network
from fastbp import SGD, Adam, Trainer
from util import DTYPES, assert_close, tolerance

RULES = {
    "sgd": (SGD, {"learning_rate": 0.05}),
    "sgd_decay": (SGD, {"learning_rate": 0.05, "weight_decay": 0.1}),
    "sgd_momentum": (SGD, {"learning_rate": 0.02, "momentum": 0.9}),
    "sgd_momentum_decay": (SGD, {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.1}),
    "sgd_nesterov": (SGD, {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True}),
    "sgd_nesterov_decay": (SGD, {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2}),
    "sgd_nesterov_without_momentum": (SGD, {"learning_rate": 0.05, "nesterov": True}),
    "sgd_rate_0": (SGD, {"learning_rate": 0.0, "momentum": 0.5, "weight_decay": 0.3}),
    "adam": (Adam, {}),
    "adam_decay": (Adam, {"learning_rate": 0.01, "weight_decay": 0.1}),
    "adam_betas": (Adam, {"learning_rate": 0.003, "beta1": 0.5, "beta2": 0.9}),
    "adam_beta_0": (Adam, {"learning_rate": 0.003, "beta1": 0.0, "beta2": 0.0, "epsilon": 1e-3}),
    "adam_epsilon": (Adam, {"learning_rate": 0.003, "epsilon": 0.1}),
}


@pytest.fixture(params=RULES)
def rule(request):
    """An optimizer and its reference."""
    kind, options = RULES[request.param]
    return kind(**options), getattr(reference, kind.__name__)(**options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_step_is_the_rule_on_the_gradient(instruction_set, dtype, rule):
    """For 300 steps, from where the parameters are: the mean gradient of the batch, put through the formulas."""
    optimizer, expected = rule
    net = network(ARCHITECTURES["repeated_aab"], dtype)
    trainer = Trainer(net, optimizer)
    X, T = data(net, 600)
    for i in range(300):
        x, t = X[2 * i : 2 * i + 2], T[2 * i : 2 * i + 2]
        before = net.parameters.astype(np.float64)
        value, gradient = fastbp.loss_and_gradient(net, x, t, reduction="mean")
        after = expected.update(before, gradient)
        assert_close(trainer.step(x, t), value, dtype, 4)
        # The moments are sums over many steps, and a step is a small part of the parameters it changes.
        step = np.abs(after - before).max()
        error = np.abs(net.parameters - after)
        assert (error <= tolerance(dtype, 30) * step + tolerance(dtype) * np.abs(before)).all(), f"step {i}"


@pytest.mark.parametrize("case", ["depth_3", "repeated_abab"])
def test_many_steps(case, rule):
    """A whole training run against NumPy alone, in which nothing is put right between steps."""
    optimizer, expected = rule
    net = network(ARCHITECTURES[case])
    trainer = Trainer(net, optimizer)
    X, T = data(net, 40)
    p = net.parameters.copy()
    for i in range(100):
        rows = slice(10 * (i % 4), 10 * (i % 4) + 10)
        errors = reference.losses(net.layers, p, X[rows], T[rows])
        p = expected.update(p, reference.per_sample_gradients(net.layers, p, X[rows], T[rows]).mean(axis=0))
        assert_close(trainer.step(X[rows], T[rows]), errors.mean(), "float64", 1e6)
    assert_close(net.parameters, p, "float64", 1e6)


def test_bias_correction_after_very_many_steps():
    """After 8000 steps 1 - beta1^t is 1, and 1 - beta2^t nearly so."""
    net = fastbp.Network([fastbp.Affine(1, 1, bias=False)], init="zeros")
    adam, expected = Adam(1e-4), reference.Adam(1e-4)
    trainer, p = Trainer(net, adam), np.zeros(1)
    for _ in range(8000):
        p = expected.update(p, p - 1)
        trainer.step([[1.0]], [[1.0]])
    assert_close(net.parameters, p, "float64", 1e6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_first_step_of_adam_has_the_length_of_the_learning_rate(dtype):
    net = network(chain(4, 5, 2), dtype)
    before = net.parameters.copy()
    X, T = data(net, 8)
    gradient = fastbp.loss_and_gradient(net, X, T)[1]
    Trainer(net, Adam(0.125)).step(X, T)
    np.testing.assert_allclose(net.parameters - before, -0.125 * np.sign(gradient), rtol=1e-5)


def test_huge_and_tiny_gradients_do_not_overflow_adam():
    for size in (1e-30, 1e30):
        net = fastbp.Network([fastbp.Affine(1, 1, bias=False)], init="zeros")
        Trainer(net, Adam(0.1, epsilon=1e-300)).step([[1.0]], [[size]])
        np.testing.assert_allclose(net.parameters, 0.1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_changed_between_steps(dtype):
    net = network(chain(3, 4, 2), dtype)
    X, T = data(net, 6)
    optimizer, expected = SGD(0.1), reference.SGD(0.1)
    trainer = Trainer(net, optimizer)
    changes = [("learning_rate", 0.01), ("momentum", 0.9), ("weight_decay", 0.5), ("nesterov", True), ("momentum", 0.5)]
    for name, value in [*changes, ("learning_rate", 0.0)]:
        setattr(optimizer, name, value)
        setattr(expected, name, value)
        p = expected.update(net.parameters, fastbp.loss_and_gradient(net, X, T, reduction="mean")[1])
        if expected.momentum == 0:
            expected.v = 0.0  # nothing is remembered until there is a momentum
        trainer.step(X, T)
        assert_close(net.parameters, p, dtype, 30)


def test_state_belongs_to_the_trainer():
    """One optimizer for two networks: neither feels the other's momentum."""
    optimizer = SGD(0.1, momentum=0.9)
    nets = [network(chain(3, 2)), network(chain(3, 2))]
    alone = network(chain(3, 2))
    X, T = data(alone, 6)
    trainers = [Trainer(net, optimizer) for net in nets]
    trainer_alone = Trainer(alone, SGD(0.1, momentum=0.9))
    for _ in range(5):
        trainer_alone.step(X, T)
        for trainer in trainers:
            trainer.step(X, T)
    assert nets[0] == nets[1] == alone
    assert repr(optimizer) == repr(SGD(0.1, momentum=0.9))


def test_defaults():
    assert repr(SGD(0.5)) == "SGD(learning_rate=0.5, momentum=0.0, nesterov=False, weight_decay=0.0)"
    assert repr(Adam()) == "Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0)"
    assert repr(SGD(1, 0.5, True, 2)) == "SGD(learning_rate=1.0, momentum=0.5, nesterov=True, weight_decay=2.0)"
    assert Adam(1, 0.2, 0.3, 0.4, 0.5) == Adam(learning_rate=1, beta1=0.2, beta2=0.3, epsilon=0.4, weight_decay=0.5)
    with pytest.raises(TypeError):
        SGD()


@pytest.mark.parametrize("name", RULES)
def test_repr_pickle_and_copies(name):
    kind, options = RULES[name]
    optimizer = kind(**options)
    copies = [eval(repr(optimizer), {"SGD": SGD, "Adam": Adam}), copy.copy(optimizer), copy.deepcopy(optimizer)]
    copies += [pickle.loads(pickle.dumps(optimizer, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert type(other) is kind
        assert other == optimizer
        assert repr(other) == repr(optimizer)
        other.learning_rate += 1
        assert other != optimizer


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_equality(kind):
    names = ("momentum", "nesterov", "weight_decay") if kind is SGD else ("beta1", "beta2", "epsilon", "weight_decay")
    for name in names:
        other = kind(0.1)
        setattr(other, name, True if name == "nesterov" else 0.25)
        assert other != kind(0.1)
    assert kind(0.1) != (Adam if kind is SGD else SGD)(0.1)
    assert kind(0.1) != 0.1
    with pytest.raises(TypeError, match="unhashable"):
        hash(kind(0.1))


NUMBERS = [(SGD, name) for name in ("learning_rate", "momentum", "weight_decay")]
NUMBERS += [(Adam, name) for name in ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")]


@pytest.mark.parametrize("value", [-1.0, -1e-300, float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda x: getattr(x, "__name__", x))
def test_values_out_of_range(kind, name, value):
    with pytest.raises(ValueError, match=rf"^{name}: expected a finite number (at least|above) 0.*, got {value}$"):
        kind(**{"learning_rate": 0.1, name: value})
    optimizer = kind(0.1)
    with pytest.raises(ValueError, match=f"^{name}: "):
        setattr(optimizer, name, value)
    assert optimizer == kind(0.1)


@pytest.mark.parametrize(("kind", "name"), [(SGD, "momentum"), (Adam, "beta1"), (Adam, "beta2")])
def test_decays_of_one(kind, name):
    with pytest.raises(ValueError, match=rf"^{name}: expected a finite number at least 0 and below 1, got 1"):
        kind(0.1, **{name: 1})
    assert getattr(kind(0.1, **{name: np.nextafter(1, 0)}), name) == np.nextafter(1, 0)


def test_epsilon_of_zero():
    with pytest.raises(ValueError, match=r"^epsilon: expected a finite number above 0, got 0$"):
        Adam(epsilon=0)


@pytest.mark.parametrize("value", ["0.1", None, True, 1j, [0.1], object()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda x: getattr(x, "__name__", x))
def test_values_of_a_wrong_kind(kind, name, value):
    with pytest.raises(TypeError, match=rf"^{name}: expected a number, got {type(value).__name__}$"):
        kind(**{"learning_rate": 0.1, name: value})


@pytest.mark.parametrize("value", [np.complex128(1j), np.ones(2), np.bool_(True)], ids=["complex", "array", "bool"])
def test_numpy_values_of_a_wrong_kind(value):
    with pytest.raises(TypeError, match=r"^learning_rate: expected a number, got "):
        SGD(value)


@pytest.mark.parametrize("value", [1, 0, "yes", None, 1.0], ids=str)
def test_nesterov_is_true_or_false(value):
    with pytest.raises(TypeError, match=r"^nesterov: expected True or False, got "):
        SGD(0.1, 0.9, value)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(1), 1], ids=lambda x: type(x).__name__)
def test_numbers_of_every_kind(value):
    rate = SGD(value).learning_rate
    assert type(rate) is float
    assert rate == value
