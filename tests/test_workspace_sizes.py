"""Workspaces that no address space could hold: a MemoryError before anything is written, and none for no samples."""

import sys

import numpy as np
import pytest

import fastbp
from fastbp import Affine, Network, Shared
from fastbp_c.derivatives import diagonal, hessian, jacobian, outer_product
from fastbp_c.derivatives.operator import Products
from util import DTYPES

LARGEST = 2**31 - 1


def shared(groups, dtype, activation="identity"):
    return Network([Shared(1, 1, groups, activation)], dtype=dtype, seed=0)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """A function that gives an array of zeros of any size, which take no memory: it is a file with a hole."""
    if sys.platform == "win32":
        pytest.skip("files with holes are those of POSIX")
    path = tmp_path_factory.mktemp("sparse") / "zeros"

    def zeros(shape, dtype):
        size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
        with open(path, "ab") as file:
            file.truncate(max(size, file.tell()))
        return np.asarray(np.memmap(path, dtype, "r", shape=shape))

    return zeros


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["identity", "tanh", "softmax"])
@pytest.mark.parametrize("full", [True, False], ids=["matrix", "diagonal"])
def test_second_derivatives_of_a_sample_as_wide_as_can_be(sparse, dtype, activation, full):
    """D has LARGEST^2 elements: 2^62, which times the size of one wraps to nearly nothing."""
    net = shared(LARGEST, dtype, activation)
    X = sparse((1, LARGEST), dtype)
    P = net.n_parameters
    H = np.full((P, P) if full else P, np.nan, dtype)
    with pytest.raises(MemoryError, match=r"workspace: expected room for \d+ bytes, got none"):
        hessian.curvature(net._plan, net.parameters, X, X, None, None, 1.0, False, H)
    assert np.isnan(H).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gauss_newton", [True, False], ids=["gauss_newton", "hessian"])
def test_rows_of_a_sample_as_wide_as_can_be(sparse, dtype, gauss_newton):
    net = shared(LARGEST, dtype, "softmax")
    X = sparse((1, LARGEST), dtype)
    d = np.full(net.n_parameters, np.nan, dtype)
    with pytest.raises(MemoryError):
        diagonal.diagonal(net._plan, net.parameters, X, X, None, None, 1.0, gauss_newton, False, d)
    with pytest.raises(MemoryError):
        outer_product.outer_product(net._plan, net.parameters, X, X, None, None, 1.0, d)
    assert np.isnan(d).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("full", [True, False], ids=["matrix", "diagonal"])
@pytest.mark.parametrize("gauss_newton", [True, False], ids=["gauss_newton", "hessian"])
def test_no_samples_need_no_workspace(dtype, full, gauss_newton):
    net = shared(LARGEST, dtype)
    X = np.empty((0, LARGEST), dtype)
    P = net.n_parameters
    H = np.full((P, P) if full else P, np.nan, dtype)
    hessian.curvature(net._plan, net.parameters, X, X, None, None, 1.0, gauss_newton, H)
    assert not H.any()
    G = np.empty((0, LARGEST, P), dtype)
    jacobian.parameter_jacobian(net._plan, net.parameters, X, False, G)
    out = np.full((3, P), np.nan, dtype)
    Products(net._plan, net.parameters, X, X, None, None, 1.0, gauss_newton).multiply(np.ones((3, P), dtype), out)
    assert not out.any()


@pytest.mark.parametrize("function", ["hessian", "gauss_newton", "hessian_diagonal", "gauss_newton_diagonal"])
def test_no_samples(function):
    net = Network([Shared(1, 1, 50_000, "tanh"), Affine(50_000, 1)], seed=0)
    if function in ("hessian", "gauss_newton"):
        net = shared(LARGEST, float)
    result = getattr(fastbp, function)(net, np.empty((0, net.n_inputs)), np.empty((0, net.n_outputs)))
    assert not result.any()


@pytest.mark.parametrize("function", ["hessian", "gauss_newton"])
def test_sums_in_float64_are_compared_with_memory(function, monkeypatch):
    """In float32 and for more than 4096 samples, a matrix is summed in twice its memory, `out` or not."""
    net = Network([Affine(50, 60), Affine(60, 1)], dtype=np.float32, seed=0)
    P = net.n_parameters
    monkeypatch.setattr(fastbp._boundary.memory, "available_bytes", lambda: 8 * P**2 - 1)
    call, out = getattr(fastbp, function), np.full((P, P), np.nan, np.float32)
    X, T = np.ones((4097, 50), np.float32), np.ones((4097, 1), np.float32)
    with pytest.raises(MemoryError, match=rf"{function}: expected {8 * P**2} bytes of memory for sums in float64"):
        call(net, X, T, out=out)
    assert np.isnan(out).all()
    call(net, X[:300], T[:300], out=out)
    assert np.isfinite(out).all()
