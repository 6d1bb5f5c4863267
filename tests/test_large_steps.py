"""Steps of matrices so large that they are taken by strips."""

import pytest

import fastbp
import reference
from cases import data
from fastbp import Affine, Network, Shared, Tied, Trainer
from util import DTYPES, assert_close


def large(kind, dtype):
    """Matrices that a step takes in strips, among others that it does not."""
    wide, narrow = Affine(300, 450, "tanh"), Affine(450, 5, "tanh", bias=False)
    layers = {
        "chain": [wide, narrow, Affine(5, 30000), Affine(30000, 6)],
        "without_bias": [Affine(300, 450, "tanh", bias=False), narrow],
        "tied": [wide, Tied(wide, "tanh"), Affine(300, 440, "tanh"), Affine(440, 7)],
        "tied_above": [Affine(4, 450, "tanh"), narrow, Tied(narrow), Affine(450, 300), Affine(300, 500, bias=False)],
        "shared": [Shared(512, 257, 2, "tanh"), Affine(514, 5)],
    }[kind]
    return Network(layers, dtype=dtype, seed=3)


@pytest.mark.parametrize("N", [3, 700], ids="N_{}".format)
@pytest.mark.parametrize("rule", ["SGD", "momentum", "Adam"])
@pytest.mark.parametrize("kind", ["chain", "without_bias", "tied", "tied_above", "shared"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_of_large_matrices(dtype, kind, rule, N):
    net = large(kind, dtype)
    arguments = {"SGD": (0.25,), "momentum": (0.1, 0.9, True, 0.01), "Adam": (0.01, 0.9, 0.99, 1e-3, 0.1)}[rule]
    name = "Adam" if rule == "Adam" else "SGD"
    trainer, expected = Trainer(net, getattr(fastbp, name)(*arguments)), getattr(reference, name)(*arguments)
    X, T = data(net, N)
    for _ in range(2):
        value, gradient = fastbp.loss_and_gradient(net, X, T, reduction="mean")
        p = expected.update(net.parameters, gradient)
        assert_close(trainer.step(X, T), value, dtype, 4)
        assert_close(net.parameters, p, dtype, 4)
