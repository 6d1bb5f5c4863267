"""What the tests of wrong arguments share: the scene of a call, and that nothing in it has changed afterwards."""

import numpy as np
import pytest

from cases import chain, data, network
from fastbp import Adam, Trainer
from strategies import misaligned, negative, read_only, strided, swapped

NAMES = "identity, sigmoid, tanh, relu, leaky_relu, softplus, gelu, silu, softmax"
LOSSES = "squared_error, binary_cross_entropy, cross_entropy"
BLAS = "at most 2147483647 (BLAS counts in 32 bits)"
DIMENSIONS = f"dimensions of {BLAS}, got 2147483648"
LAYOUT = "a C-contiguous, aligned array in native byte order"
PARTS = "take its .real, or .real and .imag side by side"
RAGGED = [[1.0, 2.0, 3.0], [4.0]]
FLOAT64 = np.dtype(np.float64).num


def converted(name):
    """How what is written in another way becomes numbers."""
    classes = ", numpy.unique(T, return_inverse=True)[1] numbers classes" if name == "T" else ""
    return f"numpy.asarray({name}, float) converts numbers{classes}"


class Scene:
    """Everything that a failing call could change."""

    def __init__(self):
        self.net, self.classifier = network(chain(3, 4, 2)), network(chain(3, 4, 2, output="softmax"))
        self.X, self.T = data(self.net, 5)
        self.optimizer, self.trainer, self.twin = self.trained()
        self.Y, self.g, self.G = np.full((5, 2), 7.0), np.full(26, 7.0), np.full((5, 26), 7.0)
        self.p, self.b = self.net.parameters, np.full(2, 7.0)
        self.W, self.square, self.dX, self.dW = (np.full(shape, 7.0) for shape in ((3, 2), (5, 5), (5, 3), (3, 2)))
        self.work, self.db = np.full((5, 3), 7.0), np.full(2, 7.0)
        self.plan, self.stepper = self.net._plan, self.trainer._stepper

    def trained(self):
        """An optimizer, a trainer of it that has momentum already, and another in the same state."""
        twin = Trainer(self.net.copy(), Adam(0.1))
        twin.step(self.X, self.T)
        optimizer = Adam(0.1)
        trainer = Trainer(self.net, optimizer)
        trainer.step(self.X, self.T)
        return optimizer, trainer, twin

    def state(self):
        arrays = [(name, x.tobytes()) for name, x in vars(self).items() if isinstance(x, np.ndarray)]
        return arrays, self.net.copy(), self.classifier.copy(), repr(self.optimizer)

    def fit(self, *arguments, **options):
        return self.trainer.fit(*arguments, **{"epochs": 2, "seed": 0, **options})


def check(call, message):
    """The error with its whole text, and the scene as it was, down to what the trainer remembers."""
    scene = Scene()
    before = scene.state()
    with pytest.raises((TypeError, ValueError, OverflowError, MemoryError)) as caught:
        call(scene)
    assert f"{type(caught.value).__name__}: {caught.value}" == message
    assert scene.state() == before
    assert scene.trainer.step(scene.X, scene.T) == scene.twin.step(scene.X, scene.T)
    assert scene.net == scene.twin.net


def table(cases):
    """A test for each (call, message)."""
    return pytest.mark.parametrize(
        ("call", "message"), cases, ids=[f"{k}-{case[-1][:40]}" for k, case in enumerate(cases)]
    )


def wrong_outputs(call, shape, sizes):
    """Wrong `out` for call(scene, out), which wants that shape; `sizes` says what a smaller one is told."""
    right = np.zeros(shape)
    smaller = tuple(n - 1 for n in shape)
    return [
        (lambda s: call(s, [0.0]), "TypeError: out: expected an array to write to, got list"),
        (lambda s: call(s, "out"), "TypeError: out: expected an array to write to, got str"),
        (lambda s: call(s, right.astype("f4")), "TypeError: out: expected dtype float64, got float32"),
        (lambda s: call(s, right.astype(int)), "TypeError: out: expected dtype float64, got int64"),
        (lambda s: call(s, right.astype(object)), "TypeError: out: expected dtype float64, got object"),
        (lambda s: call(s, np.zeros(smaller)), f"ValueError: out: expected {sizes}, got shape {smaller}"),
        (lambda s: call(s, read_only(right)), "ValueError: out: expected a writeable array, got a read-only one"),
        *(
            (
                lambda s, layout=layout: call(s, layout(right)),
                f"ValueError: out: expected {LAYOUT}, got strides {layout(right).strides} for shape {shape} "
                f"and dtype '{layout(right).dtype.str}'",
            )
            for layout in (strided, negative, misaligned, swapped)
        ),
    ]


def overlapping(call, shape, *names):
    """`out` that is, or begins inside, another argument."""
    size = int(np.prod(shape))

    def shared(array):
        """The other argument as a part of something larger, and `out` as its last element and what follows."""
        room = np.zeros(array.size + size)
        room[: array.size] = array.ravel()
        return room[: array.size].reshape(array.shape), room[array.size - 1 :][:size].reshape(shape)

    found = []
    for name in names:

        def run(scene, name=name):
            arrays = {"X": scene.X, "T": scene.T, "sample_weight": np.ones(5), "W": scene.W, "b": scene.b}
            arrays[name], out = shared(arrays[name])
            call(scene, out, **arrays)

        found.append((run, f"ValueError: out: expected memory of its own, got an array that overlaps {name}"))
    return found


def inside_parameters(call):
    """`out` over the network's own parameters."""
    return [(call, "ValueError: out: expected memory of its own, got an array that overlaps parameters")]
