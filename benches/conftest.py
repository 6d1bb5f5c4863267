"""One core and one thread for every implementation, speeds of the machine, and what the JSON file says beyond times."""

import os
import sys

# Before the first import of NumPy: thread pools are sized when a library is loaded.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(os.environ.get("FASTBP_BENCH_CORE", max(os.sched_getaffinity(0))))})
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NPROC"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "0"  # on one core, a second thread to hand the work to only costs

import hashlib
import importlib.metadata
import importlib.util
import platform
from pathlib import Path

import pytest
import threadpoolctl

import limits

LIBRARIES = ("fastbp", "numpy", "scipy", "torch", "backpack-for-pytorch", "jax", "scikit-learn", "pytest-benchmark")
speeds, build = pytest.StashKey(), pytest.StashKey()


@pytest.fixture(autouse=True, scope="session")
def machine_speeds(pytestconfig):
    """Measured before the first bench, and again after the last; the better counts."""
    threadpoolctl.threadpool_limits(1)  # in case something loaded a BLAS before this file
    if not pytestconfig.getoption("benchmark_disable", True):
        pytestconfig.stash[build] = fingerprint()
        pytestconfig.stash[speeds] = limits.measure()


def fingerprint():
    """Of the compiled modules: numbers of different builds must not pass for one library's."""
    digest = hashlib.sha256()
    for folder in importlib.util.find_spec("fastbp_c").submodule_search_locations:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix in (".so", ".pyd"):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def installed(library):
    """The version, or None: every peer is optional."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "working tree" if library in sys.modules else None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config, machine_info):
    """Versions and BLAS stand beside every number that is published."""
    machine_info["libraries"] = {library: installed(library) for library in LIBRARIES}
    machine_info["thread_pools"] = [
        " ".join(str(pool[key]) for key in ("internal_api", "version", "architecture") if pool.get(key))
        + f" ({pool['num_threads']} thread)"
        for pool in threadpoolctl.threadpool_info()
    ]
    machine_info["processor"] = processor()


def processor():
    """The processor's name as its maker prints it, if the system knows."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Add each bench's limit and its ratio to it; leave out the single timings."""
    before, after = config.stash[speeds], limits.measure()
    best = {name: max(before[name], after[name]) for name in before}
    output_json["builds"] = sorted({config.stash[build], fingerprint()})
    output_json["speeds"] = best
    output_json["speeds_before_and_after"] = [before, after]
    for bench in output_json["benchmarks"]:
        bench["stats"].pop("data", None)
        info = bench["extra_info"]
        info["gemm_gflops"] = best[info["dtype"]] / 1e9
        info["stream_gbs"] = best["stream"] / 1e9
        info["limit_seconds"] = limits.limit_seconds(best, info["dtype"], info["flops"], info["bytes"])
        for statistic in ("min", "median"):
            seconds = bench["stats"][statistic] / info["repeats"] - info["overhead_seconds"]
            info[f"{statistic}_seconds"] = seconds
        if info["limit_seconds"] > 0:
            info["ratio_to_limit"] = info["min_seconds"] / info["limit_seconds"]
