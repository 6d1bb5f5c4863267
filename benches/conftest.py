"""Cores and threads, the same for all; rounds in turn with probes, and what the JSON file says of them."""

import cores

# Before the first import of NumPy: thread pools are sized when a library is loaded.
cores.use(cores.used())

import pytest
import threadpoolctl
from pytest_benchmark.utils import load_timer

import limits
import machine
import results
import support
from interleave import Interleaved

probes, calibrations, build = pytest.StashKey(), pytest.StashKey(), pytest.StashKey()


def pytest_addoption(parser):
    """Which columns to measure."""
    parser.addoption("--of", default="", metavar="LIBRARY", help="only columns whose names begin so")


def pytest_collection_modifyitems(config, items):
    """Keep what the library does; what has no `implementation` is fastbp's."""
    items[:] = [item for item in items if implementation(item).startswith(config.getoption("of"))]


def implementation(item):
    """The column of a bench."""
    return item.callspec.params.get("implementation", "fastbp") if hasattr(item, "callspec") else "fastbp"


@pytest.fixture(autouse=True, scope="session")
def machine_speeds(pytestconfig):
    """Measured before the first bench, and again after the last."""
    threadpoolctl.threadpool_limits(cores.used())  # in case something loaded a BLAS before this file
    if not pytestconfig.getoption("benchmark_disable", True):
        pytestconfig.stash[build] = machine.fingerprint()
        pytestconfig.stash[probes] = {kind: limits.probe_of(kind) for kind in limits.KINDS}
        pytestconfig.stash[calibrations] = limits.calibrate(pytestconfig.stash[probes])


@pytest.fixture
def benchmark(benchmark, request):
    """pytest-benchmark's, of the class that interleaves: it accepts no object but its own."""
    config, marker = request.config, request.node.get_closest_marker("benchmark")
    benchmark.__class__ = Interleaved
    benchmark.probes = config.stash.get(probes, None)
    benchmark.timer = load_timer(config.getoption("benchmark_timer")).target
    longest, asked = float(config.getoption("benchmark_max_time")), marker.kwargs if marker else {}
    benchmark.max_time = min(longest, asked.get("max_time", longest))
    compiled = support.compile_seconds()
    yield benchmark
    benchmark.extra_info["compile_seconds"] = support.compile_seconds() - compiled


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config, machine_info):
    """Versions and BLAS stand beside every number that is published."""
    machine_info.update(machine.describe())
    machine_info["node"] = ""  # the name of the host is nobody's business


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config, benchmarks, output_json):
    """A pass: every bench's rounds beside its probes, to four digits; the calibrations; the build."""
    after = limits.calibrate(config.stash[probes])
    output_json["calibrations"] = [config.stash[calibrations], after]
    output_json["builds"] = sorted({config.stash[build], machine.fingerprint()})
    for bench in output_json["benchmarks"]:
        if cores.used() > 1:
            bench["fullname"] += results.ON_CORES
        info, rounds = bench["extra_info"], bench["stats"].pop("data", [])
        measured, calls = info.pop("measured", rounds), info.pop("calls", 1)
        info["passes"] = [results.one_pass(measured, calls, info.pop("probe_seconds", []))]
