"""Activation functions: the value, with the first derivative, with both; elements a second against copying.

Arrays that stay in the first-level cache and arrays beyond the second. The peers compute the value only, into an array
that is there already; fastbp makes new arrays.
"""

import functools

import numpy as np
import pytest
from scipy import special

import ways
from fastbp_c.networks.activation import activate
from support import load_torch, record

AREA = "Activation functions"
SIZES = {"in cache": 2048, "from memory": 1 << 21}
KEPT_BYTES = 31 << 20
SLOPE = 0.01


# value(a, out) with NumPy and SciPy, in place as far as it goes.


def numpy_softplus(a, out):
    """log(e^0 + e^a)"""
    return np.logaddexp(a.dtype.type(0), a, out=out)


def numpy_gelu(a, out):
    """a Phi(a)"""
    special.ndtr(a, out=out)
    return np.multiply(a, out, out=out)


def numpy_silu(a, out):
    """a sigmoid(a)"""
    special.expit(a, out=out)
    return np.multiply(a, out, out=out)


def numpy_leaky_relu(a, out):
    """max(a, slope a)"""
    np.multiply(a, a.dtype.type(SLOPE), out=out)
    return np.maximum(a, out, out=out)


NUMPY = {
    "identity": lambda a, out: np.positive(a, out=out),
    "sigmoid": lambda a, out: special.expit(a, out=out),
    "tanh": lambda a, out: np.tanh(a, out=out),
    "relu": lambda a, out: np.maximum(a, a.dtype.type(0), out=out),
    "leaky_relu": numpy_leaky_relu,
    "softplus": numpy_softplus,
    "gelu": numpy_gelu,
    "silu": numpy_silu,
}


def torch_function(torch, name):
    """function(a, out=...), with PyTorch's own kernels."""
    aten = torch.ops.aten
    return {
        "identity": lambda a, out: out.copy_(a),
        "sigmoid": functools.partial(torch.sigmoid),
        "tanh": functools.partial(torch.tanh),
        "relu": lambda a, out: torch.clamp_min(a, 0, out=out),
        "leaky_relu": lambda a, out: aten.leaky_relu.out(a, SLOPE, out=out),
        "softplus": lambda a, out: aten.softplus.out(a, out=out),
        "gelu": lambda a, out: aten.gelu.out(a, out=out),
        "silu": lambda a, out: aten.silu.out(a, out=out),
    }[name]


def derivatives(name, a):
    """h, h' and h'' in float64, by the textbook."""
    s = special.expit(a)
    normal = np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
    t, zero, one, positive = np.tanh(a), np.zeros_like(a), np.ones_like(a), (a > 0).astype(a.dtype)
    slope = np.where(a > 0, 1, SLOPE)
    return {
        "identity": (a, one, zero),
        "sigmoid": (s, s * (1 - s), s * (1 - s) * (1 - 2 * s)),
        "tanh": (t, 1 - t * t, -2 * t * (1 - t * t)),
        "relu": (a * positive, positive, zero),
        "leaky_relu": (a * slope, slope, zero),
        "softplus": (np.logaddexp(0, a), s, s * (1 - s)),
        "gelu": (a * special.ndtr(a), special.ndtr(a) + a * normal, (2 - a * a) * normal),
        "silu": (a * s, s + a * s * (1 - s), s * (1 - s) * (2 + a * (1 - 2 * s))),
    }[name]


@pytest.fixture(autouse=True, scope="module")
def keep_memory():
    """Free one large array: from then on glibc keeps as much, and new arrays need no new pages from the system."""
    np.empty(KEPT_BYTES, "uint8")


@functools.cache
def numbers(n, dtype):
    """Pre-activations as they occur."""
    return np.random.default_rng(4).normal(0, 2, n).astype(dtype)


IMPLEMENTATIONS = ("fastbp h", "fastbp h h'", "fastbp h h' h''", "copy", ways.NUMPY, ways.TORCH)


@pytest.mark.benchmark(max_time=0.05)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activation(benchmark, dtype, size, name, implementation):
    """Every result agrees with float64, in the digits the dtype has, wherever one looks."""
    n = SIZES[size]
    a = numbers(n, dtype)
    out = np.empty_like(a)
    arrays = 2
    if implementation.startswith("fastbp"):
        order = implementation.count(" ") - 1
        arrays += order
        run = functools.partial(activate, name, a, order)
        results = run()
    elif implementation == "copy":
        run = functools.partial(np.copyto, out, a)
        run()
        results = ()
    elif implementation == ways.NUMPY:
        run = functools.partial(NUMPY[name], a, out)
        results = (run(),)
    else:
        torch = load_torch()
        run = functools.partial(torch_function(torch, name), torch.from_numpy(a), out=torch.from_numpy(out))
        results = (np.asarray(run()),)
    eps, looked_at = np.finfo(dtype).eps, slice(None, None, n // 1024 + 1)
    for result, wanted in zip(results, derivatives(name, a[looked_at].astype("float64")), strict=False):
        np.testing.assert_allclose(result[looked_at], wanted, rtol=50 * eps, atol=10 * eps)
    record(
        benchmark,
        AREA,
        f"{name}, {dtype}, {size}",
        implementation,
        dtype=dtype,
        nbytes=arrays * a.nbytes if size == "from memory" else 0,
        unit="elements/s",
        elements=n,
    )
    benchmark(run)
