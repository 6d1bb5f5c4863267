"""pytest-benchmark's fixture with a measurement of the machine before every round.

A bench is timed in many short rounds. Between them a probe of what limits it is timed (`limits.py`), for a sixth of the
time: so every round has beside it how fast the machine was at that moment, and what a busy neighbor costs is in both.
"""

import math
import time

from pytest_benchmark.fixture import BenchmarkFixture

import limits

LEAST_ROUND = 1e-3  # seconds
MOST_ROUNDS = 300
SHARE = 1 / 6


class Interleaved(BenchmarkFixture):
    """Rounds of a millisecond or more in turn with a probe. conftest.py sets `probes`, `max_time` and `timer`."""

    def __call__(self, function, *args, **kwargs):
        """Many rounds of as many calls as fill one."""
        if not self.enabled:
            return super().__call__(function, *args, **kwargs)
        calls, seconds = self.calibrated(function, args, kwargs)
        rounds = min(max(3, math.ceil(self.max_time / seconds)), MOST_ROUNDS)
        loops = range(calls)

        def several():
            for _ in loops:
                function(*args, **kwargs)

        def warm():
            """The probe has put its own data into the cache."""
            if calls > 3:
                function(*args, **kwargs)

        return self.measure(several, rounds, calls, warm)

    def pedantic(self, target, args=(), kwargs=None, setup=None, rounds=1, probed=True, **options):
        """As many rounds as asked for, each of one call."""
        if not (self.enabled and probed):
            return super().pedantic(target, args=args, kwargs=kwargs, setup=setup, rounds=rounds, **options)
        return self.measure(target, rounds, 1, setup, args=args, kwargs=kwargs, **options)

    def calibrated(self, function, args, kwargs):
        """How many calls make a round, and its seconds."""
        calls = 1
        while True:
            begin = self.timer()
            for _ in range(calls):
                function(*args, **kwargs)
            seconds = self.timer() - begin
            if seconds >= LEAST_ROUND:
                return calls, seconds
            calls = min(10 * calls, math.ceil(1.2 * calls * LEAST_ROUND / max(seconds, 1e-9)))

    def measure(self, target, rounds, calls, setup=None, **options):
        """Leave in `extra_info` the calls of a round and the probe's seconds before each."""
        kind = self.extra_info["probe"] = limits.binding(*(self.extra_info[k] for k in ("dtype", "flops", "bytes")))
        probe, units = self.probes[kind], []
        end = None

        def before():
            nonlocal end
            at_least = limits.PROBE_SECONDS if end is None else SHARE * (time.perf_counter() - end)
            units.append(limits.probe_seconds(probe, max(at_least, limits.PROBE_SECONDS), self.timer))
            end = time.perf_counter()
            return setup() if setup else None

        self.extra_info.update(calls=calls, probe_seconds=units)
        return super().pedantic(target, setup=before, rounds=rounds, **options)
