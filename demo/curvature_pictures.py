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


def diagonals(path, exact, approximate, layers, shape, units=8):
    """Draw (5.81) over the exact diagonal, and both as images: what the weights to some hidden units have."""
    figure = new_figure(12, 4.4)
    left = figure.add_axes((0.065, 0.13, 0.33, 0.745))
    top = np.abs(exact).max()
    least = 1e-3 * top
    for number, (part, color) in enumerate(zip(layers, LAYERS, strict=True), 1):
        left.plot(
            exact[part], approximate[part], ".", color=color, markersize=3, alpha=0.6, label=f"layer {number}"
        )
    left.plot([-top, 2 * top], [-top, 2 * top], color=INK, linewidth=0.8)
    left.set_xscale("symlog", linthresh=least)
    left.set_yscale("symlog", linthresh=least)
    low, high = 1.5 * min(exact.min(), approximate.min(), -least), 2 * max(top, approximate.max())
    left.set_xlim(low, high)
    left.set_ylim(low, high)
    left.set_xlabel("exact", color=INK)
    left.set_ylabel("(5.81)", color=INK)
    left.set_title("diagonal of the Hessian, parameter by parameter", **TITLE)
    left.legend(frameon=False, labelcolor=INK, fontsize=9, markerscale=4)
    plain(left)

    pair = [d[: shape[0] * shape[1]].reshape(shape).T.reshape(-1, 8, 8) for d in (exact, approximate)]
    chosen = np.argsort(-pair[0].sum(axis=(1, 2)))[:units]
    most = max(np.abs(images[chosen]).max() for images in pair)
    names = ("exact", "by (5.81)", "difference")
    rows = [pair[0][chosen], pair[1][chosen], (pair[1] - pair[0])[chosen]]
    right = figure.add_axes((0.485, 0.02, 0.51, 0.855))
    mosaic(right, rows, SIGNED, -most, most)
    for row, name in enumerate(names):
        right.text(-1, row * (8 + GAP) + 3.5, name, color=INK, fontsize=9, ha="right", va="center")
    headline(figure, 0.488, 0.6, f"the same for the pixels' weights to the {units} hidden units of most curvature")
    save(figure, path)


def saliency(path, images, labels, Y, J):
    """Draw a digit of each kind, how its probability answers to its pixels, and the same on the mean over its kind."""
    # of each kind the digit that the network is least sure of and yet reads right
    said, sure = Y.argmax(axis=1), Y[np.arange(len(Y)), labels]
    shown = [min(np.flatnonzero((labels == k) & (said == k)), key=lambda n: sure[n]) for k in range(10)]
    own = J[np.arange(len(J)), labels].reshape(-1, 8, 8)
    means = [own[labels == k].mean(axis=0) for k in range(10)]
    figure = new_figure(12, 4.25)
    axes = figure.add_axes((0.085, 0.01, 0.912, 0.885))
    rows = [[images[n] / 16 for n in shown], *([unit(image) for image in row] for row in (own[shown], means))]
    mosaic(axes, rows, PAPER, 0, 1, only=0)
    mosaic(axes, rows, SIGNED, -1, 1, only=(1, 2))
    for row, name in enumerate(("the digit", "∂y/∂x of its own\nprobability", "the same, mean\nof its kind")):
        axes.text(-1, row * (8 + GAP) + 3.5, name, color=INK, fontsize=9, ha="right", va="center")
    headline(figure, 0.086, 0.4, "input Jacobian of held-out digits: more ink in blue pixels would make it surer, in red ones less")
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
