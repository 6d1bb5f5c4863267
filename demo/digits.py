"""Learn to read handwritten digits, and check everything on the way.

    python demo/digits.py               pictures and the trained network go to demo/output/
    python demo/digits.py --readme      also draws docs/images/digits.png

It exits with an error if the held-out digits are read badly, if the gradient is wrong, if a saved network comes back
different, or if the plain NumPy loop it is timed against does not compute the same.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import by_hand
import numpy as np
import pictures
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import fastbp

ROOT = Path(__file__).resolve().parents[1]
SIZES = (64, 64, 10)
EPOCHS, BATCH_SIZE, LEARNING_RATE = 60, 32, 3e-3
SMOOTHING = 0.1  # of the targets: a little probability for every digit keeps the network from being too sure
WANTED = 0.97  # of the held-out digits
SEED = 0


def main():
    """Run the demo; return the number of failed checks."""
    parser = argparse.ArgumentParser(description="Learn to read handwritten digits with fastbp.")
    parser.add_argument("--readme", action="store_true", help="also draw docs/images/digits.png")
    options = parser.parse_args()
    start = time.perf_counter()
    output = ROOT / "demo" / "output"
    output.mkdir(exist_ok=True)

    # 1797 scanned digits of 8 x 8 pixels, a fifth of them held out
    digits = load_digits()
    X = np.asarray(digits.data / 8 - 1, np.float32)
    X_train, X_held, labels_train, labels_held, _, images_held = train_test_split(
        X, digits.target, digits.images, test_size=0.2, stratify=digits.target, random_state=SEED
    )
    T_train, T_held = targets(labels_train), targets(labels_held)
    print(f"{len(X_train)} digits to learn from, {len(X_held)} held out")

    net = fastbp.mlp(SIZES, "tanh", "softmax", dtype="float32", seed=SEED)
    checks = {}

    report = fastbp.check_gradient(net, X_train[:64], T_train[:64])
    checks["gradient"] = report.passed

    misread = {"training": [], "held out": []}
    bar = importlib.util.find_spec("tqdm") is not None

    def after_epoch(history):
        misread["training"].append(np.mean(net(X_train).argmax(axis=1) != labels_train))
        misread["held out"].append(np.mean(net(X_held).argmax(axis=1) != labels_held))
        if not bar and history.epochs % 10 == 0:
            print(f"epoch {history.epochs} of {EPOCHS}: error {history.loss[-1]:.3f}")

    trainer = fastbp.Trainer(net, fastbp.Adam(LEARNING_RATE))
    history = trainer.fit(
        X_train,
        T_train,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        seed=SEED,
        validation_data=(X_held, T_held),
        progress=bar,
        callback=after_epoch,
    )
    Y = net(X_held)
    right = np.count_nonzero(Y.argmax(axis=1) == labels_held)
    checks["held-out digits"] = right >= WANTED * len(Y)

    file = output / "digits.safetensors"
    net.save(file)
    loaded = fastbp.load(file)
    checks["save and load"] = loaded == net and np.array_equal(loaded(X_held), Y)

    speed, speed_by_hand, distance = compare(X_train, T_train)
    checks["same as NumPy"] = distance < 1e-3

    least = -np.mean(np.sum(T_train * np.log(T_train), axis=1))
    pictures.learning_curves(output / "learning.png", history, misread, least)
    pictures.heldout_grid(output / "heldout.png", images_held, labels_held, Y)
    drawn = [output / "learning.png", output / "heldout.png"]
    if options.readme:
        drawn.append(ROOT / "docs" / "images" / "digits.png")
        drawn[-1].parent.mkdir(parents=True, exist_ok=True)
        pictures.front_page(drawn[-1], misread, images_held, labels_held, Y)

    print(f"""
Held-out digits   {right} of {len(Y)} read right ({right / len(Y):.1%}) after {EPOCHS} epochs
Gradient          within {report.max_error:.0e} of finite differences, for {report.indices.size} parameters
Saved, loaded     {file.stat().st_size} bytes, {"the same network" if checks["save and load"] else "ANOTHER NETWORK"}
Speed of fit      {speed:>9,.0f} samples a second
Same in NumPy     {speed_by_hand:>9,.0f} samples a second: fastbp is {speed / speed_by_hand:.1f} times as fast
                  (after one epoch of each, the parameters differ by {distance:.0e} of their size)
Pictures          {", ".join(shown(path) for path in drawn)}
Time              {time.perf_counter() - start:.1f} s in all""")
    failed = [name for name, passed in checks.items() if not passed]
    print("All checks passed." if not failed else f"FAILED: {', '.join(failed)}")
    return len(failed)


def targets(labels):
    """Make smoothed probabilities of labels; fastbp takes the labels as they are, too."""
    return np.asarray(np.eye(10)[labels] * (1 - SMOOTHING) + SMOOTHING / 10, np.float32)


def compare(X, T, rounds=5):
    """Return the samples per second of fastbp and of NumPy, and how far apart they are after an epoch in one order.

    The best of some rounds, taken in turn. BLAS gets one thread, which suits NumPy best at this size; fastbp would
    not use another either.
    """

    def pair():
        net = fastbp.mlp(SIZES, "tanh", "softmax", dtype="float32", seed=SEED)
        by_numpy = by_hand.Training(SIZES, net.parameters, BATCH_SIZE, LEARNING_RATE)
        return fastbp.Trainer(net, fastbp.Adam(LEARNING_RATE)), by_numpy

    with threadpool_limits(1, user_api="blas"):
        trainer, by_numpy = pair()
        trainer.fit(X, T, epochs=1, batch_size=BATCH_SIZE, shuffle=False)
        by_numpy.fit(X, T, epochs=1, shuffle=False)
        distance = np.linalg.norm(trainer.net.parameters - by_numpy.p) / np.linalg.norm(by_numpy.p)

        trainer, by_numpy = pair()
        seconds = [
            (
                timed(trainer.fit, X, T, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=SEED),
                timed(by_numpy.fit, X, T, epochs=EPOCHS, seed=SEED),
            )
            for _ in range(rounds)
        ]
    fast, slow = np.min(seconds, axis=0)
    return EPOCHS * len(X) / fast, EPOCHS * len(X) / slow, distance


def timed(function, *arguments, **options):
    """Return the seconds of one call."""
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def shown(path):
    """Return the path from the project's folder on."""
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
