"""Random arguments, and what random calls act on."""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cases import chain, spread
from fastbp import SGD, Adam, Affine, AveragePool2d, Conv1d, Conv2d, MaxPool2d, Network, Shared, Tied, Trainer
from strategies import (
    CONTAINERS,
    FLOATS,
    HUGE_SHAPES,
    INTEGERS,
    LAYOUTS,
    NAMES,
    OBJECTS,
    SCALARS,
    SHAPES,
    misshapen,
    spread_out,
)

ERRORS = (TypeError, ValueError, OverflowError, MemoryError)
POOL = np.random.default_rng(0).standard_normal(5000)
LIMITS = {"float32": 2e-3, "float64": 1e-9}
NETS = [
    chain(3, 4, 2),
    chain(3, 4, 2, hidden="gelu", output="softmax"),
    chain(2, 3, 1, hidden="softplus", output="sigmoid"),
    chain(1, 2, bias=False),
]
ENCODER, SHARED = Affine(3, 2, "tanh"), Shared(2, 1, 2, "gelu", bias=False)
CONV = Conv2d(1, 2, (1, 2), "tanh", image_shape=(1, 3), padding=(0, 1), stride=(1, 2))
NETS += [
    [ENCODER, Tied(ENCODER, "sigmoid")],
    [Tied(SHARED, "silu"), SHARED, Tied(SHARED), SHARED],
    [CONV, Tied(CONV, bias=False), CONV, Affine(4, 3, "softmax")],
    [Conv1d(2, 2, 1, "softplus", image_shape=2), MaxPool2d((1, 2), image_shape=(1, 2, 2)), Affine(2, 2)],
    [AveragePool2d(2, image_shape=(2, 2, 1), stride=1, padding=1), Shared(3, 1, 3)],
]


@dataclass
class Call:
    """One call, by name, and what is right if it returns."""

    name: str
    function: Any
    arguments: dict
    expected: Any = None  # function(result, **arguments), which asserts
    options: tuple = ()  # the arguments that go by keyword
    also: tuple = ()  # what else than an argument a message may name
    changes: bool = False  # whether the network may have changed when it returns

    def run(self):
        positional = [x for name, x in self.arguments.items() if name not in self.options]
        return self.function(*positional, **{name: self.arguments[name] for name in self.options})


class Draw(random.Random):
    """Random arguments: right, right in an odd form, or wrong."""

    def pick(self, choices):
        return choices[int(self.random() * len(choices))]

    def array(self, shape, dtype="float64"):
        size = int(np.prod(shape))
        start = int(self.random() * (len(POOL) - size))
        x = POOL[start : start + size].reshape(shape)
        if np.dtype(dtype).kind in "iub":
            x = abs(2 * x)  # also for the unsigned
        return x.astype(dtype)

    def junk(self):
        chance = self.random()
        if chance < 0.4:
            return self.pick(OBJECTS)()
        if chance < 0.7:
            return self.pick(SCALARS)()
        if chance < 0.95:
            return misshapen(self.pick(SHAPES), self.pick(["f4", "f8", "i4", "?", "c8"]))
        return spread_out(self.pick(HUGE_SHAPES), self.pick(["f4", "f8", "i8"]))

    def resized(self, shape):
        """A shape that is off by one somewhere, or has a dimension more or less."""
        shape = list(shape)
        place = int(self.random() * len(shape))
        kind = self.random()
        if kind < 0.6:
            shape[place] = max(0, shape[place] + self.pick((-1, 1)))
        elif kind < 0.8:
            shape.insert(place, self.pick((1, 2)))
        else:
            shape.pop(place)
        return tuple(shape)

    def strict(self, shape, dtype, wrong=0.1):
        """An ndarray for the functions that convert nothing."""
        chance = self.random()
        if chance > wrong:
            return self.array(shape, dtype)
        if chance < wrong / 4:
            return self.array(self.resized(shape), dtype)
        if chance < wrong / 2:
            return self.pick(list(LAYOUTS.values()))(self.array(shape, dtype))
        if chance < 0.6 * wrong:
            return misshapen(self.pick(SHAPES), dtype)
        return self.array(shape, self.pick((*FLOATS, *INTEGERS, "bool", "complex64")))

    def numbers(self, shape, dtype, wrong=0.12):
        """An array argument of a function that converts."""
        chance = self.random()
        if chance < wrong / 2:
            return self.junk()
        if chance < wrong:
            return self.array(self.resized(shape), dtype)
        x = self.array(shape, dtype)
        if chance < 0.6:
            return x
        if self.random() < 0.5:
            x = self.array(shape, self.pick((*FLOATS, *INTEGERS, "bool")))
        if x.size and x.dtype.kind == "f" and self.random() < 0.1:
            x.flat[int(self.random() * x.size)] = self.pick((np.nan, np.inf, -np.inf, 3e4, -0.0))
        return self.pick(list({**LAYOUTS, **CONTAINERS}.values()))(x)

    def output(self, shape, dtype):
        """For `out`: mostly right, None, or wrong."""
        chance = self.random()
        if chance < 0.5:
            return None
        return self.strict(shape, dtype, 0.3) if chance < 0.95 else self.junk()

    def scalar(self, right, wrong=0.2):
        if self.random() > wrong:
            return self.pick(right)
        return self.pick(SCALARS)() if self.random() < 0.8 else self.pick(OBJECTS)()

    def name(self, right, wrong=0.1):
        if self.random() > wrong:
            return self.pick(right)
        return self.pick(NAMES) if self.random() < 0.7 else self.junk()


@dataclass
class World:
    """What a run of calls acts on, and a trainer that goes through the successful ones alone."""

    draw: Draw
    net: Network = field(init=False)

    def __post_init__(self):
        self.layers = self.draw.pick(NETS)
        self.dtype = self.draw.pick(("float32", "float64"))
        self.net = spread(Network(self.layers, dtype=self.dtype), self.draw.randrange(1000))
        self.renew()

    def renew(self):
        optimizer = self.draw.pick((lambda: SGD(0.01), lambda: SGD(0.01, 0.9, True), lambda: Adam(0.01)))
        self.twin = Trainer(self.net.copy(), optimizer())
        self.trainer = Trainer(self.net, optimizer())
        self.bits = self.net.parameters.tobytes()

    def batch(self, rows):
        X = self.draw.numbers((rows, self.net.n_inputs), self.dtype)
        K = self.net.n_outputs
        chance = self.draw.random()
        if chance < 0.2:
            labels = np.array([self.draw.randrange(K) for _ in range(rows)], self.draw.pick(INTEGERS))
            T = labels if self.draw.random() < 0.8 else self.draw.pick((labels - 1, labels + 1, labels[1:]))
        elif chance < 0.3:
            T = self.draw.array((rows,), self.dtype)
        else:
            T = self.draw.numbers((rows, K), self.dtype)
        return X, T


def values(x, dtype):
    """What an argument that was accepted means, as plain numbers of the dtype it was computed in."""
    with np.errstate(all="ignore"):
        return np.array(np.asarray(x), dtype)


def moderate(*arrays):
    return all(np.isfinite(x).all() and (abs(x) < 100).all() for x in arrays)


def assert_near(result, expected, dtype):
    expected = np.asarray(expected)
    assert np.shape(result) == expected.shape
    if expected.size:
        assert np.abs(result - expected).max() <= LIMITS[str(dtype)] * max(1.0, np.abs(expected).max())
