"""What the compiled functions say to arguments that are not exactly what they take: they convert nothing."""

import numpy as np
import pytest

import fastbp_c.activation
import fastbp_c.affine
import fastbp_c.loss
from bad_input import DIMENSIONS, LAYOUT, LOSSES, NAMES, Scene, check, table
from fastbp_c.network import Plan
from fastbp_c.training import Stepper
from strategies import fortran, misaligned, misshapen, negative, read_only, strided, swapped

FLOAT64 = np.dtype(np.float64).num


def strict_affine(s, X=None, W=None, b=None, Y=None):
    return fastbp_c.affine.affine(
        s.X if X is None else X, s.W if W is None else W, s.b if b is None else b, s.Y if Y is None else Y
    )


def strict_backward(s, **changed):
    arguments = {"dY": s.T, "X": s.X, "W": s.W, "dX": s.dX, "dW": s.dW, "db": s.db, **changed}
    return fastbp_c.affine.affine_backward(*arguments.values())


def strict_delta(s, **changed):
    arguments = {"delta_next": s.T, "W_next": s.W, "a": s.X, "activation": "tanh", "out": s.dX, "work": s.work}
    return fastbp_c.affine.delta_backward(*{**arguments, **changed}.values())


STRICT = [
    (strict_affine, {"X": "X", "W": "W", "b": "b", "Y": "out"}),
    (strict_backward, {"dY": "dY", "X": "X", "W": "W", "dX": "dX", "dW": "dW", "db": "db"}),
    (strict_delta, {"delta_next": "delta_next", "W_next": "W_next", "a": "a", "out": "out", "work": "work"}),
]
SOURCES = {"dY": "T", "delta_next": "T", "W_next": "W", "a": "X", "Y": "Y", "out": "dX"}
OUTPUTS = ("Y", "dX", "dW", "db", "out", "work")


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [(function, argument, name) for function, names in STRICT for argument, name in names.items()],
)
def test_strict_kernels(function, argument, name):
    def call(change):
        return lambda s: function(s, **{argument: change(getattr(s, SOURCES.get(argument, argument)))})

    first = argument == ("dY" if function is strict_backward else next(iter(dict(STRICT)[function])))
    expected = "float32 or float64" if first else "float64"
    for dtype in ("int64", "float16", "complex128", "bool", "object", "U3"):
        check(
            call(lambda x, d=dtype: x.astype(d)), f"TypeError: {name}: expected dtype {expected}, got {np.dtype(dtype)}"
        )
    if not first:
        check(call(lambda x: x.astype("f4")), f"TypeError: {name}: expected dtype float64, got float32")
    for layout in (strided, negative, misaligned, swapped, fortran):
        given = layout(getattr(Scene(), SOURCES.get(argument, argument)))
        if not given.flags.carray:
            check(
                call(layout),
                f"ValueError: {name}: expected {LAYOUT}, got strides {given.strides} for shape {given.shape} "
                f"and dtype '{given.dtype.str}'",
            )
    if argument in OUTPUTS:
        check(call(read_only), f"ValueError: {name}: expected a writeable array, got a read-only one")
    for wrong, shown in (([1.0], "list"), ("x", "str"), (3.0, "float")):
        check(
            lambda s, wrong=wrong: function(s, **{argument: wrong}),
            f"TypeError: Argument '{argument}' has incorrect type (expected numpy.ndarray, got {shown})",
        )


def computed(function, **changed):
    def call(s):
        arguments = {"output": "tanh", "loss": None, "a": s.T, "t": s.Y, "weight": None, **changed}
        return function(*({k: v(s) if callable(v) else v for k, v in arguments.items()}.values()))

    return call


@table(
    [
        (
            lambda s: fastbp_c.activation.activate("softmax", s.X),
            "ValueError: name: expected an elementwise activation, got 'softmax'",
        ),
        (lambda s: fastbp_c.activation.activate("tanh", s.X, 3), "ValueError: order: expected 0, 1 or 2, got 3"),
        (lambda s: fastbp_c.activation.activate("tanh", s.X, -1), "ValueError: order: expected 0, 1 or 2, got -1"),
        (
            lambda s: fastbp_c.activation.activate("tanh", s.X.astype(int)),
            "TypeError: a: expected dtype float32 or float64, got int64",
        ),
        (
            lambda s: fastbp_c.activation.activate("tanh", s.X.T),
            f"ValueError: a: expected {LAYOUT}, got strides (8, 24) for shape (3, 5) and dtype '<f8'",
        ),
        (
            lambda s: fastbp_c.activation.activate(None, s.X),
            "TypeError: name: expected the name of an activation, got NoneType",
        ),
        (lambda s: fastbp_c.loss.softmax(s.X[0]), "ValueError: a: expected a matrix (2 dimensions), got shape (3,)"),
        (lambda s: fastbp_c.loss.softmax(misshapen((2**31, 0))), f"OverflowError: a: expected {DIMENSIONS}"),
        *(
            case
            for function in (fastbp_c.loss.error, fastbp_c.loss.error_curvature)
            for case in (
                (computed(function, output="linear"), f"ValueError: output: expected one of {NAMES}, got 'linear'"),
                (computed(function, loss="mse"), f"ValueError: loss: expected one of {LOSSES}, got 'mse'"),
                (
                    computed(function, t=lambda s: s.X),
                    "ValueError: t: expected 2 columns (those of a), got shape (5, 3)",
                ),
                (computed(function, t=lambda s: s.T.astype("f4")), "TypeError: t: expected dtype float64, got float32"),
                (
                    computed(function, weight=lambda s: s.b),
                    "ValueError: weight: expected shape (5,) (one a row of a), got shape (2,)",
                ),
                (
                    computed(function, a=lambda s: s.p),
                    "ValueError: a: expected a matrix (2 dimensions), got shape (26,)",
                ),
            )
        ),
    ]
)
def test_strict_functions(call, message):
    check(call, message)


def plan(*layers):
    return lambda s: Plan(FLOAT64, list(layers))


@table(
    [
        (
            lambda s: Plan(5, [("tanh", 1, 1, True, 0)]),
            "TypeError: typenum: expected that of float32 or float64, got 5",
        ),
        (plan(), "ValueError: layers: expected at least one layer, got none"),
        (plan(("tanh", 0, 1, True, 0)), "OverflowError: layers: expected sizes from 1 to 2147483647, got 0 x 1"),
        (
            plan(("tanh", 1, 2**31, True, 0)),
            "OverflowError: layers: expected sizes from 1 to 2147483647, got 1 x 2147483648",
        ),
        *(
            (
                plan(("tanh", 1, 1, True, 0), ("tanh", *rest, slot)),
                f"ValueError: layers: expected layer 2 to share an earlier layer of its own shape, got {slot}",
            )
            for *rest, slot in ((1, 1, True, 2), (1, 1, True, -1), (1, 1, False, 0), (1, 2, True, 0))
        ),
        (
            lambda s: s.plan.forward(s.p[1:], s.X, s.Y),
            "ValueError: parameters: expected shape (26,) (the network's parameters), got shape (25,)",
        ),
        (lambda s: s.plan.forward(s.p, s.X.astype("f4"), s.Y), "TypeError: X: expected dtype float64, got float32"),
        (
            lambda s: s.plan.loss(s.p, s.X, s.T, s.b, None),
            "ValueError: sample_weight: expected shape (5,) (one a row of X), got shape (2,)",
        ),
        (
            lambda s: Stepper(s.plan, s.p[1:].copy(), None),
            "ValueError: parameters: expected shape (26,) (the network's parameters), got shape (25,)",
        ),
        (
            lambda s: Stepper(s.plan, read_only(s.p), None),
            "ValueError: parameters: expected a writeable array, got a read-only one",
        ),
        (
            lambda s: s.stepper.step(s.optimizer, s.X, s.T[1:]),
            "ValueError: T: expected 5 rows (the rows of X), got shape (4, 2)",
        ),
        (lambda s: s.stepper.epoch(s.optimizer, s.X, s.T, 0), "ValueError: batch_size: expected at least 1, got 0"),
        (
            lambda s: s.stepper.epoch(s.optimizer, s.X, s.T, 1, np.random.default_rng()),
            "TypeError: bit_generator: expected a BitGenerator, got Generator",
        ),
    ]
)
def test_plans_and_steppers(call, message):
    check(call, message)
