"""Read handwritten digits with a small convolutional network, three times over.

    python demo/convolution.py               pictures go to demo/output/
    python demo/convolution.py --readme      also draws docs/images/convolution.png

The network, the number of epochs and the learning rate were chosen among seven candidates by a quarter of the training
digits; the held-out digits, the same as in demo/digits.py, had no part in it. Every epoch sees the training digits
shifted by up to a pixel each way, anew. The demo exits with an error if the held-out digits are read badly on the mean
of the seeds, or if the gradient is wrong.
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
from fastbp import Affine, Conv2d, MaxPool2d, Network

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, BATCH_SIZE, LEARNING_RATE = 60, 32, 3e-3
SMOOTHING = 0.1  # of the targets, as in demo/digits.py
WANTED = 0.985  # of the held-out digits, on the mean
SEEDS = (0, 1, 2)


def main():
    """Run the demo; return the number of failed checks."""
    parser = argparse.ArgumentParser(description="Read handwritten digits with a convolutional network of fastbp.")
    parser.add_argument("--readme", action="store_true", help="also draw docs/images/convolution.png")
    options = parser.parse_args()
    start = time.perf_counter()
    output = ROOT / "demo" / "output"
    output.mkdir(exist_ok=True)

    digits = load_digits()
    X = np.asarray(digits.data / 8 - 1, np.float32)  # rows of 64: images of 8 x 8 x 1
    X_train, X_held, labels_train, labels_held, _, images_held = train_test_split(
        X, digits.target, digits.images, test_size=0.2, stratify=digits.target, random_state=0
    )
    T_train = np.asarray(np.eye(10)[labels_train] * (1 - SMOOTHING) + SMOOTHING / 10, np.float32)
    print(f"{len(X_train)} digits to learn from, {len(X_held)} held out")
    checks = {}

    probe = network(0, "float64")
    report = fastbp.check_gradient(probe, X_train[:16], T_train[:16])
    checks["gradient"] = report.passed

    shares, speeds, nets = [], [], []
    for seed in SEEDS:
        net, seconds = train(X_train, T_train, seed)
        right = np.count_nonzero(net(X_held).argmax(axis=1) == labels_held)
        print(f"seed {seed}: {right} of {len(X_held)} held-out digits read right ({right / len(X_held):.2%})")
        shares.append(right / len(X_held))
        speeds.append(EPOCHS * len(X_train) / seconds)
        nets.append(net)
    checks["held-out digits"] = np.mean(shares) >= WANTED

    worst = nets[int(np.argmin(shares))]
    drawn = [output / "convolution_heldout.png", output / "convolution.png"]
    pictures.heldout_grid(drawn[0], images_held, labels_held, worst(X_held))
    if options.readme:
        drawn.append(ROOT / "docs" / "images" / "convolution.png")
        drawn[-1].parent.mkdir(parents=True, exist_ok=True)
    shown = [int(np.flatnonzero(labels_held == label)[0]) for label in (0, 2, 4, 7)]
    first = Network(worst.layers[:1], dtype="float32", init="zeros")
    first.parameters = worst.parameters[: first.n_parameters]
    maps = first(X_held[shown]).reshape(len(shown), *first.layers[0].output_shape)
    filters = worst.weights[0].T.reshape(-1, 3, 3)
    for path in drawn[1:]:
        pictures.feature_maps(path, images_held[shown], filters, maps)

    print(f"""
Held-out digits   {np.mean(shares):.2%} read right on the mean of {len(SEEDS)} seeds, after {EPOCHS} epochs
Parameters        {worst.n_parameters} in {len(worst.layers)} layers
Gradient          within {report.max_error:.0e} of finite differences, for {report.indices.size} parameters
Speed of fit      {max(speeds):,.0f} samples a second
Pictures          {", ".join(path.relative_to(ROOT).as_posix() for path in drawn)}
Time              {time.perf_counter() - start:.1f} s in all""")
    failed = [name for name, passed in checks.items() if not passed]
    print("All checks passed." if not failed else f"FAILED: {', '.join(failed)}")
    return len(failed)


def network(seed, dtype):
    """Return two convolutions, a pool and two affine layers."""
    first = Conv2d(1, 16, 3, "relu", image_shape=(8, 8), padding=1)
    second = Conv2d(16, 32, 3, "relu", image_shape=first.output_shape, padding=1)
    pool = MaxPool2d(2, image_shape=second.output_shape)
    layers = [first, second, pool, Affine(pool.n_out, 64, "relu"), Affine(64, 10, "softmax")]
    return Network(layers, dtype=dtype, seed=seed)


def train(X, T, seed):
    """Return a trained network and the seconds that `fit` took; the learning rate falls to 0 along a cosine."""
    net = network(seed, "float32")
    generator = np.random.default_rng(seed)
    optimizer = fastbp.Adam()
    trainer = fastbp.Trainer(net, optimizer)
    seconds = 0.0
    for epoch in range(EPOCHS):
        optimizer.learning_rate = LEARNING_RATE * (1 + np.cos(np.pi * epoch / EPOCHS)) / 2
        order_seed = int(generator.integers(2**31))
        history = trainer.fit(shifted(X, generator), T, epochs=1, batch_size=BATCH_SIZE, seed=order_seed)
        seconds += history.seconds
    return net, seconds


def shifted(X, generator):
    """Return the images moved by up to a pixel along both axes, each by its own draw; paper comes in."""
    N = len(X)
    framed = np.pad(X.reshape(N, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    down, right = generator.integers(0, 3, (2, N, 1)) + np.arange(8)
    return framed[np.arange(N)[:, None, None], down[:, :, None], right[:, None, :]].reshape(N, 64)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
