"""The ways to a matrix or its diagonal, each for every network, whichever would be taken; and what they need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from curvature import SMALL, known, weights
from fastbp._derivatives.curvature import _by_products
from fastbp_c.derivatives.hessian import curvature, route
from fastbp_c.derivatives.operator import Products
from fastbp_c.derivatives.outer_product import outer_product
from util import DTYPES, nan

WAYS = {
    "pairs": curvature,
    "rows": lambda *arguments: outer_product(*arguments[:-2], arguments[-1]),
    "products": lambda *arguments: _by_products(arguments[:-1], arguments[-1]),
}


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize(
    ("way", "gauss_newton"), [(way, gn) for way in WAYS for gn in (False, True) if gn or way != "rows"], ids=str
)
def test_every_way(way, gauss_newton, case):
    for dtype in DTYPES:
        net, X, T = known(case).batch(dtype, 9)
        weight, w = weights("some", 9, dtype)
        P = net.n_parameters
        for shape in ((P, P), (P,)):
            out = nan(shape, dtype)
            WAYS[way](net._plan, net.parameters, X, T, weight, known(case).loss, 1.0, gauss_newton, out)
            if out.ndim == 2:
                np.testing.assert_array_equal(out, out.T)
                known(case).check(out, known(case).G if gauss_newton else known(case).H, w, way)
            else:
                known(case).check(out, known(case).diagonals(gauss_newton), w, way)


def test_all_ways_are_taken():
    """By some network here: none of them is dead."""
    plans = [known(case).batch("float64", 0)[0]._plan for case in SMALL]
    for full in (False, True):
        assert {route(plan, True, full) for plan in plans} >= {"pairs", "rows"}
        assert {route(plan, False, full) for plan in plans} >= {"pairs", "products"}


@pytest.mark.parametrize("gauss_newton", [False, True], ids=["hessian", "gauss_newton"])
def test_products_of_more_samples_than_are_kept(gauss_newton):
    """256 MiB are kept of the forward pass; beyond that it is run for every product, and the result is the same."""
    net, X, T = known("narrow").batch("float64", 1_600_000)
    plan, V = net._plan, np.eye(net.n_parameters)
    weight = np.random.default_rng(0).random(len(X))
    result, expected, part = np.empty_like(V), np.zeros_like(V), np.empty_like(V)
    whole = Products(plan, net.parameters, X, T, weight, None, 1.0, gauss_newton)
    assert not whole.cached
    whole.multiply(V, result)
    for start in range(0, len(X), 800_000):
        some = slice(start, start + 800_000)
        kept = Products(plan, net.parameters, X[some], T[some], weight[some], None, 1.0, gauss_newton)
        assert kept.cached
        kept.multiply(V, part)
        expected += part
    known("narrow").check(result, known("narrow").G if gauss_newton else known("narrow").H, weight, "products")
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


# In a process of its own: by how much the call lets the largest resident set grow, and how much it may.
GROWTH = """
import json, sys
import numpy as np
from fastbp import *
def peak():
    return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
net = eval(sys.argv[1])
N, function, dense = int(sys.argv[2]), globals()[sys.argv[3]], sys.argv[3] in ("hessian", "gauss_newton")
rng = np.random.default_rng(0)
X, T = rng.standard_normal((N, net.n_inputs)).astype(net.dtype), np.ones((N, net.n_outputs), net.dtype)
small = mlp([2, 3, 2], dtype=net.dtype)
function(small, np.ones((2, 2)), np.ones((2, 2)))
out = np.full((net.n_parameters,) * (2 if dense else 1), 7.0, net.dtype)
before = peak()
function(net, X, T, out=out)
print(json.dumps([peak() - before, out.nbytes if dense else 0]))
"""
# Wide layers of few parameters, images, groups, and what has most pairs of layers.
NETWORKS = {
    "wide": ("mlp([1, 1500, 1], seed=0)", 2),
    "wide_float32": ("mlp([1, 1800, 1], seed=0, dtype='float32')", 2),
    "several_outputs": ("mlp([3, 400, 12], 'tanh', 'softmax', seed=0)", 20),
    "deep": ("mlp([20, 30, 30, 30, 30, 10], seed=0)", 700),
    "deep_float32": ("mlp([20, 30, 30, 30, 30, 10], seed=0, dtype='float32')", 700),
    "tied": ("Network([e := Affine(300, 6, 'tanh'), Tied(e)], seed=0)", 20),
    "groups": ("Network([Shared(2, 3, 700, 'tanh'), Affine(2100, 1)], seed=0)", 2),
    "image": ("Network([Conv2d(1, 4, 3, 'tanh', image_shape=(28, 28), padding=1), AveragePool2d(7, "
              "image_shape=(28, 28, 4)), Affine(64, 10, 'softmax')], seed=0)", 4),
    "image_to_image": ("Network([Conv2d(1, 4, 3, 'tanh', image_shape=(40, 40), padding=1), Conv2d(4, 1, 3, "
                       "image_shape=(40, 40, 4), padding=1)], seed=0)", 1),
    "images": ("Network([c := Conv2d(4, 4, 3, 'tanh', image_shape=(16, 16), padding=1), c, MaxPool2d(4, "
               "image_shape=(16, 16, 4)), Affine(64, 3)], seed=0)", 4),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads the largest resident set from /proc")
@pytest.mark.parametrize(
    ("name", "function"),
    [
        (name, function)
        for name in NETWORKS
        for function in ("hessian", "gauss_newton", "hessian_diagonal", "gauss_newton_diagonal")
        # A diagonal takes the rows of all outputs of a sample at once.
        if not (name == "image_to_image" and function.endswith("diagonal"))
    ],
)
def test_memory_beside_the_result(name, function):
    """At most a quarter of the result and 64 MiB."""
    layers, N = NETWORKS[name]
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", GROWTH, layers, str(N), function]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    growth, result = json.loads(done.stdout)
    assert growth <= result / 4 + 2**26
