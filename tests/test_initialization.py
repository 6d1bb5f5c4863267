"""Initial weights: their distributions, and that a seed decides them."""

import numpy as np
import pytest
from scipy import stats

from cases import ARCHITECTURES, chain
from fastbp import Affine, Conv1d, Conv2d, Network, Shared, Tied, mlp
from util import DTYPES

HE = ("relu", "leaky_relu", "softplus", "gelu", "silu")
GLOROT = ("identity", "sigmoid", "tanh", "softmax")


def glorot(n_in, n_out):
    return np.sqrt(6 / (n_in + n_out))


def he(n_in, n_out):
    return np.sqrt(6 / n_in)


def check_uniform(W, bound):
    """Within the bound up to rounding, and not to be told from a uniform distribution over all of it."""
    assert np.abs(W).max() <= bound * (1 + np.finfo(W.dtype).eps)
    assert stats.kstest(W.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("init", "activation", "bound"),
    [
        *((None, name, he) for name in HE),
        *((None, name, glorot) for name in GLOROT),
        *(("glorot_uniform", name, glorot) for name in HE + GLOROT),
        *(("he_uniform", name, he) for name in HE + GLOROT),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_distribution(dtype, init, activation, bound):
    net = Network([Affine(90, 70, activation)], dtype=dtype, init=init, seed=0)
    check_uniform(net.weights[0], bound(90, 70))
    np.testing.assert_array_equal(net.biases[0], 0)


def test_every_layer_has_its_own_bound():
    net = Network([Affine(80, 50, "relu"), Affine(50, 100, "tanh"), Affine(100, 60, "softmax")], seed=1)
    for W, bound in zip(net.weights, (he(80, 50), glorot(50, 100), glorot(100, 60)), strict=True):
        check_uniform(W, bound)
    for b in net.biases:
        np.testing.assert_array_equal(b, 0)


def test_layers_are_drawn_one_after_the_other():
    net = Network([Affine(30, 30), Affine(30, 30)], seed=2)
    assert abs(np.corrcoef(net.weights[0].ravel(), net.weights[1].ravel())[0, 1]) < 0.1


def test_a_large_layer_is_one_draw():
    """However many numbers are drawn at once: no part is left out, and none is drawn twice."""
    W = Network([Affine(1200, 1000)], seed=3).weights[0]
    check_uniform(W[::50], glorot(1200, 1000))
    assert np.unique(W).size == W.size


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (Shared(90, 70, 2, "tanh"), 90, 70),
        (Shared(90, 70, 2, "relu"), 90, 70),
        (Conv1d(20, 30, 5, "tanh", image_shape=6), 100, 150),
        (Conv1d(20, 30, 5, "silu", image_shape=6), 100, 150),
        (Conv2d(20, 30, (3, 2), "sigmoid", image_shape=(4, 5), stride=2, dilation=(1, 3)), 120, 180),
        (Conv2d(20, 30, (3, 2), "gelu", image_shape=(4, 5), padding=2), 120, 180),
    ],
    ids=repr,
)
@pytest.mark.parametrize("init", [None, "glorot_uniform", "he_uniform"])
def test_fans_of_shared_weights(init, layer, fan_in, fan_out):
    """What an output adds up, and how many outputs an input goes into."""
    bound = he if init == "he_uniform" or (init is None and layer.activation in HE) else glorot
    net = Network([layer], init=init, seed=0)
    check_uniform(net.weights[0], bound(fan_in, fan_out))
    np.testing.assert_array_equal(net.biases[0], 0)


def test_tied_layers_draw_nothing():
    first, second = Affine(40, 30, "relu"), Affine(30, 40)
    with_ties = Network([first, Tied(first), Tied(Tied(first)), second], seed=4)
    plain = Network([first, second], seed=4)
    np.testing.assert_array_equal(with_ties.weights[0], plain.weights[0])
    np.testing.assert_array_equal(with_ties.weights[3], plain.weights[1])


def test_tie_to_a_later_layer_is_drawn_for_that_layer():
    later = Affine(60, 80, "relu")
    net = Network([Tied(later, "tanh"), later], seed=5)
    check_uniform(net.weights[1], he(60, 80))
    np.testing.assert_array_equal(net.weights[0], net.weights[1].T)


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_zeros(case):
    np.testing.assert_array_equal(Network(ARCHITECTURES[case], init="zeros").parameters, 0)


@pytest.mark.parametrize("case", [name for name in ARCHITECTURES if name != "wide"])
def test_same_seed_same_weights(case):
    layers = ARCHITECTURES[case]
    first = Network(layers, seed=42)
    assert Network(layers, seed=42) == first
    assert Network(layers, seed=43) != first


def test_no_seed_gives_other_weights_every_time():
    assert Network(chain(5, 5)) != Network(chain(5, 5))


def test_generator_is_used_and_moves_on():
    generator = np.random.default_rng(5)
    first, second = (mlp([4, 5, 2], seed=generator) for _ in range(2))
    assert first != second
    assert first == mlp([4, 5, 2], seed=5)
    generator = np.random.default_rng(5)
    mlp([4, 5, 2], seed=generator)
    assert mlp([4, 5, 2], seed=generator) == second


def test_seed_decides_the_weights_whatever_the_dtype():
    wide, narrow = (mlp([6, 7, 3], "relu", dtype=dtype, seed=3) for dtype in ("float64", "float32"))
    np.testing.assert_array_equal(wide.parameters.astype(np.float32), narrow.parameters)


def test_bias_or_repetition_does_not_shift_the_draw():
    with_bias, without = (Network(chain(4, 5, 6, bias=bias), seed=4) for bias in (True, False))
    layer = Affine(4, 4)
    repeated, once = Network([layer, layer, Affine(4, 2)], seed=4), Network([layer, Affine(4, 2)], seed=4)
    for net, other in ((with_bias, without), (repeated, once)):
        for W, same in zip((net.weights[0], net.weights[-1]), (other.weights[0], other.weights[-1]), strict=True):
            np.testing.assert_array_equal(W, same)


def test_seed_is_a_seed_of_numpy():
    assert mlp([3, 2], seed=[1, 2, 3]) == mlp([3, 2], seed=np.random.default_rng([1, 2, 3]))
    sequence = np.random.SeedSequence(9)
    assert mlp([3, 2], seed=sequence) == mlp([3, 2], seed=np.random.default_rng(sequence))


def test_zeros_draw_nothing():
    generator = np.random.default_rng(6)
    Network(chain(3, 2), init="zeros", seed=generator)
    assert generator.random() == np.random.default_rng(6).random()
