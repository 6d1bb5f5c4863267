"""What is given out of a network is nobody's state: parameters, weights and biases, whatever is done to them."""

import copy
import pickle
import re

import numpy as np
import pytest

import fastbp
from cases import ARCHITECTURES, chain, data, network
from fastbp import SGD, Affine, MaxPool2d, Network, Tied, Trainer
from util import DTYPES

OTHER = {"float64": np.float32, "float32": np.int8}
VANDALS = {
    "shape": lambda view, dtype: setattr(view, "shape", (1, *view.shape)),
    "dtype": lambda view, dtype: setattr(view, "dtype", OTHER[dtype]),
    "read-only": lambda view, dtype: view.setflags(write=False),
    "resize": lambda view, dtype: view.resize(1, refcheck=False),
    "shape of the base": lambda view, dtype: setattr(view.base, "shape", (1, *view.base.shape)),
}
HANDLES = {
    "parameters": lambda net: net.parameters,
    "weights": lambda net: net.weights[0],
    "biases": lambda net: net.biases[0],
    "weights of a tie": lambda net: net.weights[-1],
    "iterated": lambda net: next(iter(net.weights)),
    "slice": lambda net: net.weights[:1][0],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("handle", HANDLES)
@pytest.mark.parametrize("vandal", VANDALS)
def test_what_becomes_of_a_view_does_not_matter(vandal, handle, dtype):
    shared = Affine(3, 3, "tanh")
    net, twin = (network([shared, shared, Tied(shared)], dtype) for _ in range(2))
    X, T = data(net, 5)
    trainers = [Trainer(each, SGD(0.1, momentum=0.5)) for each in (net, twin)]
    given = HANDLES[handle](net)
    try:
        VANDALS[vandal](given, dtype)
    except (AttributeError, DeprecationWarning, TypeError, ValueError):  # of what NumPy refuses itself
        pass
    assert net.parameters.shape == (net.n_parameters,)
    assert net.parameters.dtype == net.dtype
    assert net.parameters.flags.writeable
    assert net.parameters.flags.c_contiguous
    for each, trainer in zip((net, twin), trainers, strict=True):
        trainer.step(X, T)
        trainer.fit(X, T, epochs=1, seed=0)
        each.parameters = 0.5 * each.parameters
        each.weights[0][...] += 1
    assert net == twin == copy.copy(net) == pickle.loads(pickle.dumps(net))
    assert fastbp.loss(net, X, T) == fastbp.loss(twin, X, T)
    np.testing.assert_array_equal(fastbp.hessian(net, X, T), fastbp.hessian(twin, X, T))
    assert net.weights == twin.weights
    assert net.biases == twin.biases


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_3", "some_biases", "repeated_aab", "tied_to_a_tie_of_a_later_layer"])
def test_changes_in_place(case, dtype):
    net, by_hand = network(ARCHITECTURES[case], dtype), network(ARCHITECTURES[case], dtype)
    for l, b in enumerate(by_hand.biases):
        W = by_hand.weights[l]
        W += 1
        W *= 0.5
        net.weights[l] += 1
        net.weights[l - len(net.layers)] *= 0.5
        if b is not None:
            b -= 2
            net.biases[np.int64(l)] -= 2
    net.weights[:1][0] /= 3
    by_hand.weights[0][...] /= 3
    assert net == by_hand


def test_an_item_may_be_put_where_it_is():
    net = network(chain(3, 4, 2))
    before = net.copy()
    W = net.weights[1]
    W *= 1
    net.weights[1] = W
    net.weights[0] = net.weights[0]
    net.biases[-1] = net.biases[1]
    assert net == before


@pytest.mark.parametrize(
    "value",
    [
        lambda net: np.zeros((3, 4)),
        lambda net: net.weights[0].copy(),
        lambda net: net.weights[0].T,
        lambda net: net.weights[0][:2],
        lambda net: net.weights[1],
        lambda net: net.weights[0].view(np.int64),
        lambda net: [[1.0]],
        lambda net: 0.0,
        lambda net: None,
    ],
)
def test_nothing_else_may_be_put_there(value):
    net = network(chain(3, 4, 2))
    before, given = net.copy(), value(net)
    message = (
        "weights: expected changes in place, as by net.weights[0][...] = values, "
        f"got another {type(given).__name__} to put there"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        net.weights[0] = given
    with pytest.raises(TypeError, match=r"^biases: expected changes in place, as by net.biases\[slice"):
        net.biases[:1] = [given]
    with pytest.raises(IndexError):
        net.weights[2] = given
    assert net == before


def test_a_sequence():
    pool = MaxPool2d(2, image_shape=(2, 2, 1))
    net = network([Affine(3, 4, bias=False), pool, Affine(1, 2)])
    weights = net.weights
    assert len(weights) == 3
    assert weights[1] is None
    assert net.biases[0] is net.biases[1] is None
    assert [W is None for W in weights] == [False, True, False]
    assert [W is None for W in reversed(weights)] == [False, True, False]
    first, _, last = weights
    assert first.shape == (3, 4)
    assert len(weights[1:]) == 2
    np.testing.assert_array_equal(weights[1:][1], last)
    assert [len(part) for part in (weights + net.biases, (0,) + weights, weights[:0])] == [6, 4, 0]  # noqa: RUF005
    with pytest.raises(IndexError):
        weights[3]
    assert repr(weights) == repr(tuple(weights))
    assert (first in weights, None in weights, first + 1 in weights, first.T in weights) == (True, True, False, False)
    assert (weights.index(last), weights.index(None), weights.index(last, 1)) == (2, 1, 2)
    assert (weights.count(last), weights.count(None), weights.count(last + 1)) == (1, 1, 0)
    with pytest.raises(ValueError, match=r"^weights: expected an array that is one of them, got another$"):
        weights.index(last, 0, 2)
    first[...] = 7
    assert (weights[0] == 7).all()  # as views, of the numbers that are there now


def test_equality_and_copies():
    net = network(chain(3, 4, 2))
    other = net.copy()
    for same in (other.weights, list(other.weights), tuple(other.weights)):
        assert net.weights == same
        assert same == net.weights
    for copied in (copy.copy(net.weights), copy.deepcopy(net.weights), pickle.loads(pickle.dumps(net.weights))):
        assert isinstance(copied, tuple)
        assert net.weights == copied
    other.weights[1][0, 0] += 1
    assert net.weights != other.weights
    assert net.weights != net.weights[:1]
    assert net.weights != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(net.weights)


def test_a_view_outlives_its_network():
    W = network(chain(3, 4, 2)).weights[0]
    W += 1
    assert W.shape == (3, 4)


def test_in_place_arithmetic_on_all_parameters():
    net = network(chain(3, 4, 2))
    expected = 2 * net.parameters + 1
    net.parameters *= 2
    net.parameters += 1
    np.testing.assert_array_equal(net.parameters, expected)


def test_weights_of_many_layers_one_by_one():
    """A loop over their numbers asks for the sequence every time: each view is made only when it is asked for."""
    net = Network([Affine(1, 1)] * 3000 + [Affine(1, 1) for _ in range(3000)], init="zeros")
    for l in range(len(net.layers)):
        net.biases[l] += 1
    np.testing.assert_array_equal(net.parameters[1::2], [3000.0] + [1.0] * 3000)
