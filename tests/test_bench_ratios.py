"""The comparison of two runs of the benches: made-up rounds on a made-up machine, whose speed is never the same."""

import numpy as np
import pytest

from ratios import Change, change, estimate, in_probes, spread, suspects

PROBE = 2e-4


def one_pass(seconds, rng, rounds=100):
    """Rounds and probes on a machine that slows down and recovers by a factor of 2, with bursts on top."""
    speed = 2 ** rng.uniform(0, 1) * 2 ** np.abs(np.sin(np.linspace(0, rng.uniform(1, 9), rounds)))
    noise = 1 + rng.exponential(0.03, (2, rounds)) + 3 * (rng.random((2, rounds)) < 0.1)
    return {"rounds": (seconds * speed * noise[0]).tolist(), "probe": (PROBE * speed * noise[1]).tolist()}


def run(rows, rng, passes=3):
    return {name: [one_pass(seconds, rng) for _ in range(passes)] for name, seconds in rows.items()}


ROWS = {f"row {i}": 1e-3 * 1.1**i for i in range(40)}


def test_pass_of_a_steady_machine():
    assert in_probes({"rounds": [3e-3] * 9, "probe": [1e-3] * 9}) == pytest.approx(3)


def test_median_of_passes_counts():
    passes = [{"rounds": [x], "probe": [1]} for x in (1, 2, 9)]
    assert estimate(passes) == 2
    assert spread(passes) == 9


@pytest.mark.parametrize("seed", range(5))
def test_same_code_on_a_drifting_machine_has_lost_nothing(seed):
    rng = np.random.default_rng(seed)
    before, after = run(ROWS, rng), run(ROWS, rng)
    assert [found for found in suspects(before, after) if found.lost] == []


@pytest.mark.parametrize("seed", range(5))
def test_slower_row_is_found_on_a_drifting_machine(seed):
    rng = np.random.default_rng(seed)
    before, after = run(ROWS, rng), run({**ROWS, "row 7": 1.2 * ROWS["row 7"]}, rng)
    (found,) = [found for found in suspects(before, after) if found.lost]
    assert found.name == "row 7"
    assert found.factor == pytest.approx(1.2, rel=0.1)
    assert 1 < found.low <= found.factor <= found.high < 1.4


def test_slower_machine_is_no_slower_row():
    rng = np.random.default_rng(0)
    before = run(ROWS, rng)
    after = {
        name: [{key: [3 * x for x in values] for key, values in one.items()} for one in passes]
        for name, passes in before.items()
    }
    assert suspects(before, after) == []


def test_interval_holds_what_passes_differ_by():
    before = [{"rounds": [1.0] * 9, "probe": [1.0] * 9}] * 3
    after = [{"rounds": [x] * 9, "probe": [1.0] * 9} for x in (0.95, 1.2, 1.3)]
    found = change("row", before, after)
    assert (found.low, found.factor, found.high) == pytest.approx((0.95, 1.2, 1.3))
    assert not found.lost


@pytest.mark.parametrize(
    ("factor", "low", "lost"), [(1.2, 1.1, True), (1.2, 0.99, False), (1.09, 1.05, False), (0.5, 0.4, False)]
)
def test_lost_by_more_than_a_tenth_and_not_by_chance(factor, low, lost):
    assert Change("row", factor, low, 2).lost is lost


def test_rows_of_one_run_only_are_left_out():
    rng = np.random.default_rng(0)
    before, after = run({"a": 1e-3, "gone": 1e-3}, rng), run({"a": 2e-3, "new": 1e-3}, rng)
    assert [found.name for found in suspects(before, after)] == ["a"]


def test_worst_row_comes_first():
    rng = np.random.default_rng(0)
    before, after = run({"a": 1e-3, "b": 1e-3}, rng), run({"a": 1.5e-3, "b": 3e-3}, rng)
    assert [found.name for found in suspects(before, after)] == ["b", "a"]
