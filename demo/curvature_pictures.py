"""The pictures of demo/curvature.py."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from pictures import BLUE, FAINT, GRAY, INK, PAPER, RED, TITLE, headline, new_figure, save

SIGNED = LinearSegmentedColormap.from_list("signed", [RED, "white", BLUE])
LAYERS = (GRAY, BLUE, RED)
GAP = 1  # pixels between the images of a mosaic


def spectrum(path, values, values_G, high, low):
    """Draw all eigenvalues of the Hessian and of the Gauss-Newton matrix by rank, and on them those by Lanczos."""
    figure = new_figure(11, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    floor = 1e-10 * values[-1]
    rank = np.arange(1, len(values) + 1)
    for of, color, name in ((values_G, GRAY, "Gauss-Newton matrix"), (values, BLUE, "Hessian")):
        up = of[::-1]
        left.plot(rank[up > floor], up[up > floor], color=color, linewidth=2, label=name)
    down = -values[values < -floor]
    left.plot(rank[: len(down)], down, color=RED, linewidth=2, label="Hessian, below zero (absolute)")
    rings = {"linestyle": "", "marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgecolor": INK}
    left.plot(rank[: len(high)], high[::-1], label="by Lanczos", **rings)
    left.plot(rank[: len(low)], -low, **rings)
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_ylim(1e-7 * values[-1], 3 * values[-1])
    left.set_xlim(0.9, len(values))
    left.set_xlabel("rank", color=INK)
    left.set_title(f"all {len(values)} eigenvalues", **TITLE)
    left.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower left")

    count = len(high)
    right.bar(rank[:count], values[::-1][:count], color=BLUE, width=0.6, label="dense")
    right.plot(rank[:count], high[::-1], label="Lanczos", **rings)
    right.set_xlabel("rank", color=INK)
    right.set_xticks([1, 5, 10, 15, 20][: 1 + count // 5])
    right.set_title(f"the {count} largest", **TITLE)
    right.legend(frameon=False, labelcolor=INK, fontsize=9)
    for axes in (left, right):
        plain(axes)
    figure.tight_layout(w_pad=3)
    save(figure, path)


def diagonals(path, pairs, layers, n_hidden, units=4):
    """Draw (5.81) over the exact diagonal, before and after the training, and both as images of the pixels' weights."""
    figure = new_figure(12, 3.9)
    for number, (when, (exact, approximate)) in enumerate(pairs.items()):
        axes = figure.add_axes((0.058 + 0.33 * number, 0.14, 0.26, 0.7))
        for layer, (part, color) in enumerate(zip(layers, LAYERS, strict=True), 1):
            axes.plot(exact[part], approximate[part], ".", color=color, markersize=3, alpha=0.6, label=f"layer {layer}")
        both = np.concatenate([exact, approximate])
        low, high = both.min() - 0.04 * np.ptp(both), both.max() + 0.04 * np.ptp(both)
        if both.min() > 0:
            axes.set_xscale("log")
            axes.set_yscale("log")
            low, high = both.min() / 1.3, both.max() * 1.3
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_xlabel("exact", color=INK)
        axes.set_title(f"(5.81) over exact, {when} the training", **TITLE)
        axes.legend(frameon=False, labelcolor=INK, fontsize=9, markerscale=4, loc="upper left")
        plain(axes)

    trained = [d[: 64 * n_hidden].reshape(64, n_hidden).T.reshape(-1, 8, 8) for d in pairs["after"]]
    # where they differ most
    chosen = np.argsort(-np.abs(trained[1] - trained[0]).sum(axis=(1, 2)))[:units]
    exact, approximate = (images[chosen] for images in trained)
    most = max(np.abs(exact).max(), np.abs(approximate).max())
    axes = figure.add_axes((0.735, 0.02, 0.26, 0.82))
    mosaic(axes, [exact, approximate, approximate - exact], SIGNED, -most, most)
    for row, name in enumerate(("exact", "(5.81)", "difference")):
        axes.text(-1, row * (8 + GAP) + 3.5, name, color=INK, fontsize=9, ha="right", va="center")
    figure.text(0.737, 0.877, "weights of the pixels, after", color=INK, fontsize=11, va="center")
    save(figure, path)


def saliency(path, images, labels, Y, J):
    """Draw a digit of each kind, how its probability answers to its pixels, and the same on the mean over its kind."""
    # of each kind the digit that the network is least sure of and yet reads right
    said, sure = Y.argmax(axis=1), Y[np.arange(len(Y)), labels]
    shown = [min(np.flatnonzero((labels == k) & (said == k)), key=lambda n: sure[n]) for k in range(10)]
    own = J[np.arange(len(J)), labels].reshape(-1, 8, 8)
    means = [own[labels == k].mean(axis=0) for k in range(10)]
    figure = new_figure(12, 3.75)
    axes = figure.add_axes((0.105, 0.0, 0.892, 0.89))
    rows = [[images[n] / 16 for n in shown], *([unit(image) for image in row] for row in (own[shown], means))]
    mosaic(axes, rows, PAPER, 0, 1, only=0)
    mosaic(axes, rows, SIGNED, -1, 1, only=(1, 2))
    for row, name in enumerate(("the digit", "∂y/∂x of its own\nprobability", "the same, mean\nof its kind")):
        axes.text(-1, row * (8 + GAP) + 3.5, name, color=INK, fontsize=9, ha="right", va="center")
    headline(
        figure,
        0.106,
        0.4,
        "input Jacobian of held-out digits: more ink in blue pixels would make it surer, in red ones less",
    )
    save(figure, path)


def unit(image):
    """Scale so that the largest is 1."""
    return image / np.abs(image).max()


def mosaic(axes, rows, colors, low, high, only=None):
    """Draw rows of 8 x 8 images beside each other, or some of the rows."""
    wanted = range(len(rows)) if only is None else np.atleast_1d(only)
    for row in wanted:
        for column, image in enumerate(rows[row]):
            x, y = column * (8 + GAP) - 0.5, row * (8 + GAP) - 0.5
            axes.imshow(image, extent=(x, x + 8, y + 8, y), cmap=colors, vmin=low, vmax=high)
            axes.plot([x, x + 8, x + 8, x, x], [y, y, y + 8, y + 8, y], color=FAINT, linewidth=0.8)
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")
    axes.set_xlim(-1, len(rows[0]) * (8 + GAP) - 1)
    axes.set_ylim(len(rows) * (8 + GAP) - 1, -1)


def plain(axes):
    """Take frame and marks away."""
    axes.tick_params(colors=INK, length=0)
    axes.minorticks_off()
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
