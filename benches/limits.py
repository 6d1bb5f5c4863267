"""What the machine can do, measured, and what a pass has to do at the least, counted.

The limit of a computation is the longer of two times: its floating-point operations at the speed of a large matrix
product, and the bytes it must move at the bandwidth of arrays that fit no cache. One thread, both dtypes.

Run as a script, it prints the machine's speeds.
"""

import os
import time

import numpy as np
from scipy.linalg import blas

SIDES = (1024, 2048)
LEAST_BYTES, MOST_BYTES = 1 << 27, 1 << 29


def best_seconds(function, repeats):
    """The shortest of several runs: everything that disturbs a run makes it longer. CPU time of one thread."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def gemm_speed(dtype):
    """Flops per second of BLAS's matrix product, large and square."""
    gemm = blas.sgemm if dtype == "float32" else blas.dgemm
    speeds = []
    for n in SIDES:
        a, b, c = (np.asfortranarray(np.random.default_rng(n).random((n, n)), dtype=dtype) for _ in range(3))
        seconds = best_seconds(lambda a=a, b=b, c=c: gemm(1.0, a, b, c=c, overwrite_c=1), repeats=8 * SIDES[0] // n)
        speeds.append(2 * n**3 / seconds)
    return max(speeds)


def stream_bandwidth():
    """Bytes per second of y += x: x read, y read and written. y being read, no store fetches its line unseen."""
    try:
        cache = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (AttributeError, ValueError):  # not every system tells
        cache = 0
    size = min(max(2 * cache, LEAST_BYTES), MOST_BYTES) // 8
    x, y = np.ones(size), np.zeros(size)
    return 3 * 8 * size / best_seconds(lambda: np.add(x, y, out=y), repeats=6)


def measure():
    """The speeds of this machine at this moment, on the cores this process may use."""
    return {"float32": gemm_speed("float32"), "float64": gemm_speed("float64"), "stream": stream_bandwidth()}


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
    for name, speed in measure().items():
        print(f"{name:8} {speed / 1e9:8.1f} {'GB/s' if name == 'stream' else 'GF/s'}")
