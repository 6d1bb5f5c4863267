"""What a row takes in units of the probe timed between its rounds, and whether one run has lost against another.

A run has a row in one or several passes, each a process of its own: {"rounds": [...], "probe": [...]}, one probe before
every round. Everything that disturbs a round makes it longer, and a slow quarter of an hour makes rounds and probes
longer alike: so the lower quantile of the rounds over the lower quantile of the probes is what stays the same. Between
passes there are other differences, where memory happens to lie for instance: the median of the passes counts.
"""

from typing import NamedTuple

import numpy as np

QUANTILE = 0.2
LOST = 1.10  # times as long as before, beyond which a row has lost
SUSPICIOUS = 1.05  # beyond which it is measured again
DRAWS = 500
LEVEL = 0.95


class Change(NamedTuple):
    """A row of two runs: how many times as long it takes in the second, in units of the probe, and the interval."""

    name: str
    factor: float
    low: float
    high: float

    @property
    def lost(self):
        """More than a tenth, and not by chance."""
        return self.factor > LOST and self.low > 1


def in_probes(one_pass):
    """The rounds of a pass in units of its probes."""
    return np.quantile(one_pass["rounds"], QUANTILE) / np.quantile(one_pass["probe"], QUANTILE)


def estimate(passes):
    """The row of a run: the median of its passes."""
    return float(np.median([in_probes(one_pass) for one_pass in passes]))


def spread(passes):
    """How far passes of one run are apart: the largest over the smallest."""
    found = [in_probes(one_pass) for one_pass in passes]
    return max(found) / min(found)


def resampled(passes, rng):
    """(DRAWS,): estimates from passes drawn again, and in each of them rounds drawn again, every one with its probe."""
    draws = []
    for one_pass in passes:
        rounds, probe = np.array(one_pass["rounds"]), np.array(one_pass["probe"])
        chosen = rng.integers(len(rounds), size=(DRAWS, len(rounds)))
        draws.append(np.quantile(rounds[chosen], QUANTILE, axis=1) / np.quantile(probe[chosen], QUANTILE, axis=1))
    chosen = rng.integers(len(passes), size=(DRAWS, len(passes)))
    return np.median(np.array(draws)[chosen, np.arange(DRAWS)[:, None]], axis=1)


def change(name, before, after, seed=0):
    """From the passes of one run to those of another."""
    rng = np.random.default_rng(seed)
    factors = resampled(after, rng) / resampled(before, rng)
    low, high = np.quantile(factors, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Change(name, estimate(after) / estimate(before), float(low), float(high))


def suspects(before, after, beyond=SUSPICIOUS):
    """The changes of {name: passes} to {name: passes} beyond a factor, the largest first."""
    both = [name for name in after if name in before]
    slower = [name for name in both if estimate(after[name]) > beyond * estimate(before[name])]
    return sorted((change(name, before[name], after[name]) for name in slower), key=lambda found: -found.factor)
