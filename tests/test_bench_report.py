"""From rounds and probes to tables, with a made-up run: every number is known beforehand."""

import pytest

import report
import results

BEST = {"float32": 1e-11, "float64": 2e-11, "stream": 1e-10}  # seconds a flop or byte of the probes
ROUNDS = 12


def bench(row, implementation, seconds, *, slowness=1.0, passes=1, area="Steps", **more):
    one_pass = {"rounds": [seconds * slowness] * ROUNDS, "probe": [BEST["float32"] * slowness] * ROUNDS}
    info = {
        "area": area, "row": row, "implementation": implementation, "dtype": "float32", "flops": 10**9, "bytes": 8,
        "repeats": 1, "unit": "s", "overhead_seconds": 0.0, "probe": "float32", "compile_seconds": 0,
        "passes": [one_pass] * passes, **more,
    }  # fmt: skip
    return {
        "fullname": f"{area} {row} {implementation}",
        "extra_info": info,
        "options": {"timer": "process_time"},
        "stats": {},
    }


def run(*benches, build="b1"):
    calibration = {kind: {"probe": [best] * 3, "large": [best / 2] * 3} for kind, best in BEST.items()}
    machine = {
        "processor": "Abacus", "python_version": "3.14", "libraries": {"numpy": "2.9", "jax": None},
        "thread_pools": ["openblas 1 (1 thread)"],
    }  # fmt: skip
    return {
        "benchmarks": list(benches), "calibrations": [calibration], "builds": [build], "machine_info": machine,
        "datetime": "2026-11-21T00:00",
    }  # fmt: skip


def test_times_are_referred_to_the_best_speed_of_the_run():
    steady, disturbed = results.benches_of(run(bench("a", "fastbp", 0.01), bench("b", "fastbp", 0.01, slowness=1.7)))
    assert steady.value == pytest.approx(0.01)
    assert disturbed.value == pytest.approx(0.01)
    assert disturbed.median == pytest.approx(0.017)


def test_limit_is_that_of_large_products():
    (found,) = results.benches_of(run(bench("a", "fastbp", 0.01)))
    assert found.limit == pytest.approx(10**9 * BEST["float32"] / 2)
    assert found.ratio == pytest.approx(2)


def test_repeats_share_a_round():
    (found,) = results.benches_of(run(bench("a", "fastbp", 0.03, repeats=3, overhead_seconds=0.001)))
    assert found.value == pytest.approx(0.009)


def test_passes_may_differ_in_the_calls_of_a_round():
    slow, fast = results.one_pass([0.06, 0.09], 3, [1e-11, 2e-11]), results.one_pass([0.2], 10, [])
    assert slow == {"rounds": [0.02, 0.03], "probe": [1e-11, 2e-11]}
    assert fast == {"rounds": [0.02], "probe": []}


def test_passes_of_runs_are_joined():
    joined = results.join([run(bench("a", "fastbp", 1.0)), run(bench("a", "fastbp", 2.0, passes=2), build="b2")])
    assert [len(found) for found in results.passes(joined).values()] == [3]
    assert results.benches_of(joined)[0].value == pytest.approx(2)
    assert joined["builds"] == ["b1", "b2"]
    assert "The library was rebuilt" in report.text_of(joined)


def test_row_where_fastbp_is_behind_is_named():
    a = [bench("a", "fastbp", 0.01), bench("a", "JAX", 0.008), bench("a", "memset", 0.001)]
    b = [bench("b", "fastbp", 0.01), bench("b", "JAX", 0.025, compile_seconds=1.5)]
    text = report.text_of(run(*a, *b))
    assert (
        "| a | 5.00 ms | 10.0 ms (10.0 ms) | 8.00 ms, 0.80 × | 1.00 ms, 0.10 × | 2.00 | JAX, 0.80 × **behind** |"
        in text
    )
    assert "| b | 5.00 ms | 10.0 ms (10.0 ms) | 25.0 ms, 2.50 × | – | 2.00 | JAX, 2.50 × |" in text
    assert "- **behind JAX** on a: 10.0 ms against 8.00 ms (0.80 ×)" in text
    assert "Tracing and compiling a row, not counted: JAX up to 1.50 s." in text


def test_heading_says_where_it_was_measured():
    text = report.text_of(run(bench("a", "fastbp", 0.01, passes=3)))
    for part in ("Abacus", "numpy 2.9", "openblas 1 (1 thread)", "float32 200.0 GF/s", "3 passes", "b1"):
        assert part in text
    assert "jax" not in text


def test_fitted_power_stands_beside_the_expected():
    benches = [
        bench(f"P {P}", "fastbp", 1e-6 * P**1.9, series="Hessian", x=P, x_name="P", exponent=2)
        for P in (100, 200, 400, 800)
    ]
    assert "| Steps: Hessian | P 100 to 800, 4 sizes | 1.90 | 2 |" in report.text_of(run(*benches))


def test_memory_is_shown_as_bytes():
    peak = bench("a", "fastbp", 0, unit="bytes", bytes=2_000_000, probe=None)
    peak["extra_info"]["passes"] = [{"rounds": [3e6], "probe": []}]
    assert "| a | 2.00 MB | 3.00 MB | 1.50 |" in report.text_of(run(peak))


def test_headline_takes_the_best_way_of_a_peer():
    text = report.headline(
        run(bench("a", "fastbp fit", 0.01), bench("a", "PyTorch", 0.4), bench("a", "PyTorch, lean", 0.2)), "Steps"
    )
    assert "| a | 5.00 ms | 10.0 ms | 20 × |" in text


def on_two_cores():
    """A run of which two rows were on both numbers of cores, and one on one core only."""
    rows = [
        bench("a", "fastbp fit", 0.01), bench("a", "fastbp fit", 0.005, cores=2),
        bench("a", "fastbp step", 0.006, cores=2),
        bench("a", "JAX, compiled loop", 0.004, cores=2), bench("a", "JAX, a call a step", 0.0045, cores=2),
        bench("b", "fastbp fit", 0.01), bench("b", "fastbp fit", 0.008, cores=2), bench("b", "PyTorch", 0.1, cores=2),
        bench("c", "fastbp fit", 0.01),
    ]  # fmt: skip
    yardsticks = [{"float32": {"alone": [0.02] * 3, "together": [together] * 3}} for together in (0.01, 0.0125, 0.016)]
    return {**run(*rows), "yardsticks": yardsticks}


def test_table_of_all_cores():
    text = report.text_of(on_two_cores())
    before, after = text.split("## Steps, all cores")
    assert "| a | 5.00 ms | 10.0 ms (10.0 ms) | 2.00 | – |" in before
    assert "| c |" in before
    assert "| c |" not in after
    for line in (
        "2 cores, as many threads for everybody",
        "| | fastbp fit, 1 core | fastbp fit, 2 cores | speed-up | fastbp step | JAX, compiled loop |"
        " JAX, a call a step | PyTorch | best peer |",
        "| a | 10.0 ms | 5.00 ms | 2.00 × | 6.00 ms, 1.20 × | 4.00 ms, 0.80 × | 4.50 ms, 0.90 × | – |"
        " JAX, compiled loop, 0.80 × **behind** |",
        "| b | 10.0 ms | 8.00 ms | 1.25 × | – | – | – | 100 ms, 12.50 × | PyTorch, 12.50 × |",
        "| a float32 product, in each of 2 processes | 20.0 ms | 12.5 ms | 1.60 × | – | – | – | – | – |",
        "- **behind JAX, compiled loop** on a: 5.00 ms against 4.00 ms (0.80 ×)",
    ):
        assert line in after


def test_run_on_one_core_has_no_other_table():
    assert "all cores" not in report.text_of(run(bench("a", "fastbp", 0.01)))


def test_all_cores_in_short():
    text = report.headline(on_two_cores(), "Steps, all cores")
    assert "| | fastbp, 1 core | fastbp, 2 cores | speed-up | JAX | PyTorch |" in text
    assert "| a | 10.0 ms | 5.00 ms | 2.00 × | 4.00 ms, 0.80 × | – |" in text
    assert "2 cores with as many threads for everybody" in text
    assert "1 thread" not in text
    assert "| a | 5.00 ms | 10.0 ms |" in report.headline(on_two_cores(), "Steps")


def test_selected_rows_on_all_cores(monkeypatch):
    monkeypatch.setattr(report, "SCALING", ("b",))
    text = report.scaling(on_two_cores())
    assert "| b | 10.0 ms | 8.00 ms | 1.25 × | 100 ms, 12.50 × |" in text
    assert "| a |" not in text


def test_same_bench_on_one_core_and_on_all_is_two():
    one, both = run(bench("a", "fastbp", 1.0)), run(bench("a", "fastbp", 0.5, cores=2))
    both["benchmarks"][0]["fullname"] += results.ON_CORES
    joined = results.join([one, {**both, "yardsticks": ["y"]}])
    assert [found.value for found in results.benches_of(joined)] == pytest.approx([1, 0.5])
    assert joined["yardsticks"] == ["y"]
    assert list(results.passes(joined)) == ["Steps a fastbp"]
