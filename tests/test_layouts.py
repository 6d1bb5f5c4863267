"""Whatever an argument is stored as: the same bits come out as for plain arrays of its values, and it is left alone.

Every array argument of every function, each in every layout and dtype of strategies.py, the others being plain.
"""

import tracemalloc

import numpy as np
import pytest

import fastbp
from cases import ARCHITECTURES, SHARING, chain, network
from fastbp import SGD, Adam, HessianOperator, Trainer
from strategies import CONTAINERS, FLOATS, INTEGERS, LAYOUTS, numbers
from util import DTYPES

N = 6
EVERY = (*INTEGERS, *FLOATS, "bool")
# The dtypes to try in each layout.
STORED = {**dict.fromkeys([*LAYOUTS, *CONTAINERS], DTYPES), **dict.fromkeys(["c", "fortran", "list", "frame"], EVERY)}
STORED |= dict.fromkeys(["strided", "swapped"], (*FLOATS, "int32", "uint64"))


def bits(result):
    """Everything there is to compare in a result."""
    if isinstance(result, np.ndarray):
        return result.dtype.str, result.shape, result.tobytes()
    if isinstance(result, (tuple, list)):
        return [bits(part) for part in result]
    if isinstance(result, fastbp.GradientReport):
        return bits([result.indices, result.gradient, result.differences, result.max_error, result.worst])
    return None if result is None else (type(result).__name__, float(result).hex())


def trained(net, train):
    """What a trainer makes of the network, and what it returns."""
    net = net.copy()
    result = train(Trainer(net, Adam(0.1)))
    return getattr(result, "loss", result), getattr(result, "validation_loss", None), net.parameters


def assigned(net, parameters):
    net = net.copy()
    net.parameters = parameters
    return net.parameters


def fit(trainer, X, T, validation_data=None):
    return trainer.fit(X, T, epochs=2, batch_size=4, seed=0, validation_data=validation_data)


BATCH = {"X": (N, 4), "T": (N, 3)}
WEIGHTED = {**BATCH, "sample_weight": (N,)}
# (name, shapes of the array arguments, call): `net` takes 4 inputs to 3 outputs.
NETWORK_CALLS = [
    ("forward", {"X": (N, 4)}, lambda net, X: net.forward(X)),
    ("call", {"X": (N, 4)}, lambda net, X: net(X)),
    ("loss", WEIGHTED, fastbp.loss),
    ("loss_and_gradient", WEIGHTED, fastbp.loss_and_gradient),
    ("mean", WEIGHTED, lambda net, X, T, **w: fastbp.loss_and_gradient(net, X, T, reduction="mean", **w)),
    ("per_sample_gradients", WEIGHTED, fastbp.per_sample_gradients),
    ("jacobian", {"X": (N, 4)}, fastbp.jacobian),
    ("parameter_jacobian", {"X": (N, 4)}, fastbp.parameter_jacobian),
    ("hessian", WEIGHTED, fastbp.hessian),
    ("hessian_diagonal", WEIGHTED, fastbp.hessian_diagonal),
    ("gauss_newton", WEIGHTED, fastbp.gauss_newton),
    ("gauss_newton_diagonal", WEIGHTED, fastbp.gauss_newton_diagonal),
    ("operator", {**WEIGHTED, "V": (43, 2)}, lambda net, X, T, V, **w: HessianOperator(net, X, T, **w).matmat(V)),
    ("operator_of_vector", {**BATCH, "v": (43,)}, lambda net, X, T, v: HessianOperator(net, X, T).matvec(v)),
    ("check_gradient", WEIGHTED, lambda net, *a, **w: fastbp.check_gradient(net, *a, **w, max_parameters=3)),
    ("parameters", {"parameters": (43,)}, assigned),
    ("step", BATCH, lambda net, X, T: trained(net, lambda trainer: trainer.step(X, T))),
    ("fit", BATCH, lambda net, X, T: trained(net, lambda trainer: fit(trainer, X, T))),
    (
        "validation",
        {**BATCH, "V": (2, 4), "U": (2, 3)},
        lambda net, X, T, V, U: trained(net, lambda trainer: fit(trainer, X, T, (V, U))),
    ),
]
BLOCK_CALLS = [
    ("affine", {"X": (N, 4), "W": (4, 3), "b": (3,)}, fastbp.affine),
    ("affine_backward", {"dY": (N, 3), "X": (N, 4), "W": (4, 3)}, fastbp.affine_backward),
    (
        "delta_backward",
        {"delta_next": (N, 3), "W_next": (4, 3), "a": (N, 4)},
        lambda *arrays: fastbp.delta_backward(*arrays, "tanh"),
    ),
]
ARGUMENTS = [(name, argument) for name, shapes, _ in NETWORK_CALLS for argument in shapes]
BLOCK_ARGUMENTS = [(name, argument) for name, shapes, _ in BLOCK_CALLS for argument in shapes]


def stored(x, layout):
    """The values of `x` in that layout; "c" is as they are."""
    return {**LAYOUTS, **CONTAINERS, "c": np.copy}[layout](x)


def arrays_of(shapes, argument, dtype, other_dtype):
    """Values for every argument, that one's in its own dtype; weights are positive."""
    rng = np.random.default_rng(0)
    values = {name: numbers(rng, shape, dtype if name == argument else other_dtype) for name, shape in shapes.items()}
    if "sample_weight" in values:
        values["sample_weight"] = abs(values["sample_weight"]) + values["sample_weight"].dtype.type(1)
    return values


def call(function, values, *before):
    keywords = {name: x for name, x in values.items() if name in ("sample_weight", "parameters")}
    return function(*before, *(x for name, x in values.items() if name not in keywords), **keywords)


def check(function, values, argument, layout, plain, *before):
    """The call with one argument in that layout, against the call with plain arrays."""
    expected = call(function, {name: np.array(x, plain) for name, x in values.items()}, *before)
    given = stored(values[argument], layout)
    flags = str(given.flags) if isinstance(given, np.ndarray) else None
    others = {name: np.array(x, plain) for name, x in values.items()}
    result = call(function, {**others, argument: given}, *before)
    assert bits(result) == bits(expected)
    assert np.array_equal(np.asarray(given), values[argument])
    assert flags is None or str(given.flags) == flags
    for name, x in others.items():
        assert np.array_equal(x, values[name])
    for part in result if isinstance(result, tuple) else [result]:
        if isinstance(part, np.ndarray) and isinstance(given, np.ndarray):
            assert type(part) is np.ndarray
            assert not np.shares_memory(part, given)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_networks(name, argument, layout, dtype):
    shapes, function = next((shapes, function) for found, shapes, function in NETWORK_CALLS if found == name)
    net = network(chain(4, 5, 3), dtype)
    assert net.n_parameters == 43
    for stored_as in STORED[layout]:
        check(function, arrays_of(shapes, argument, stored_as, dtype), argument, layout, dtype, net)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [*LAYOUTS, *CONTAINERS])
@pytest.mark.parametrize("case", SHARING)
def test_networks_that_share(case, layout, dtype):
    net = network(ARCHITECTURES[case], dtype)
    shapes = {"X": (N, net.n_inputs), "T": (N, net.n_outputs), "sample_weight": (N,)}
    for argument in shapes:
        values = arrays_of(shapes, argument, "float32", dtype)
        check(fastbp.per_sample_gradients, values, argument, layout, dtype, net)
        check(fastbp.loss_and_gradient, values, argument, layout, dtype, net)
        check(fastbp.hessian_diagonal, values, argument, layout, dtype, net)
    values = arrays_of({"X": (N, net.n_inputs)}, "X", "float32", dtype)
    check(lambda net, X: net(X), values, "X", layout, dtype, net)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", STORED)
@pytest.mark.parametrize(("name", "argument"), BLOCK_ARGUMENTS)
def test_blocks(name, argument, layout, dtype):
    """float32 if all arguments are; what has no dtype of its own is float64."""
    shapes, function = next((shapes, function) for found, shapes, function in BLOCK_CALLS if found == name)
    for stored_as in STORED[layout]:
        values = arrays_of(shapes, argument, stored_as, dtype)
        single = layout not in CONTAINERS and {dtype, stored_as} == {"float32"}
        plain = "float32" if single else "float64"
        if plain == dtype:
            check(function, values, argument, layout, plain)
        else:
            expected = call(function, {key: np.array(x, plain) for key, x in values.items()})
            result = call(function, {**values, argument: stored(values[argument], layout)})
            assert bits(result) == bits(expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", STORED)
def test_class_labels(layout, dtype):
    net = network(chain(4, 5, 3, output="softmax"), dtype)
    X, T = numbers(np.random.default_rng(0), (N, 4), dtype), np.eye(3, dtype=dtype)[[2, 0, 1, 1, 2, 0]]

    def results(T):
        functions = fastbp.loss, fastbp.loss_and_gradient, fastbp.per_sample_gradients
        fitted = trained(net, lambda trainer: fit(trainer, X, T, (X, T)))
        return bits([*(function(net, X, T) for function in functions), fitted])

    expected = results(T)
    for stored_as in INTEGERS:
        given = stored(np.array([2, 0, 1, 1, 2, 0], stored_as), layout)
        assert results(given) == expected
        assert np.asarray(given).tolist() == [2, 0, 1, 1, 2, 0]


def test_ranges():
    net = network(chain(4, 5, 3, output="softmax"))
    rows, X = [range(4), range(4, 8), range(8, 12)], np.arange(12.0).reshape(3, 4)
    assert bits(net(rows)) == bits(net(X))
    assert bits(fastbp.loss(net, rows, range(3))) == bits(fastbp.loss(net, X, np.eye(3)))
    net.parameters = range(43)
    assert bits(net.parameters) == bits(np.arange(43.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", STORED)
def test_one_output_takes_a_vector(layout, dtype):
    net = network(chain(4, 5, 1), dtype)
    for stored_as in EVERY:
        rng = np.random.default_rng(0)
        X, t = numbers(rng, (N, 4), dtype), numbers(rng, (N,), stored_as)
        expected = bits(fastbp.loss_and_gradient(net, X, t.astype(dtype).reshape(-1, 1)))
        assert bits(fastbp.loss_and_gradient(net, X, stored(t, layout))) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_strides(dtype):
    net = network(chain(4, 5, 3), dtype)
    row, target = np.arange(4, dtype=dtype), np.arange(3, dtype=dtype)
    X, T, w = np.broadcast_to(row, (N, 4)), np.broadcast_to(target, (N, 3)), np.broadcast_to(np.float32(1), N)
    expected = fastbp.loss_and_gradient(net, np.tile(row, (N, 1)), np.tile(target, (N, 1)), sample_weight=np.ones(N))
    assert bits(fastbp.loss_and_gradient(net, X, T, sample_weight=w)) == bits(expected)


@pytest.mark.parametrize("layout", ["memmap", "subclass", "masked_array"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_may_be_subclasses(dtype, layout):
    net = network(chain(4, 5, 3), dtype)
    X, T = np.ones((N, 4), dtype), np.zeros((N, 3), dtype)
    for function, shape, expected in (
        (lambda out: net.forward(X, out=out), (N, 3), net(X)),
        (lambda out: fastbp.loss_and_gradient(net, X, T, out=out)[1], (43,), fastbp.loss_and_gradient(net, X, T)[1]),
        (lambda out: fastbp.per_sample_gradients(net, X, T, out=out), (N, 43), fastbp.per_sample_gradients(net, X, T)),
        (lambda out: fastbp.hessian(net, X, T, out=out), (43, 43), fastbp.hessian(net, X, T)),
        (lambda out: fastbp.gauss_newton(net, X, T, out=out), (43, 43), fastbp.gauss_newton(net, X, T)),
        (lambda out: fastbp.hessian_diagonal(net, X, T, out=out), (43,), fastbp.hessian_diagonal(net, X, T)),
        (lambda out: fastbp.jacobian(net, X, out=out), (N, 3, 4), fastbp.jacobian(net, X)),
        (lambda out: fastbp.parameter_jacobian(net, X, out=out), (N, 3, 43), fastbp.parameter_jacobian(net, X)),
    ):
        out = stored(np.zeros(shape, dtype), layout)
        assert function(out) is out
        assert np.asarray(out).tobytes() == expected.tobytes()


def grown(call):
    """Bytes that a call has at most in use at once, beyond those at its start."""
    call()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def large_calls(dtype):
    """(argument names, call) with its outputs given; every argument that may be copied has a million elements."""
    rows, net = 1000, network(chain(1000, 2, 1000), dtype)
    P = net.n_parameters
    large = {name: np.zeros((rows, 1000), dtype) for name in ("X", "T", "V", "U", "W")}
    trainer, g, Y = Trainer(net.copy(), SGD(0.1)), np.empty(P, dtype), np.empty((rows, 1000), dtype)
    one, G = {"X": large["X"][:1], "T": large["T"][:1]}, np.empty((1, P), dtype)
    return {
        "forward": (large, lambda X, **_: net.forward(X, out=Y)),
        "loss": (large, lambda X, T, **_: fastbp.loss(net, X, T)),
        "loss_and_gradient": (large, lambda X, T, **_: fastbp.loss_and_gradient(net, X, T, out=g)),
        "per_sample_gradients": (one, lambda X, T: fastbp.per_sample_gradients(net, X, T, out=G)),
        "step": (large, lambda X, T, **_: trainer.step(X, T)),
        "affine": (large, lambda X, W, **_: fastbp.affine(X, W, out=Y)),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["forward", "loss", "loss_and_gradient", "per_sample_gradients", "step", "affine"])
def test_plain_arrays_are_not_copied(name, dtype):
    arguments, function = large_calls(dtype)[name]
    assert grown(lambda: function(**arguments)) < min(x.nbytes for x in arguments.values()) / 2
    for layout in ("read_only", "memmap", "subclass"):
        given = {key: stored(x, layout) for key, x in arguments.items()}
        assert grown(lambda given=given: function(**given)) < min(x.nbytes for x in arguments.values()) / 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["forward", "loss", "step"])
def test_other_arrays_are_copied_once(name, dtype):
    arguments, function = large_calls(dtype)[name]
    for layout in ("fortran", "swapped", "strided"):
        given = {**arguments, "X": stored(arguments["X"], layout)}
        assert 0.9 < grown(lambda given=given: function(**given)) / arguments["X"].nbytes < 1.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_fit_does_not_copy(dtype):
    """It looks for NaN, which takes a byte an element."""
    net = network(chain(1000, 2, 1), dtype)
    X, T = np.zeros((1000, 1000), dtype), np.zeros((1000, 1), dtype)
    trainer = Trainer(net, SGD(0.1))
    assert grown(lambda: trainer.fit(X, T, epochs=1, validation_data=(X, T))) < X.size * 1.5
