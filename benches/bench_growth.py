"""How the time of each main quantity grows with each of its sizes: four of them, and the power expected.

A step is O(P N), a Hessian O(N P²), an update of rank k O(P² k). Only fastbp; the report fits the powers.
"""

import numpy as np
import pytest

import fastbp
import limits
from support import data, name_of, record, start

AREA = "Growth"
NETWORKS = [(32, 32, 32), (64, 64, 64), (128, 128, 128), (256, 256, 256)]
BATCHES = [128, 256, 512, 1024]
CURVED = [(16, 16, 4), (32, 16, 8), (48, 24, 8), (64, 32, 10)]
SAMPLES = [128, 256, 512, 1024]
MATRICES = [500, 1000, 2000, 4000]
RANKS = [64, 128, 256, 512]


def axis(series, x, x_name, exponent):
    """What makes a row the point of a curve."""
    return {"series": series, "x": x, "x_name": x_name, "exponent": exponent}


def step(benchmark, sizes, N, place):
    """One step, in a call of `fit` with several."""
    X, T = data(sizes, 4 * N, "float32")
    net = fastbp.mlp(sizes, dtype="float32")
    net.parameters = start(sizes, "float32")
    trainer = fastbp.Trainer(net, fastbp.SGD(0.01))
    assert np.isfinite(trainer.fit(X, T, epochs=1, batch_size=N, shuffle=False).loss[-1])
    row = f"step, {name_of(sizes)}, batch {N}, along {place['x_name']}"
    flops, nbytes = limits.gradient_flops(sizes, N), limits.training_bytes(sizes, N, 4)
    record(benchmark, AREA, row, "fastbp", dtype="float32", flops=flops, nbytes=nbytes, repeats=4, **place)
    benchmark(lambda: trainer.fit(X, T, epochs=1, batch_size=N, shuffle=False))


@pytest.mark.parametrize("sizes", NETWORKS, ids=name_of)
def test_step_by_parameters(benchmark, sizes):
    step(benchmark, sizes, 256, axis("step, batch 256", limits.n_parameters(sizes), "P", 1))


@pytest.mark.parametrize("N", BATCHES)
def test_step_by_samples(benchmark, N):
    step(benchmark, NETWORKS[2], N, axis(f"step, {name_of(NETWORKS[2])}", N, "N", 1))


def hessian(benchmark, sizes, N, place):
    """The matrix, into memory that is there."""
    X, T = data(sizes, N, "float64")
    net = fastbp.mlp(sizes)
    net.parameters = start(sizes, "float64")
    out = np.empty((net.n_parameters, net.n_parameters))
    fastbp.hessian(net, X, T, out=out)
    np.testing.assert_array_equal(out, out.T)
    row = f"Hessian, {name_of(sizes)}, N {N}, along {place['x_name']}"
    record(
        benchmark,
        AREA,
        row,
        "fastbp",
        dtype="float64",
        flops=limits.assembly_flops(sizes, N),
        nbytes=out.nbytes,
        **place,
    )
    benchmark(lambda: fastbp.hessian(net, X, T, out=out))


@pytest.mark.parametrize("sizes", CURVED, ids=name_of)
def test_hessian_by_parameters(benchmark, sizes):
    hessian(benchmark, sizes, 500, axis("Hessian, N 500", limits.n_parameters(sizes), "P", 2))


@pytest.mark.parametrize("N", SAMPLES)
def test_hessian_by_samples(benchmark, N):
    hessian(benchmark, CURVED[2], N, axis(f"Hessian, {name_of(CURVED[2])}", N, "N", 1))


def update(benchmark, P, k, place):
    """Rows into an inverse, in one step."""
    B = np.random.default_rng(P).standard_normal((k, P)) / np.sqrt(P)
    inverse = fastbp.WoodburyInverse(P, 1.0)
    inverse.update(B)
    b = np.ones(P)
    np.testing.assert_allclose(inverse @ (b + B.T @ (B @ b)), b, rtol=0, atol=1e-9)
    row = f"update of rank {k}, P {P}, along {place['x_name']}"
    record(benchmark, AREA, row, "fastbp", dtype="float64", flops=3 * k * P**2, nbytes=8 * P**2, **place)
    benchmark(lambda: inverse.update(B))


@pytest.mark.parametrize("P", MATRICES)
def test_update_by_parameters(benchmark, P):
    update(benchmark, P, 64, axis("update of rank 64", P, "P", 2))


@pytest.mark.parametrize("k", RANKS)
def test_update_by_rank(benchmark, k):
    update(benchmark, 1000, k, axis("update, P 1000", k, "k", 1))
