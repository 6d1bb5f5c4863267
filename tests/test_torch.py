"""Convolutions and pools against PyTorch, where it is installed: outputs and all gradients, in float64."""

import numpy as np
import pytest

import fastbp
from cases import data, network
from fastbp import Affine, AveragePool2d, Conv1d, Conv2d, MaxPool2d, Network, Tied
from util import assert_close

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
F = torch.nn.functional

CONV1D = [
    {"kernel_size": 3},
    {"kernel_size": 4, "stride": 3, "padding": 2},
    {"kernel_size": 3, "stride": 2, "padding": 5, "dilation": 3},
    {"kernel_size": 1, "stride": 2},
]
CONV2D = [
    {"kernel_size": 3},
    {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 2)},
    {"kernel_size": (3, 2), "stride": (1, 3), "padding": (4, 1), "dilation": (2, 3)},
    {"kernel_size": (8, 9)},
    {"kernel_size": 1, "stride": 3, "bias": False},
]
POOLS = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 1)},
    {"kernel_size": (2, 4), "stride": 3},
]


def images(rows, shape):
    """Rows of a batch as PyTorch has them: channels first."""
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rows.reshape(len(rows), *shape), -1, 1)))
    return x.requires_grad_()


def rows(x):
    """And back."""
    x = x.detach().numpy()
    return np.moveaxis(x, 1, -1).reshape(len(x), -1)


def kernel(layer, W):
    """`W` as PyTorch has it: (out_channels, in_channels, *kernel_size)."""
    W = W.reshape(*layer.kernel_size, layer.in_channels, layer.out_channels)
    weight = np.ascontiguousarray(np.moveaxis(W, (-1, -2), (0, 1)))
    return torch.from_numpy(weight).requires_grad_()


def flat(layer, weight):
    """The gradient of that, as the library has it."""
    return np.moveaxis(weight.grad.numpy(), (0, 1), (-1, -2)).reshape(-1, layer.out_channels)


def bias_of(b):
    return None if b is None else torch.from_numpy(b.copy()).requires_grad_()


def compare(net, X, T, y, parameters):
    """The network's output and gradient with those of PyTorch's y; `parameters` are pairs (view of net, gradient)."""
    assert_close(net(X), rows(y), "float64", 300)
    shape = (len(T), *y.shape[2:], y.shape[1])
    t = torch.from_numpy(np.ascontiguousarray(np.moveaxis(T.reshape(shape), -1, 1)))
    (0.5 * (y - t) ** 2).sum().backward()
    value, gradient = fastbp.loss_and_gradient(net, X, T)
    assert_close(value, 0.5 * ((rows(y) - T) ** 2).sum(), "float64", 1000)
    expected = net.copy()
    expected.parameters[...] = np.nan
    for take, wanted in parameters:
        take(expected)[...] = wanted()
    assert_close(gradient, expected.parameters, "float64", 1000)


@pytest.mark.parametrize("options", [*CONV1D, *CONV2D], ids=str)
def test_convolutions(options):
    one = options in CONV1D
    layer = (Conv1d if one else Conv2d)(3, 4, image_shape=11 if one else (8, 9), activation="tanh", **options)
    net = network([layer])
    X, T = data(net, 7)
    weight, b = kernel(layer, net.weights[0]), bias_of(net.biases[0])
    function = F.conv1d if one else F.conv2d
    y = torch.tanh(function(images(X, layer.image_shape), weight, b, layer.stride, layer.padding, layer.dilation))
    parameters = [(lambda x: x.weights[0], lambda: flat(layer, weight))]
    if b is not None:
        parameters.append((lambda x: x.biases[0], lambda: b.grad.numpy()))
    compare(net, X, T, y, parameters)


@pytest.mark.parametrize("options", [*CONV1D, *CONV2D], ids=str)
def test_tied_convolutions_are_transposed_convolutions(options):
    one = options in CONV1D
    layer = (Conv1d if one else Conv2d)(3, 4, image_shape=11 if one else (8, 9), activation="tanh", **options)
    net = network([layer, Tied(layer, "sigmoid")])
    X, T = data(net, 7)
    weight, b, c = kernel(layer, net.weights[0]), bias_of(net.biases[0]), bias_of(net.biases[1])
    forward, back = (F.conv1d, F.conv_transpose1d) if one else (F.conv2d, F.conv_transpose2d)
    z = torch.tanh(forward(images(X, layer.image_shape), weight, b, layer.stride, layer.padding, layer.dilation))
    reach = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, s, p, d, k in zip(
            layer.output_shape, layer.stride, layer.padding, layer.dilation, layer.kernel_size, strict=False
        )
    ]
    # Pixels at the end that no patch reaches get the bias alone.
    rest = [n - r for n, r in zip(layer.image_shape, reach, strict=False)]
    a = back(z, weight, c, layer.stride, layer.padding, rest, 1, layer.dilation)
    parameters = [
        (lambda x: x.weights[0], lambda: flat(layer, weight)),
        (lambda x: x.biases[1], lambda: c.grad.numpy()),
    ]
    if b is not None:
        parameters.append((lambda x: x.biases[0], lambda: b.grad.numpy()))
    loss = F.binary_cross_entropy_with_logits(
        a, torch.from_numpy(np.ascontiguousarray(np.moveaxis(T.reshape(7, *layer.image_shape), -1, 1))), reduction="sum"
    )
    loss.backward()
    assert_close(net(X), rows(torch.sigmoid(a)), "float64", 300)
    value, gradient = fastbp.loss_and_gradient(net, X, T)
    assert_close(value, loss.item(), "float64", 1000)
    expected = net.copy()
    expected.parameters[...] = np.nan
    for take, wanted in parameters:
        take(expected)[...] = wanted()
    assert_close(gradient, expected.parameters, "float64", 1000)


@pytest.mark.parametrize("options", POOLS, ids=str)
@pytest.mark.parametrize("kind", ["average", "maximum"])
def test_pools(kind, options):
    """Below a convolution, whose gradient shows the pool's."""
    conv = Conv2d(2, 3, 2, "silu", image_shape=(8, 9))
    pool = (AveragePool2d if kind == "average" else MaxPool2d)(image_shape=conv.output_shape, **options)
    net = network([conv, pool])
    X, T = data(net, 7)
    weight, b = kernel(conv, net.weights[0]), bias_of(net.biases[0])
    z = F.silu(F.conv2d(images(X, conv.image_shape), weight, b))
    function = F.avg_pool2d if kind == "average" else F.max_pool2d
    y = function(z, pool.kernel_size, pool.stride, pool.padding)
    compare(
        net, X, T, y,
        [(lambda x: x.weights[0], lambda: flat(conv, weight)), (lambda x: x.biases[0], lambda: b.grad.numpy())],
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_and_nan_in_maxima(dtype):
    """PyTorch too takes the first of equals, and a NaN before any number."""
    pool = MaxPool2d(3, image_shape=(7, 7, 2), stride=2, padding=1)
    X = np.random.default_rng(0).integers(0, 3, (50, 98)).astype(dtype)
    x = images(X, pool.image_shape)
    y = F.max_pool2d(x, 3, 2, 1)
    net = Network([pool], dtype=dtype)
    np.testing.assert_array_equal(net(X), rows(y))
    y.sum().backward()
    for n in range(10):
        below = Network([Affine(1, 98), pool], dtype=dtype, init="zeros")
        below.biases[0][...] = X[n]
        one = np.zeros((1, 1), dtype)
        gradient = fastbp.loss_and_gradient(below, one, below(one) - 1)[1][98:]
        np.testing.assert_array_equal(gradient, rows(x.grad)[n])
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    np.testing.assert_array_equal(net(X), rows(F.max_pool2d(images(X, pool.image_shape), 3, 2, 1)))


@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_factors(output, reduction):
    """Those of the README's table."""
    net, N, K = network([Affine(4, 3, output)]), 7, 3
    X, T = data(net, N)
    x, (W, b) = torch.from_numpy(X), (torch.from_numpy(a[0].copy()).requires_grad_() for a in (net.weights, net.biases))
    loss, factor = {
        "identity": (F.mse_loss, {"sum": 2, "mean": 2 / (N * K)}),
        "softmax": (F.cross_entropy, {"sum": 1, "mean": 1 / N}),
        "sigmoid": (F.binary_cross_entropy_with_logits, {"sum": 1, "mean": 1 / (N * K)}),
    }[output]
    theirs = loss(x @ W + b, torch.from_numpy(T), reduction=reduction)
    theirs.backward()
    ours, gradient = fastbp.loss_and_gradient(net, X, T)
    assert_close(factor[reduction] * ours, theirs.item(), "float64", N * K)
    assert_close(factor[reduction] * gradient[:12].reshape(4, 3), W.grad.numpy(), "float64", N * K)
