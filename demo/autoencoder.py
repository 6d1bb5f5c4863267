"""Squeeze handwritten digits through 16 numbers and back, by one matrix used twice.

    python demo/autoencoder.py               pictures go to demo/output/
    python demo/autoencoder.py --readme      also draws docs/images/autoencoder.png

The encoder multiplies by W, the decoder by its transpose, so that an error reaches W by two paths. The demo takes the
paths apart, with a network that has two matrices instead of one, and shows that they add up. It exits with an error if
they do not, if held-out digits come back much worse than by principal components (which are the best that can be done
without the tanh), or if a saved network comes back different.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pictures
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastbp
from fastbp import Affine, Network, Tied

ROOT = Path(__file__).resolve().parents[1]
PIXELS, CODE = 64, 16
STAGES = ((60, 3e-3), (60, 1e-3), (60, 3e-4))  # epochs and learning rates
BATCH_SIZE = 32
WANTED = 1.05  # times the error of as many principal components
SEED = 0


def main():
    """Run the demo; return the number of failed checks."""
    parser = argparse.ArgumentParser(description="A tied autoencoder of handwritten digits with fastbp.")
    parser.add_argument("--readme", action="store_true", help="also draw docs/images/autoencoder.png")
    options = parser.parse_args()
    start = time.perf_counter()
    output = ROOT / "demo" / "output"
    output.mkdir(exist_ok=True)

    # the same fifth held out as in demo/digits.py
    digits = load_digits()
    X = np.asarray(digits.data / 16, np.float32)
    X_train, X_held, _, labels_held = train_test_split(
        X, digits.target, test_size=0.2, stratify=digits.target, random_state=SEED
    )
    print(f"{len(X_train)} digits to learn from, {len(X_held)} held out; {PIXELS} pixels, a code of {CODE} numbers")
    checks = {}

    encoder = Affine(PIXELS, CODE, "tanh")
    net = Network([encoder, Tied(encoder)], dtype="float32", seed=SEED)
    optimizer = fastbp.Adam()
    trainer = fastbp.Trainer(net, optimizer)
    seconds = 0.0
    for epochs, learning_rate in STAGES:
        optimizer.learning_rate = learning_rate
        history = trainer.fit(X_train, X_train, epochs=epochs, batch_size=BATCH_SIZE, seed=SEED)
        seconds += history.seconds
    speed = len(X_train) * sum(epochs for epochs, _ in STAGES) / seconds

    Y = net(X_held)
    error, least = pixel_error(Y, X_held), pixel_error(principal(X_train, X_held), X_held)
    checks["reconstruction"] = error < WANTED * least

    path = paths(net, X_train)
    checks["two paths"] = path["distance"] < 1e-12
    report = fastbp.check_gradient(path["tied"], np.float64(X_train[:64]), np.float64(X_train[:64]))
    checks["gradient"] = report.passed

    file = output / "autoencoder.safetensors"
    net.save(file)
    loaded = fastbp.load(file)
    loaded.weights[0][0, 0] += 1  # which the decoder's view shows, too
    tie = loaded.weights[1][0, 0] == loaded.weights[0][0, 0] and loaded != net
    loaded.weights[0][0, 0] = net.weights[0][0, 0]
    checks["save and load"] = tie and loaded == net

    order = np.argsort(labels_held, kind="stable")[:: len(labels_held) // 12][:12]
    drawn = [output / "autoencoder.png"]
    if options.readme:
        drawn.append(ROOT / "docs" / "images" / "autoencoder.png")
        drawn[-1].parent.mkdir(parents=True, exist_ok=True)
    for file_drawn in drawn:
        pictures.reconstructions(file_drawn, images(X_held[order]), images(Y[order]), images(net.weights[0].T))

    print(f"""
Parameters        {net.n_parameters}: one matrix of {PIXELS} x {CODE}, two biases
Held-out digits   {error:.4f} a pixel off (root mean square); {CODE} principal components: {least:.4f}
Gradient of W     by the encoder     X' delta1      of norm {path["encoder"]:.6f}
                  by the decoder     delta2' z1     of norm {path["decoder"]:.6f}
                  their sum                         of norm {path["sum"]:.6f}
                  fastbp, tied                      of norm {path["fastbp"]:.6f}: {path["distance"]:.0e} of it apart
                  and within {report.max_error:.0e} of finite differences, for {report.indices.size} parameters
Saved, loaded     {"the same network, still tied" if checks["save and load"] else "ANOTHER NETWORK"}
Speed of fit      {speed:,.0f} samples a second
Pictures          {", ".join(path.relative_to(ROOT).as_posix() for path in drawn)}
Time              {time.perf_counter() - start:.1f} s in all""")
    failed = [name for name, passed in checks.items() if not passed]
    print("All checks passed." if not failed else f"FAILED: {', '.join(failed)}")
    return len(failed)


def pixel_error(Y, X):
    """Return the root of the mean square over all pixels."""
    return float(np.sqrt(np.mean(np.square(Y - X, dtype=np.float64))))


def principal(X_train, X):
    """Return what is left of X in as many principal components of X_train as the code has numbers."""
    mean = X_train.mean(axis=0)
    _, _, axes = np.linalg.svd(X_train - mean, full_matrices=False)
    return mean + (X - mean) @ axes[:CODE].T @ axes[:CODE]


def paths(net, X):
    """Return the norms of W's gradient by each path and of fastbp's, and how far the sum of the paths is from it.

    In float64, halfway to the trained parameters: where training has ended there is hardly a gradient left.
    """
    X = np.float64(X)
    encoder = Affine(PIXELS, CODE, "tanh")
    tied = Network([encoder, Tied(encoder)], init="zeros")
    tied.parameters = 0.5 * net.parameters
    W, b, c = tied.weights[0], *tied.biases
    _, g = fastbp.loss_and_gradient(tied, X, X, reduction="mean")
    by_fastbp = g[: W.size].reshape(W.shape)

    # the same function with a matrix of its own for the decoder, so that each gets the gradient of its own path
    untied = Network([Affine(PIXELS, CODE, "tanh"), Affine(CODE, PIXELS)], init="zeros")
    untied.parameters = np.concatenate([W.ravel(), b, W.T.ravel(), c])
    _, g = fastbp.loss_and_gradient(untied, X, X, reduction="mean")
    by_encoder = g[: W.size].reshape(W.shape)
    by_decoder = g[W.size + b.size : -c.size].reshape(W.T.shape).T
    total = by_encoder + by_decoder
    norm = np.linalg.norm
    return {
        "tied": tied,
        "encoder": norm(by_encoder),
        "decoder": norm(by_decoder),
        "sum": norm(total),
        "fastbp": norm(by_fastbp),
        "distance": norm(total - by_fastbp) / norm(by_fastbp),
    }


def images(rows):
    """Return 8 x 8 pictures of rows of 64."""
    return rows.reshape(-1, 8, 8)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
