"""Run the benches and report what they found.

python benches/run.py [--quick] [--wall] [--one-core] [--passes N] [area ...]

An area is the name of a bench file without `bench_`. The run goes to .benchmarks/latest.json, its pictures beside it.
Each pass is on one core with one thread, and once more for some areas on all cores with all threads: by wall time, each
library in a process of its own. How many cores those are, FASTBP_NUM_THREADS says, or fastbp finds out.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cores
import fastbp
import own_process
import report
import results
import ways

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
ORDER = ("training", "sharing", "digits", "gradient", "curvature", "diagonal", "jacobian", "operator", "inverse")
ON_ALL_CORES = ("training", "sharing", "curvature", "inverse")
LIBRARIES = ("fastbp", ways.NUMPY, ways.BLAS, ways.TORCH, ways.JAX)  # of these areas
MOST_SECONDS, QUICK_SECONDS = 0.25, 0.05  # of a bench in a pass
NOTHING_TO_RUN, NO_BENCH = 5, "Not saving anything"  # pytest's exit status, pytest-benchmark's warning


def main():
    """Measure; print the tables; draw, if there is something to draw with; fail if a bench failed."""
    options = parse()
    passes = 1 if options.quick else options.passes
    seconds = QUICK_SECONDS if options.quick else MOST_SECONDS
    shared = files(area for area in options.areas if area in ON_ALL_CORES)
    n = 1 if options.one_core or not shared else limit_cores()
    runs, failed = [], False
    for _ in range(passes):
        found = [measure(files(options.areas), 1, seconds=seconds, wall=options.wall)]
        if n > 1:
            found += [measure_all_cores(shared, n, seconds)]
        runs += [run for run, _ in found]
        failed = failed or any(bad for _, bad in found)
    run = results.join(runs)
    report.LATEST.parent.mkdir(exist_ok=True)
    report.LATEST.write_text(json.dumps(run))
    print(report.text_of(run))
    if importlib.util.find_spec("matplotlib"):
        report.draw(run, report.LATEST.parent / "pictures")
    if failed:
        sys.exit("Some benches failed: see above.")


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("areas", nargs="*", metavar="area", help=", ".join(areas()))
    parser.add_argument("--quick", action="store_true", help="one short pass")
    parser.add_argument("--passes", type=int, default=3, help="over everything; the median of them counts")
    parser.add_argument("--wall", action="store_true", help="wall time instead of the process's CPU time on one core")
    parser.add_argument("--one-core", action="store_true", help="nothing on all cores")
    options = parser.parse_args()
    if unknown := set(options.areas) - set(areas()):
        parser.error(f"area: expected some of {', '.join(areas())}, got {', '.join(sorted(unknown))}")
    options.areas = options.areas or areas()
    return options


def areas():
    """What matters most comes first; what is not listed comes last."""
    known = (path.stem.removeprefix("bench_") for path in BENCHES.glob("bench_*.py"))
    return sorted(known, key=lambda area: (ORDER.index(area) if area in ORDER else len(ORDER), area))


def files(chosen):
    """Of areas."""
    return [f"benches/bench_{area}.py" for area in chosen]


def limit_cores():
    """Leave the benches as many cores as fastbp would use; the number."""
    n = min(fastbp.get_num_threads(), len(cores.there()))
    os.environ[cores.LISTED] = ",".join(map(str, cores.there()[-n:]))
    return n


def measure_all_cores(targets, n, seconds):
    """A pass on n cores, beside what independent processes get out of them."""
    yardstick = own_process.ask(BENCHES / "yardstick.py")
    runs, failed = [], False
    for library in LIBRARIES:
        run, bad = measure(targets, 1, seconds=seconds, wall=True, of=library, n=n)
        runs += [run] if run else []
        failed = failed or bad
    return {**results.join(runs), "yardsticks": [yardstick]}, failed


def measure(targets, passes, *, seconds=MOST_SECONDS, wall=False, of="", n=1):
    """Measure files or single benches, one process a pass: what disturbs a shared machine comes in bursts.

    `of` is the library to measure if it is only one; n the cores and threads. Returns the run, None if there is nothing
    of that library, and whether a bench failed.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-quiet", "--benchmark-disable-gc"]
    command += [
        f"--benchmark-max-time={seconds}",
        f"--benchmark-timer=time.{'perf_counter' if wall else 'process_time'}",
    ]
    command += [f"--of={of}", f"-Wignore:{NO_BENCH}:pytest_benchmark.logger.PytestBenchmarkWarning"] if of else []
    runs, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for number in range(passes):
            file = Path(folder) / f"{number}.json"
            finished = subprocess.run(
                [*command, f"--benchmark-json={file}", *targets],
                cwd=ROOT,
                env=os.environ | cores.environment(n),
                stdout=sys.stderr,
                check=False,
            )
            if not file.exists():
                if of and finished.returncode in (0, NOTHING_TO_RUN):  # it is not there, or has no bench
                    continue
                sys.exit(f"pytest ended with {finished.returncode} and measured nothing.")
            failed = failed or finished.returncode != 0
            runs.append(results.load(file))
    return results.join(runs) if runs else None, failed


if __name__ == "__main__":
    main()
