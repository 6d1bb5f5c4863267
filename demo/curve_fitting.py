"""Fit a curve online, with the uncertainty of the fit, by the inverse Hessian of a network's last layer.

    make demo-curve        what it draws is in demo/output

A network with one hidden layer learns a family of curves. Its hidden activations are then the features of a linear
model, and a curve it has never seen is learned from one sample after another: the model's covariance is the inverse of
α I + β Σ φ φᵀ, which `WoodburyInverse` keeps up to date. A second curve moves while it is sampled; there, every sample
that comes pushes out the oldest. It ends with 1 if a check fails.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pictures

import fastbp
from fastbp import Network, WoodburyInverse

ROOT = Path(__file__).resolve().parents[1]
HIDDEN, CURVES = 24, 40
ALPHA, NOISE = 0.5, 0.1  # precision of the prior, standard deviation of the samples
BETA = 1 / NOISE**2
SHOWN = (1, 10, 100)  # samples
WINDOW, DRIFT = 30, 0.01  # samples that are kept; by what phase the second curve moves with each
SEED = 0


def main():
    """Run the demo; return the number of failed checks."""
    parser = argparse.ArgumentParser(description="Fit a curve online, with the uncertainty of the fit.")
    parser.add_argument("--readme", action="store_true", help="also draw docs/images/curve.png")
    options = parser.parse_args()
    start = time.perf_counter()
    output = ROOT / "demo" / "output"
    output.mkdir(exist_ok=True)
    rng = np.random.default_rng(SEED)

    features = learned_features(rng)
    grid = np.linspace(-1, 1, 300)
    x = rng.uniform(-1, 1, 1000)
    t = curve(x) + NOISE * rng.standard_normal(x.size)

    model, panels = Model(), []
    Phi = features(x)
    for n in range(SHOWN[-1]):
        model.add(Phi[n], t[n])
        if n + 1 in SHOWN:
            panels.append((f"{n + 1} sample{'s' if n else ''}", x[: n + 1], t[: n + 1], curve(grid),
                           *model.predict(features(grid))))  # fmt: skip
    batch = np.linalg.inv(ALPHA * np.eye(HIDDEN + 1) + BETA * Phi[: SHOWN[-1]].T @ Phi[: SHOWN[-1]])
    distance = np.abs(model.inverse.matrix - batch).max() / np.abs(batch).max()
    mean, band = panels[-1][-2:]
    covered = np.mean(np.abs(curve(grid) - mean) < 2 * np.sqrt(band**2 - NOISE**2))

    window, everything = Model(), Model()
    phase = DRIFT * np.arange(x.size)
    t = curve(x, phase) + NOISE * rng.standard_normal(x.size)
    for n in range(x.size):
        window.add(Phi[n], t[n])
        everything.add(Phi[n], t[n])
        if n >= WINDOW:
            window.remove(Phi[n - WINDOW], t[n - WINDOW])
    now, kept = curve(grid, phase[-1]), slice(-WINDOW, None)
    panels.append((f"moving: the last {WINDOW} of {x.size}", x[kept], t[kept], now,
                   *window.predict(features(grid))))  # fmt: skip
    miss = {
        name: np.sqrt(np.mean((model.predict(features(grid))[0] - now) ** 2))
        for name, model in (("window", window), ("everything", everything))
    }
    drift = window.inverse.error_estimate(Phi[kept], np.full(WINDOW, BETA))

    checks = {
        "same as the batch": distance < 1e-9,
        "curve within the band": covered > 0.8,
        "window follows": miss["window"] < 0.5 * miss["everything"],
        "window is exact": drift < 1e-6,
    }
    drawn = [output / "curve.png"]
    if options.readme:
        drawn.append(ROOT / "docs" / "images" / "curve.png")
    for path in drawn:
        draw(path, grid, panels)
    print(f"""
{SHOWN[-1]} samples one by one  within {distance:.0e} of the inverse of all at once
Curve in the band       {covered:.0%} of it within two standard deviations
A curve that moves      error {miss["window"]:.3f} from the last {WINDOW} samples, {miss["everything"]:.3f} from all
After {x.size - WINDOW} removals       ‖H⁻¹H − I‖ about {drift:.0e}
Pictures                {", ".join(path.relative_to(ROOT).as_posix() for path in drawn)}
Time                    {time.perf_counter() - start:.1f} s in all""")
    failed = [name for name, passed in checks.items() if not passed]
    print("All checks passed." if not failed else f"FAILED: {', '.join(failed)}")
    return len(failed)


def curve(x, phase=0.0):
    """Return the curve to be found; the network never sees it."""
    return np.sin(5 * x + 0.5 + phase) * np.exp(-(x**2))


def learned_features(rng):
    """Train a network on a family of curves; return the function from x to its hidden activations and a 1."""
    X = np.linspace(-1.5, 1.5, 400)[:, None]
    frequency, phase = rng.uniform(1, 7, CURVES), rng.uniform(0, 2 * np.pi, CURVES)
    net = fastbp.mlp([1, HIDDEN, CURVES], "tanh", seed=SEED)
    net.weights[0][...] *= 8  # slopes for curves that turn quickly
    net.biases[0][...] = rng.uniform(-4, 4, HIDDEN)
    fastbp.Trainer(net, fastbp.Adam(3e-3)).fit(X, np.sin(frequency * X + phase), epochs=150, seed=SEED)

    hidden = Network(net.layers[:-1])
    hidden.parameters = net.parameters[: hidden.n_parameters]
    return lambda x: np.column_stack([hidden(np.reshape(x, (-1, 1))), np.ones(np.size(x))])


class Model:
    """Bayesian linear regression on features: the covariance, and β Σ φ t."""

    def __init__(self):
        self.inverse, self.sum = WoodburyInverse(HIDDEN + 1, ALPHA), np.zeros(HIDDEN + 1)

    def add(self, phi, t):
        """Learn from one sample."""
        self.inverse.update(phi, BETA)
        self.sum += BETA * phi * t

    def remove(self, phi, t):
        """Forget one."""
        self.inverse.downdate(phi, BETA)
        self.sum -= BETA * phi * t

    def predict(self, Phi):
        """Return the mean and the standard deviation of what would be measured."""
        mean = Phi @ (self.inverse @ self.sum)
        return mean, np.sqrt(NOISE**2 + np.sum(Phi * (Phi @ self.inverse), axis=1))


def draw(path, grid, panels):
    """Draw samples, curve, fit and a band of two standard deviations, a panel each."""
    figure = pictures.new_figure(12, 3)
    for axes, (title, x, t, true, mean, deviation) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.fill_between(grid, mean - 2 * deviation, mean + 2 * deviation, color=pictures.FAINT, linewidth=0)
        axes.plot(grid, true, color=pictures.GRAY, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.plot(grid, mean, color=pictures.BLUE, linewidth=1.8)
        axes.plot(x, t, "o", color=pictures.RED, markersize=3)
        axes.set_title(title, **pictures.TITLE)
        axes.set_xlim(-1, 1)
        axes.set_ylim(-2.2, 2.2)
        axes.tick_params(colors=pictures.INK, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.tight_layout(w_pad=2)
    pictures.save(figure, path)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
