"""Runs: passes joined into one, and from their rounds and probes the numbers that are published.

A time is referred to the machine's best speed in the run: the lower quantile of its rounds, divided by the factor by
which the probes between them took longer than at their best; of several passes the median. The limit is computed from
that best speed, too.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import limits
from ratios import QUANTILE

ENOUGH_ROUNDS = 10  # for a pass to say how fast the machine can be
ON_CORES = ", all cores"  # what the name of a bench ends with, if it was on more than one


def join(runs):
    """The passes of several runs as one: the newest is what the rest is added to."""
    joined = {**runs[-1]}
    joined["calibrations"] = [calibration for run in runs for calibration in run["calibrations"]]
    joined["builds"] = sorted({build for run in runs for build in run["builds"]})
    joined["yardsticks"] = [yardstick for run in runs for yardstick in run.get("yardsticks", [])]
    joined["machine_info"] = runs[0]["machine_info"]
    benches = {}
    for run in runs:
        for bench in run["benchmarks"]:
            before = benches.get(bench["fullname"])
            info = dict(bench["extra_info"])
            if before:
                info["passes"] = before["extra_info"]["passes"] + info["passes"]
                info["compile_seconds"] = max(before["extra_info"]["compile_seconds"], info["compile_seconds"])
            benches[bench["fullname"]] = {**bench, "extra_info": info}
    joined["benchmarks"] = list(benches.values())
    return joined


def one_pass(rounds, calls, probe):
    """Seconds of a call in every round, as another pass may fill its rounds with more or fewer calls; of the probes."""
    found = {"rounds": [seconds / calls for seconds in rounds], "probe": probe}
    return {name: [float(f"{x:.4g}") for x in values] for name, values in found.items()}


def load(path):
    """A run from its file."""
    return json.loads(path.read_text(encoding="utf-8"))


def passes(run, only=""):
    """{name: passes} of the benches on one core, with probes, whose implementation begins so."""
    return {
        bench["fullname"]: bench["extra_info"]["passes"]
        for bench in run["benchmarks"]
        if bench["extra_info"].get("probe")
        and bench["extra_info"].get("cores", 1) == 1
        and bench["extra_info"]["implementation"].startswith(only)
    }


class Machine:
    """Its speeds in a run: the best it showed, flops or bytes a second, and the best of each probe."""

    def __init__(self, run):
        samples = {kind: [] for kind in limits.KINDS}
        for bench in run["benchmarks"]:
            info = bench["extra_info"]
            if info.get("probe"):
                long_enough = [p["probe"] for p in info["passes"] if len(p["probe"]) >= ENOUGH_ROUNDS]
                samples[info["probe"]] += long_enough
        self.best, self.worst, self.speeds = {}, {}, {}
        for kind, found in samples.items():
            calibrations = [calibration[kind] for calibration in run["calibrations"]]
            found = [np.quantile(probe, QUANTILE) for probe in found + [c["probe"] for c in calibrations]]
            large = np.concatenate([np.divide(c["large"], c["probe"]) for c in calibrations])
            self.best[kind], self.worst[kind] = min(found), max(found)
            self.speeds[kind] = 1 / (self.best[kind] * np.median(large))


@dataclass
class Bench:
    """One cell of a table."""

    info: dict
    machine: Machine

    def __getattr__(self, name):
        try:
            return self.info[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def cores(self):
        """That it was measured on."""
        return self.info.get("cores", 1)

    @cached_property
    def value(self):
        """Seconds of one repeat, at the machine's best speed; or bytes."""
        found = [np.quantile(p["rounds"], QUANTILE) / self._slowness(p) for p in self.info["passes"]]
        return self._share(np.median(found))

    @cached_property
    def median(self):
        """The same of all rounds, as measured."""
        return self._share(np.median(np.concatenate([p["rounds"] for p in self.info["passes"]])))

    @cached_property
    def limit(self):
        """What it cannot be faster than; 0 where there is nothing to count."""
        if self.info["unit"] == "bytes":
            return self.info["bytes"]
        return limits.limit_seconds(*[self.machine.speeds, *(self.info[key] for key in ("dtype", "flops", "bytes"))])

    @property
    def ratio(self):
        """Value over limit."""
        return self.value / self.limit if self.limit else None

    def _slowness(self, one_pass):
        """How many times as long as at their best the probes took."""
        if not one_pass["probe"]:
            return 1
        return np.quantile(one_pass["probe"], QUANTILE) / self.machine.best[self.info["probe"]]

    def _share(self, seconds):
        return seconds / self.info["repeats"] - self.info["overhead_seconds"]


def benches_of(run):
    """All cells, in the order of measurement."""
    machine = Machine(run)
    return [Bench(bench["extra_info"], machine) for bench in run["benchmarks"]]


def by(benches, key):
    """{value of the key: benches}, in order of appearance."""
    groups = {}
    for bench in benches:
        groups.setdefault(getattr(bench, key, None), []).append(bench)
    return groups


def curves(benches):
    """{(area, series): benches} of the rows that are points of a curve."""
    found = {}
    for bench in benches:
        if hasattr(bench, "series"):
            found.setdefault((bench.area, bench.series), []).append(bench)
    return found
