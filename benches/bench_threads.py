"""Threads: two of Python's training two networks, and BLAS with one and two threads on one network. Wall time.

Both ways in turn, in a process of its own which may use two cores. There the first column is the one with one thread.
Where the products are small no thread of BLAS may wake: both columns of that row must be the same.

Two threads can only be as fast as the machine lets them: the row of the yardstick is hashing, which needs nothing but a
core. If its second column is not half of the first, somebody else has the other core, and the rows say nothing.
"""

import os

ALL_CORES = range(os.cpu_count() or 1)
# In the process that measures, before the libraries count the cores they may use.
if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, ALL_CORES)

import functools
import hashlib
import sys
import threading
import time

import numpy as np
import pytest
import threadpoolctl

import fastbp
import limits
from own_process import answer, ask, record_measured
from support import data, name_of, record, start

AREA = "Threads"
ROUNDS = 15
ASLEEP = 0.1  # seconds, after which threads of BLAS that have just been made have stopped waiting busily
YARDSTICK = "yardstick, hashing"
# What the threads are; sizes, batch, steps in a round. The last is large enough for BLAS.
CASES = {
    YARDSTICK: ((), 0, 8),
    "two networks": ((64, 128, 128, 10), 128, 64),
    "two networks, small": ((4, 32, 32, 1), 32, 2048),
    "BLAS, tiny products": ((4, 32, 32, 1), 32, 512),
    "BLAS, large products": ((1024, 1024, 1024), 1024, 2),
}
IMPLEMENTATIONS = {"fastbp, 1 thread": 0, "fastbp, 2 threads": 1}


def trainer(sizes, batch, steps):
    """A function that makes so many steps."""
    X, T = data(sizes, steps * batch, "float32")
    net = fastbp.mlp(sizes, dtype="float32")
    net.parameters = start(sizes, "float32")
    own = fastbp.Trainer(net, fastbp.SGD(0.001))
    return lambda: own.fit(X, T, epochs=1, batch_size=batch, shuffle=False)


def hashing(times):
    """A function that computes and touches next to no memory, without the GIL."""
    text = bytes(1 << 19)
    return lambda: [hashlib.sha256(text).digest() for _ in range(times)]


def side_by_side(functions):
    """Each in a thread of its own."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def timed(function):
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(name, rounds):
    """[[wall seconds of the first way], [of the second]], a step; CPU seconds per wall second of the second."""
    sizes, batch, steps = CASES[name]
    if name.startswith("two") or name == YARDSTICK:
        two = [trainer(sizes, batch, steps) if sizes else hashing(steps) for _ in range(2)]
        ways = [(1, lambda: [run() for run in two]), (1, lambda: side_by_side(two))]
        steps *= 2
    else:
        run = trainer(sizes, batch, steps)
        ways = [(1, run), (2, run)]
    seconds, used = [[], []], []
    for _ in range(int(rounds)):
        for way, (blas_threads, function) in enumerate(ways):
            with threadpoolctl.threadpool_limits(blas_threads):
                time.sleep(ASLEEP)
                function()  # warms up
                wall, cpu = timed(function)
            seconds[way].append(wall / steps)
            if way == 1:
                used.append(cpu / wall)
    return {"seconds": seconds, "cores": float(np.median(used))}


@functools.cache
def measured(name, rounds):
    """Both columns of a row at once."""
    variables = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return ask(__file__, name, rounds, **dict.fromkeys(variables, "2"))


@pytest.mark.skipif(len(ALL_CORES) < 2, reason="a machine of one core")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", CASES)
def test_threads(benchmark, name, implementation):
    """The tiny products keep one core busy, no more."""
    sizes, batch, _ = CASES[name]
    found = measured(name, ROUNDS if benchmark.enabled else 1)
    if name == "BLAS, tiny products":
        assert found["cores"] < 1.2
    row = f"{name}: {name_of(sizes)}, batch {batch}" if sizes else name
    flops = limits.gradient_flops(sizes, batch)
    record(benchmark, AREA, row, implementation, dtype="float32", flops=flops, cores=found["cores"])
    record_measured(benchmark, found["seconds"][IMPLEMENTATIONS[implementation]])


if __name__ == "__main__":
    answer(measure, *sys.argv[1:])
