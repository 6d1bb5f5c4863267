"""Diagonals of the Hessian and of the Gauss-Newton matrix: softmax and cross-entropy, tanh hidden layers, float64.

fastbp's gradient of the same batch stands beside them: the approximate diagonal is to cost no more than two.
"""

import numpy as np
import pytest

import by_complex_step
import fastbp
import limits
import ways
from support import (
    NumpyNetwork,
    backpack_call,
    data,
    name_of,
    record,
    start,
    timed,
)

AREA = "Diagonals"
CASES = [((16, 32, 16, 4), 500), ((64, 32, 10), 500), ((784, 256, 128, 10), 256)]
KINDS = ["approximate", "Gauss-Newton", "exact"]

# BackPACK's hooks are there for the parameters; that there is no gradient of the inputs they are warned of.
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")


# An implementation takes a network's sizes, a batch and a kind. It returns a function without arguments and one that
# makes an array (P,) of its result.


def fastbp_call(sizes, X, T, kind):
    """As in the interface, into an array that is there already."""
    net = fastbp.mlp(sizes, output="softmax")
    net.parameters = start(sizes, "float64")
    out = np.zeros(net.n_parameters)
    if kind == "Gauss-Newton":
        return lambda: fastbp.gauss_newton_diagonal(net, X, T, out=out), lambda d: d
    return lambda: fastbp.hessian_diagonal(net, X, T, method=kind, out=out), lambda d: d


def gradient_call(sizes, X, T, kind):
    """Not a diagonal: what it is compared with."""
    net = fastbp.mlp(sizes, output="softmax")
    net.parameters = start(sizes, "float64")
    out = np.zeros(net.n_parameters)
    return lambda: fastbp.loss_and_gradient(net, X, T, out=out), lambda result: None


def numpy_call(sizes, X, T, kind):
    """PRML (5.79) to (5.81) by hand."""
    if kind != "approximate":
        pytest.skip("there is no short way by hand")
    p = start(sizes, "float64")
    return lambda: by_hand(sizes, X, T, p), lambda d: d


def backpack(sizes, X, T, kind):
    """Extensions of a backward pass of PyTorch."""
    if kind == "approximate":
        pytest.skip("BackPACK has no such extension")
    return backpack_call(sizes, X, T, "DiagGGNExact" if kind == "Gauss-Newton" else "DiagHessian")


IMPLEMENTATIONS = {
    "fastbp": fastbp_call,
    "fastbp gradient": gradient_call,
    ways.NUMPY: numpy_call,
    ways.BACKPACK: backpack,
}


def by_hand(sizes, X, T, p):
    """c = h'² (c' (W∘W)ᵀ) + h'' (δ' Wᵀ), and (z∘z)ᵀ c, from the top; h'' = -2 z h' for tanh"""
    net = NumpyNetwork(sizes, len(X), p, softmax=True)
    net.deltas(X, T)
    Y = net.z[-1]
    c = Y * (1 - Y)
    blocks = []
    for layer in range(len(net.weights) - 1, -1, -1):
        z, W = net.z[layer - 1] if layer > 0 else X, net.weights[layer]
        blocks += [c.sum(axis=0), ((z * z).T @ c).ravel()]
        if layer > 0:
            slope = 1 - z * z
            c = slope**2 * (c @ (W * W).T) - 2 * z * net.delta[layer - 1]
    return np.concatenate(blocks[::-1])


def flops(sizes, n_samples, kind):
    """Forward pass, deltas, the rows pushed down, squared inputs times c.

    Of the exact diagonal the rows that nonlinear units add are not counted.
    """
    rows = 1 if kind == "approximate" else sizes[-1]
    deltas = 0 if kind == "Gauss-Newton" else limits.delta_flops(sizes, n_samples)
    return 2 * limits.forward_flops(sizes, n_samples) + deltas + rows * limits.delta_flops(sizes, n_samples)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("sizes", "n_samples"), CASES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_diagonal(benchmark, kind, sizes, n_samples, implementation):
    """Elements agree with those of columns by NumPy's derivatives; the approximation with the formulas by hand."""
    X, T = data(sizes, n_samples, "float64", labels=True)
    p = start(sizes, "float64")
    run, array = IMPLEMENTATIONS[implementation](sizes, X, T, kind)
    d = array(run())
    if d is not None and kind == "approximate":
        wanted = by_hand(sizes, X, T, p)
        np.testing.assert_allclose(d, wanted, rtol=1e-9, atol=1e-12 * np.abs(wanted).max())
    elif d is not None:
        columns = by_complex_step.Derivatives(sizes, X, T, p, softmax=True)
        times = columns.gauss_newton_times if kind == "Gauss-Newton" else columns.hessian_times
        for i, unit in by_complex_step.units(p, 9):
            np.testing.assert_allclose(d[i], times(unit)[i], rtol=1e-9, atol=1e-11 * np.abs(d).max())
    record(
        benchmark,
        AREA,
        f"{kind}, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        flops=flops(sizes, n_samples, kind),
        nbytes=8 * (X.size + T.size + 2 * len(p)),
    )
    timed(benchmark, run, slow=implementation == ways.BACKPACK and kind == "exact" and sizes[0] > 100)
