"""What optimizers, trainers and paths say to wrong arguments, word for word."""

import decimal
import re

import numpy as np
import pytest

import fastbp
from bad_input import LOSSES, check, table
from cases import chain, network
from fastbp import SGD, Adam, Affine, Trainer

AT_LEAST_0 = "expected a finite number at least 0"
NO_NUMBERS = [("3", "str"), (None, "NoneType"), (True, "bool"), (np.True_, "bool"), (1j, "complex"), ([0.1], "list")]
NO_NUMBERS += [(np.complex64(1), "complex64"), (decimal.Decimal("sNaN"), "Decimal")]
RANGES = {
    (SGD, "learning_rate"): AT_LEAST_0,
    (SGD, "momentum"): f"{AT_LEAST_0} and below 1",
    (SGD, "weight_decay"): AT_LEAST_0,
    (Adam, "learning_rate"): AT_LEAST_0,
    (Adam, "beta1"): f"{AT_LEAST_0} and below 1",
    (Adam, "beta2"): f"{AT_LEAST_0} and below 1",
    (Adam, "epsilon"): "expected a finite number above 0",
    (Adam, "weight_decay"): AT_LEAST_0,
}


@pytest.mark.parametrize(("kind", "name"), RANGES, ids=lambda x: getattr(x, "__name__", x))
def test_optimizers(kind, name):
    """When they are made and when they are changed: a failed change leaves them as they were."""
    numbers = [(-1, "-1"), (float("nan"), "nan"), (float("inf"), "inf"), (10**400, "inf")]
    numbers += [(1, "1")] * ("below 1" in RANGES[kind, name]) + [(0, "0")] * (name == "epsilon")
    wrong = [(value, f"ValueError: {name}: {RANGES[kind, name]}, got {shown}") for value, shown in numbers]
    wrong += [(value, f"TypeError: {name}: expected a number, got {shown}") for value, shown in NO_NUMBERS]
    for value, message in wrong:
        check(lambda s, value=value: kind(**{"learning_rate": 0.1, name: value}), message)
        optimizer = kind(learning_rate=0.1)
        before = repr(optimizer)
        check(lambda s, value=value, optimizer=optimizer: setattr(optimizer, name, value), message)
        assert repr(optimizer) == before


SGD_NAMES = "learning_rate, momentum, nesterov, weight_decay"
ADAM_NAMES = "learning_rate, beta1, beta2, epsilon, weight_decay"


@table(
    [
        (lambda s: SGD(), "TypeError: learning_rate: expected a number, got NoneType"),
        (lambda s: SGD(momentum=0.9), "TypeError: learning_rate: expected a number, got NoneType"),
        *(
            (
                lambda s, kind=kind, name=name: kind(**{name: 0.1}),
                f"TypeError: {kind.__name__}: expected {ours}, got {name}",
            )
            for kind, names in (
                (
                    SGD,
                    {
                        "lr": "learning_rate", "eta": "learning_rate", "step_size": "learning_rate",
                        "learning_rate_init": "learning_rate", "rho": "momentum", "nesterovs_momentum": "nesterov",
                        "wd": "weight_decay", "eps": SGD_NAMES, "betas": SGD_NAMES, "dampening": SGD_NAMES,
                        "beta1": SGD_NAMES,
                    },
                ),
                (
                    Adam,
                    {
                        "lr": "learning_rate", "alpha": "learning_rate", "betas": "beta1 and beta2", "b1": "beta1",
                        "beta_1": "beta1", "b2": "beta2", "beta_2": "beta2", "eps": "epsilon", "wd": "weight_decay",
                        "decay": "weight_decay", "amsgrad": ADAM_NAMES, "momentum": ADAM_NAMES, "mu": ADAM_NAMES,
                    },
                ),
            )
            for name, ours in names.items()
        ),
    ]
)  # fmt: skip
def test_names_of_numbers(call, message):
    check(call, message)


@table(
    [
        (lambda s: SGD(0.1, nesterov=1), "TypeError: nesterov: expected True or False, got int"),
        (lambda s: setattr(SGD(0.1), "nesterov", "yes"), "TypeError: nesterov: expected True or False, got str"),
    ]
)
def test_nesterov(call, message):
    check(call, message)


@table(
    [
        (lambda s: Trainer(None, s.optimizer), "TypeError: net: expected a Network, got NoneType"),
        (lambda s: Trainer([Affine(1, 1)], s.optimizer), "TypeError: net: expected a Network, got list"),
        (lambda s: Trainer(s.net, SGD), "TypeError: optimizer: expected SGD or Adam, got type"),
        (lambda s: Trainer(s.net, 0.1), "TypeError: optimizer: expected SGD or Adam, got float"),
        (lambda s: Trainer(s.net, Adam.__base__()), "TypeError: optimizer: expected SGD or Adam, got Optimizer"),
        (
            lambda s: Trainer(s.net, s.optimizer, loss=1),
            "TypeError: loss: expected the name of an error function, got int",
        ),
        (lambda s: Trainer(s.net, s.optimizer, loss="mse"), f"ValueError: loss: expected one of {LOSSES}, got 'mse'"),
        (
            lambda s: Trainer(s.classifier, s.optimizer, loss="binary_cross_entropy"),
            "ValueError: loss: expected a sigmoid output for 'binary_cross_entropy', got a network with softmax output",
        ),
    ]
)
def test_trainer(call, message):
    check(call, message)


def fitting(**options):
    return lambda s: s.fit(s.X, s.T, **options)


def validating(change):
    return lambda s: s.fit(s.X, s.T, validation_data=change(s))


def with_entry(x, row, value):
    x = x.copy()
    x[row, 1] = value
    return x


@table(
    [
        (lambda s: s.fit(s.X[:0], s.T[:0]), "ValueError: X: expected at least one row, got shape (0, 3)"),
        (lambda s: s.fit(with_entry(s.X, 3, np.nan), s.T), "ValueError: X: expected finite numbers, got nan in row 3"),
        (
            lambda s: s.fit(with_entry(s.X, 0, -np.inf), s.T),
            "ValueError: X: expected finite numbers, got -inf in row 0",
        ),
        (lambda s: s.fit(s.X, with_entry(s.T, 4, np.inf)), "ValueError: T: expected finite numbers, got inf in row 4"),
        (fitting(epochs=0), "ValueError: epochs: expected at least 1, got 0"),
        (fitting(epochs=1.0), "TypeError: epochs: expected an integer, got float"),
        (fitting(epochs=True), "TypeError: epochs: expected an integer, got bool"),
        (fitting(epochs=None), "TypeError: epochs: expected an integer, got NoneType"),
        (fitting(batch_size=0), "ValueError: batch_size: expected at least 1, got 0"),
        (fitting(batch_size=-(10**30)), f"ValueError: batch_size: expected at least 1, got -1{30 * '0'}"),
        (fitting(batch_size="32"), "TypeError: batch_size: expected an integer, got str"),
        (fitting(shuffle=1), "TypeError: shuffle: expected True or False, got int"),
        (fitting(shuffle=None), "TypeError: shuffle: expected True or False, got NoneType"),
        (fitting(seed=-1), "ValueError: seed: expected None, a non-negative integer or a Generator, got -1"),
        (
            fitting(seed=0.5, shuffle=False),
            "TypeError: seed: expected None, a non-negative integer or a Generator, got 0.5",
        ),
        (fitting(patience=1), "ValueError: validation_data: expected a pair (X, T) for patience=1, got None"),
        (
            lambda s: s.fit(s.X, s.T, validation_data=(s.X, s.T), patience=0),
            "ValueError: patience: expected at least 1, got 0",
        ),
        (
            lambda s: s.fit(s.X, s.T, validation_data=(s.X, s.T), patience=1.5),
            "TypeError: patience: expected an integer, got float",
        ),
        (fitting(callback=5), "TypeError: callback: expected a callable, got int"),
        (fitting(progress="yes"), "TypeError: progress: expected True or False, got str"),
        (fitting(validation_data=5), "TypeError: validation_data: expected a pair (X, T), got int"),
        (
            validating(lambda s: (s.X, s.T, s.T)),
            "ValueError: validation_data: expected a pair (X, T), got another tuple",
        ),
        (
            validating(lambda s: (s.X[:0], s.T[:0])),
            "ValueError: validation_data: expected at least one row, got shape (0, 3)",
        ),
        (
            validating(lambda s: (s.T, s.T)),
            "ValueError: validation_data: X: expected 3 columns (the network's inputs), got shape (5, 2)",
        ),
        (
            validating(lambda s: (s.X, s.X)),
            "ValueError: validation_data: T: expected 2 columns (the network's outputs), got shape (5, 3)",
        ),
        (
            validating(lambda s: (s.X, s.T[:3])),
            "ValueError: validation_data: T: expected 5 rows (the rows of X), got shape (3, 2)",
        ),
        (
            validating(lambda s: (s.X, s.T[:, 0])),
            "ValueError: validation_data: T: expected shape (N, 2), got float64 of shape (5,)",
        ),
        (validating(lambda s: (s.X, "ab")), "TypeError: validation_data: T: expected real numbers, got dtype <U2"),
        (
            validating(lambda s: (with_entry(s.X, 2, np.nan), s.T)),
            "ValueError: validation_data: X: expected finite numbers, got nan in row 2",
        ),
    ]
)
def test_fit(call, message):
    check(call, message)


def test_what_is_too_large_for_float32_is_not_finite():
    net = network(chain(1, 1), "float32")
    with pytest.raises(ValueError, match=r"^X: expected finite numbers, got inf in row 1$"):
        Trainer(net, SGD(0.1)).fit([[1.0], [1e300]], [[1.0], [1.0]], epochs=1)


@pytest.mark.parametrize("call", [lambda net, path: net.save(path), lambda net, path: fastbp.load(path)])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "TypeError: path: expected a str or path-like, got NoneType"),
        (3, "TypeError: path: expected a str or path-like, got int"),
        ("a\0b", "ValueError: path: expected a name without NUL, got 'a\\x00b'"),
        (b"a\0b", "ValueError: path: expected a name without NUL, got 'a\\x00b'"),
    ],
)
def test_paths(call, path, message):
    check(lambda s: call(s.net, path), message)


def test_save_replaces_nothing_but_files(tmp_path):
    with pytest.raises(OSError, match=re.escape(f"path: expected a regular file or none, got {str(tmp_path)!r}")):
        network(chain(1, 1)).save(tmp_path)
    assert list(tmp_path.iterdir()) == []
