"""What layers and networks say to wrong arguments, word for word."""

import re
import sys

import numpy as np
import pytest

from bad_input import BLAS, NAMES, PARTS, RAGGED, check, converted, table
from fastbp import (
    Affine,
    AveragePool2d,
    Conv1d,
    Conv2d,
    GaussNewtonOperator,
    HessianOperator,
    Layer,
    MaxPool2d,
    Network,
    Shared,
    Tied,
    mlp,
)
from strategies import spread_out


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
            f"MemoryError: layers: expected parameters that fit in memory, got {(2**31 - 1) ** 2}",
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
        (
            assigning(np.zeros(26, complex)),
            f"TypeError: parameters: expected real numbers, got dtype complex128; {PARTS}",
        ),
        (
            assigning(["1"] * 26),
            f"TypeError: parameters: expected real numbers, got dtype <U1; {converted('parameters')}",
        ),
        (assigning(RAGGED), "ValueError: parameters: expected rows of equal length, got a ragged list"),
    ]
)
def test_parameters(call, message):
    check(call, message)


FAR = 10**30


def conv1d(*arguments, **options):
    return lambda s: Conv1d(*arguments, **{"image_shape": 9, **options})


def conv2d(*arguments, **options):
    return lambda s: Conv2d(*arguments, **{"image_shape": (5, 6), **options})


@table(
    [
        (lambda s: Layer(), "TypeError: Layer: expected one of its subclasses, such as Affine, got Layer itself"),
        (lambda s: Shared(0, 1, 2), "ValueError: n_in: expected at least 1, got 0"),
        (lambda s: Shared(1, -1, 2), "ValueError: n_out: expected at least 1, got -1"),
        (lambda s: Shared(1, 1, 0), "ValueError: groups: expected at least 1, got 0"),
        (lambda s: Shared(1, 1, 2.0), "TypeError: groups: expected an integer, got float"),
        (lambda s: Shared(1, 1, True), "TypeError: groups: expected an integer, got bool"),
        (lambda s: Shared(1, 1, "tanh"), "TypeError: groups: expected an integer, got str"),
        (lambda s: Shared(1, 1, 2**31), f"OverflowError: groups: expected {BLAS}, got 2147483648"),
        (
            lambda s: Shared(3, 2, 2**30),
            f"OverflowError: n_in: expected for all groups together {BLAS}, got {3 * 2**30}",
        ),
        (
            lambda s: Shared(1, 5, 2**29),
            f"OverflowError: n_out: expected for all groups together {BLAS}, got {5 * 2**29}",
        ),
        (lambda s: Shared(1, 1, 1, "sin"), f"ValueError: activation: expected one of {NAMES}, got 'sin'"),
        (lambda s: Shared(1, 1, 1, bias=None), "TypeError: bias: expected True or False, got NoneType"),
        (lambda s: Tied(None), "TypeError: layer: expected a layer such as Affine, got NoneType"),
        (lambda s: Tied(Affine), "TypeError: layer: expected a layer such as Affine, got type"),
        (lambda s: Tied([Affine(1, 1)]), "TypeError: layer: expected a layer such as Affine, got list"),
        (lambda s: Tied(s.net), "TypeError: layer: expected a layer such as Affine, got Network"),
        (
            lambda s: Tied(MaxPool2d(2, image_shape=(2, 2, 1))),
            "TypeError: layer: expected a layer with weights, got MaxPool2d",
        ),
        (lambda s: Tied(Affine(1, 1), 3), "TypeError: activation: expected a name, got int"),
        (lambda s: Tied(Affine(1, 1), bias=0), "TypeError: bias: expected True or False, got int"),
    ]
)
def test_shared_and_tied_layers(call, message):
    check(call, message)


@table(
    [
        (conv1d(0, 1, 1), "ValueError: in_channels: expected at least 1, got 0"),
        (conv1d(1, 1.5, 1), "TypeError: out_channels: expected an integer, got float"),
        (conv1d(1, 1, 0), "ValueError: kernel_size: expected at least 1, got 0"),
        (conv1d(1, 1, 2.0), "TypeError: kernel_size: expected an integer, got float"),
        (conv1d(1, 1, (2, 2)), "ValueError: kernel_size: expected one number, got (2, 2)"),
        (conv1d(1, 1, ()), "ValueError: kernel_size: expected one number, got ()"),
        (conv1d(1, 1, 10), "ValueError: kernel_size: expected at most the padded image, 9, got 10"),
        (conv1d(1, 1, 12, padding=1), "ValueError: kernel_size: expected at most the padded image, 11, got 12"),
        (
            conv1d(1, 1, 3, dilation=5),
            "ValueError: kernel_size: expected at most the padded image, 9, got 3 spread over 11 by the dilation",
        ),
        (conv1d(1, 1, 1, stride=0), "ValueError: stride: expected at least 1, got 0"),
        (conv1d(1, 1, 1, stride=None), "TypeError: stride: expected an integer, got NoneType"),
        (conv1d(1, 1, 1, padding=-1), "ValueError: padding: expected at least 0, got -1"),
        (conv1d(1, 1, 1, padding="same"), "TypeError: padding: expected an integer, got str"),
        (conv1d(1, 1, 1, dilation=0), "ValueError: dilation: expected at least 1, got 0"),
        (conv1d(1, 1, 1, dilation=FAR), f"OverflowError: dilation: expected {BLAS}, got {FAR}"),
        (conv1d(1, 1, FAR), f"OverflowError: kernel_size: expected {BLAS}, got {FAR}"),
        (conv1d(1, 1, 1, image_shape=0), "ValueError: image_shape: expected at least 1, got 0"),
        (conv1d(1, 1, 1, image_shape="9"), "TypeError: image_shape: expected an integer, got str"),
        (conv1d(1, 1, 1, image_shape=9.0), "TypeError: image_shape: expected an integer, got float"),
        (conv1d(1, 1, 1, image_shape=True), "TypeError: image_shape: expected an integer, got bool"),
        (conv1d(1, 1, 1, image_shape=(9, 2)), "ValueError: image_shape: expected 1 channels (in_channels), got (9, 2)"),
        (
            conv1d(1, 1, 1, image_shape=(9, 1, 1)),
            "ValueError: image_shape: expected (length, channels), got (9, 1, 1)",
        ),
        (conv1d(1, 1, 1, image_shape=2**31), f"OverflowError: image_shape: expected {BLAS}, got 2147483648"),
        (
            conv1d(1, 1, 1, padding=2**30),
            f"OverflowError: padding: expected a padded image of {BLAS}, got {9 + 2**31}",
        ),
        (
            conv1d(1, 1, 2**16, image_shape=2**18),
            f"OverflowError: kernel_size: expected pixels of all patches together {BLAS}, "
            f"got {2**16 * (2**18 - 2**16 + 1)}",
        ),
        (
            conv1d(2**20, 1, 1, image_shape=2**12),
            f"OverflowError: image_shape: expected numbers in an image {BLAS}, got {2**32}",
        ),
        (
            conv1d(1, 2**20, 1, image_shape=2**12),
            f"OverflowError: out_channels: expected numbers in an image {BLAS}, got {2**32}",
        ),
        (
            conv1d(2**20, 1, 2**12, image_shape=1, padding=2**12),
            f"OverflowError: kernel_size: expected numbers in a patch {BLAS}, got {2**32}",
        ),
        (conv1d(1, 1, 1, "tan"), f"ValueError: activation: expected one of {NAMES}, got 'tan'"),
        (conv1d(1, 1, 1, bias=1), "TypeError: bias: expected True or False, got int"),
        (conv2d(1, 1, (6, 1)), "ValueError: kernel_size: expected at most the padded image, 5 x 6, got 6 x 1"),
        (
            conv2d(1, 1, 3, padding=(0, 1), dilation=(3, 1)),
            "ValueError: kernel_size: expected at most the padded image, 5 x 8, "
            "got 3 x 3 spread over 7 x 3 by the dilation",
        ),
        (conv2d(1, 1, (2, 2, 2)), "ValueError: kernel_size: expected one number or 2, got (2, 2, 2)"),
        (conv2d(1, 1, [[2, 2]]), "ValueError: kernel_size: expected one number or 2, got [[2, 2]]"),
        (conv2d(1, 1, "22"), "TypeError: kernel_size: expected an integer, got str"),
        (conv2d(1, 1, (2, None)), "TypeError: kernel_size: expected an integer, got NoneType"),
        (conv2d(1, 1, np.ones((2, 2))), "TypeError: kernel_size: expected an integer, got ndarray"),
        *(
            (
                conv2d(1, 1, **{"kernel_size": 1, name: spread_out((2**40, 2))}),
                f"ValueError: {name}: expected {what}, got {spread_out((2**40, 2))!r:.200}",
            )
            for name, what in (
                ("kernel_size", "one number or 2"),
                ("stride", "one number or 2"),
                ("image_shape", "(height, width, channels)"),
            )
        ),
        (conv2d(1, 1, 1, stride=(1, False)), "TypeError: stride: expected an integer, got bool"),
        (conv2d(1, 1, 1, image_shape=None), "TypeError: image_shape: expected an integer, got NoneType"),
        (conv2d(1, 1, 1, image_shape="56"), "TypeError: image_shape: expected an integer, got str"),
        (conv2d(1, 1, 1, image_shape=5), "ValueError: image_shape: expected (height, width, channels), got 5"),
        (
            conv2d(1, 1, 1, image_shape=np.array(5)),
            "ValueError: image_shape: expected (height, width, channels), got array(5)",
        ),
        (
            conv2d(1, 1, 1, image_shape=(5, 6, 1, 1)),
            "ValueError: image_shape: expected (height, width, channels), got (5, 6, 1, 1)",
        ),
        (conv2d(1, 1, 1, image_shape=(5, "6")), "TypeError: image_shape: expected an integer, got str"),
        (
            conv2d(3, 1, 1, image_shape=(3, 5, 6)),
            "ValueError: image_shape: expected 3 channels (in_channels), got (3, 5, 6)",
        ),
    ]
)
def test_convolutions(call, message):
    check(call, message)


@table(
    [
        case
        for pool in (AveragePool2d, MaxPool2d)
        for case in (
            (
                lambda s, pool=pool: pool(2, image_shape=(4, 4)),
                "ValueError: image_shape: expected (height, width, channels), got (4, 4)",
            ),
            (
                lambda s, pool=pool: pool(2, image_shape=4),
                "ValueError: image_shape: expected (height, width, channels), got 4",
            ),
            (
                lambda s, pool=pool: pool(5, image_shape=(4, 6, 1)),
                "ValueError: kernel_size: expected at most the padded image, 4 x 6, got 5 x 5",
            ),
            (
                lambda s, pool=pool: pool(3, image_shape=(4, 4, 1), padding=2),
                "ValueError: padding: expected at most half of the window, 3 x 3, got 2 x 2",
            ),
            (
                lambda s, pool=pool: pool((4, 1), image_shape=(4, 4, 1), padding=(2, 1)),
                "ValueError: padding: expected at most half of the window, 4 x 1, got 2 x 1",
            ),
            (
                lambda s, pool=pool: pool(None, image_shape=(4, 4, 1)),
                "TypeError: kernel_size: expected an integer, got NoneType",
            ),
            (
                lambda s, pool=pool: pool(2, image_shape=(4, 4, 1), stride=0),
                "ValueError: stride: expected at least 1, got 0",
            ),
            (
                lambda s, pool=pool: pool(2, image_shape=(1, 1, 2**30), padding=1, stride=1),
                f"OverflowError: image_shape: expected numbers in an image {BLAS}, got {2**32}",
            ),
            (
                lambda s, pool=pool: pool(1, image_shape=(2**16, 2**15, 1)),
                f"OverflowError: kernel_size: expected pixels of all patches together {BLAS}, got {2**31}",
            ),
        )
    ]
)
def test_pools(call, message):
    check(call, message)


ENCODER, POOL = Affine(3, 2), AveragePool2d(2, image_shape=(4, 4, 1))


def build(*layers):
    return lambda s: Network(layers)


@table(
    [
        (
            build(Affine(3, 2), Tied(ENCODER)),
            f"ValueError: layers: expected layer 2 to be tied to a layer of the network, got Tied({ENCODER!r}, "
            "'identity')",
        ),
        (
            build(Tied(ENCODER)),
            f"ValueError: layers: expected layer 1 to be tied to a layer of the network, got Tied({ENCODER!r}, "
            "'identity')",
        ),
        (
            build(ENCODER, Affine(2, 4), Tied(ENCODER)),
            "ValueError: layers: expected layer 3 to take 4 inputs (the outputs of layer 2), got 2",
        ),
        (
            build(ENCODER, Tied(Tied(ENCODER))),
            "ValueError: layers: expected layer 2 to take 2 inputs (the outputs of layer 1), got 3",
        ),
        (
            build(ENCODER, ENCODER),
            "ValueError: layers: expected layer 2 to take 2 inputs (the outputs of layer 1), got 3",
        ),
        (
            build(Affine(3, 15), POOL),
            "ValueError: layers: expected layer 2 to take 15 inputs (the outputs of layer 1), got 16",
        ),
        (
            build(POOL, Shared(3, 1, 2)),
            "ValueError: layers: expected layer 2 to take 4 inputs (the outputs of layer 1), got 6",
        ),
        (
            build(ENCODER, Tied(ENCODER, "softmax"), ENCODER),
            "ValueError: layers: expected softmax on the last layer only, got it on layer 2 of 3",
        ),
        (
            build(Conv1d(1, 1, 2**10, image_shape=2**16)),
            f"ValueError: layers: expected at most {2**25} pixels in the patches of all layers together, "
            f"got {(2**16 - 2**10 + 1) * 2**10}",
        ),
        (
            build(*[Conv1d(1, 1, 1, image_shape=2**23)] * 5),
            f"ValueError: layers: expected at most {2**25} pixels in the patches of all layers together, "
            f"got {5 * 2**23}",
        ),
    ]
)
def test_networks_of_layers_that_share(call, message):
    check(call, message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Conv1d(1, 8, 3), "Conv1d.__init__() missing 1 required keyword-only argument: 'image_shape'"),
        (lambda: Conv2d(1, 8, 3), "Conv2d.__init__() missing 1 required keyword-only argument: 'image_shape'"),
        (
            lambda: Conv2d(1, 8, image_shape=5),
            "Conv2d.__init__() missing 1 required positional argument: 'kernel_size'",
        ),
        (
            lambda: Conv2d(1, 8, kernel=3, image_shape=5),
            "Conv2d.__init__() got an unexpected keyword argument 'kernel'",
        ),
        (lambda: MaxPool2d(2), "MaxPool2d.__init__() missing 1 required keyword-only argument: 'image_shape'"),
        (lambda: AveragePool2d(2), "AveragePool2d.__init__() missing 1 required keyword-only argument: 'image_shape'"),
        (lambda: Affine(2), "Affine.__init__() missing 1 required positional argument: 'n_out'"),
        (lambda: Tied(), "Tied.__init__() missing 1 required positional argument: 'layer'"),
        (lambda: HessianOperator(), "HessianOperator.__init__() missing 3 required positional arguments: "),
        (lambda: GaussNewtonOperator(), "GaussNewtonOperator.__init__() missing 3 required positional arguments: "),
        (lambda: mlp([1, 2], bias=False), "mlp() got an unexpected keyword argument 'bias'"),
    ],
)
def test_missing_and_unknown_arguments_are_those_of_the_class_that_was_called(call, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        call()


def deep(n, call):
    """The call with so many others around it."""
    return deep(n - 1, call) if n else call()


@pytest.mark.parametrize("error", [MemoryError, RecursionError, OSError, RuntimeError])
def test_what_is_no_fault_of_the_seed_is_not_said_to_be(error, monkeypatch):
    def failing(seed):
        raise error

    monkeypatch.setattr(np.random, "default_rng", failing)
    with pytest.raises(error, match=r"^$"):
        mlp([1, 2], seed=3)


def test_seeds_near_the_end_of_the_stack():
    for n in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):
        try:
            deep(n, lambda: mlp([1, 2], seed=3))
        except RecursionError:
            return
    raise AssertionError("no error")


@pytest.mark.parametrize("depth", [1, 2, 100_000])
def test_seeds_in_lists(depth):
    """NumPy takes a list, and would follow lists in it to the end of the stack and beyond."""
    seed = [1, 2]
    assert mlp([1, 2], seed=seed) == mlp([1, 2], seed=tuple(seed))
    for _ in range(depth):
        seed = [seed]
    with pytest.raises(TypeError, match=r"^seed: expected None, a non-negative integer or a Generator, got "):
        mlp([1, 2], seed=seed)
    seed = []
    seed.append(seed)
    with pytest.raises(
        TypeError, match=r"^seed: expected None, a non-negative integer or a Generator, got \[\[...\]\]"
    ):
        mlp([1, 2], seed=seed)
