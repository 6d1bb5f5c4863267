"""Threads with the smallest stack in use, the 128 KiB of musl: the kernels' buffers fit, whatever the product."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp_c.algebra.simd

PROGRAM = """
import sys, threading
import numpy as np
import fastbp
from fastbp_c.algebra import simd

dtype, instruction_set = sys.argv[1:]
done = []

def work():
    rng = np.random.default_rng(0)
    # few and many rows, wide and narrow, deep and shallow: every way a product is cut into panels
    for sizes, N in [((700, 520, 3), 5), ((700, 520, 3), 300), ((3, 300, 700), 30), ((40, 1, 40), 600)]:
        net = fastbp.mlp(list(sizes), "tanh", dtype=dtype, seed=0)
        X, T = (rng.standard_normal((N, n)).astype(dtype) for n in (sizes[0], sizes[-1]))
        fastbp.loss_and_gradient(net, X, T)
        fastbp.hessian_diagonal(net, X[:5], T[:5])
        fastbp.jacobian(net, X[:5])
        fastbp.HessianOperator(net, X, T) @ np.ones(net.parameters.size, dtype)
        fastbp.Trainer(net, fastbp.Adam(1e-3)).fit(X, T, epochs=1, seed=0)
    net = fastbp.mlp([10, 12, 10], "tanh", "softmax", dtype=dtype, seed=0)
    X, T = rng.standard_normal((50, 10)).astype(dtype), np.eye(10, dtype=dtype)[rng.integers(10, size=50)]
    fastbp.hessian(net, X, T, loss="cross_entropy")
    inverse = fastbp.WoodburyInverse(500, 1.0)
    inverse.update(rng.standard_normal((40, 500)))
    done.append(True)

simd.use(instruction_set)
threading.stack_size(1 << 17)
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert done
"""


@pytest.mark.parametrize("instruction_set", fastbp_c.algebra.simd.available())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_fits_a_small_stack(dtype, instruction_set):
    command = [sys.executable, "-c", PROGRAM, dtype, instruction_set]
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbp_c.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
