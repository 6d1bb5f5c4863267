"""What the functions of second derivatives say to wrong arguments, word for word, and that nothing has changed."""

import numpy as np
import pytest

import fastbp
import fastbp._boundary.memory
from bad_input import PARTS, check, converted, inside_parameters, overlapping, table, wrong_outputs
from cases import chain, data, network
from fastbp import Affine, GaussNewtonOperator, HessianOperator, Network, mlp
from strategies import OBJECTS, fortran, spread_out
from test_bad_input import WRONG_X, calls, on_batch

BATCH = ("hessian", "gauss_newton", "hessian_diagonal", "gauss_newton_diagonal", "HessianOperator",
         "GaussNewtonOperator")  # fmt: skip
P = 26
PARAMETERS = "the network's parameters"


@pytest.mark.parametrize("name", BATCH)
@pytest.mark.parametrize("k", range(len(calls(on_batch("loss")))))
def test_batches(name, k):
    check(*calls(on_batch(name))[k])


@pytest.mark.parametrize("name", ["jacobian", "parameter_jacobian"])
@pytest.mark.parametrize("k", range(len(WRONG_X) + 2))
def test_inputs(name, k):
    function = getattr(fastbp, name)
    if k < len(WRONG_X):
        x, message = WRONG_X[k]
        check(lambda s: function(s.net, x), message)
    else:
        net, kind = ((None, "NoneType"), (Network, "type"))[k - len(WRONG_X)]
        check(lambda s: function(net, s.X), f"TypeError: net: expected a Network, got {kind}")


@table(
    [
        (lambda s: fastbp.parameter_jacobian(s.net, s.X, of=1),
         "TypeError: of: expected 'output' or 'preactivation', got int"),
        (lambda s: fastbp.parameter_jacobian(s.net, s.X, of="outputs"),
         "ValueError: of: expected 'output' or 'preactivation', got 'outputs'"),
        (lambda s: fastbp.hessian_diagonal(s.net, s.X, s.T, method=None),
         "TypeError: method: expected 'exact' or 'approximate', got NoneType"),
        (lambda s: fastbp.hessian_diagonal(s.net, s.X, s.T, method="(5.81)"),
         "ValueError: method: expected 'exact' or 'approximate', got '(5.81)'"),
    ]
)  # fmt: skip
def test_options(call, message):
    check(call, message)


def on_output(function, **options):
    """The function with `out`, of the scene's net and data unless others are given."""

    def call(scene, out, X=None, T=None, sample_weight=None, **_):
        X, T = scene.X if X is None else X, scene.T if T is None else T
        return function(scene.net, X, T, sample_weight=sample_weight, out=out, **options)

    return call


def on_inputs(function):
    return lambda scene, out, X=None, **_: function(scene.net, scene.X if X is None else X, out=out)


MATRIX = {"hessian": on_output(fastbp.hessian), "gauss_newton": on_output(fastbp.gauss_newton)}
VECTOR = {
    "hessian_diagonal": on_output(fastbp.hessian_diagonal),
    "approximate": on_output(fastbp.hessian_diagonal, method="approximate"),
    "gauss_newton_diagonal": on_output(fastbp.gauss_newton_diagonal),
}
BLOCKS = {
    "jacobian": (on_inputs(fastbp.jacobian), (5, 2, 3), "samples, outputs, inputs"),
    "parameter_jacobian": (on_inputs(fastbp.parameter_jacobian), (5, 2, P), "samples, outputs, parameters"),
}


@pytest.mark.parametrize("name", MATRIX)
def test_matrix_out(name):
    call = MATRIX[name]
    for wrong, message in [
        *wrong_outputs(call, (P, P), f"{P} rows ({PARAMETERS})"),
        (lambda s: call(s, np.zeros((P, P + 1))), f"ValueError: out: expected {P} columns ({PARAMETERS}), got shape "
                                                  f"({P}, {P + 1})"),
        (lambda s: call(s, fortran(np.zeros((P, P)))),
         "ValueError: out: expected a C-contiguous, aligned array in native byte order, got strides (8, 208) for shape "
         "(26, 26) and dtype '<f8'"),
        *((lambda s, shape=shape: call(s, np.zeros(shape)),
           f"ValueError: out: expected shape ({P}, {P}), got shape {shape}")
          for shape in ((), (P,), (P * P,), (1, P, P))),
        *overlapping(call, (P, P), "X", "T", "sample_weight"),
    ]:  # fmt: skip
        check(wrong, message)


@pytest.mark.parametrize("name", VECTOR)
def test_vector_out(name):
    call, sized = VECTOR[name], f"ValueError: out: expected shape ({P},), got shape"
    for wrong, message in [
        *wrong_outputs(call, (P,), f"shape ({P},) ({PARAMETERS})"),
        *((lambda s, shape=shape: call(s, np.zeros(shape)), f"{sized} {shape}") for shape in ((), (P, P), (P, 1))),
        *overlapping(call, (P,), "X", "T", "sample_weight"),
        *inside_parameters(lambda s: call(s, s.p)),
    ]:
        check(wrong, message)


@pytest.mark.parametrize("name", BLOCKS)
def test_jacobian_out(name):
    call, shape, axes = BLOCKS[name]
    for wrong, message in [
        *wrong_outputs(call, shape, f"shape {shape} ({axes})"),
        *((lambda s, other=other: call(s, np.zeros(other)),
           f"ValueError: out: expected shape {shape} ({axes}), got shape {other}")
          for other in (shape[::-1], shape[:2], (*shape, 1), (0, *shape[1:]))),
        *overlapping(call, shape, "X"),
    ]:  # fmt: skip
        check(wrong, message)


def test_jacobian_out_inside_parameters():
    check(*inside_parameters(lambda s: fastbp.jacobian(s.net, s.X[:1], out=s.p[:6].reshape(1, 2, 3)))[0])


@pytest.mark.parametrize("operator", [HessianOperator, GaussNewtonOperator])
def test_operators(operator):
    numbers = "expected real numbers, got dtype"
    for call, message in [
        (lambda op: op @ np.ones(P, complex), f"TypeError: v: {numbers} complex128; {PARTS}"),
        (lambda op: op @ np.ones((P, 2), complex), f"TypeError: V: {numbers} complex128; {PARTS}"),
        (lambda op: op @ np.ones(P, object), f"TypeError: v: {numbers} object; {converted('v')}"),
        (lambda op: op @ np.full((P, 2), "a"), f"TypeError: V: {numbers} <U1; {converted('V')}"),
        *(
            (
                lambda op, product=product: product(op, np.ma.array(np.ones(P), mask=np.arange(P) == 3)),
                f"ValueError: v: expected no masked entries, got 1 of {P}; the method filled(value) puts numbers there",
            )
            for product in (lambda op, v: op @ v, lambda op, v: op * v, lambda op, v: op.dot(v), lambda op, v: v @ op)
        ),
        (lambda op: op.block(2, 0), "ValueError: layer_a: expected a number below 2, got 2"),
        (lambda op: op.block(0, 10**5000), "ValueError: layer_b: expected a number below 2, got an object of type int"),
        (lambda op: op.block(-3, 0), "ValueError: layer_a: expected at least -2, got -3"),
        (lambda op: op.block(0, 1.0), "TypeError: layer_b: expected an integer, got float"),
        (lambda op: op.block(True, 0), "TypeError: layer_a: expected an integer, got bool"),
        (lambda op: op.block(None, 0), "TypeError: layer_a: expected an integer, got NoneType"),
    ]:
        check(lambda s, call=call: call(operator(s.net, s.X, s.T)), message)


@pytest.mark.parametrize("operator", [HessianOperator, GaussNewtonOperator])
def test_operators_go_on_after_an_error(operator):
    """SciPy looks at shapes in its own words; whatever is wrong, the next product is right."""
    net = network(chain(3, 4, 2))
    op, v = operator(net, *data(net, 5)), np.ones(P)
    expected = op @ v
    for wrong in (*(make() for make in OBJECTS), np.ones(P - 1), np.ones((P - 1, 2)), np.ones((1, 1, P - 1)), 7.0):
        with pytest.raises((TypeError, ValueError)):
            op.matmat(wrong)
        with pytest.raises((TypeError, ValueError)):
            op.matvec(wrong)
    np.testing.assert_array_equal(op @ v, expected)


LARGE = mlp([1, 5000, 1], init="zeros")
ONE = np.zeros((700, 1))


@pytest.mark.parametrize(
    ("name", "call", "shape"),
    [
        ("hessian", lambda: fastbp.hessian(LARGE, ONE, ONE), (15001, 15001)),
        ("gauss_newton", lambda: fastbp.gauss_newton(LARGE, ONE, ONE), (15001, 15001)),
        ("parameter_jacobian", lambda: fastbp.parameter_jacobian(LARGE, ONE), (700, 1, 15001)),
        ("jacobian", lambda: fastbp.jacobian(Network([Affine(300, 300)]), np.zeros((700, 300))), (700, 300, 300)),
        ("block", lambda: HessianOperator(LARGE, ONE, ONE).block(0, 1), (10000, 5001)),
        ("operator", lambda: HessianOperator(LARGE, ONE, ONE).matmat(spread_out((15001, 700))), None),
    ],
)
def test_memory(monkeypatch, name, call, shape):
    """Asked for before it is taken: on a machine with little left, nothing of it is touched."""
    monkeypatch.setattr(fastbp._boundary.memory, "available_bytes", lambda: 2**26)
    if shape is None:  # the columns are copied first
        name, shape = "V", (700, 15001)
    needed = 8 * int(np.prod(shape))
    message = f"{name}: expected {needed} bytes of memory for shape {shape}, got 67108864 available"
    check(lambda s: call(), f"MemoryError: {message}")


def test_more_memory_than_any_machine_has():
    net = Network([Affine(1, 500_000), Affine(500_000, 1)], init="zeros")
    X = np.zeros((2, 1))
    with pytest.raises(MemoryError, match=r"^hessian: expected 18000024000008 bytes of memory for shape .*available$"):
        fastbp.hessian(net, X, X)
    with pytest.raises(MemoryError, match=r"^block: expected 4000008000000 bytes of memory for shape .*available$"):
        HessianOperator(net, X, X).block(0, 1)
    with pytest.raises(MemoryError, match=r"^parameter_jacobian: expected 12000008000000 bytes of memory for shape "):
        fastbp.parameter_jacobian(net, np.zeros((1_000_000, 1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty_batches(dtype):
    for layers in (chain(3, 4, 2), chain(3, 4, 2, output="softmax")):
        net, X, T = network(layers, dtype), np.zeros((0, 3), dtype), np.zeros((0, 2), dtype)
        for options in ({}, {"reduction": "mean"}, {"sample_weight": np.zeros(0), "reduction": "mean"}):
            for function, shape in ((fastbp.hessian, (P, P)), (fastbp.gauss_newton, (P, P)),
                                    (fastbp.hessian_diagonal, (P,)), (fastbp.gauss_newton_diagonal, (P,))):  # fmt: skip
                out = np.full(shape, np.nan, dtype)
                function(net, X, T, **options, out=out)
                np.testing.assert_array_equal(out, 0.0)
            for operator in (HessianOperator, GaussNewtonOperator):
                np.testing.assert_array_equal(operator(net, X, T, **options) @ np.ones((P, 2)), np.zeros((P, 2)))
        assert fastbp.jacobian(net, X).shape == (0, 2, 3)
        assert fastbp.parameter_jacobian(net, X).shape == (0, 2, P)
