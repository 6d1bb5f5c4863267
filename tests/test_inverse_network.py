"""The inverse Gauss-Newton matrix of a network, against the inverse of the assembled one."""

import numpy as np
import pytest

import fastbp
from cases import chain, data, network
from fastbp import WoodburyInverse
from util import DTYPES

CASES = [
    (chain(3, 4, 1), None),
    (chain(3, 5, 2), None),
    (chain(3, 4, 2, output="sigmoid"), None),
    (chain(3, 4, 3, output="softmax"), None),
    (chain(3, 4, 2, output="tanh"), None),
    (chain(3, 4, 3, output="softmax"), "squared_error"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("layers", "loss"), CASES)
@pytest.mark.parametrize("N", [0, 1, 7, 200])
def test_against_the_assembled_matrix(layers, loss, weighted, N, dtype):
    net = network(layers, dtype)
    X, T = data(net, N)
    weights = np.random.default_rng(0).uniform(0, 2, N) if weighted else None
    alpha = 0.1
    inv = WoodburyInverse.from_network(net, X, T, alpha=alpha, loss=loss, sample_weight=weights)
    G = np.asarray(fastbp.gauss_newton(net, X, T, loss=loss, sample_weight=weights), np.float64)
    expected = np.linalg.inv(G + alpha * np.eye(net.n_parameters))
    scale = np.linalg.norm(G, 2) / alpha + 1
    tolerance = 1e-13 if dtype == "float64" else 1e-6
    assert np.abs(inv.matrix - expected).max() <= tolerance * scale * np.abs(expected).max()


def test_samples_to_come():
    net = network(chain(3, 4, 1))
    X, T = data(net, 40)
    inv = WoodburyInverse.from_network(net, X[:30], alpha=0.5)
    inv.update(fastbp.parameter_jacobian(net, X[30:])[:, 0])
    whole = WoodburyInverse.from_network(net, X, T, alpha=0.5)
    np.testing.assert_allclose(inv.matrix, whole.matrix, rtol=0, atol=1e-11)


def test_refusals():
    net = network(chain(3, 4, 2))
    X, _ = data(net, 5)
    with pytest.raises(TypeError, match=r"^net: expected a Network, got int"):
        WoodburyInverse.from_network(3, X, alpha=1.0)
    with pytest.raises(ValueError, match=r"^X: expected 3 columns"):
        WoodburyInverse.from_network(net, X[:, :2], alpha=1.0)
    with pytest.raises(ValueError, match=r"^alpha: expected a number above 0"):
        WoodburyInverse.from_network(net, X, alpha=0.0)
    with pytest.raises(ValueError, match=r"^sample_weight: expected finite numbers of at least 0, got -1.0 in row 0"):
        WoodburyInverse.from_network(net, X, alpha=1.0, sample_weight=-np.ones(5))
