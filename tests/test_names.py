"""What type checkers are told: the names that arguments may have are those that they take."""

import inspect
import typing

import pytest

import fastbp
from fastbp._boundary import names
from fastbp._derivatives.first_order import loss as loss_of
from fastbp._networks.network import INITIALIZERS
from fastbp_c.networks.activation import ACTIVATIONS
from fastbp_c.networks.output import LOSSES

NETWORK = fastbp.mlp([2, 2], seed=0)
X, T = [[1.0, 2.0]], [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("alias", "taken"),
    [
        (names.Activation, ACTIVATIONS),
        (names.HiddenActivation, ACTIVATIONS[:-1]),
        (names.Loss, LOSSES),
        (names.Initialization, INITIALIZERS),
    ],
    ids=["Activation", "HiddenActivation", "Loss", "Initialization"],
)
def test_names_are_those_that_are_taken(alias, taken):
    assert typing.get_args(alias) == tuple(taken)


@pytest.mark.parametrize(
    ("alias", "call"),
    [
        (names.Reduction, lambda name: loss_of(NETWORK, X, T, reduction=name)),
        (names.Method, lambda name: fastbp.hessian_diagonal(NETWORK, X, T, method=name)),
        (names.Of, lambda name: fastbp.parameter_jacobian(NETWORK, X, of=name)),
    ],
    ids=["Reduction", "Method", "Of"],
)
def test_these_names_and_no_others(alias, call):
    for name in typing.get_args(alias):
        call(name)
    with pytest.raises(ValueError, match=" or ".join(map(repr, typing.get_args(alias)))):
        call("another")


def test_options_of_mlp_are_those_of_a_network():
    of_network = inspect.signature(fastbp.Network).parameters
    of_mlp = inspect.signature(fastbp.mlp).parameters
    for name in ("dtype", "seed", "init"):
        assert of_mlp[name] == of_network[name]
