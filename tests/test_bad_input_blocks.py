"""What the building blocks say to wrong arguments, word for word."""

import numpy as np

import fastbp
from bad_input import DIMENSIONS, NAMES, RAGGED, check, overlapping, table, wrong_outputs
from strategies import misshapen


@table(
    [
        (lambda s: fastbp.affine(s.X, s.T), "ValueError: X: expected 5 columns (the rows of W), got shape (5, 3)"),
        (lambda s: fastbp.affine(None, s.W), "TypeError: X: expected real numbers, got dtype object"),
        (lambda s: fastbp.affine(s.X, "abc"), "TypeError: W: expected real numbers, got dtype <U3"),
        (lambda s: fastbp.affine(s.X, RAGGED), "ValueError: W: expected rows of equal length, got a ragged list"),
        (
            lambda s: fastbp.affine(s.X[0], s.W),
            "ValueError: X: expected a matrix (2 dimensions), got shape (3,)"
            "; X[None] is one sample, X[:, None] are samples of one number",
        ),
        (lambda s: fastbp.affine(s.X, s.W, 1.0), "ValueError: b: expected a vector (1 dimension), got shape ()"),
        (
            lambda s: fastbp.affine(s.X, s.W, s.X[0]),
            "ValueError: b: expected shape (2,) (the columns of W), got shape (3,)",
        ),
        (lambda s: fastbp.affine(misshapen((2**31, 0)), misshapen((0, 0))), f"OverflowError: X: expected {DIMENSIONS}"),
        (lambda s: fastbp.affine(misshapen((0, 0)), misshapen((0, 2**31))), f"OverflowError: W: expected {DIMENSIONS}"),
        *wrong_outputs(lambda s, out: fastbp.affine(s.X, s.W, out=out), (5, 2), "5 rows (the rows of X)"),
        *overlapping(lambda s, out, X, W, b, **_: fastbp.affine(X, W, b, out=out), (5, 2), "X", "W", "b"),
    ]
)
def test_affine(call, message):
    check(call, message)


@table(
    [
        (
            lambda s: fastbp.affine_backward(s.X, s.X, s.W),
            "ValueError: dY: expected 2 columns (the columns of W), got shape (5, 3)",
        ),
        (
            lambda s: fastbp.affine_backward(s.T[:4], s.X, s.W),
            "ValueError: X: expected 4 rows (the rows of dY), got shape (5, 3)",
        ),
        (
            lambda s: fastbp.affine_backward(s.T, s.T, s.W),
            "ValueError: X: expected 3 columns (the rows of W), got shape (5, 2)",
        ),
        (
            lambda s: fastbp.affine_backward(s.T, s.X, s.W[0]),
            "ValueError: W: expected a matrix (2 dimensions), got shape (2,)",
        ),
        (lambda s: fastbp.affine_backward(1j, s.X, s.W), "TypeError: dY: expected real numbers, got dtype complex128"),
        (
            lambda s: fastbp.affine_backward(misshapen((0, 2**31)), misshapen((0, 0)), misshapen((0, 2**31))),
            f"OverflowError: W: expected {DIMENSIONS}",
        ),
    ]
)
def test_affine_backward(call, message):
    check(call, message)


@table(
    [
        (
            lambda s: fastbp.delta_backward(s.X, s.W, s.X, "tanh"),
            "ValueError: delta_next: expected 2 columns (the columns of W_next), got shape (5, 3)",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X[1:], "tanh"),
            "ValueError: a: expected 5 rows (the rows of delta_next), got shape (4, 3)",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.T, "tanh"),
            "ValueError: a: expected 3 columns (the rows of W_next), got shape (5, 2)",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, None, s.X, "tanh"),
            "TypeError: W_next: expected real numbers, got dtype object",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X, 3),
            "TypeError: activation: expected the name of an activation, got int",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X, "Relu"),
            f"ValueError: activation: expected one of {NAMES}, got 'Relu'",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X, "softmax"),
            "ValueError: activation: expected an elementwise activation, got 'softmax'",
        ),
        (
            lambda s: fastbp.delta_backward(misshapen((0, 0)), misshapen((2**31, 0)), misshapen((0, 2**31)), "tanh"),
            f"OverflowError: W_next: expected {DIMENSIONS}",
        ),
    ]
)
def test_delta_backward(call, message):
    check(call, message)


def test_widths_of_zero():
    Y = fastbp.affine(np.zeros((300, 0)), np.zeros((0, 1)), [5.0])
    assert Y.tolist() == [[5.0]] * 300
    dX, dW, db = fastbp.affine_backward(np.zeros((4, 0)), np.ones((4, 3)), np.zeros((3, 0)))
    assert dX.tolist() == [[0.0] * 3] * 4
    assert dW.shape == (3, 0)
    assert db.shape == (0,)
    assert fastbp.affine(np.zeros((3, 2)), np.zeros((2, 0))).shape == (3, 0)
