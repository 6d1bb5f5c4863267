"""Run the benches and report what they found.

python benches/run.py [--quick] [--wall] [--passes N] [area ...]

An area is the name of a bench file without `bench_`. The run goes to .benchmarks/latest.json, its pictures beside it.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import report
import results

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
ORDER = ("training", "sharing", "digits", "gradient", "curvature", "diagonal", "jacobian", "operator", "inverse")
MOST_SECONDS, QUICK_SECONDS = 0.25, 0.05  # of a bench in a pass
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def main():
    """Measure; print the tables; draw, if there is something to draw with; fail if a bench failed."""
    options = parse()
    passes = 1 if options.quick else options.passes
    seconds = QUICK_SECONDS if options.quick else MOST_SECONDS
    run, failed = measure(files(options.areas), passes, seconds=seconds, wall=options.wall)
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
    parser.add_argument("--wall", action="store_true", help="wall time instead of the process's CPU time")
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


def measure(targets, passes, *, seconds=MOST_SECONDS, wall=False, fastbp_only=False):
    """Measure files or single benches, one process a pass: what disturbs a shared machine comes in bursts.

    Returns the run and whether a bench failed.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-quiet", "--benchmark-disable-gc"]
    command += [
        f"--benchmark-max-time={seconds}",
        f"--benchmark-timer=time.{'perf_counter' if wall else 'process_time'}",
    ]
    command += ["--fastbp-only"] if fastbp_only else []
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
    runs, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for number in range(passes):
            file = Path(folder) / f"{number}.json"
            finished = subprocess.run(
                [*command, f"--benchmark-json={file}", *targets],
                cwd=ROOT,
                env=environment,
                stdout=sys.stderr,
                check=False,
            )
            if not file.exists():
                sys.exit(f"pytest ended with {finished.returncode} and measured nothing.")
            failed = failed or finished.returncode != 0
            runs.append(results.load(file))
    return results.join(runs), failed


if __name__ == "__main__":
    main()
