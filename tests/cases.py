"""Networks that between them have every activation, output unit, error function, depth and sharing pattern."""

import numpy as np
from hypothesis import strategies as st

from fastbp import Affine, Network
from reference import ELEMENTWISE

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


def spread(net, seed=0, scale=0.7):
    """The network with all its parameters, biases too, drawn at random: zeros hide mistakes."""
    net.parameters = scale * np.random.default_rng(seed).standard_normal(net.n_parameters)
    return net


def network(layers, dtype="float64", seed=0):
    """A network of those layers with random weights of a size that keeps activations moderate, and random biases."""
    return spread(Network(layers, dtype=dtype), seed, 1 / np.sqrt(np.mean([layer.n_in for layer in layers])))


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
