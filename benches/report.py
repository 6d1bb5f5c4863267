"""From a run to Markdown tables and pictures.

python benches/report.py [--run FILE] [--pictures FOLDER] [--scaling] [--publish]

Without a file: the latest run. `--scaling` prints one table alone: steps and Hessians of all sizes on all cores.
`--publish` writes docs/benchmarks.md, its pictures, and the tables of other pages.
"""

import argparse
import re
from pathlib import Path

import numpy as np

import results
from ways import APART, FLOORS

ROOT = Path(__file__).resolve().parents[1]
LATEST = ROOT / ".benchmarks" / "latest.json"
IMAGES = ROOT / "docs" / "images" / "bench"
LEVEL = 0.98  # less than this of a peer's speed is behind: two equal programs differ by as much from run to run
RATES = {"flops/s": ("flops", "GF/s"), "elements/s": ("elements", "G/s")}
MARKED = re.compile(r"<!-- bench: (.*?) -->\n.*?<!-- /bench -->", re.DOTALL)
# Rows of the table of `--scaling`, which must be on all cores in the run
SCALING = (
    "4-32-32-1, batch 32",
    "64-128-128-10, batch 128",
    "784-256-128-10, batch 256",
    "784-512-512-10, batch 1024",
    "1024-1024-1024-1024, batch 1024",
    "Hessian, 16-32-16-4, N 500",
    "Hessian, 64-32-10, N 500",
    "Hessian, 784-16-10, N 500",
)
SHORT = ("README.md", "docs/curvature.md", "docs/inverse.md")  # what has marks


def main():
    """Print, draw, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=LATEST, metavar="FILE", help="of pytest-benchmark's storage")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="PNG and SVG")
    parser.add_argument("--scaling", action="store_true", help="one table: steps and Hessians on all cores")
    parser.add_argument("--publish", action="store_true", help="into README.md and docs/")
    options = parser.parse_args()
    run = results.load(options.run)
    if options.publish:
        publish(run)
        return
    print(scaling(run) if options.scaling else text_of(run))
    if options.pictures:
        draw(run, options.pictures)


def draw(run, folder):
    """All pictures; {title: path of the PNG}."""
    import plots  # matplotlib is for those who want pictures

    return plots.draw(results.benches_of(run), caption(run), folder)


def publish(run):
    """The page, its pictures, and the tables that others have between `<!-- bench: area -->` and `<!-- /bench -->`.

    "area, all cores" is the table of all cores.
    """
    images = draw(run, IMAGES)
    page = [text_of(run), "", "## Pictures", ""]
    page += [f"![{title}]({path.relative_to(ROOT / 'docs').as_posix()})\n" for title, path in images.items()]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(page), encoding="utf-8")
    for name in SHORT:
        text = (ROOT / name).read_text(encoding="utf-8")
        new = MARKED.sub(lambda old: f"<!-- bench: {old[1]} -->\n\n{headline(run, old[1])}\n\n<!-- /bench -->", text)
        (ROOT / name).write_text(new, encoding="utf-8")


def text_of(run):
    """The whole report."""
    benches = results.benches_of(run)
    alone = on_one_core(benches)
    parts = [heading(run, alone), growth(alone)]
    for area, in_area in results.by(benches, "area").items():
        parts += [table(area, on_one_core(in_area)), all_cores(run, area, in_area)]
    return "\n".join(part for part in parts if part)


def on_one_core(benches):
    """Those that were measured there."""
    return [bench for bench in benches if bench.cores == 1]


def versions(run):
    """'numpy 2.4.6, ...'"""
    return ", ".join(f"{name} {version}" for name, version in run["machine_info"]["libraries"].items() if version)


def caption(run, where="one core, one thread"):
    """One line under every picture and table."""
    info = run["machine_info"]
    return (
        f"{run['datetime'][:10]}, {info['processor']}, {where}; Python {info['python_version']}, "
        f"{versions(run)}; {', '.join(info['thread_pools'])}"
    )


def heading(run, benches):
    """What the numbers are worth nothing without."""
    machine, info = results.Machine(run), run["machine_info"]
    speeds = {kind: (speed / 1e9, "GB/s" if kind == "stream" else "GF/s") for kind, speed in machine.speeds.items()}
    fewest, most = (extreme(len(bench.passes) for bench in benches) for extreme in (min, max))
    passes = f"{most}" if fewest == most else f"{fewest} to {most}"
    process_time = any("process_time" in bench["options"]["timer"] for bench in run["benchmarks"])
    lines = [
        "# Benches",
        "",
        f"{run['datetime'][:10]}, {info['processor']}, one core, Python {info['python_version']}, {versions(run)}.",
        f"Thread pools: {', '.join(info['thread_pools'])}.",
        "Limits from speeds measured in this run: "
        + ", ".join(f"{kind} {speed:.1f} {unit}" for kind, (speed, unit) in speeds.items())
        + ".",
        f"Times: {'CPU time of the process' if process_time else 'wall time'}, the lower "
        f"{results.QUANTILE:.0%} of the rounds, the median of {passes} "
        f"pass{'es' if most > 1 else ''}, referred to the machine's best speed in the run by the probes timed "
        "between the rounds (at worst they took "
        + ", ".join(f"{machine.worst[kind] / machine.best[kind]:.2f} times as long on {kind}" for kind in speeds)
        + "). In parentheses the median as measured. A number with × : so many times fastbp's first column.",
        f"Compiled modules: {', '.join(run['builds'])}.",
    ]
    if len(run["builds"]) > 1:
        lines += ["", "**The library was rebuilt during the run: fastbp's columns mix builds. Measure again.**"]
    return "\n".join(lines)


def table(area, benches):
    """Rows by columns, and below them every row on which a peer wins."""
    columns = list(results.by(benches, "implementation"))
    ours = next((name for name in columns if name.startswith("fastbp")), columns[0])
    peers = [name for name in columns if not name.startswith("fastbp") and name not in FLOORS]
    lines = ["", f"## {area}", "", "| | limit | " + " | ".join(columns) + f" | {ours} ÷ limit | best peer |"]
    lines.append("|---" * (len(columns) + 4) + "|")
    behind = []
    for row, in_row in results.by(benches, "row").items():
        found = {bench.implementation: bench for bench in in_row}
        mine = found.get(ours)
        cells = [row, show(in_row[0], in_row[0].limit)]
        cells += [cell(found.get(name), mine, name, ours) for name in columns]
        cells.append(f"{mine.ratio:.2f}" if mine and mine.ratio else "–")
        rivals = [found[name] for name in peers if name in found]
        text, lost = best_peer(mine, rivals)
        cells.append(text)
        behind += lost
        lines.append("| " + " | ".join(cells) + " |")
    if peers:
        lines += ["", *(behind or [f"{ours} is behind no peer on any row."])]
    return "\n".join(lines + compiling(benches))


def best_peer(mine, rivals):
    """The cell, and the line that says so if it is faster."""
    if not (mine and rivals):
        return "–", []
    first = min(rivals, key=lambda bench: bench.value)
    ratio = first.value / mine.value
    text = f"{first.implementation}, {ratio:.2f} ×"
    if ratio >= LEVEL:
        return text, []
    return f"{text} **behind**", [
        f"- **behind {first.implementation}** on {mine.row}: {show(mine, mine.value)} against "
        f"{show(first, first.value)} ({ratio:.2f} ×)"
    ]


def all_cores(run, area, benches):
    """The same rows on all cores: fastbp's time there beside that on one core, and what everybody else takes there."""
    shared = on_all_cores(benches)
    columns = list(results.by(shared, "implementation"))
    ours = first_of_fastbp(shared)
    if ours is None:
        return ""
    n = max(bench.cores for bench in shared)
    others = {name: [name] for name in columns if name != ours.implementation}
    peers = [name for name in others if not name.startswith("fastbp")]
    table = cores_table(run, benches, ours.implementation, others)
    behind = []
    if peers:
        table[0].append("best peer")
        for cells, in_row in zip(table[1:], results.by(shared, "row").values(), strict=False):
            rivals = [bench for bench in in_row if bench.implementation in peers]
            text, lost = best_peer(first_of_fastbp(in_row), rivals)
            cells.append(text)
            behind += lost
        behind = ["", *(behind or [f"{ours.implementation} is behind no peer on any row."])]
    about = f"{n} cores, as many threads for everybody; wall time but for the first column."
    return "\n".join(["", f"## {area}, all cores", "", about, "", *markdown(table), *behind])


def cores_table(run, benches, ours, others):
    """Lists of cells: fastbp's first way, called `ours`, on one core and on all; others on all; independent processes.

    `others` are the ways of each further column, of which the best counts.
    """
    shared = on_all_cores(benches)
    n = max(bench.cores for bench in shared)
    lines = [["", f"{ours}, 1 core", f"{ours}, {n} cores", "speed-up", *others]]
    alone = {(bench.row, bench.implementation): bench for bench in on_one_core(benches)}
    for row, in_row in results.by(shared, "row").items():
        found = {bench.implementation: bench for bench in in_row}
        mine = first_of_fastbp(in_row)
        one = mine and alone.get((row, mine.implementation))
        cells = [row, show(one, one.value) if one else "–", show(mine, mine.value) if mine else "–"]
        cells.append(f"{one.value / mine.value:.2f} ×" if one else "–")
        for names in others.values():
            rivals = [found[name] for name in names if name in found]
            cells.append(cell(min(rivals, key=lambda bench: bench.value, default=None), mine, "", "fastbp"))
        lines.append(cells)
    for kind in results.by([bench for bench in shared if bench.probe], "probe"):
        if found := yardstick(run, kind):
            one, together = found
            work = "moving memory" if kind == "stream" else f"a {kind} product"
            lines.append([f"{work}, in each of {n} processes", seconds(one), seconds(together)])
            lines[-1] += [f"{one / together:.2f} ×", *["–"] * len(others)]
    return lines


def markdown(table):
    """Lines of it; short rows are filled."""
    head = table[0]
    rows = [[*cells, *["–"] * (len(head) - len(cells))] for cells in table[1:]]
    lines = ["| " + " | ".join(cells).lstrip() + " |" for cells in [head, *rows]]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def on_all_cores(benches):
    """Those that were measured there."""
    return [bench for bench in benches if bench.cores > 1]


def first_of_fastbp(benches):
    """Its first column, or None."""
    return next((bench for bench in benches if bench.implementation.startswith("fastbp")), None)


def yardstick(run, kind):
    """Seconds of what one process does alone, and of as much by all together; of several passes the medians."""
    found = [each[kind] for each in run.get("yardsticks", [])]
    if not found:
        return None
    return [
        float(np.median([np.quantile(each[key], results.QUANTILE) for each in found])) for key in ("alone", "together")
    ]


def compiling(benches):
    """Cold start, which no time above contains."""
    longest = {}
    for name, found in results.by(benches, "implementation").items():
        seconds = max(bench.compile_seconds for bench in found)
        if seconds:
            longest[name] = f"{name} up to {seconds:.2f} s"
    return ["", f"Tracing and compiling a row, not counted: {', '.join(longest.values())}."] if longest else []


def growth(benches):
    """The power of x by which fastbp's time grows, beside the expected one."""
    lines = []
    for (area, name), found in results.curves(benches).items():
        mine = [bench for bench in found if bench.implementation.startswith("fastbp")]
        if not mine or not hasattr(mine[0], "exponent"):
            continue
        first = results.by(mine, "implementation")[mine[0].implementation]
        x, y = [bench.x for bench in first], [bench.value for bench in first]
        if len(x) > 1:
            power = np.polyfit(np.log(x), np.log(y), 1)[0]
            span = f"{first[0].x_name} {min(x):.0f} to {max(x):.0f}"
            lines.append(f"| {area}: {name} | {span}, {len(x)} sizes | {power:.2f} | {mine[0].exponent:.0f} |")
    if not lines:
        return ""
    head = [
        "",
        "## Growth",
        "",
        "The fitted power of the size. Less than expected: small sizes still pay for calls, or ",
    ]
    head[-1] += "run products below their full speed."
    return "\n".join([*head, "", "| | over | power | expected |", "|---|---|---|---|", *lines])


def headline(run, area):
    """An area in short: times of fastbp, ratios of the best of each peer's ways. "<area>, all cores": on those."""
    chosen, everywhere, _ = area.partition(", all cores")
    rows = [bench for bench in results.benches_of(run) if bench.area == chosen]
    if everywhere:
        return in_short(run, rows)
    rows = on_one_core(rows)
    if not rows:
        raise SystemExit(f"This run has no area {area!r}.")
    columns = {}
    for name in results.by(rows, "implementation"):
        if not name.startswith("fastbp") and name not in FLOORS:
            columns.setdefault(name if name in APART else name.split(",")[0], []).append(name)
    lines = ["| | limit | fastbp | " + " | ".join(columns) + " |", "|---" * (len(columns) + 3) + "|"]
    for row, in_row in results.by(rows, "row").items():
        found = {bench.implementation: bench.value for bench in in_row}
        mine = in_row[0]
        cells = [row, show(mine, mine.limit), show(mine, mine.value)]
        for peers in columns.values():
            ratio = min((found[name] for name in peers if name in found), default=None)
            cells.append("–" if ratio is None else short_ratio(ratio / mine.value))
        lines.append("| " + " | ".join(cells) + " |")
    speeds = ", ".join(f"{rows[0].machine.speeds[kind] / 1e9:.0f} GF/s in {kind}" for kind in results.by(rows, "dtype"))
    lines += ["", f"{caption(run)}. The limit: {speeds}, measured in the same run."]
    return "\n".join(lines)


def scaling(run):
    """Steps and Hessians of all sizes on all cores."""
    return in_short(run, [bench for bench in results.benches_of(run) if bench.row in SCALING])


def in_short(run, benches):
    """On all cores: times and speed-up of fastbp, of each peer the best of its ways."""
    shared = on_all_cores(benches)
    if not first_of_fastbp(shared):
        raise SystemExit("This run has nothing of that on all cores.")
    peers = {}
    for name in results.by(shared, "implementation"):
        if not name.startswith("fastbp"):
            peers.setdefault(name.split(",")[0], []).append(name)
    n = max(bench.cores for bench in shared)
    about = caption(run, f"{n} cores with as many threads for everybody, but for the column of one core")
    about = re.sub(r" \(\d+ threads?\)", "", about)  # what the libraries were set to on one core
    return "\n".join([*markdown(cores_table(run, benches, "fastbp", peers)), "", f"{about}."])


def short_ratio(ratio):
    """Two digits, in bold where fastbp is behind."""
    digits = f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×"
    return f"**{digits}**" if ratio < LEVEL else digits


def cell(bench, mine, name, ours):
    """A time or a rate; for a peer also the ratio."""
    if bench is None:
        return "–"
    text = show(bench, bench.value)
    if name == ours:
        return text if bench.unit == "bytes" else f"{text} ({show(bench, bench.median)})"
    if mine is None:
        return text
    return f"{text}, {bench.value / mine.value:.2f} ×"


def show(bench, value):
    """Three digits and a unit."""
    if value <= 0:
        return "–"
    if bench.unit == "bytes":
        return f"{three_digits(value / 1e6)} MB"
    if bench.unit in RATES:
        count, unit = RATES[bench.unit]
        return f"{three_digits(getattr(bench, count) / value / 1e9)} {unit}"
    return seconds(value)


def seconds(value):
    """From ns on."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{three_digits(value * factor)} {unit}"
    return f"{three_digits(value * 1e9)} ns"


def three_digits(x):
    """12.3, 1.23, 123, 12300."""
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


if __name__ == "__main__":
    main()
