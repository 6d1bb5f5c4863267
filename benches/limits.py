"""What the machine can do, measured, and what a pass has to do at the least, counted.

The limit of a computation is the longer of two times: its floating-point operations at the speed of a large matrix
product, and the bytes it must move at the bandwidth of arrays that fit no cache. One core, both dtypes.

A machine that others use has another speed every second. So a *probe*, a product small enough for the second-level
cache or a few megabytes of a stream, is timed between the rounds of every bench: it says how fast the machine was just
then. What a large product makes of the same moments is measured beside it, before and after all benches.

Run as a script, it prints the machine's speeds.
"""

import contextlib
import functools
import time

import numpy as np
import threadpoolctl
from scipy.linalg import blas

import cores

KINDS = ("float32", "float64", "stream")
SIDE, PROBE_SIDE = 1024, 128
STREAM_NUMBERS, CHUNK = 1 << 24, 1 << 19  # float64: 128 MiB an array, 4 MiB of it at a time
PROBE_SECONDS = 2e-4
CALIBRATION_ROUNDS = 25
# Near the balance of a core of our days. It decides which probe accompanies a bench: the same in every run.
NOMINAL = {"float32": 100e9, "float64": 50e9, "stream": 25e9}


class ProductProbe:
    """A square product whose operands stay in the second-level cache."""

    amount = 2 * PROBE_SIDE**3  # flops

    def __init__(self, dtype):
        self.call = square_product(dtype, PROBE_SIDE)

    def once(self):
        """One product."""
        self.call()

    def warm(self):
        """Operands back into the cache: what ran before has its own there."""
        self.call()


class StreamProbe:
    """y += x on the next part of two long arrays. y being read, no store fetches its line unseen."""

    amount = 3 * 8 * CHUNK  # bytes: x read, y read and written

    def __init__(self):
        self.x, self.y, self.place = np.ones(STREAM_NUMBERS), np.zeros(STREAM_NUMBERS), 0

    def once(self):
        """One part."""
        part = slice(self.place, self.place + CHUNK)
        np.add(self.x[part], self.y[part], out=self.y[part])
        self.place = (self.place + CHUNK) % STREAM_NUMBERS

    def warm(self):
        """Nothing to do: a stream is never in the cache."""


def square_product(dtype, n):
    """C = A B in memory that is there."""
    gemm = blas.sgemm if dtype == "float32" else blas.dgemm
    a, b, c = (np.asfortranarray(np.random.default_rng(n).random((n, n)), dtype=dtype) for _ in range(3))
    return lambda: gemm(1.0, a, b, c=c, overwrite_c=1)


def probe_of(kind):
    """By the name of its kind."""
    return StreamProbe() if kind == "stream" else ProductProbe(kind)


def large_of(kind):
    """What the limit of that kind is measured by: a large product, or a part of the stream."""
    return StreamProbe().once if kind == "stream" else square_product(kind, SIDE)


@functools.cache
def pools():
    """Of every BLAS that is loaded."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def on_one_core():
    """Whatever the benches use: what is timed meanwhile has one thread."""
    return pools().limit(limits=1) if cores.used() > 1 else contextlib.nullcontext()


def probe_seconds(probe, at_least, timer=time.process_time):
    """A flop or a byte."""
    with on_one_core():
        probe.warm()
        return seconds_of(probe.once, at_least, timer) / probe.amount


def seconds_of(function, at_least, timer=time.process_time):
    """Of one call, the mean over as many as take the given time."""
    calls, begin = 0, timer()
    while True:
        function()
        calls += 1
        passed = timer() - begin
        if passed >= at_least:
            return passed / calls


def calibrate(probes):
    """For each kind: the probe's seconds in every round, and what a large product takes in the same rounds.

    Returns {kind: {"probe": [...], "large": [...]}}, seconds a flop or a byte.
    """
    found = {}
    for kind, probe in probes.items():
        large = probe.once if kind == "stream" else square_product(kind, SIDE)
        amount = probe.amount if kind == "stream" else 2 * SIDE**3
        with on_one_core():
            large()
            rounds = [
                (probe_seconds(probe, PROBE_SECONDS), seconds_of(large, 0) / amount) for _ in range(CALIBRATION_ROUNDS)
            ]
        found[kind] = {"probe": [pair[0] for pair in rounds], "large": [pair[1] for pair in rounds]}
    return found


def binding(dtype, flops, nbytes):
    """The kind of speed that limits a computation."""
    return "stream" if nbytes / NOMINAL["stream"] > flops / NOMINAL[dtype] else dtype


def limit_seconds(speeds, dtype, flops, nbytes):
    """No exact computation on the same core can be faster."""
    return max(flops / speeds[dtype], nbytes / speeds["stream"])


def n_parameters(sizes):
    """Weights and biases of a network of affine layers."""
    return sum((n_in + 1) * n_out for n_in, n_out in zip(sizes, sizes[1:], strict=False))


def forward_flops(sizes, n_samples):
    """One product a layer; what is linear in the layer's width does not count."""
    return sum(2 * n_samples * n_in * n_out for n_in, n_out in zip(sizes, sizes[1:], strict=False))


def delta_flops(sizes, n_samples):
    """The backward pass down to the first layer's deltas, not to the inputs."""
    return forward_flops(sizes[1:], n_samples)


def gradient_flops(sizes, n_samples):
    """Forward pass, deltas and one product a layer for the weights: what a training step consists of."""
    return 2 * forward_flops(sizes, n_samples) + delta_flops(sizes, n_samples)


def training_bytes(sizes, n_samples, itemsize):
    """The batch read once, the parameters read and written once."""
    return itemsize * (n_samples * (sizes[0] + sizes[-1]) + 2 * n_parameters(sizes))


def assembly_flops(sizes, n_samples):
    """A Hessian or Gauss-Newton matrix summed over the samples: 2 flops for each, of every pair of parameters.

    Two parameters of one layer are a pair of inputs, the bias's included, and a pair of outputs; neither has an order.
    """
    layers = [(n_in + 1, n_out) for n_in, n_out in zip(sizes, sizes[1:], strict=False)]
    pairs = 0
    for number, (n_in, n_out) in enumerate(layers):
        pairs += n_in * (n_in + 1) // 2 * (n_out * (n_out + 1) // 2)
        pairs += n_in * n_out * sum(other_in * other_out for other_in, other_out in layers[number + 1 :])
    return 2 * n_samples * pairs


if __name__ == "__main__":
    for name, rounds in calibrate({kind: probe_of(kind) for kind in KINDS}).items():
        unit = "GB/s" if name == "stream" else "GF/s"
        print(f"{name:8} {1e-9 / min(rounds['large']):8.1f} {unit}, probe {1e-9 / min(rounds['probe']):8.1f} {unit}")
