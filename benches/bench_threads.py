"""One thread against all of them, to the same bits: what is shared, what is not, and what it costs. Wall time.

Both ways in turn, in a process of its own on all cores. What to see:

- work too small to share takes as long with all threads as with one, and starts none;
- with one core kept busy by another process, all threads are still not slower than one;
- k fits in k of Python's threads, against the same one after the other;
- the same call at once after the last, whose helpers still look out for work, and after a pause, when they sleep: what
  the offer costs is in the second column;
- the yardstick, a product in each of as many processes as cores: no two threads can do better. If its second column is
  not far below the first, somebody else has the other cores, and the rows say nothing.

Rows to look at for the constants WARM, COLD and SHARE in boundary/team.pyx: the small steps, and the offers.
"""

import cores

# In the process that measures, before the libraries count the cores they may use.
if __name__ == "__main__":
    cores.use(len(cores.there()))

import contextlib
import functools
import os
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest

import fastbp
import limits
import yardstick
from fastbp_c.boundary import team
from own_process import answer, ask, record_measured
from support import data, name_of, record, start

AREA = "Threads"
ROUNDS = 15
ROUND_FLOPS = 5e8  # so that a round is some milliseconds long
MOST_STEPS = 2048  # of a round
PAUSE = 2e-3  # seconds, after which helpers sleep
BLAS_ASLEEP = 0.1  # seconds, after which BLAS's threads no longer wait busily
YARDSTICK = "yardstick: a product in each of as many processes as cores"
SMALL = ((4, 32, 32, 1), 32)
STEPS = [SMALL, ((8, 64, 64, 4), 64), ((64, 128, 128, 10), 128), ((784, 256, 128, 10), 256), ((1024,) * 4, 256)]
FORWARD = ((784, 512, 512, 10), 1024)
OFFER = ((128, 128), 256)  # just enough for waking helpers
HESSIAN = ((16, 32, 16, 4), 500)
RANK, SIDE = 64, 2000
ONE_BUSY = ", one core busy"
WAYS = ("fastbp, 1 thread", "fastbp, all threads")


class Row(NamedTuple):
    """What is done by one thread and by all."""

    make: object  # takes the number of steps; returns a function that does them, and one that gives a result
    flops: float  # of a step
    dtype: str
    fits: int = 1  # so many at once, in as many of Python's threads
    busy: bool = False  # another process has a core
    pause: bool = False  # before each step
    blas: bool = False  # takes part
    shared: bool = True

    @property
    def steps(self):
        """Of a round."""
        return int(np.clip(ROUND_FLOPS / self.flops, 1, MOST_STEPS))


# A function for `make`: the second of what it returns starts anew, so that it gives the same whenever it is called.


def step(sizes, batch, steps):
    """One call of `fit`."""
    X, T = data(sizes, steps * batch, "float32")
    net = fastbp.mlp(sizes, dtype="float32")
    trainer = fastbp.Trainer(net, fastbp.SGD(0.001))

    def fit():
        trainer.fit(X, T, epochs=1, batch_size=batch, shuffle=False)

    def result():
        net.parameters = start(sizes, "float32")
        fit()
        return net.parameters.copy()

    return fit, result


def forward(sizes, n_samples, steps):
    """The outputs."""
    X, _ = data(sizes, n_samples, "float32")
    net = fastbp.mlp(sizes, dtype="float32")
    net.parameters = start(sizes, "float32")
    return lambda: [net.forward(X) for _ in range(steps)], lambda: net.forward(X)


def hessian(sizes, n_samples, steps):
    """Into memory that is there."""
    X, T = data(sizes, n_samples, "float64")
    net = fastbp.mlp(sizes)
    net.parameters = start(sizes, "float64")
    out = np.zeros((net.n_parameters, net.n_parameters))
    return lambda: [fastbp.hessian(net, X, T, out=out) for _ in range(steps)], lambda: fastbp.hessian(net, X, T)


def update(P, k, steps):
    """Of an inverse, by k rows at once."""
    B = np.random.default_rng(P).standard_normal((k, P)) / np.sqrt(P)
    inverse = fastbp.WoodburyInverse(P, 1.0)

    def result():
        once = fastbp.WoodburyInverse(P, 1.0)
        once.update(B)
        return once.matrix

    return lambda: [inverse.update(B) for _ in range(steps)], result


def rows():
    """{name: Row}"""
    found = {}
    for sizes, batch in STEPS:
        flops = limits.gradient_flops(sizes, batch)
        make, shared = functools.partial(step, sizes, batch), (sizes, batch) != SMALL
        found[f"a step, {name_of(sizes)}, batch {batch}"] = Row(make, flops, "float32", shared=shared)
    sizes, N = FORWARD
    make, flops = functools.partial(forward, sizes, N), limits.forward_flops(sizes, N)
    found[f"forward, {name_of(sizes)}, N {N}"] = Row(make, flops, "float32")
    sizes, N = HESSIAN
    make, flops = functools.partial(hessian, sizes, N), limits.assembly_flops(sizes, N)
    found[f"Hessian, {name_of(sizes)}, N {N}"] = Row(make, flops, "float64")
    make = functools.partial(update, SIDE, RANK)
    found[f"an update of rank {RANK}, P {SIDE}"] = Row(make, 3 * RANK * SIDE**2, "float64", blas=True)
    found |= {name + ONE_BUSY: row._replace(busy=True) for name, row in found.items()}
    sizes, N = OFFER
    make, flops = functools.partial(forward, sizes, N), limits.forward_flops(sizes, N)
    name = f"forward, {name_of(sizes)}, N {N}"
    found[f"{name}, helpers awake"] = Row(make, flops, "float32")
    found[f"{name}, helpers asleep"] = Row(make, flops, "float32", pause=True)
    sizes, batch = SMALL
    make, flops, k = functools.partial(step, sizes, batch), limits.gradient_flops(sizes, batch), 1
    while k <= len(cores.there()):
        name = f"{k} fit{'s' if k > 1 else ''} in {k} thread{'s' if k > 1 else ''}, {name_of(sizes)}, batch {batch}"
        found[name] = Row(make, flops, "float32", fits=k, shared=False)
        k *= 2
    return found


ROWS = rows()


@contextlib.contextmanager
def so_many(threads):
    """For fastbp, and for BLAS below it."""
    fastbp.set_num_threads(threads)
    with limits.pools().limit(limits=threads):
        yield
    fastbp.set_num_threads(None)


@contextlib.contextmanager
def busy_core():
    """The first of the cores has something else to do."""
    pinned = "import os; os.sched_setaffinity(0, {%d})\n" if hasattr(os, "sched_setaffinity") else "# %d\n"
    other = subprocess.Popen([sys.executable, "-c", pinned % cores.there()[0] + "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def side_by_side(functions):
    """Each in a thread of its own."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def one_after_the_other(functions):
    """In this thread."""
    for function in functions:
        function()


def seconds_of(row, run, functions):
    """Of a step."""
    if row.pause:
        seconds = 0
        for _ in range(row.steps):
            time.sleep(PAUSE)
            begin = time.perf_counter()
            run(functions)
            seconds += time.perf_counter() - begin
        return seconds / row.steps
    run(functions)  # warms up
    begin = time.perf_counter()
    run(functions)
    return (time.perf_counter() - begin) / (row.steps * row.fits)


def measure(name, rounds):
    """{"seconds": those of a step, of the first way and of the second; "helpers": how many were started}"""
    if name == YARDSTICK:
        found = yardstick.measure(rounds, ["float32"])["float32"]
        return {"seconds": [found["alone"], found["together"]], "helpers": 0}
    row, rounds = ROWS[name], int(rounds)
    team.end_helpers()
    team.let_helpers_start()
    made = [row.make(1 if row.pause or rounds == 0 else row.steps) for _ in range(row.fits)]
    functions = [function for function, _ in made]
    ways = [(1, one_after_the_other), (len(cores.there()), side_by_side if row.fits > 1 else one_after_the_other)]
    seconds, results = [[], []], []
    with busy_core() if row.busy else contextlib.nullcontext():
        for threads, _ in ways:
            with so_many(threads):
                results.append([result() for _, result in made])
        np.testing.assert_array_equal(*results)
        for _ in range(rounds):
            for way, (threads, run) in enumerate(ways):
                with so_many(threads):
                    time.sleep(BLAS_ASLEEP if row.blas else 0)
                    seconds[way].append(seconds_of(row, run, functions))
    return {"seconds": seconds, "helpers": team.helpers()}


@functools.cache
def measured(name, rounds):
    """Both columns of a row at once; without rounds only what is checked, in this process."""
    return ask(__file__, name, rounds) if rounds else measure(name, rounds)


@pytest.mark.skipif(len(cores.there()) < 2, reason="a machine of one core")
@pytest.mark.parametrize("implementation", WAYS)
@pytest.mark.parametrize("name", [YARDSTICK, *ROWS])
def test_threads(benchmark, name, implementation):
    """The same bits; no helper for what is too small."""
    row = ROWS.get(name)
    if row and row.busy and not benchmark.enabled:
        pytest.skip("its result is that of the row without")
    found = measured(name, ROUNDS if benchmark.enabled else 0)
    if row and not row.shared:
        assert found["helpers"] == 0
    flops, dtype = (row.flops, row.dtype) if row else (2 * limits.SIDE**3, "float32")
    record(benchmark, AREA, name, implementation, dtype=dtype, flops=flops)
    record_measured(benchmark, found["seconds"][WAYS.index(implementation)])


if __name__ == "__main__":
    answer(measure, *sys.argv[1:])
