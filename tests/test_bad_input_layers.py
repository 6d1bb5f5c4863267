"""What layers and networks say to wrong arguments, word for word."""

import numpy as np

from bad_input import BLAS, NAMES, RAGGED, check, table
from fastbp import Affine, Network, mlp


@table(
    [
        (lambda s: Affine(0, 1), "ValueError: n_in: expected at least 1, got 0"),
        (lambda s: Affine(1, -2), "ValueError: n_out: expected at least 1, got -2"),
        (lambda s: Affine(1.0, 1), "TypeError: n_in: expected an integer, got float"),
        (lambda s: Affine(float("nan"), 1), "TypeError: n_in: expected an integer, got float"),
        (lambda s: Affine("3", 1), "TypeError: n_in: expected an integer, got str"),
        (lambda s: Affine(1, None), "TypeError: n_out: expected an integer, got NoneType"),
        (lambda s: Affine(True, 1), "TypeError: n_in: expected an integer, got bool"),
        (lambda s: Affine(np.array([3]), 1), "TypeError: n_in: expected an integer, got ndarray"),
        (lambda s: Affine(2**31, 1), f"OverflowError: n_in: expected {BLAS}, got 2147483648"),
        (lambda s: Affine(1, 10**30), f"OverflowError: n_out: expected {BLAS}, got 1{30 * '0'}"),
        (lambda s: Affine(1, -(10**30)), f"ValueError: n_out: expected at least 1, got -1{30 * '0'}"),
        (lambda s: Affine(1, 1, 5), "TypeError: activation: expected a name, got int"),
        (lambda s: Affine(1, 1, None), "TypeError: activation: expected a name, got NoneType"),
        (lambda s: Affine(1, 1, "Tanh"), f"ValueError: activation: expected one of {NAMES}, got 'Tanh'"),
        (lambda s: Affine(1, 1, "tanh\0"), f"ValueError: activation: expected one of {NAMES}, got 'tanh\\x00'"),
        (lambda s: Affine(1, 1, bias=1), "TypeError: bias: expected True or False, got int"),
    ]
)
def test_affine_layer(call, message):
    check(call, message)


def layers_of(*layers, **options):
    return lambda s: Network([Affine(*sizes) for sizes in layers], **options)


@table(
    [
        (lambda s: Network(None), "TypeError: layers: expected a sequence of layers, got NoneType"),
        (lambda s: Network(Affine(1, 1)), "TypeError: layers: expected a sequence of layers, got Affine"),
        (lambda s: Network("abc"), "TypeError: layers: expected layers such as Affine, got str"),
        (lambda s: Network([Affine(1, 1), None]), "TypeError: layers: expected layers such as Affine, got NoneType"),
        (lambda s: Network([Affine]), "TypeError: layers: expected layers such as Affine, got type"),
        (lambda s: Network(s.net), "TypeError: layers: expected a sequence of layers, got Network"),
        (lambda s: Network([]), "ValueError: layers: expected at least one layer, got none"),
        (
            layers_of((3, 4), (5, 2)),
            "ValueError: layers: expected layer 2 to take 4 inputs (the outputs of layer 1), got 5",
        ),
        (
            layers_of((3, 3, "softmax"), (3, 2)),
            "ValueError: layers: expected softmax on the last layer only, got it on layer 1 of 2",
        ),
        (layers_of((1, 1), dtype="float16"), "ValueError: dtype: expected 'float32' or 'float64', got 'float16'"),
        (layers_of((1, 1), dtype="a5"), "ValueError: dtype: expected 'float32' or 'float64', got 'a5'"),
        (layers_of((1, 1), dtype=int), "ValueError: dtype: expected 'float32' or 'float64', got <class 'int'>"),
        (layers_of((1, 1), dtype=None), "TypeError: dtype: expected 'float32' or 'float64', got None"),
        (layers_of((1, 1), dtype=64), "TypeError: dtype: expected 'float32' or 'float64', got 64"),
        (layers_of((1, 1), seed=-1), "ValueError: seed: expected None, a non-negative integer or a Generator, got -1"),
        (
            layers_of((1, 1), seed="1", init="zeros"),
            "TypeError: seed: expected None, a non-negative integer or a Generator, got '1'",
        ),
        (layers_of((1, 1), init="he"), "ValueError: init: expected one of glorot_uniform, he_uniform, zeros, got 'he'"),
        (layers_of((1, 1), init=0), "TypeError: init: expected the name of an initialization, got int"),
        (
            layers_of((2**31 - 1, 2**31 - 1)),
            f"MemoryError: layers: expected parameters that fit in memory, got {2**31 * (2**31 - 1)}",
        ),
    ]
)
def test_network(call, message):
    check(call, message)


@table(
    [
        (lambda s: mlp(5), "TypeError: sizes: expected a sequence of integers, got int"),
        (lambda s: mlp("34"), "TypeError: sizes: expected an integer, got str"),
        (lambda s: mlp([]), "ValueError: sizes: expected at least two (inputs and outputs), got 0"),
        (lambda s: mlp([3]), "ValueError: sizes: expected at least two (inputs and outputs), got 1"),
        (lambda s: mlp([3, 2.0]), "TypeError: sizes: expected an integer, got float"),
        (lambda s: mlp([3, 0, 2]), "ValueError: sizes: expected at least 1, got 0"),
        (lambda s: mlp([2**31, 2]), f"OverflowError: sizes: expected {BLAS}, got 2147483648"),
        (lambda s: mlp([3, 2], "no"), f"ValueError: activation: expected one of {NAMES}, got 'no'"),
        (lambda s: mlp([3, 2, 1], "softmax"), "ValueError: activation: expected one for hidden layers, got 'softmax'"),
        (lambda s: mlp([3, 2], output="no"), f"ValueError: output: expected one of {NAMES}, got 'no'"),
        (lambda s: mlp([3, 2], output=1), "TypeError: output: expected a name, got int"),
    ]
)
def test_mlp(call, message):
    check(call, message)


def assigning(values):
    def call(scene):
        scene.net.parameters = values

    return call


@table(
    [
        (assigning(np.zeros(25)), "ValueError: parameters: expected shape (26,), got shape (25,)"),
        (assigning(np.zeros((26, 1))), "ValueError: parameters: expected shape (26,), got shape (26, 1)"),
        (assigning(0.0), "ValueError: parameters: expected shape (26,), got shape ()"),
        (assigning(None), "TypeError: parameters: expected real numbers, got dtype object"),
        (assigning(np.zeros(26, complex)), "TypeError: parameters: expected real numbers, got dtype complex128"),
        (assigning(["1"] * 26), "TypeError: parameters: expected real numbers, got dtype <U1"),
        (assigning(RAGGED), "ValueError: parameters: expected rows of equal length, got a ragged list"),
    ]
)
def test_parameters(call, message):
    check(call, message)
