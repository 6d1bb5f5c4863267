"""Pictures of a run: curves of time against size, the ratio to the limit of every row, a roofline.

Every picture says on which machine, with which libraries, BLAS and number of threads it was measured.
"""

import re
import textwrap

import matplotlib as mpl
from matplotlib.figure import Figure

import results

SETTINGS = {"svg.hashsalt": "fastbp", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
OURS, LIMIT = "#c8102e", "#555555"
PEERS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#17becf")
MARKERS = "os^Dv<>P*"
CAPTION_WIDTH = 130
RATES = {"float32": "-", "float64": "--"}


def draw(benches, caption, folder):
    """All of them into a folder; {title: path of the PNG}."""
    folder.mkdir(parents=True, exist_ok=True)
    timed = [bench for bench in benches if bench.passes[0]["probe"] and bench.cores == 1]
    figures = {}
    with mpl.rc_context(SETTINGS):
        for (area, series), points in results.curves(timed).items():
            if len({bench.x for bench in points}) > 1 and len(results.by(points, "implementation")) > 1:
                figures[f"{area}: {series}"] = curve(f"{area}: {series}", points)
        for area, in_area in results.by(timed, "area").items():
            if any(bench.limit for bench in in_area):
                figures[f"{area}: ratio to the limit"] = ratios(area, in_area)
        if any(bench.bytes and bench.flops for bench in timed):
            figures["Roofline"] = roofline(timed)
        return {title: save(figure, title, caption, folder) for title, figure in figures.items()}


def save(figure, title, caption, folder):
    """As PNG and SVG, with the caption below."""
    figure.text(0.01, -0.01, "\n".join(textwrap.wrap(caption, CAPTION_WIDTH)), fontsize=5.5, va="top", color=LIMIT)
    path = folder / (re.sub(r"\W+", "-", title).strip("-").lower() + ".png")
    figure.savefig(path, dpi=150, bbox_inches="tight", metadata={"Software": None})
    figure.savefig(path.with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return path


def colors(benches):
    """{implementation: color}: fastbp's first column stands out."""
    names = list(results.by(benches, "implementation"))
    ours = [name for name in names if name.startswith("fastbp")][:1]
    rest = [name for name in names if name not in ours]
    return dict.fromkeys(ours, OURS) | {name: PEERS[i % len(PEERS)] for i, name in enumerate(rest)}


def curve(title, benches):
    """Time against size, and the limit."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    chosen = colors(benches)
    for marker, (name, points) in zip(MARKERS, results.by(benches, "implementation").items(), strict=False):
        points = sorted(points, key=lambda bench: bench.x)
        axes.loglog(
            [b.x for b in points], [b.value for b in points], marker=marker, ms=4, color=chosen[name], label=name
        )
    limits = sorted({(bench.x, bench.limit) for bench in benches if bench.limit})
    if limits:
        axes.loglog(*zip(*limits, strict=True), "k--", lw=1, label="limit")
    axes.set(xlabel=benches[0].x_name, ylabel="seconds", title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def ratios(area, benches):
    """A line a row: fastbp's first column and everybody else, in units of the limit."""
    ours = next((bench.implementation for bench in benches if bench.implementation.startswith("fastbp")), None)
    shown = [
        bench for bench in benches if bench.implementation == ours or not bench.implementation.startswith("fastbp")
    ]
    rows = results.by([bench for bench in shown if bench.limit], "row")
    figure = Figure(figsize=(7, 1.2 + 0.2 * len(rows)), layout="constrained")
    axes = figure.subplots()
    chosen, labeled = colors(shown), set()
    for place, in_row in enumerate(rows.values()):
        for bench in reversed(in_row):
            name = bench.implementation
            label = None if name in labeled else name
            labeled.add(name)
            axes.semilogx(bench.ratio, place, "o", ms=6 if chosen[name] == OURS else 4, color=chosen[name], label=label)
    axes.axvline(1, color="black", lw=1, ls="--")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel="time ÷ limit", title=area)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def roofline(benches):
    """Flops a byte against flops a second: fastbp's rows under the roofs of both dtypes."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    ours = [
        in_row[0]
        for in_row in results.by(
            [bench for bench in benches if bench.implementation.startswith("fastbp")], "row"
        ).values()
        if in_row[0].bytes and in_row[0].flops
    ]
    intensities = [bench.flops / bench.bytes for bench in ours]
    low, high = min(intensities) / 2, max(intensities) * 2
    speeds = ours[0].machine.speeds
    for dtype, style in RATES.items():
        ridge = speeds[dtype] / speeds["stream"]
        xs = [low, *([ridge] if low < ridge < high else []), high]
        axes.loglog(xs, [min(x * speeds["stream"], speeds[dtype]) / 1e9 for x in xs], "k", ls=style, lw=1, label=dtype)
    areas = results.by(ours, "area")
    for color, (marker, (area, points)) in zip(PEERS * 4, zip(MARKERS * 4, areas.items(), strict=False), strict=False):
        x, y = zip(*[(b.flops / b.bytes, b.flops / b.value / 1e9) for b in points], strict=True)
        axes.loglog(x, y, marker, ms=5, color=color, label=area, ls="none")
    axes.set(xlabel="flops per byte", ylabel="GF/s", title="Roofline: fastbp's rows under the machine's limits")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=7)
    return figure
