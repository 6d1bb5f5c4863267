"""Store runs of fastbp's own rows, and compare two of them by their ratios to the limit measured in each.

python benches/history.py save NAME [area ...]         measure the working tree and store it
python benches/history.py compare [BEFORE [AFTER]]     stored runs; without names the last two
python benches/history.py list

A run is stored by pytest-benchmark, as .benchmarks/<machine>/<number>_NAME.json: name it by NAME, number or path. What
counts for a row is its time in units of the probe that was timed between its rounds (`ratios.py`): how fast the
machine was in either run cancels out. Rows that seem slower are measured again if AFTER is a run of the build that is
there, and judged by all passes. The exit status is 1 if a row takes over 10 % longer and chance does not explain it.
"""

import argparse
import sys
from pathlib import Path

from pytest_benchmark.logger import Logger
from pytest_benchmark.storage.file import FileStorage
from pytest_benchmark.utils import get_machine_id

import machine
import ratios
import results
import run as runner

STORAGE = runner.ROOT / ".benchmarks"
PASSES, REPEATS, PASSES_A_REPEAT = 3, 3, 2
APART = 1.08  # passes of a stored row that differ by more are joined by others
SECONDS = 0.2  # of a bench in a pass


def main():
    """Save, compare or list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("save")
    one.add_argument("name")
    one.add_argument("areas", nargs="*", metavar="area")
    one.add_argument("--passes", type=int, default=PASSES)
    two = commands.add_parser("compare")
    two.add_argument("runs", nargs="*", metavar="RUN", help="by default the last two")
    commands.add_parser("list")
    options = parser.parse_args()
    if options.command == "save":
        save(options.name, options.areas or runner.areas(), options.passes)
    elif options.command == "list":
        for path in stored():
            about = results.load(path)
            print(path.stem, about["datetime"][:16], about["commit_info"]["id"][:10], *about["builds"])
    elif len(options.runs) > 2:
        parser.error("expected at most two runs")
    else:
        sys.exit(compare(*chosen(options.runs)))


def storage():
    """pytest-benchmark's."""
    return FileStorage(str(STORAGE), Logger(Logger.QUIET), get_machine_id())


def stored():
    """Paths of all runs, the oldest first."""
    return storage().query("[0-9][0-9][0-9][0-9]_")


def chosen(names):
    """The paths of two runs: the named ones, completed by the latest."""
    runs = stored()
    if len(names) < 2:
        latest = [path for path in runs if not names or path != find(names[0], runs)]
        names = [*names, *[str(path) for path in latest[len(names) - 2 :]]]
    if len(names) < 2:
        sys.exit("Nothing to compare: store two runs with `make bench-save NAME=...`.")
    return [find(name, runs) for name in names]


def find(name, runs):
    """The latest run of that name or number, or a file."""
    if Path(name).is_file():
        return Path(name)
    found = [path for path in runs if name in (path.stem, *path.stem.split("_", 1))]
    if not found:
        sys.exit(f"No run is called {name}: there are {', '.join(path.stem for path in runs) or 'none'}.")
    return found[-1]


def save(name, areas, passes):
    """Measure fastbp's columns; again where passes differ much; store."""
    run, failed = runner.measure(runner.files(areas), passes, seconds=SECONDS, of="fastbp")
    if failed:
        sys.exit("Some benches failed: nothing stored.")
    unsteady = [row for row, found in results.passes(run, "fastbp").items() if ratios.spread(found) > APART]
    if unsteady:
        print(f"Measuring {len(unsteady)} rows again: their passes differ by more than {APART - 1:.0%}.")
        again, _ = runner.measure(unsteady, PASSES_A_REPEAT, seconds=SECONDS)
        run = results.join([again, run])
    if len(run["builds"]) > 1:
        sys.exit("The library was rebuilt during the run: nothing stored.")
    storage().save(run, name)
    print(f"Stored {stored()[-1].relative_to(runner.ROOT)}: {len(results.passes(run, 'fastbp'))} rows.")


def compare(before, after):
    """Print what has lost; 1 if anything has."""
    print(f"Before: {before.stem}. After: {after.stem}. Times in units of the limit measured in each run.")
    old, new = results.load(before), results.load(after)
    old_rows, new_rows = results.passes(old, "fastbp"), results.passes(new, "fastbp")
    both = [row for row in new_rows if row in old_rows]
    if not both:
        sys.exit("The runs have no row in common.")
    suspects = ratios.suspects(old_rows, new_rows)
    if new["builds"] != [machine.fingerprint()]:
        print("The second run is of another build than the one that is there: nothing can be measured again.")
    else:
        suspects = confirm(suspects, old_rows, new_rows)
    lost = [change for change in suspects if change.lost]
    for change in lost:
        print(f"{change.factor:6.2f} × as long ({change.low:.2f} to {change.high:.2f})  {change.name}")
    print(f"{len(lost)} of {len(both)} rows take over {ratios.LOST - 1:.0%} longer.")
    return 1 if lost else 0


def confirm(suspects, old_rows, new_rows):
    """Measure suspicious rows again, as long as there are some that seem to have lost, and join the passes."""
    for _ in range(REPEATS):
        if not any(change.factor > ratios.LOST for change in suspects):
            break
        names = [change.name for change in suspects]
        print(f"Measuring {len(names)} rows again.", flush=True)
        again, _ = runner.measure(names, PASSES_A_REPEAT, seconds=SECONDS)
        for name, found in results.passes(again).items():
            new_rows[name] = new_rows[name] + found
        suspects = ratios.suspects(old_rows, {name: new_rows[name] for name in names})
    return suspects


if __name__ == "__main__":
    main()
