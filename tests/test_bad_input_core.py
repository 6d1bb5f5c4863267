"""What the compiled functions say to arguments that are not exactly what they take: they convert nothing."""

import numpy as np
import pytest

import fastbp_c.affine
import fastbp_c.networks.activation
import fastbp_c.networks.output
from bad_input import DIMENSIONS, LAYOUT, LOSSES, NAMES, Scene, check, table
from fastbp_c.networks.plan import Plan
from fastbp_c.training.stepper import Stepper
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


WRITTEN = {strict_affine: ("Y",), strict_backward: ("dW", "db", "dX"), strict_delta: ("out", "work")}


@pytest.mark.parametrize(
    ("function", "argument", "other"),
    [
        (function, argument, other)
        for function, names in STRICT
        for argument in WRITTEN[function]
        for other in names
        if other not in WRITTEN[function][WRITTEN[function].index(argument) :]
    ],
)
def test_no_result_overlaps_another_array(function, argument, other):
    """Each with every array that is read and every other result, by no more than one number."""
    names = dict(STRICT)[function]
    sources = [getattr(Scene(), SOURCES.get(name, name)) for name in (argument, other)]
    room = np.zeros(sources[0].size + sources[1].size - 1)
    first = room[: sources[0].size].reshape(sources[0].shape)
    second = room[sources[0].size - 1 :].reshape(sources[1].shape)
    check(
        lambda s: function(s, **{argument: first, other: second}),
        f"ValueError: {names[argument]}: expected memory of its own, got an array that overlaps {names[other]}",
    )


def test_empty_arrays_overlap_nothing():
    room = np.zeros(10)
    X, W, dY, dX = room[2:2].reshape(0, 3), room[:6].reshape(3, 2), room[4:4].reshape(0, 2), room[5:5].reshape(0, 3)
    dW, db = np.empty((3, 2)), np.empty(2)
    fastbp_c.affine.affine_backward(dY, X, W, dX, dW, db)
    assert not dW.any()
    assert not db.any()
    fastbp_c.affine.affine(X, W, None, room[1:1].reshape(0, 2))


def computed(function, **changed):
    def call(s):
        arguments = {"output": "tanh", "loss": None, "a": s.T, "t": s.Y, "weight": None, **changed}
        return function(*({k: v(s) if callable(v) else v for k, v in arguments.items()}.values()))

    return call


@table(
    [
        (
            lambda s: fastbp_c.networks.activation.activate("softmax", s.X),
            "ValueError: name: expected an elementwise activation, got 'softmax'",
        ),
        (
            lambda s: fastbp_c.networks.activation.activate("tanh", s.X, 3),
            "ValueError: order: expected 0, 1 or 2, got 3",
        ),
        (
            lambda s: fastbp_c.networks.activation.activate("tanh", s.X, -1),
            "ValueError: order: expected 0, 1 or 2, got -1",
        ),
        (
            lambda s: fastbp_c.networks.activation.activate("tanh", s.X.astype(int)),
            "TypeError: a: expected dtype float32 or float64, got int64",
        ),
        (
            lambda s: fastbp_c.networks.activation.activate("tanh", s.X.T),
            f"ValueError: a: expected {LAYOUT}, got strides (8, 24) for shape (3, 5) and dtype '<f8'",
        ),
        (
            lambda s: fastbp_c.networks.activation.activate(None, s.X),
            "TypeError: name: expected the name of an activation, got NoneType",
        ),
        (
            lambda s: fastbp_c.networks.output.softmax(s.X[0]),
            "ValueError: a: expected a matrix (2 dimensions), got shape (3,)",
        ),
        (lambda s: fastbp_c.networks.output.softmax(misshapen((2**31, 0))), f"OverflowError: a: expected {DIMENSIONS}"),
        *(
            case
            for function in (fastbp_c.networks.output.error, fastbp_c.networks.output.error_curvature)
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


def product(n_in, n_out, matrix=0, bias=-1, groups=1, transposed=False, taps=None, activation="tanh"):
    return "product", activation, n_in, n_out, groups, matrix, transposed, bias, taps


def pool(n_in, n_out, groups, taps, kind="maximum", activation="identity", transposed=False):
    return kind, activation, n_in, n_out, groups, -1, transposed, -1, taps


def plan(slots, *layers):
    return lambda s: Plan(FLOAT64, slots, list(layers))


def taps(*rows, dtype=np.int32):
    return np.array(rows, dtype)


SIZES = "OverflowError: layers: expected sizes from 1 to 2147483647, got"
MATRIX = "ValueError: layers: expected layer 1 to apply a matrix of its size, got"
TABLE = "TypeError: layers: expected a table of pixels (2 dimensions, int32), got another object"


@table(
    [
        (
            lambda s: Plan(5, [(1, 1)], [product(1, 1)]),
            "TypeError: typenum: expected that of float32 or float64, got 5",
        ),
        (plan([]), "ValueError: layers: expected at least one layer, got none"),
        (plan([(0, 1)], product(1, 1)), f"{SIZES} 0 x 1"),
        (plan([(1, 2**31)], product(1, 1)), f"{SIZES} 1 x 2147483648"),
        (plan([(1, 1)], product(0, 1)), f"{SIZES} 0 x 1"),
        (plan([(1, 1)], product(1, 2**31)), f"{SIZES} 1 x 2147483648"),
        (
            plan([(2**31 - 1, 2**31 - 1)], product(1, 1)),
            f"MemoryError: layers: expected parameters that fit in memory, got {(2**31 - 1) ** 2}",
        ),
        (
            plan([(1, 1)], ("dense", *product(1, 1)[1:])),
            "ValueError: layers: expected a kind of layer (product, average, maximum), got 'dense'",
        ),
        (
            plan([(1, 1)], product(1, 1, activation="sin")),
            f"ValueError: activation: expected one of {NAMES}, got 'sin'",
        ),
        *(
            (
                plan([(1, 1)], product(1, 1, groups=groups)),
                f"ValueError: layers: expected at least one group in layer 1, got {groups}",
            )
            for groups in (0, -1, 2)
        ),
        *(
            (
                plan([(2, 3), (1, 3)], product(2, 3, matrix, bias)),
                f"ValueError: layers: expected slots from 0 to 1 in layer 1, got {matrix}, {bias}",
            )
            for matrix, bias in ((2, -1), (-1, 1), (0, 2), (0, -2), (2**40, 0))
        ),
        *(
            (
                plan([(2, 3)], product(n_in, n_out, transposed=transposed)),
                f"{MATRIX} 2 x 3 for 1 groups, {n_in} inputs and {n_out} outputs",
            )
            for n_in, n_out, transposed in ((3, 3, False), (2, 2, False), (2, 3, True), (4, 6, False))
        ),
        (plan([(2, 3)], product(4, 6, groups=3)), f"{MATRIX} 2 x 3 for 3 groups, 4 inputs and 6 outputs"),
        (
            plan([(2, 3), (1, 2)], product(2, 3, bias=1)),
            "ValueError: layers: expected a bias of 3 in layer 1, got (1, 2)",
        ),
        (
            plan([(2, 3), (1, 3)], product(3, 2, bias=1, transposed=True)),
            "ValueError: layers: expected a bias of 2 in layer 1, got (1, 3)",
        ),
        (
            plan([(2, 3), (3, 1)], product(2, 3, bias=1)),
            "ValueError: layers: expected a bias of 3 in layer 1, got (3, 1)",
        ),
        (
            plan([(2, 3), (3, 2)], product(2, 3)),
            "ValueError: slots: expected every slot to be used by a layer, got one that is not",
        ),
        (
            plan([(2, 3), (3, 2)], product(2, 3), product(3, 2, 1), product(3, 2, 1)),
            "ValueError: layers: expected layer 3 to take 2 inputs (the outputs of layer 2), got 3",
        ),
        (
            plan([(2, 2)], product(2, 2, activation="softmax"), product(2, 2)),
            "ValueError: layers: expected softmax on the last layer only, got it on layer 1 of 2",
        ),
        *(
            (plan([(2, 3)], product(2, 3, taps=wrong)), TABLE)
            for wrong in (
                [[0, 1]],
                5,
                taps(0, 1),
                taps([0, 1], dtype=np.int64),
                taps([0.0, 1.0], dtype=float),
                taps([0, 1]).astype(">i4"),
                taps([[0, 1]]),
                taps([0, 1], dtype=object),
            )
        ),
        *(
            (
                plan([(2, 3)], product(2, 3, taps=np.zeros(shape, np.int32))),
                f"ValueError: layers: expected the pixels of 1 patches in layer 1, got shape {shape}",
            )
            for shape in ((2, 1), (0, 1), (1, 0), (0, 0))
        ),
        (
            plan([(3, 3)], product(3, 3, taps=taps([0, 1]))),
            "ValueError: layers: expected 2 rows for each channel in layer 1, got 3",
        ),
        (
            plan([(4, 3)], product(3, 3, taps=taps([0, 1]))),
            f"{MATRIX} 4 x 3 for 1 groups, 3 inputs and 3 outputs",
        ),
        *(
            (
                plan([(2, 3)], product(2, 3, taps=taps([first, last]))),
                f"ValueError: layers: expected pixels below 2 in layer 1, got {min(first, last)} to {max(first, last)}",
            )
            for first, last in ((0, 2), (2, 0), (-2, 1), (-(2**31), 0), (0, 2**31 - 1))
        ),
        (
            plan([(2, 3)], product(3, 4, transposed=True, taps=taps([0, 4]))),
            "ValueError: layers: expected pixels below 4 in layer 1, got 0 to 4",
        ),
        *(
            (wrong, f"ValueError: layers: expected a pool of patches in layer 1, got {sizes}")
            for wrong, sizes in (
                (plan([], pool(4, 2, 2, None)), "4 x 2"),
                (plan([], pool(4, 3, 2, taps([0], [1]))), "4 x 3"),
                (plan([], pool(5, 4, 2, taps([0], [1]))), "5 x 4"),
                (plan([], pool(4, 2, 2, taps([0], [1]), activation="tanh")), "4 x 2"),
                (plan([], pool(4, 2, 2, taps([0], [1]), transposed=True)), "4 x 2"),
            )
        ),
        (
            plan([], pool(4, 2, 2, taps([0, 1], [3, 4]))),
            "ValueError: layers: expected pixels below 4 in layer 1, got 0 to 4",
        ),
        (
            plan([], pool(8, 4, 2, taps([0, 1], [3, 4]), "average")),
            "ValueError: layers: expected pixels below 4 in layer 1, got 0 to 4",
        ),
        (
            plan([], pool(4, 2, 2, taps([0, 1], [-1, -1]))),
            "ValueError: layers: expected pixels in every patch of layer 1, got one outside the image",
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


def test_a_slot_may_be_matrix_and_bias_at_once():
    """Not from the library's layers, but a plan takes it, and both uses add up."""
    plan = Plan(FLOAT64, [(1, 3)], [product(1, 3, 0, 0, activation="identity")])
    X, T, p = np.array([[2.0], [5.0]]), np.zeros((2, 3)), np.array([1.0, -2.0, 3.0])
    g, G = np.full(3, np.nan), np.full((2, 3), np.nan)
    plan.loss_and_gradient(p, X, T, None, None, 1.0, g)
    plan.per_sample_gradients(p, X, T, None, None, 1.0, G)
    expected = np.array([[9.0], [36.0]]) * p  # (x p + p) (x + 1)
    np.testing.assert_array_equal(G, expected)
    np.testing.assert_array_equal(g, expected.sum(axis=0))


def test_a_plan_keeps_a_table_of_its_own():
    table = taps([0, 1], [1, 2])
    plan = Plan(FLOAT64, [], [pool(3, 2, 2, table)])
    table[...] = 10**6
    kept = plan.specification[0][-1]
    np.testing.assert_array_equal(kept, [[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        kept.flags.writeable = True
    with pytest.raises(ValueError, match="resize"):
        kept.resize((1, 1), refcheck=False)
