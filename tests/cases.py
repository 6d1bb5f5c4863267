"""Networks that between them have every activation, output unit, error function, depth and sharing pattern."""

import numpy as np
from hypothesis import strategies as st

from fastbp import Affine, AveragePool2d, Conv1d, Conv2d, MaxPool2d, Network, Shared, Tied
from reference import ELEMENTWISE, matrix_shape, owner

# Every output unit with every error function that goes with it.
PAIRS = (
    *((output, "squared_error") for output in (*ELEMENTWISE, "softmax")),
    ("sigmoid", "binary_cross_entropy"),
    ("softmax", "cross_entropy"),
)
# Those in which the error is a smooth function of the parameters.
SMOOTH = ("identity", "sigmoid", "tanh", "softplus", "gelu", "silu")


def chain(*sizes, hidden="tanh", output="identity", bias=True):
    """Affine layers of those sizes; `bias` is for all of them or one for each."""
    last = len(sizes) - 2
    biases = [bias] * (last + 1) if isinstance(bias, bool) else bias
    return [
        Affine(n_in, n_out, output if l == last else hidden, bias=biases[l])
        for l, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
    ]


def repeated(pattern, layers):
    """The layers in the order of the pattern's letters, the same letter being the same object."""
    return [layers["abcdef".index(letter)] for letter in pattern]


SQUARE, UP, DOWN = Affine(5, 5, "tanh"), Affine(5, 7, "sigmoid"), Affine(7, 5, "gelu", bias=False)

ARCHITECTURES = {
    "one_layer": chain(4, 3),
    "one_by_one": chain(1, 1),
    "one_layer_no_bias": chain(4, 3, bias=False),
    **{f"depth_{depth}": chain(*(6, 5, 7, 4, 8, 5, 3)[: depth + 1]) for depth in range(2, 7)},
    **{f"hidden_{name}": chain(4, 9, 6, 2, hidden=name) for name in ELEMENTWISE},
    "no_bias": chain(4, 6, 5, 2, bias=False),
    "some_biases": chain(4, 6, 5, 2, bias=(True, False, True)),
    "bias_last": chain(4, 6, 5, 2, bias=(False, False, True)),
    "narrow": chain(3, 1, 1, 2),
    "odd_widths": chain(13, 33, 17, 65, 9),
    "wide": chain(5, 129, 130, 3),
    "widest": chain(3, 400, 2, hidden="relu"),
    "repeated_aa": repeated("aa", [SQUARE]),
    "repeated_aaa": repeated("aaa", [SQUARE]),
    "repeated_aba": repeated("aba", [SQUARE, Affine(5, 5, "silu")]),
    "repeated_aab": repeated("aab", [SQUARE, Affine(5, 2)]),
    "repeated_baa": repeated("baa", [SQUARE, Affine(3, 5, "softplus")]),
    "repeated_abab": repeated("abab", [UP, DOWN]),
    "repeated_cababc": repeated("cabcab", [UP, DOWN, SQUARE]),
    "repeated_no_bias": repeated("aab", [Affine(4, 4, "tanh", bias=False), Affine(4, 1)]),
}


def made(function):
    """Register what the function builds as the architecture of its name."""
    ARCHITECTURES[function.__name__] = function()


@made
def tied_autoencoder():
    encoder = Affine(6, 4, "tanh")
    return [encoder, Tied(encoder)]


@made
def tied_without_biases():
    encoder = Affine(6, 4, "tanh", bias=False)
    return [encoder, Tied(encoder, "sigmoid", bias=False)]


@made
def tied_to_a_later_layer():
    decoder = Affine(3, 5)
    return [Tied(decoder, "sigmoid"), decoder]


@made
def tied_deep():
    first, second = Affine(7, 5, "tanh"), Affine(5, 3, "softplus")
    return [first, second, Tied(second, "gelu"), Tied(first, "sigmoid")]


@made
def tied_several_times():
    square = Affine(5, 5, "tanh")
    return [Tied(square, "silu"), square, Tied(square, "sigmoid"), Tied(square, bias=False)]


@made
def tied_to_a_tie():
    encoder = Affine(6, 4, "tanh")
    decoder = Tied(encoder, "silu")
    return [encoder, decoder, Tied(decoder, "sigmoid")]


@made
def tied_to_a_tie_of_a_later_layer():
    decoder = Affine(3, 5, "tanh")
    encoder = Tied(decoder, "gelu")
    return [Tied(encoder, "softplus", bias=False), encoder, decoder]


@made
def tied_through_a_layer_outside():
    encoder = Affine(6, 4, "tanh")
    return [encoder, Tied(Tied(Tied(encoder)), "tanh"), Affine(6, 2)]


@made
def tied_and_repeated():
    up, down = Affine(5, 7, "tanh"), Affine(7, 5, "sigmoid", bias=False)
    back = Tied(up, "gelu")
    return [up, back, up, down, up, back, Tied(down, "softplus"), down]


@made
def tied_to_softmax():
    encoder = Affine(6, 4, "relu")
    return [encoder, Tied(encoder, "softmax")]


@made
def tied_wide():
    encoder = Affine(70, 33, "tanh")
    return [encoder, Tied(encoder)]


@made
def shared_to_independent():
    return [Shared(3, 2, 4, "tanh"), Affine(8, 3)]


@made
def shared_to_shared():
    return [Shared(2, 3, 6, "tanh"), Shared(6, 1, 3, "gelu", bias=False), Shared(1, 2, 3)]


@made
def independent_to_shared():
    return [Affine(5, 6, "sigmoid"), Shared(2, 3, 3, "sigmoid")]


@made
def shared_softmax():
    return [Shared(2, 3, 5, "leaky_relu"), Shared(3, 1, 5, "softmax")]


@made
def shared_many_groups():
    return [Shared(2, 3, 70, "relu"), Affine(210, 2)]


@made
def shared_one_by_one():
    return [Shared(1, 1, 5, "tanh"), Shared(5, 4, 1, "tanh"), Shared(1, 1, 4)]


@made
def shared_and_repeated():
    shared = Shared(3, 3, 2, "tanh")
    return [shared, Affine(6, 6, "silu"), shared, shared]


@made
def shared_and_tied():
    shared = Shared(3, 2, 4, "tanh")
    back = Tied(shared, "softplus")
    return [shared, back, shared, back, Tied(back, bias=False)]


@made
def shared_tied_to_a_later_layer():
    shared = Shared(2, 5, 2)
    return [Tied(shared, "tanh"), Affine(4, 4, "tanh"), shared]


@made
def conv1d():
    return [Conv1d(2, 3, 3, "tanh", image_shape=7), Affine(15, 2)]


@made
def conv1d_uneven():
    return [Conv1d(3, 2, 3, "gelu", image_shape=(11, 3), stride=2, padding=3, dilation=2, bias=False), Affine(14, 2)]


@made
def conv1d_tied():
    layer = Conv1d(2, 3, 4, "tanh", image_shape=9, stride=2, padding=1)
    return [layer, Tied(layer)]


@made
def conv2d():
    return [Conv2d(2, 3, 3, "tanh", image_shape=(5, 6)), Affine(36, 2)]


@made
def conv2d_uneven():
    layer = Conv2d(2, 3, (2, 3), "silu", image_shape=(5, 7), stride=(2, 1), padding=(1, 4), dilation=(3, 2))
    return [layer, Affine(layer.n_out, 2)]


@made
def conv2d_one_channel():
    return [Conv2d(1, 5, 3, "relu", image_shape=(6, 6), stride=2, padding=1), Affine(45, 2)]


@made
def conv2d_many_channels():
    return [Conv2d(17, 19, 2, "tanh", image_shape=(3, 3), bias=False), Affine(76, 2)]


@made
def conv2d_one_pixel():
    return [Conv2d(3, 2, 1, "tanh", image_shape=(2, 3)), Conv2d(2, 4, (2, 3), image_shape=(2, 3))]


@made
def conv2d_mostly_padding():
    return [Conv2d(2, 2, 2, "tanh", image_shape=(2, 1), padding=3, stride=2), Affine(24, 2)]


@made
def convs():
    first = Conv2d(1, 3, 3, "tanh", image_shape=(7, 6), padding=1, stride=2)
    second = Conv2d(3, 2, 2, "softplus", image_shape=first.output_shape)
    return [first, second, Affine(second.n_out, 4, "softmax")]


@made
def conv_in_the_middle():
    layer = Conv2d(2, 3, 2, "tanh", image_shape=(3, 3))
    return [Affine(4, 18, "tanh"), layer, Shared(3, 1, 4, "sigmoid"), Affine(4, 2)]


@made
def conv_repeated():
    layer = Conv2d(2, 2, 3, "tanh", image_shape=(3, 4), padding=1)
    return [layer, layer, Affine(24, 24, "tanh"), layer]


@made
def conv_tied():
    layer = Conv2d(2, 3, 3, "tanh", image_shape=(5, 4), stride=2, padding=1)
    return [layer, Tied(layer, "sigmoid")]


@made
def conv_tied_uneven():
    layer = Conv2d(1, 2, (2, 3), "sigmoid", image_shape=(6, 7), stride=(2, 1), padding=(0, 2), dilation=(2, 1))
    return [layer, Tied(layer, bias=False)]


@made
def conv_tied_to_a_later_layer():
    layer = Conv2d(2, 2, 2, image_shape=(3, 3), bias=False)
    return [Tied(layer, "tanh"), layer]


@made
def conv_tied_and_repeated():
    layer = Conv2d(1, 2, 3, "tanh", image_shape=(4, 4))
    back = Tied(layer, "gelu")
    return [layer, back, layer, back, Tied(back, "softplus")]


@made
def average_pool():
    return [AveragePool2d(2, image_shape=(4, 6, 2)), Affine(12, 3)]


@made
def average_pool_overlapping():
    pool = AveragePool2d((3, 2), image_shape=(5, 4, 3), stride=(2, 1), padding=1)
    return [Affine(4, 60, "tanh"), pool, Affine(pool.n_out, 2)]


@made
def average_pool_last():
    return [Conv2d(2, 3, 2, "tanh", image_shape=(5, 5)), AveragePool2d(4, image_shape=(4, 4, 3))]


@made
def max_pool():
    return [MaxPool2d(2, image_shape=(4, 6, 2)), Affine(12, 3)]


@made
def max_pool_overlapping():
    pool = MaxPool2d((3, 2), image_shape=(5, 4, 3), stride=(2, 1), padding=1)
    return [Affine(4, 60, "tanh"), pool, Affine(pool.n_out, 2)]


@made
def max_pool_last():
    return [Affine(3, 18, "silu"), MaxPool2d(2, image_shape=(3, 3, 2), stride=1)]


@made
def pools_of_pools():
    first = MaxPool2d(2, image_shape=(5, 5, 1), stride=1)
    return [Affine(3, 25, "tanh"), first, Affine(16, 25, "tanh"), first, AveragePool2d(2, image_shape=(4, 4, 1))]


@made
def convolutional():
    first = Conv2d(1, 4, 3, "relu", image_shape=(8, 8), padding=1)
    pool = MaxPool2d(2, image_shape=first.output_shape)
    second = Conv2d(4, 3, 3, "gelu", image_shape=pool.output_shape)
    average = AveragePool2d(2, image_shape=second.output_shape)
    return [first, pool, second, average, Affine(3, 5, "softmax")]


@made
def everything():
    conv = Conv1d(1, 2, 3, "tanh", image_shape=6, padding=1)
    shared = Shared(4, 2, 3, "softplus")
    affine = Affine(6, 6, "gelu")
    pool = MaxPool2d((1, 2), image_shape=(2, 3, 2), stride=1)
    return [conv, pool, Affine(8, 12, "tanh"), shared, affine, affine, conv, Tied(conv), Tied(affine, "tanh"),
            Tied(shared, "sigmoid", bias=False), Tied(conv, "silu"), affine]  # fmt: skip


# Some that between them have all kinds of layers.
SHARING = ("tied_and_repeated", "shared_and_tied", "conv_tied_uneven", "convolutional", "everything")
# Those that are slow to compare or to step through.
LARGE = ("wide", "widest", "odd_widths", "tied_wide", "shared_many_groups", "conv2d_many_channels")


def spread(net, seed=0, scale=0.7):
    """The network with all its parameters, biases too, drawn at random: zeros hide mistakes."""
    net.parameters = scale * np.random.default_rng(seed).standard_normal(net.n_parameters)
    return net


def network(layers, dtype="float64", seed=0):
    """A network of those layers with random weights of a size that keeps activations moderate, and random biases."""
    return spread(Network(layers, dtype=dtype), seed, 1 / np.sqrt(np.mean([terms_of(layer) for layer in layers])))


def terms_of(layer):
    """How many numbers an output of the layer adds up at most."""
    giver, transposed = owner(layer)
    if matrix_shape(giver) is None:
        return np.prod(giver.kernel_size)
    rows, columns = matrix_shape(giver)
    if not transposed:
        return rows
    return columns * np.prod(giver.kernel_size) if isinstance(giver, (Conv1d, Conv2d)) else columns


def uses_of(layer):
    """How often the layer's matrix is applied to a sample."""
    giver, _ = owner(layer)
    return giver.n_out // matrix_shape(giver)[1] if matrix_shape(giver) else 1


def data(net, N, loss=None, seed=1):
    """Inputs of the network's dtype, and targets that its error function may meet."""
    rng = np.random.default_rng(seed)
    X, T = rng.standard_normal((N, net.n_inputs)), rng.standard_normal((N, net.n_outputs))
    output = net.layers[-1].activation
    if output == "sigmoid" and loss != "squared_error":
        T = rng.random(T.shape)
    if output == "softmax" and loss != "squared_error":
        T = rng.dirichlet(np.ones(net.n_outputs), N)
    return X.astype(net.dtype), T.astype(net.dtype)


@st.composite
def architectures(draw, activations=ELEMENTWISE, largest=8, deepest=6):
    """Layer lists of any depth, with or without biases, some layers repeated, any output unit."""
    layers = [draw(_layers(draw(st.integers(1, largest)), activations, largest))]
    for _ in range(draw(st.integers(0, deepest - 1))):
        width = layers[-1].n_out
        again = [layer for layer in layers if layer.n_in == width]
        if again and draw(st.booleans()):
            layers.append(draw(st.sampled_from(again)))
        else:
            layers.append(draw(_layers(width, activations, largest)))
    if draw(st.booleans()):
        layers.append(Affine(layers[-1].n_out, draw(st.integers(1, largest)), "softmax", bias=draw(st.booleans())))
    return layers


def _layers(n_in, activations, largest):
    return st.builds(Affine, st.just(n_in), st.integers(1, largest), st.sampled_from(activations), bias=st.booleans())


def error_functions(layers):
    """A strategy for the error functions that go with the last layer's output unit; None is the default."""
    return st.sampled_from([None, *(loss for output, loss in PAIRS if output == layers[-1].activation)])


@st.composite
def sharing_patterns(draw, activations=ELEMENTWISE, largest=24, deepest=5, maxima=True):
    """Layer lists with groups, convolutions, pools, repetitions and ties to whatever fits, and any output unit."""
    layers = [draw(_any_layers(draw(st.integers(1, 12)), activations, maxima))]
    while len(layers) < deepest and draw(st.integers(0, 4)):
        width = layers[-1].n_out
        again = [layer for layer in layers if layer.n_in == width]
        ties = [layer for layer in layers if layer.n_out == width and matrix_shape(owner(layer)[0])]
        kind = draw(st.sampled_from(["new", "later", *["again"] * bool(again), *["tie"] * (2 * bool(ties))]))
        if kind == "again":
            layers.append(draw(st.sampled_from(again)))
        elif kind == "tie":
            layers.append(
                Tied(draw(st.sampled_from(ties)), draw(st.sampled_from(activations)), bias=draw(st.booleans()))
            )
        elif kind == "later":
            groups = draw(st.sampled_from(_divisors(width)))
            later = Shared(draw(st.integers(1, 3)), width // groups, groups, draw(st.sampled_from(activations)))
            layers += [Tied(later, draw(st.sampled_from(activations)), bias=draw(st.booleans())), later]
        elif width > largest:
            layers.append(Affine(width, draw(st.integers(1, 4)), draw(st.sampled_from(activations))))
        else:
            layers.append(draw(_any_layers(width, activations, maxima)))
    if draw(st.booleans()):
        layers.append(Affine(layers[-1].n_out, draw(st.integers(1, 4)), "softmax", bias=draw(st.booleans())))
    return layers


def _divisors(number):
    return [k for k in range(1, number + 1) if number % k == 0]


@st.composite
def _any_layers(draw, n_in, activations, maxima):
    """A layer of any kind with so many inputs."""
    kind = draw(st.sampled_from(["affine", "shared", "conv1d", "conv2d", "average", *["maximum"] * maxima]))
    common = {"activation": draw(st.sampled_from(activations)), "bias": draw(st.booleans())}
    n_out = draw(st.integers(1, 3))
    if kind == "affine":
        return Affine(n_in, n_out, **common)
    channels = draw(st.sampled_from(_divisors(n_in)))
    if kind == "shared":
        return Shared(channels, n_out, n_in // channels, **common)
    height = draw(st.sampled_from(_divisors(n_in // channels)))
    image = (n_in // channels,) if kind == "conv1d" else (height, n_in // channels // height)
    stride = [draw(st.integers(1, 3)) for _ in image]
    if kind in ("average", "maximum"):
        window = [draw(st.integers(1, min(n, 3))) for n in image]
        padding = [draw(st.integers(0, k // 2)) for k in window]
        pool = AveragePool2d if kind == "average" else MaxPool2d
        return pool(window, image_shape=(*image, channels), stride=stride, padding=padding)
    padding = [draw(st.integers(0, 2)) for _ in image]
    dilation = [draw(st.integers(1, 2)) for _ in image]
    window = [
        draw(st.integers(1, min(3, (n + 2 * p - 1) // d + 1))) for n, p, d in zip(image, padding, dilation, strict=True)
    ]
    conv = Conv1d if kind == "conv1d" else Conv2d
    shape = (*image, channels)
    return conv(channels, n_out, window, image_shape=shape, stride=stride, padding=padding, dilation=dilation, **common)
