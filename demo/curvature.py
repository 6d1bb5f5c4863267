"""Look at the error of a trained network in second order: spectrum, diagonal, and what its inputs do.

    python demo/curvature.py               pictures go to demo/output/
    python demo/curvature.py --readme      also draws docs/images/spectrum.png, diagonal.png and saliency.png

A network of two hidden layers learns to read digits. Then its exact Hessian is formed, with all its eigenvalues, and
the outermost of these are found again by Lanczos's method from products alone. The exact diagonal is held against
Becker and LeCun's approximation. It exits with an error if two ways to the same number do not agree.
"""

import argparse
import sys
import time
from pathlib import Path

import curvature_pictures as pictures
import numpy as np
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import eigsh
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import fastbp

ROOT = Path(__file__).resolve().parents[1]
SIZES = (64, 32, 16, 10)
EPOCHS, BATCH_SIZE, LEARNING_RATE = 100, 32, 3e-3
SMOOTHING = 0.1  # of the targets, as in demo/digits.py
LARGEST, SMALLEST = 20, 5  # eigenvalues by Lanczos
WANTED = 0.95  # of the held-out digits
SEED = 0


def main():
    """Run the demo; return the number of failed checks."""
    parser = argparse.ArgumentParser(description="Exact curvature of a trained network with fastbp.")
    parser.add_argument("--readme", action="store_true", help="also draw the pictures in docs/images/")
    options = parser.parse_args()
    begin = time.perf_counter()
    output = ROOT / "demo" / "output"
    output.mkdir(exist_ok=True)
    folders = [output, ROOT / "docs" / "images"] if options.readme else [output]

    digits = load_digits()
    X, X_held, labels, labels_held, _, images_held = train_test_split(
        digits.data / 8 - 1, digits.target, digits.images, test_size=0.2, stratify=digits.target, random_state=SEED
    )
    T = np.eye(10)[labels] * (1 - SMOOTHING) + SMOOTHING / 10
    net = fastbp.mlp(SIZES, "tanh", "softmax", seed=SEED)
    P = net.n_parameters
    untrained = deviation(net, X, T)
    fastbp.Trainer(net, fastbp.Adam(LEARNING_RATE)).fit(X, T, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=SEED)
    right = np.mean(net(X_held).argmax(axis=1) == labels_held)
    checks = {"held-out digits": right >= WANTED}
    print(f"{'-'.join(map(str, SIZES))}, {P} parameters, {len(X)} digits: {right:.1%} of the held-out ones read right")

    # all derivatives are those of the mean error
    H, seconds_dense = timed(fastbp.hessian, net, X, T, reduction="mean")
    values, seconds_eigen = timed(eigvalsh, H)
    G = fastbp.gauss_newton(net, X, T, reduction="mean")
    values_G = eigvalsh(G)
    (high, low, products), seconds_lanczos = timed(lanczos, net, X, T)
    spread = np.abs(values).max()
    distance = max(np.abs(high - values[-LARGEST:]).max(), np.abs(low - values[:SMALLEST]).max()) / spread
    checks["symmetric"] = np.array_equal(H, H.T)
    checks["Lanczos"] = distance < 1e-8
    checks["Gauss-Newton semidefinite"] = values_G[0] > -1e-12 * spread

    op = fastbp.HessianOperator(net, X, T, reduction="mean")
    v = np.random.default_rng(SEED).standard_normal(P)
    checks["product"] = np.allclose(op @ v, H @ v, rtol=0, atol=1e-12 * np.abs(H @ v).max())

    exact, seconds_exact = timed(fastbp.hessian_diagonal, net, X, T, reduction="mean")
    approximate, seconds_approximate = timed(fastbp.hessian_diagonal, net, X, T, method="approximate", reduction="mean")
    _, seconds_gradient = timed(fastbp.loss_and_gradient, net, X, T)
    checks["diagonal"] = np.allclose(exact, np.diag(H), rtol=0, atol=1e-13 * np.abs(exact).max())

    J, seconds_jacobian = timed(fastbp.jacobian, net, X_held)
    step = 1e-5 * np.random.default_rng(SEED).standard_normal(X_held.shape)
    difference = (net(X_held + step) - net(X_held - step)) / 2
    checks["Jacobian"] = np.allclose(np.einsum("nki,ni->nk", J, step), difference, rtol=0, atol=1e-11)

    places = np.cumsum([0] + [W.size + b.size for W, b in zip(net.weights, net.biases, strict=True)])
    layers = [slice(*ends) for ends in zip(places, places[1:], strict=False)]
    drawn = []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        drawn += [folder / name for name in ("spectrum.png", "diagonal.png", "saliency.png")]
        pictures.spectrum(drawn[-3], values, values_G, high, low)
        pictures.diagonals(drawn[-2], {"before": untrained, "after": (exact, approximate)}, layers, SIZES[1])
        pictures.saliency(drawn[-1], images_held, labels_held, net(X_held), J)

    print(f"""
Spectrum          dense: {np.count_nonzero(values > 1e-8 * spread)} eigenvalues above, \
{np.count_nonzero(values < -1e-8 * spread)} below zero (by more than 1e-8 of the largest); \
from {values[0]:.4g} to {values[-1]:.4g}
                  Hessian {1e3 * seconds_dense:.0f} ms, all its eigenvalues {1e3 * seconds_eigen:.0f} ms
                  Lanczos: the {LARGEST} largest and {SMALLEST} smallest from {products} products, \
{1e3 * seconds_lanczos:.0f} ms
                  they differ by {distance:.0e} of the largest
Diagonal          (5.81) against the exact one: {deviation_text(exact, approximate)}
                  layer by layer: {", ".join(f"{relative(exact[s], approximate[s]):.0%}" for s in layers)}
                  before the training: {deviation_text(*untrained)}
                  exact {1e3 * seconds_exact:.2f} ms, approximate {1e3 * seconds_approximate:.2f} ms, \
gradient {1e3 * seconds_gradient:.2f} ms
Jacobian          of {len(X_held)} digits {1e3 * seconds_jacobian:.2f} ms
Pictures          {", ".join(path.relative_to(ROOT).as_posix() for path in drawn)}
Time              {time.perf_counter() - begin:.1f} s in all""")
    failed = [name for name, passed in checks.items() if not passed]
    print("All checks passed." if not failed else f"FAILED: {', '.join(failed)}")
    return len(failed)


def lanczos(net, X, T):
    """Return the largest and the smallest eigenvalues in ascending order, and the number of products it took."""
    op = fastbp.HessianOperator(net, X, T, reduction="mean")
    counted = Counted(op)
    start = np.random.default_rng(SEED).standard_normal(op.shape[0])
    high = eigsh(counted, LARGEST, which="LA", v0=start, tol=1e-10, return_eigenvectors=False)
    low = eigsh(counted, SMALLEST, which="SA", v0=start, ncv=60, tol=1e-6, return_eigenvectors=False)
    return np.sort(high), np.sort(low), counted.products


class Counted:
    """An operator that counts its products. SciPy asks for no more than this of an operator."""

    def __init__(self, op):
        self.op, self.shape, self.dtype, self.products = op, op.shape, op.dtype, 0

    def matvec(self, v):
        """Return the product."""
        self.products += 1
        return self.op @ v


def deviation(net, X, T):
    """Return the exact diagonal and (5.81)."""
    return tuple(
        fastbp.hessian_diagonal(net, X, T, method=method, reduction="mean") for method in ("exact", "approximate")
    )


def relative(exact, approximate):
    """Return the distance, by the length of the exact diagonal."""
    return np.linalg.norm(approximate - exact) / np.linalg.norm(exact)


def deviation_text(exact, approximate):
    """Say how far the approximation is off."""
    large = np.abs(exact) > 0.01 * np.abs(exact).max()
    off = np.median(np.abs(approximate[large] / exact[large] - 1))
    wrong = np.count_nonzero(np.sign(approximate[large]) != np.sign(exact[large]))
    return (
        f"{relative(exact, approximate):.0%} of its length off, "
        f"correlation {np.corrcoef(exact, approximate)[0, 1]:.3f};\n"
        f"                  half of the {np.count_nonzero(large)} elements above 1% of the largest are off by over "
        f"{off:.0%}, {wrong} have the wrong sign"
    )


def timed(function, *arguments, rounds=5, **options):
    """Return the result and the seconds of the fastest of some calls."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function(*arguments, **options)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] > 0.2:
            break
    return result, min(seconds)


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):  # the times are those of one core
        sys.exit(1 if main() else 0)
