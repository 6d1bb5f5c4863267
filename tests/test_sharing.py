"""Tied and shared layers: the views, the paths of a gradient, and what they are the same as."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
import reference
from cases import ARCHITECTURES, SHARING, data, network, sharing_patterns, spread
from fastbp import Affine, AveragePool2d, Conv1d, Conv2d, Network, Shared, Tied
from util import DTYPES, assert_close

ALL_SHARING = [name for name in ARCHITECTURES if name.startswith(("tied", "shared", "conv", "everything"))]


def as_one_matrix(layers):
    """A network of one matrix for everything that is linear: identity activations, biases as they are."""
    net = network(layers)
    zero = net(np.zeros((1, net.n_inputs)))
    return net(np.eye(net.n_inputs)) - zero, zero[0]


# The views.


def test_weights_of_a_tied_layer_are_the_transposed_view():
    encoder = Affine(6, 4, "tanh")
    net = Network([encoder, Tied(encoder)], seed=0)
    W, V = net.weights
    assert V.shape == (4, 6)
    assert np.shares_memory(W, V)
    assert np.shares_memory(V, net.parameters)
    np.testing.assert_array_equal(V, W.T)
    V[3, 1] = 17
    assert net.weights[0][1, 3] == 17
    assert net.parameters[1 * 4 + 3] == 17
    W[2, 0] = 18
    assert net.weights[1][0, 2] == 18
    net.weights[1][...] = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(net.weights[0], np.arange(24).reshape(4, 6).T)


def test_a_written_view_is_seen_by_the_next_pass():
    encoder = Affine(3, 2)
    net = Network([encoder, Tied(encoder)], init="zeros")
    net.weights[1][...] = [[1, 2, 3], [4, 5, 6]]
    W = np.array([[1.0, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(net(np.eye(3)), W @ W.T)


def test_tie_to_a_tie_is_the_matrix_itself():
    encoder = Affine(6, 4)
    decoder = Tied(encoder)
    net = Network([encoder, decoder, Tied(decoder)], seed=0)
    assert net.weights[2].shape == (6, 4)
    np.testing.assert_array_equal(net.weights[2], net.weights[0])
    assert net.weights[2].ctypes.data == net.weights[0].ctypes.data
    assert len({b.ctypes.data for b in net.biases}) == 3


@pytest.mark.parametrize("case", ALL_SHARING)
def test_views_write_through(case):
    net = network(ARCHITECTURES[case])
    for view in (*net.weights, *net.biases):
        if view is not None:
            before = net.parameters.copy()
            view += 1
            assert (net.parameters != before).sum() == view.size
            assert view.base is net.parameters.base or np.shares_memory(view, net.parameters)


def test_views_of_shared_layers_are_those_of_a_group():
    net = Network([Shared(3, 2, 4), Tied(Shared(5, 2, 4))][:1])
    assert [W.shape for W in net.weights] == [(3, 2)]
    assert [b.shape for b in net.biases] == [(2,)]
    shared = Shared(3, 2, 4)
    net = Network([shared, Tied(shared)])
    assert [W.shape for W in net.weights] == [(3, 2), (2, 3)]
    assert [b.shape for b in net.biases] == [(2,), (3,)]


def test_layers_without_weights_have_none():
    pool = AveragePool2d(2, image_shape=(4, 4, 1))
    net = Network([pool, Affine(4, 2, bias=False), Affine(2, 16), pool])
    assert [W is None for W in net.weights] == [True, False, False, True]
    assert [b is None for b in net.biases] == [True, True, False, True]


def test_parameters_of_ties_and_groups_are_counted_once():
    encoder, shared = Affine(6, 4), Shared(2, 3, 5)
    assert Network([encoder, Tied(encoder)]).n_parameters == 6 * 4 + 4 + 6
    assert Network([encoder, Tied(encoder), encoder, Tied(encoder, bias=False)]).n_parameters == 6 * 4 + 4 + 6
    assert Network([shared]).n_parameters == 2 * 3 + 3
    assert Network([shared, Tied(shared)]).n_parameters == 2 * 3 + 3 + 2
    conv = Conv2d(2, 3, (4, 5), image_shape=(9, 9))
    assert Network([conv, Tied(conv)]).n_parameters == 2 * 3 * 20 + 3 + 2


def test_attributes():
    shared = Shared(3, 2, 4, "relu", bias=False)
    assert (shared.n_in, shared.n_out, shared.groups, shared.activation, shared.bias) == (12, 8, 4, "relu", False)
    tied = Tied(shared, "gelu")
    assert (tied.n_in, tied.n_out, tied.layer, tied.activation, tied.bias) == (8, 12, shared, "gelu", True)
    for layer, name in ((shared, "groups"), (tied, "layer"), (tied, "n_in")):
        with pytest.raises(AttributeError):
            setattr(layer, name, getattr(layer, name))


def test_shown_as_they_are_made():
    names = {kind.__name__: kind for kind in (Affine, Shared, Tied)}
    affine = Affine(3, 2)
    for layer in (
        Shared(3, 2, 4), Shared(3, 2, 4, "tanh", bias=False), Tied(affine), Tied(affine, "gelu"),
        Tied(affine, bias=False), Tied(Tied(Shared(2, 1, 3, "silu", bias=False), "tanh"), "relu", bias=False),
    ):  # fmt: skip
        assert repr(eval(repr(layer), names)) == repr(layer)
    assert repr(Tied(affine, bias=False)) == "Tied(Affine(3, 2, 'identity'), 'identity', bias=False)"
    assert repr(Shared(3, 2, 4, "tanh")) == "Shared(3, 2, 4, 'tanh')"


def test_long_chains_of_ties_are_shown_in_part():
    """By their outermost ties; eight of them, or fewer, as they are made."""
    affine = Affine(2, 3, "tanh")
    ties = [affine]
    for n in range(100_000):
        ties.append(Tied(ties[-1], "relu" if n % 2 else "identity", bias=n % 3 == 0))
    for n in range(1, 9):
        shown = eval(repr(ties[n]), vars(fastbp))
        assert repr(shown) == repr(ties[n])
        assert "..." not in repr(ties[n])
    last = repr(ties[-1])
    assert last.startswith("Tied(Tied(Tied(Tied(Tied(Tied(Tied(Tied(..., '")
    assert last.count("Tied(") == 8
    net = Network(ties[:2000], init="zeros")
    assert len(repr(net)) < 2000 * 300
    with pytest.raises(ValueError, match=r"^layers: expected layer 1 to be tied to a layer of the network, got Tied\("):
        Network(ties[-1:])


def test_chain_of_ties_of_any_length():
    layer = square = Affine(3, 3, "tanh")
    for _ in range(5001):
        layer = Tied(layer, "tanh")
    net = network([square, layer])
    np.testing.assert_array_equal(net.weights[1], net.weights[0].T)
    assert net.copy() == net


# Gradients.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", ["identity", "tanh", "sigmoid", "silu"])
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_both_paths_of_a_tied_weight_add_up(output, hidden, dtype):
    """Encoder and decoder, theory by hand: dE/dW = X^T delta1 + (z1^T delta2)^T."""
    encoder = Affine(7, 3, hidden)
    net = network([encoder, Tied(encoder, output)], dtype)
    X, _ = data(net, 11)
    T = np.random.default_rng(3).random((11, 7)).astype(dtype)
    W, b, c = (np.asarray(x, np.float64) for x in (net.weights[0], *net.biases))
    x = X.astype(np.float64)
    a = x @ W + b
    z = reference.activate(hidden, a)
    y = reference.activate(output, z @ W.T + c)
    delta2 = y - T
    delta1 = reference.derivative(hidden, a) * (delta2 @ W)
    first, second = x.T @ delta1, (z.T @ delta2).T
    expected = np.concatenate([(first + second).ravel(), delta1.sum(axis=0), delta2.sum(axis=0)])
    _, gradient = fastbp.loss_and_gradient(net, X, T)
    assert_close(gradient, expected, dtype, 40, np.abs(first).max() + np.abs(second).max())
    assert min(np.abs(first).max(), np.abs(second).max()) > 0.05 * np.abs(expected).max()  # neither is idle


def test_gradient_of_a_shared_weight_is_the_sum_over_the_groups():
    """Theory by hand: dE/dw_ij = sum_g delta_jg z_ig."""
    net = network([Shared(3, 2, 4, "tanh")])
    X, T = data(net, 6)
    W, b = net.weights[0], net.biases[0]
    x, t = X.reshape(6, 4, 3), T.reshape(6, 4, 2)
    delta, dW, db = np.zeros((6, 4, 2)), np.zeros((3, 2)), np.zeros(2)
    for n in range(6):
        for g in range(4):
            y = np.tanh(x[n, g] @ W + b)
            delta[n, g] = (y - t[n, g]) * (1 - y**2)
            dW += np.outer(x[n, g], delta[n, g])
            db += delta[n, g]
    assert_close(fastbp.loss_and_gradient(net, X, T)[1], np.concatenate([dW.ravel(), db]), "float64", 24)


def test_backpropagation_through_depth_is_recurrence_unrolled():
    """One layer four times: the derivative of the whole is what a complex step through the recurrence says."""
    cell = Affine(4, 4, "tanh")
    net = network([cell] * 4)
    X, T = data(net, 5)

    def error(p):
        W, b, z = p[:16].reshape(4, 4), p[16:], X
        for _ in range(4):
            z = np.tanh(z @ W + b)
        return ((z - T) ** 2).sum() / 2

    expected = reference.complex_step(error, net.parameters)
    assert_close(fastbp.loss_and_gradient(net, X, T)[1], expected, "float64", 40)


# What is the same as what.


@pytest.mark.parametrize("dtype", DTYPES)
def test_shared_is_block_diagonal_affine(dtype):
    net = network([Shared(3, 2, 4, "gelu")], dtype)
    blocks = network([Affine(12, 8, "gelu")], dtype)
    blocks.weights[0][...] = np.kron(np.eye(4), net.weights[0])
    blocks.biases[0][...] = np.tile(net.biases[0], 4)
    X, T = data(net, 9)
    assert_close(net(X), blocks(X), dtype, 12)
    assert_close(fastbp.loss(net, X, T), fastbp.loss(blocks, X, T), dtype, 100)


def test_shared_with_one_group_is_affine():
    for first, second in ((Shared(5, 3, 1, "tanh"), Affine(5, 3, "tanh")),):
        net, plain = network([first]), network([second])
        plain.parameters = net.parameters
        X, T = data(net, 9)
        assert_close(net(X), plain(X), "float64", 5)
        for function in (fastbp.per_sample_gradients, lambda *a: fastbp.loss_and_gradient(*a)[1]):
            assert_close(function(net, X, T), function(plain, X, T), "float64", 9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "conv",
    [
        lambda **options: Conv1d(3, 2, 1, "tanh", image_shape=10, **options),
        lambda **options: Conv2d(3, 2, 1, "tanh", image_shape=(5, 2), **options),
        lambda **options: Conv2d(3, 2, (1, 1), "tanh", image_shape=(2, 5, 3), dilation=7, **options),
        lambda **options: Conv1d(1, 2, 3, "tanh", image_shape=30, stride=3, **options),
    ],
    ids=["conv1d", "conv2d", "dilated", "patches_side_by_side"],
)
def test_convolution_without_overlap_is_shared(conv, dtype):
    for tied in (False, True):
        nets = []
        for layer in (conv(), Shared(3, 2, 10, "tanh")):
            nets.append(spread(Network([layer, Tied(layer, "silu")][: 1 + tied], dtype=dtype)))
        if nets[0].n_parameters != nets[1].n_parameters:  # a bias a channel, which here is not one a place in the patch
            continue
        X, T = data(nets[0], 9)
        nets[1].parameters = nets[0].parameters
        assert_close(nets[0](X), nets[1](X), dtype, 5)
        gradients = [fastbp.per_sample_gradients(net, X, T) for net in nets]
        assert_close(gradients[0], gradients[1], dtype, 40)


def test_untied_copies_get_the_terms():
    """The same numbers in two layers of their own: the gradients of both, one turned round, are the tied one's."""
    encoder = Affine(6, 4, "tanh")
    tied = network([encoder, Tied(encoder, "sigmoid")])
    apart = network([Affine(6, 4, "tanh"), Affine(4, 6, "sigmoid")])
    for mine, theirs in zip((*apart.weights, *apart.biases), (*tied.weights, *tied.biases), strict=True):
        mine[...] = theirs
    X, T = data(tied, 8)
    T = abs(T) / 4
    gradient = apart.copy()
    gradient.parameters = fastbp.loss_and_gradient(apart, X, T)[1]
    expected = tied.copy()
    expected.weights[0][...] = gradient.weights[0] + gradient.weights[1].T
    for mine, theirs in zip(expected.biases, gradient.biases, strict=True):
        mine[...] = theirs
    assert_close(fastbp.loss_and_gradient(tied, X, T)[1], expected.parameters, "float64", 30)


PLAIN = {
    "affine": lambda: Affine(6, 4),
    "shared": lambda: Shared(3, 2, 4),
    "shared_one": lambda: Shared(1, 1, 7),
    "conv1d": lambda: Conv1d(2, 3, 4, image_shape=9, stride=2, padding=3, dilation=2),
    "conv2d": lambda: Conv2d(2, 3, (2, 3), image_shape=(5, 6), stride=(2, 1), padding=(1, 2), dilation=(2, 1)),
    "conv2d_channels": lambda: Conv2d(9, 17, 2, image_shape=(4, 3), padding=1),
    "conv2d_gaps": lambda: Conv2d(1, 2, 2, image_shape=(7, 7), stride=5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", PLAIN)
def test_tied_is_the_adjoint(kind, dtype):
    """<A x, A y> = <x, A^T A y> for all x and y."""
    layer = PLAIN[kind]()
    both, alone = network([layer, Tied(layer)], dtype), Network([layer], dtype=dtype)
    alone.weights[0][...] = both.weights[0]
    for b in (*both.biases, *alone.biases):
        b[...] = 0
    x, y = (np.random.default_rng(seed).standard_normal((50, layer.n_in)).astype(dtype) for seed in (0, 1))
    terms = x.astype(np.float64) * both(y)
    assert_close(
        (alone(x).astype(np.float64) * alone(y)).sum(axis=1), terms.sum(axis=1), dtype, 200, abs(terms).sum(axis=1)
    )
    assert terms.any()


@pytest.mark.parametrize("kind", [*PLAIN, "average"])
def test_back_is_the_adjoint_of_forward(kind):
    """The delta that a layer hands down is A^T of what it got: seen in the bias of a layer below it."""
    layer = PLAIN[kind]() if kind in PLAIN else AveragePool2d((3, 2), image_shape=(5, 4, 2), stride=(2, 1), padding=1)
    below = Affine(1, layer.n_in)
    net = network([below, layer])
    X, T = data(net, 30)
    A = network([layer])
    A.parameters = net.parameters[2 * layer.n_in :]
    difference = net(X) - T
    G = fastbp.per_sample_gradients(net, X, T)[:, layer.n_in : 2 * layer.n_in]
    x = np.random.default_rng(2).standard_normal((30, layer.n_in))
    forward = A(x) - A(np.zeros_like(x))
    assert_close((forward * difference).sum(axis=1), (x * G).sum(axis=1), "float64", 200, np.abs(x * G).sum(axis=1))


@pytest.mark.parametrize("kind", PLAIN)
def test_every_kind_is_its_matrix(kind):
    """What comes out for unit vectors is the reference's matrix, by loops, and its transpose for the tied layer."""
    layer = PLAIN[kind]()
    net = network([layer])
    M, zero = as_one_matrix([layer])
    assert_close(M, reference.dense(layer, net.weights[0]), "float64", 40)
    assert_close(zero, np.tile(net.biases[0], layer.n_out // net.biases[0].size), "float64")
    below = Affine(layer.n_out, layer.n_out, bias=False)
    tied = network([below, Tied(layer, bias=False), layer])
    tied.weights[0][...] = np.eye(layer.n_out)
    for b in tied.biases[2:]:
        b[...] = 0
    M = reference.dense(layer, tied.weights[2])
    assert_close(tied(np.eye(layer.n_out)), M.T @ M, "float64", 200)


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_of_the_groups_does_not_matter(dtype):
    net = network([Shared(3, 2, 5, "silu"), Shared(2, 1, 5)], dtype)
    X, T = data(net, 8)
    order = np.random.default_rng(0).permutation(5)
    x = X.reshape(8, 5, 3)[:, order].reshape(8, 15)
    np.testing.assert_array_equal(net(x), net(X)[:, order])
    assert_close(fastbp.loss_and_gradient(net, x, T[:, order])[1], fastbp.loss_and_gradient(net, X, T)[1], dtype, 100)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHARING)
def test_strips_end_anywhere(case, dtype):
    """A sample computes the same wherever in a batch it stands, and however many patches were before it."""
    net = network(ARCHITECTURES[case], dtype)
    X, T = data(net, 700)
    Y, G = net(X), fastbp.per_sample_gradients(net, X, T)
    for n in (0, 1, 255, 256, 257, 699):
        assert_close(net(X[n : n + 1])[0], Y[n], dtype, 200)
        assert_close(fastbp.per_sample_gradients(net, X[n : n + 1], T[n : n + 1])[0], G[n], dtype, 400)


@pytest.mark.parametrize("dtype", DTYPES)
def test_patches_too_large_for_a_strip(dtype):
    """2080 numbers a patch: a strip has the least number of them, and ends inside an image."""
    layer = Conv2d(130, 2, 4, "tanh", image_shape=(7, 8))
    net = network([layer, Tied(layer, bias=False)], dtype)
    X, T = data(net, 3)
    expected = reference.per_sample_gradients(net.layers, net.parameters, X, T)
    assert_close(net(X), reference.forward(net.layers, net.parameters, X), dtype, 2080)
    assert_close(fastbp.per_sample_gradients(net, X, T), expected, dtype, 4000)
    assert_close(fastbp.loss_and_gradient(net, X, T)[1], expected.sum(axis=0), dtype, 4000)


@given(layers=sharing_patterns(), seed=st.integers(0, 1000))
def test_tied_views_in_random_patterns(layers, seed):
    net = network(layers, seed=seed)
    for layer, W in zip(layers, net.weights, strict=True):
        giver, transposed = reference.owner(layer)
        if W is not None:
            assert W.shape == (reference.matrix_shape(giver)[::-1] if transposed else reference.matrix_shape(giver))
            first = next(l for l, other in enumerate(layers) if other is giver)
            np.testing.assert_array_equal(W, net.weights[first].T if transposed else net.weights[first])
            assert np.shares_memory(W, net.weights[first])
