"""How many cores a process runs on, each library with as many threads: said before any of them is loaded.

One, unless FASTBP_BENCH_NUMBER says otherwise. What a process started with stays known to those that it starts itself,
after it has been pinned: FASTBP_BENCH_CORES lists those cores.
"""

import os

LISTED, NUMBER, ONE = "FASTBP_BENCH_CORES", "FASTBP_BENCH_NUMBER", "FASTBP_BENCH_CORE"
THREADS = ("FASTBP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NPROC")
# On one core, a second thread to hand the work to only costs.
JAX_ALONE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_CPU_ENABLE_ASYNC_DISPATCH": "0"}


def there():
    """The numbers of all cores there are for the benches."""
    if listed := os.environ.get(LISTED):
        return [int(number) for number in listed.split(",")]
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return list(range(os.cpu_count() or 1))


def environment(n):
    """Variables for a process on n cores, JAX's beside them."""
    return {LISTED: ",".join(map(str, there())), NUMBER: str(n), **dict.fromkeys(THREADS, str(n))}


def use(n):
    """Keep to n of the cores, the last ones or the one that FASTBP_BENCH_CORE chooses; as many threads."""
    chosen = there()[-n:]
    os.environ.update(environment(n), JAX_PLATFORMS="cpu")
    if n == 1:
        chosen = [int(os.environ.get(ONE, chosen[0]))]
        os.environ.update(JAX_ALONE)
    else:
        for name, value in JAX_ALONE.items():
            if os.environ.get(name) == value:
                del os.environ[name]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, chosen)


def used():
    """How many this process uses."""
    return int(os.environ.get(NUMBER, "1"))
