"""Convolutions and pools: shapes, windows, ties and NaN in maxima, forms of their arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
import reference
from cases import data, network
from fastbp import SGD, Adam, Affine, AveragePool2d, Conv1d, Conv2d, MaxPool2d, Network, Tied, Trainer
from util import DTYPES, assert_close

POOLS = (AveragePool2d, MaxPool2d)


def maximum(x, kernel_size, image_shape, **options):
    """What MaxPool2d makes of one image, and where the gradient of its sum goes."""
    pool = MaxPool2d(kernel_size, image_shape=image_shape, **options)
    net = Network([Affine(1, pool.n_in), pool], init="zeros")
    net.biases[0][...] = np.ravel(x)
    one = np.zeros((1, 1))
    Y = net(one)
    with np.errstate(invalid="ignore"):
        gradient = fastbp.loss_and_gradient(net, one, Y - 1)[1][pool.n_in :]
    return Y.reshape(pool.output_shape), gradient.reshape(image_shape)


# Shapes.


@given(
    n=st.integers(1, 9), k=st.integers(1, 4), stride=st.integers(1, 4), padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
)  # fmt: skip
def test_output_size_counts_the_places_where_the_window_fits(n, k, stride, padding, dilation):
    places = [p for p in range(-padding, n + padding, stride) if p + (k - 1) * dilation < n + padding]
    if not places:
        with pytest.raises(ValueError, match=r"^kernel_size: expected at most the padded image, "):
            Conv1d(1, 1, k, image_shape=n, stride=stride, padding=padding, dilation=dilation)
        return
    layer = Conv1d(2, 3, k, image_shape=n, stride=stride, padding=padding, dilation=dilation)
    assert layer.output_shape == (len(places), 3)
    assert (layer.n_in, layer.n_out) == (2 * n, 3 * len(places))
    assert Conv2d(
        1, 2, (1, k), image_shape=(5, n), stride=(2, stride), padding=(0, padding), dilation=(9, dilation)
    ).output_shape == (3, len(places), 2)


def test_forms_of_sizes():
    layer = Conv2d(1, 2, 3, image_shape=(7, 8))
    assert (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((3, 3), (1, 1), (0, 0), (1, 1))
    assert layer.image_shape == (7, 8, 1)
    for kernel in (3, [3, 3], np.array([3, 3]), np.int64(3), np.array(3), (np.uint8(3), 3)):
        assert Conv2d(1, 2, kernel, image_shape=(7, 8)).kernel_size == (3, 3)
    for shape in ((7, 8), [7, 8, 1], np.array([7, 8]), layer.image_shape):
        assert Conv2d(1, 2, 3, image_shape=shape).image_shape == (7, 8, 1)
    for length in (9, (9,), (9, 2), [9, 2], np.array(9), np.array([9]), np.int16(9)):
        assert Conv1d(2, 1, 3, image_shape=length).image_shape == (9, 2)
    for pool in POOLS:
        made = pool((2, 3), image_shape=(7, 8, 2))
        assert (made.stride, made.padding, made.output_shape) == ((2, 3), (0, 0), (3, 2, 2))
        assert (made.activation, made.bias) == ("identity", False)


def test_the_next_layer_takes_the_output_shape():
    first = Conv2d(1, 8, 3, "tanh", image_shape=(8, 8), stride=2, padding=1)
    second = MaxPool2d(2, image_shape=first.output_shape)
    third = Conv2d(8, 5, 2, image_shape=second.output_shape)
    assert Network([first, second, third]).n_outputs == 5
    assert Conv1d(8, 2, 3, image_shape=Conv1d(3, 8, 2, image_shape=7).output_shape).output_shape == (4, 2)


def test_shown_as_they_are_made():
    layers = [
        Conv2d(1, 2, 3, "tanh", image_shape=(7, 8), stride=2, bias=False),
        Conv1d(2, 1, 4, image_shape=9, padding=3, dilation=2),
        AveragePool2d(2, image_shape=(4, 4, 1)),
        MaxPool2d((3, 2), image_shape=(4, 4, 1), stride=1, padding=1),
    ]
    names = {kind.__name__: kind for kind in (Conv1d, Conv2d, AveragePool2d, MaxPool2d)}
    for layer in layers:
        again = eval(repr(layer), names)
        assert repr(again) == repr(layer)
        assert Network([again], init="zeros") == Network([layer], init="zeros")


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (Conv2d(1, 1, 1, image_shape=(2, 2)), ["in_channels", "out_channels", "kernel_size", "stride", "output_shape"]),
        (MaxPool2d(1, image_shape=(2, 2, 1)), ["image_shape", "padding", "dilation", "kernel_size"]),
    ],
)
def test_layers_do_not_change(layer, names):
    for name in names:
        with pytest.raises(AttributeError):
            setattr(layer, name, getattr(layer, name))


def test_far_padding_is_counted_right():
    """Places beyond 32 bits on the way would wrap around to pixels that are not meant."""
    conv = Conv1d(1, 1, 1, image_shape=3, padding=2**30 - 2, stride=2**29, bias=False)
    net = Network([conv])
    net.weights[0][...] = 1
    places = [-(2**30 - 2) + 2**29 * k for k in range(conv.output_shape[0])]
    X = np.array([[5.0, 6.0, 7.0]])
    np.testing.assert_array_equal(net(X)[0], [X[0, p] if 0 <= p < 3 else 0 for p in places])
    assert 7.0 in net(X)


# What they compute.


def test_convolution_worked_by_hand():
    net = Network([Conv1d(1, 1, 3, image_shape=4, padding=1)])
    net.parameters = [1, 10, 100, 0.5]  # the kernel is not turned round
    np.testing.assert_array_equal(net([[1, 2, 3, 4]]), [[210.5, 321.5, 432.5, 43.5]])
    layer = Conv1d(1, 1, 2, image_shape=3, bias=False)
    net = Network([Tied(layer, bias=False), layer])
    net.parameters = [1, 10]  # (a, b) to (a, 10 a + b, 10 b)
    np.testing.assert_array_equal(net([[1, 2]]), [[1 + 120, 12 + 200]])


def test_weights_lie_as_documented():
    """Rows by (height, width, in_channels), columns by out_channels; images flattened with their channels last."""
    conv = Conv2d(2, 3, (2, 3), image_shape=(4, 5), bias=False)
    net = network([conv])
    image = np.random.default_rng(0).standard_normal((4, 5, 2))
    W = net.weights[0].reshape(2, 3, 2, 3)
    expected = np.zeros((3, 3, 3))
    for i in range(3):
        for j in range(3):
            for o in range(3):
                expected[i, j, o] = (image[i : i + 2, j : j + 3] * W[..., o]).sum()
    assert_close(net(image.reshape(1, -1)).reshape(3, 3, 3), expected, "float64", 12)


def test_shifted_image_shifts_the_output():
    net = network([Conv2d(2, 3, 3, "gelu", image_shape=(9, 9), padding=1)])
    image = np.zeros((1, 9, 9, 2))
    image[0, 3:6, 3:6] = np.random.default_rng(0).standard_normal((3, 3, 2))
    Y = net(image.reshape(1, -1)).reshape(9, 9, 3)
    shifted = net(np.roll(image, (1, 2), (1, 2)).reshape(1, -1)).reshape(9, 9, 3)
    np.testing.assert_array_equal(shifted[2:, 3:], Y[1:-1, 1:-2])


def test_average_counts_the_padding():
    pool = AveragePool2d(2, image_shape=(2, 2, 1), stride=2, padding=1)
    np.testing.assert_array_equal(Network([pool])([[4, 8, 12, 16]]), [[1, 2, 3, 4]])


def test_averages_of_a_constant_are_that_constant():
    pool = AveragePool2d((2, 3), image_shape=(4, 6, 3))
    row = np.tile([1.0, 2.0, 3.0], 24)[None]
    assert_close(Network([pool])(row), np.tile([1.0, 2.0, 3.0], 4)[None], "float64")


@pytest.mark.parametrize("pool", POOLS)
def test_window_of_one_changes_nothing(pool):
    net = network([Affine(3, 12, "tanh"), pool(1, image_shape=(2, 3, 2))])
    plain = network([Affine(3, 12, "tanh")])
    plain.parameters = net.parameters
    X, T = data(net, 5)
    np.testing.assert_array_equal(net(X), plain(X))
    np.testing.assert_array_equal(*(fastbp.loss_and_gradient(x, X, T)[1] for x in (net, plain)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pool", POOLS)
def test_networks_without_parameters(pool, dtype, tmp_path):
    layers = [pool(2, image_shape=(4, 6, 2)), AveragePool2d((2, 1), image_shape=(2, 3, 2))]
    net = Network(layers, dtype=dtype)
    assert net.parameters.shape == (0,)
    X, T = data(net, 7)
    expected = reference.forward(net.layers, net.parameters, X)
    assert_close(net(X), expected, dtype, 4)
    value, gradient = fastbp.loss_and_gradient(net, X, T)
    assert_close(value, ((expected - T) ** 2).sum() / 2, dtype, 50)
    assert (gradient.shape, fastbp.per_sample_gradients(net, X, T).shape) == ((0,), (7, 0))
    for optimizer in (SGD(0.1, 0.9), Adam()):
        history = Trainer(net, optimizer).fit(X, T, epochs=2, shuffle=False)
        assert history.loss[0] == history.loss[1]
    assert fastbp.check_gradient(net, X, T)
    net.save(tmp_path / "net")
    assert fastbp.load(tmp_path / "net") == net == net.copy()
    assert net(X[:0]).shape == (0, net.n_outputs)


# Maxima.


def test_of_equal_numbers_the_first_is_taken():
    Y, taken = maximum([[3, 3, 1], [3, 3, 1], [0, 0, 0]], 2, (3, 3, 1), stride=1)
    np.testing.assert_array_equal(Y[..., 0], [[3, 3], [3, 3]])
    np.testing.assert_array_equal(taken[..., 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert maximum(np.zeros((4, 4)), 4, (4, 4, 1))[1].ravel().nonzero()[0].tolist() == [0]
    assert maximum([[-0.0, 0.0], [0.0, -0.0]], 2, (2, 2, 1))[1].ravel().nonzero()[0].tolist() == [0]


def test_channels_are_taken_by_themselves():
    image = np.array([[[1, 8], [2, 7]], [[3, 6], [4, 5]]])
    Y, taken = maximum(image, 2, (2, 2, 2))
    np.testing.assert_array_equal(Y[0, 0], [4, 8])
    np.testing.assert_array_equal(taken, [[[0, 1], [0, 0]], [[0, 0], [1, 0]]])


def test_padding_is_never_taken():
    Y, taken = maximum(-np.arange(1.0, 10).reshape(3, 3), 2, (3, 3, 1), padding=1)
    np.testing.assert_array_equal(Y[..., 0], [[-1, -2], [-4, -5]])
    np.testing.assert_array_equal(taken[..., 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("low", [-np.inf, -(2.0**50)])
def test_least_numbers_are_numbers(low):
    Y, taken = maximum(np.full((2, 2), low), 2, (2, 2, 1))
    assert Y == low
    if np.isfinite(low):
        assert taken.ravel().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_taken_before_any_number_and_only_its_windows_know(instruction_set, dtype, channels):
    pool = MaxPool2d(2, image_shape=(4, 4, channels))
    net = Network([pool], dtype=dtype)
    X = np.random.default_rng(0).standard_normal((6, 4, 4, channels)).astype(dtype)
    clean = net(X.reshape(6, -1)).reshape(6, 2, 2, channels)
    for place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for other in (np.inf, np.nan, 5.0):
            x = X.copy()
            x[2, 2:, :2, 0] = other
            x[2, 2 + place[0], place[1], 0] = np.nan
            Y = net(x.reshape(6, -1)).reshape(6, 2, 2, channels)
            assert np.isnan(Y[2, 1, 0, 0])
            Y[2, 1, 0, 0] = clean[2, 1, 0, 0]
            np.testing.assert_array_equal(Y, clean)


def test_of_several_nans_the_first_gets_the_gradient():
    """It is NaN itself, so that only the places it does not reach can be seen."""
    _, taken = maximum([[1, np.nan, 0, 0], [np.nan, 5, 0, 1]], 2, (2, 4, 1))
    assert np.isnan(taken[0, 1, 0])
    np.testing.assert_array_equal(np.nan_to_num(taken, nan=9)[..., 0], [[0, 9, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_reaches_only_the_patches_it_is_in(wrong):
    net = network([Conv2d(2, 3, 3, "identity", image_shape=(6, 6)), AveragePool2d(2, image_shape=(4, 4, 3))])
    X, T = data(net, 3)
    clean, G = net(X), fastbp.per_sample_gradients(net, X, T)
    X[1, 0] = wrong  # the first pixel: in the first patch alone
    Y = net(X).reshape(3, 2, 2, 3)
    assert not np.isfinite(Y[1, 0, 0]).any()
    Y[1, 0, 0] = clean.reshape(3, 2, 2, 3)[1, 0, 0]
    np.testing.assert_array_equal(Y.reshape(3, -1), clean)
    np.testing.assert_array_equal(fastbp.per_sample_gradients(net, X, T)[[0, 2]], G[[0, 2]])


def test_average_is_a_convolution_with_equal_weights():
    options = {"image_shape": (5, 6, 1), "stride": (1, 2), "padding": 1}
    pool, conv = AveragePool2d((2, 3), **options), Conv2d(1, 1, (2, 3), bias=False, **options)
    nets = Network([pool]), Network([conv])
    nets[1].parameters = np.full(6, 1 / 6)
    X, _ = data(nets[0], 8)
    assert_close(nets[0](X), nets[1](X), "float64", 6)
