"""Run the benches and print what they found: one Markdown table an area.

python benches/run.py [--quick] [--wall] [--passes N] [--report FILE] [area ...]

An area is the name of a bench file without `bench_`. The timings go to .benchmarks/latest.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
LATEST = ROOT / ".benchmarks" / "latest.json"
FLOORS = ("copy", "memset")  # columns to compare with which are nobody's implementation
LEVEL = 0.98  # less than this of a peer's speed is behind: two equal programs differ by as much from run to run
ORDER = (
    "training",
    "sharing",
    "digits",
    "gradient",
    "curvature",
    "diagonal",
    "jacobian",
    "operator",
    "inverse",
    "overhead",
    "activations",
    "product",
)
RATES = {"flops/s": ("flops", "GF/s"), "elements/s": ("elements", "G/s")}
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def main():
    """Measure unless there is a file to report; print; fail if a bench failed."""
    options = parse()
    failed = False
    if options.report:
        result = json.loads(options.report.read_text())
    else:
        results, failed = measure(options)
        result = merge(results)
        LATEST.parent.mkdir(exist_ok=True)
        LATEST.write_text(json.dumps(result, indent=1))
    print(heading(result))
    for area, benches in by(result["benchmarks"], "area").items():
        print(table(area, benches))
    if failed:
        sys.exit("Some benches failed: see above.")


def parse():
    """The command line."""
    known = sorted((path.stem.removeprefix("bench_") for path in BENCHES.glob("bench_*.py")), key=place)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("areas", nargs="*", metavar="area", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="one short pass")
    parser.add_argument("--passes", type=int, default=3, help="over everything; the best of them counts")
    parser.add_argument("--wall", action="store_true", help="wall time instead of the process's CPU time")
    parser.add_argument("--report", type=Path, metavar="FILE", help="print the tables of an earlier run")
    options = parser.parse_args()
    if unknown := set(options.areas) - set(known):
        parser.error(f"area: expected some of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    options.areas = options.areas or known
    return options


def place(area):
    """What matters most comes first; what is not listed comes last."""
    return ORDER.index(area) if area in ORDER else len(ORDER), area


def measure(options):
    """One process a pass. Passes, not long rounds: what disturbs a shared machine comes in bursts."""
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-quiet", "--benchmark-disable-gc"]
    command += ["--benchmark-min-time=0.0002", "--benchmark-min-rounds=3"]
    command.append(f"--benchmark-max-time={0.05 if options.quick else 0.25}")
    command.append(f"--benchmark-timer=time.{'perf_counter' if options.wall else 'process_time'}")
    command += [str(BENCHES / f"bench_{area}.py") for area in options.areas]
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1")
    results, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 if options.quick else options.passes):
            file = Path(folder) / f"{number}.json"
            finished = subprocess.run(
                [*command, f"--benchmark-json={file}"], cwd=ROOT, env=environment, stdout=sys.stderr, check=False
            )
            if not file.exists():
                sys.exit(f"pytest ended with {finished.returncode} and measured nothing.")
            failed = failed or finished.returncode != 0
            results.append(json.loads(file.read_text()))
    return results, failed


def merge(results):
    """The best time of every bench, against the best speeds that the machine showed in any pass."""
    merged = results[0]
    merged["speeds"] = {name: max(result["speeds"][name] for result in results) for name in merged["speeds"]}
    merged["speeds_before_and_after"] = [speeds for result in results for speeds in result["speeds_before_and_after"]]
    merged["builds"] = sorted({build for result in results for build in result["builds"]})
    merged["passes"] = len(results)
    benches = {}
    for result in results:
        for bench in result["benchmarks"]:
            benches.setdefault(bench["fullname"], []).append(bench)
    merged["benchmarks"] = [best(same, merged["speeds"]) for same in benches.values()]
    return merged


def best(same, speeds):
    """One bench of several passes."""
    bench = same[0]
    info = bench["extra_info"]
    info["overhead_seconds"] = min(other["extra_info"]["overhead_seconds"] for other in same)
    bench["stats"] = {key: min(other["stats"][key] for other in same) for key in ("min", "median")}
    for key, seconds in bench["stats"].items():
        info[f"{key}_seconds"] = seconds / info["repeats"] - info["overhead_seconds"]
    info["limit_seconds"] = max(info["flops"] / speeds[info["dtype"]], info["bytes"] / speeds["stream"])
    info["ratio_to_limit"] = info["min_seconds"] / info["limit_seconds"] if info["limit_seconds"] else None
    return bench


def by(benches, key):
    """The benches as lists, in order of appearance."""
    groups = {}
    for bench in benches:
        groups.setdefault(bench["extra_info"][key], []).append(bench)
    return groups


def heading(result):
    """What the numbers are worth nothing without."""
    machine, speeds = result["machine_info"], result["speeds"]
    spread = {name: [s[name] / 1e9 for s in result["speeds_before_and_after"]] for name in speeds}
    timer = result["benchmarks"][0]["options"]["timer"]
    kind = "CPU time of the process" if "process_time" in timer else "wall time"
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items() if version)
    lines = [
        "# Benches",
        "",
        f"{result['datetime'][:10]}, {machine['processor']}, one core, Python {machine['python_version']},",
        f"{libraries}.",
        f"Thread pools: {', '.join(machine['thread_pools'])}.",
        "Limits from speeds measured in this run: "
        + ", ".join(f"{name} {speeds[name] / 1e9:.1f} {'GB/s' if name == 'stream' else 'GF/s'}" for name in speeds)
        + " (over the run: "
        + ", ".join(f"{name} {min(values):.1f} to {max(values):.1f}" for name, values in spread.items())
        + ").",
        f"Times: {kind}, the shortest round of {result['passes']} passes; in parentheses the median. "
        "A number with × : so many times fastbp's first column.",
        f"Compiled modules: {', '.join(result['builds'])}.",
    ]
    if len(result["builds"]) > 1:
        lines += ["", "**The library was rebuilt during the run: fastbp's columns mix builds. Measure again.**"]
    return "\n".join(lines)


def table(area, benches):
    """Rows by columns, and below them every row on which a peer wins."""
    columns = list(by(benches, "implementation"))
    ours = next(name for name in columns if name.startswith("fastbp"))
    peers = [name for name in columns if not name.startswith("fastbp") and name not in FLOORS]
    lines = ["", f"## {area}", "", "| | limit | " + " | ".join(columns) + f" | {ours} ÷ limit | best peer |"]
    lines.append("|---" * (len(columns) + 4) + "|")
    behind = []
    for row, in_row in by(benches, "row").items():
        found = {bench["extra_info"]["implementation"]: bench["extra_info"] for bench in in_row}
        mine = found.get(ours)
        cells = [row, show(next(iter(found.values())), "limit_seconds")]
        cells += [cell(found.get(name), mine, name, ours) for name in columns]
        cells.append(f"{mine['ratio_to_limit']:.2f}" if mine and mine.get("ratio_to_limit") else "–")
        rivals = [found[name] for name in peers if name in found]
        if mine and rivals:
            first = min(rivals, key=lambda info: info["min_seconds"])
            ratio = first["min_seconds"] / mine["min_seconds"]
            cells.append(f"{first['implementation']}, {ratio:.2f} ×" + (" **behind**" if ratio < LEVEL else ""))
            if ratio < LEVEL:
                behind.append(
                    f"- **behind {first['implementation']}** on {row}: {show(mine, 'min_seconds')} against "
                    f"{show(first, 'min_seconds')} ({ratio:.2f} ×)"
                )
        else:
            cells.append("–")
        lines.append("| " + " | ".join(cells) + " |")
    if peers:
        lines += ["", *(behind or [f"{ours} is behind no peer on any row."])]
    return "\n".join(lines)


def cell(info, mine, name, ours):
    """A time or a rate; for a peer also the ratio."""
    if info is None:
        return "–"
    text = show(info, "min_seconds")
    if name == ours:
        return f"{text} ({show(info, 'median_seconds')})"
    if name.startswith("fastbp") or mine is None:
        return text
    return f"{text}, {info['min_seconds'] / mine['min_seconds']:.2f} ×"


def show(info, key):
    """Three digits and a unit."""
    seconds = info[key]
    if seconds <= 0:
        return "–"
    if info["unit"] in RATES:
        count, unit = RATES[info["unit"]]
        return f"{three_digits(info[count] / seconds / 1e9)} {unit}"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{three_digits(seconds * factor)} {unit}"
    return f"{three_digits(seconds * 1e9)} ns"


def three_digits(x):
    """12.3, 1.23, 123, 12300."""
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


if __name__ == "__main__":
    main()
