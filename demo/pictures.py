"""The demos' pictures, drawn without a display."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator

INK, GRAY, FAINT = "#22313f", "#7b8894", "#dfe4e8"
BLUE, RED, PALE = "#2b6ca3", "#d1402f", "#fbe9e6"
PAPER = LinearSegmentedColormap.from_list("paper", ["white", INK])
SIGNED = LinearSegmentedColormap.from_list("signed", [RED, "white", BLUE])
TITLE = {"loc": "left", "fontsize": 11, "color": INK, "pad": 10}
PERCENT = "misread digits, percent"
GAP, LINES = 0.16, 0.54  # around a digit and below it, in widths of a digit


def learning_curves(path, history, misread, least):
    """Draw errors and misread shares of the training and the held-out digits, epoch by epoch."""
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    curves(
        left, {"training": np.subtract(history.loss, least), "held out": np.subtract(history.validation_loss, least)}
    )
    left.set_yscale("log")
    scale(left, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1])
    left.set_title("mean cross-entropy above the least possible", **TITLE)
    percent_curves(right, misread)
    right.set_title(PERCENT, **TITLE)
    figure.tight_layout(w_pad=3)
    save(figure, path)


def percent_curves(axes, misread):
    """Draw misread shares on a scale that has a zero."""
    curves(axes, {name: 100 * np.array(values) for name, values in misread.items()})
    axes.set_yscale("symlog", linthresh=1)
    scale(axes, [0, 0.5, 1, 2, 5, 10, 20])
    axes.set_ylim(-0.03, None)


def heldout_grid(path, images, labels, Y, columns=12, rows=6):
    """Draw the misread digits first, then the others, the least certain first."""
    said = Y.argmax(axis=1)
    order = np.lexsort((Y.max(axis=1), said == labels))[: columns * rows]
    width, head = 10, 0.55
    height = grid_height(width, rows, columns) + head
    figure = new_figure(width, height)
    draw_digits(figure.add_axes((0, 0, 1, 1 - head / height)), images, labels, Y, order, columns)
    title = (
        f"{np.count_nonzero(said != labels)} of {len(labels)} held-out digits misread, then the least sure of the rest"
    )
    headline(figure, 0.014, head, title)
    save(figure, path)


def front_page(path, misread, images, labels, Y, columns=11, rows=4):
    """Draw learning curves beside held-out digits: every misread one among others drawn at random."""
    said = Y.argmax(axis=1)
    generator = np.random.default_rng(0)
    wrong = np.flatnonzero(said != labels)[: columns * rows]
    right = generator.choice(np.flatnonzero(said == labels), columns * rows - len(wrong), replace=False)
    order = generator.permutation(np.concatenate([wrong, right]))

    width, start, head = 12, 0.3, 0.6
    height = grid_height(width * (1 - start), rows, columns) + head
    figure = new_figure(width, height)
    left = figure.add_axes((0.035, 0.15, start - 0.06, 1 - head / height - 0.17))
    percent_curves(left, misread)
    draw_digits(figure.add_axes((start, 0, 1 - start, 1 - head / height)), images, labels, Y, order, columns)
    headline(figure, 0.035, head, PERCENT)
    title = f"held-out digits as the network reads them: {len(wrong)} of {len(labels)} wrong, all of them here"
    headline(figure, start + 0.01, head, title)
    save(figure, path)


def reconstructions(path, originals, results, filters):
    """Draw originals above what came back of them, and beside them the columns of the matrix."""
    count, across = len(originals), 8
    figure = new_figure(12, 1.85)
    left = figure.add_axes((0.012, 0.01, 0.66, 0.77))
    for row, images in enumerate((originals, results)):
        for column, image in enumerate(images):
            tile(left, image, column * (1 + GAP), row * (1 + GAP), PAPER, 0, 1)
    fit_tiles(left, count, 2)
    right = figure.add_axes((0.7, 0.01, 0.29, 0.77))
    most = np.abs(filters).max()
    for number, image in enumerate(filters):
        row, column = divmod(number, across)
        tile(right, image, column * (1 + GAP), row * (1 + GAP), SIGNED, -most, most)
    fit_tiles(right, across, -(-len(filters) // across))
    text = f"held-out digits, and what a code of {len(filters)} numbers keeps of them"
    headline(figure, 0.014, 0.4, text)
    headline(figure, 0.702, 0.4, "the matrix, column by column (blue: positive)")
    save(figure, path)


def feature_maps(path, images, filters, maps):
    """Draw the first layer's filters in a row, and below them what each makes of some digits."""
    count = len(filters)
    figure = new_figure(12, 0.4 + 12 * (len(images) + 1) / (count + 1))
    axes = figure.add_axes((0.01, 0.01, 0.98, 1 - 0.4 / figure.get_figheight() - 0.01))
    most = np.abs(filters).max()
    for number, image in enumerate(filters):
        tile(axes, image, (number + 1) * (1 + GAP), 0, SIGNED, -most, most)
    for row, (image, of_image) in enumerate(zip(images, maps, strict=True)):
        tile(axes, image, 0, (row + 1) * (1 + GAP), PAPER, 0, images.max())
        for number in range(count):
            # every filter on its own scale
            top = max(maps[..., number].max(), 1e-6)
            tile(axes, of_image[..., number], (number + 1) * (1 + GAP), (row + 1) * (1 + GAP), PAPER, 0, top)
    fit_tiles(axes, count + 1, len(images) + 1)
    text = f"the {count} learned 3 x 3 filters (blue: positive), and what they see in held-out digits"
    headline(figure, 0.012, 0.4, text)
    save(figure, path)


def tile(axes, image, x, y, colors, low, high):
    """Draw a framed image of unit size."""
    axes.imshow(image, extent=(x, x + 1, y + 1, y), cmap=colors, vmin=low, vmax=high, zorder=2)
    axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=FAINT, linewidth=0.8, zorder=3))


def fit_tiles(axes, columns, rows):
    """Show that many tiles, as large as they go."""
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")
    axes.set_xlim(-GAP / 2, columns * (1 + GAP) - GAP / 2)
    axes.set_ylim(rows * (1 + GAP) - GAP / 2, -GAP / 2)


def headline(figure, x, height, text):
    """Write a line into the top of the figure, which is that many inches high."""
    figure.text(x, 1 - 0.5 * height / figure.get_figheight(), text, color=INK, fontsize=11, va="center")


def new_figure(width, height):
    """Make a white figure, fine enough for any screen."""
    figure = Figure((width, height), facecolor="white", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def save(figure, path):
    """Write a PNG file that does not change unless the picture does."""
    figure.savefig(path, metadata={"Software": None})


def curves(axes, lines):
    """Draw one line each over the epochs."""
    for (name, values), color in zip(lines.items(), (GRAY, BLUE), strict=True):
        axes.plot(np.arange(1, len(values) + 1), values, color=color, linewidth=1.8, label=name)
    axes.set_xlabel("epoch", color=INK)
    axes.set_xlim(1, max(map(len, lines.values())))
    axes.tick_params(colors=INK, length=0)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.legend(frameon=False, labelcolor=INK)


def scale(axes, values):
    """Set marks at these values, written as short as they can be."""
    axes.set_yticks(values)
    axes.yaxis.set_major_formatter(FuncFormatter("{:g}".format))
    axes.yaxis.set_minor_locator(NullLocator())


def grid_height(width, rows, columns):
    """Return what `draw_digits` needs for that width."""
    return width * (rows * (1 + LINES) + GAP) / (columns * (1 + GAP) + GAP)


def draw_digits(axes, images, labels, Y, order, columns):
    """Draw a grid of digits; below each, what it was taken for and with what confidence."""
    axes.set_aspect("equal")
    axes.axis("off")
    for place, n in enumerate(order):
        row, column = divmod(place, columns)
        x, y = column * (1 + GAP), row * (1 + LINES)
        said, wrong = Y[n].argmax(), Y[n].argmax() != labels[n]
        color, edge = (RED, RED) if wrong else (BLUE, FAINT)
        axes.imshow(images[n], extent=(x, x + 1, y + 1, y), cmap=PAPER, vmin=0, vmax=images.max(), zorder=2)
        axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=edge, linewidth=1.8 if wrong else 0.8, zorder=3))
        axes.text(x, y + 1.17, f"{said}", color=color, fontsize=9, va="center", weight="bold")
        axes.text(x + 1, y + 1.17, f"{100 * Y[n].max():.0f}%", color=GRAY, fontsize=7.5, va="center", ha="right")
        if wrong:
            axes.add_patch(Rectangle((x - GAP / 2, y - GAP / 2), 1 + GAP, 1 + LINES, color=PALE, linewidth=0))
            axes.text(x, y + 1.35, f"it is {labels[n]}", color=RED, fontsize=7.5, va="center")
    rows = -(-len(order) // columns)
    axes.set_xlim(-GAP, columns * (1 + GAP))
    axes.set_ylim(rows * (1 + LINES) + GAP / 2, -GAP / 2)
