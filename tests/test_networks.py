"""Networks as objects: layers, the parameter vector and its views, equality, copies, pickles."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given

import fastbp
import reference
from cases import ARCHITECTURES, architectures, chain, data, network, sharing_patterns
from fastbp import Affine, Network, Tied
from util import DTYPES


def test_properties():
    layers = [Affine(4, 8, "tanh"), Affine(8, 3, "softmax", bias=False)]
    net = Network(layers, dtype="float32")
    assert net.layers == tuple(layers)
    assert (net.n_inputs, net.n_outputs, net.n_parameters) == (4, 3, 4 * 8 + 8 + 8 * 3)
    assert net.dtype == np.float32
    assert net.parameters.shape == (64,)
    assert net.parameters.dtype == np.float32


def test_float64_is_the_default():
    assert Network([Affine(1, 1)]).dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("f4"), np.dtype("float64"), float], ids=str)
def test_names_of_dtypes(dtype):
    assert Network([Affine(1, 1)], dtype=dtype).dtype == np.dtype(dtype)


def test_layers_from_any_iterable():
    layers = chain(3, 4, 2)
    assert Network(iter(layers)).layers == tuple(layers)


@pytest.mark.parametrize("name", ["n_in", "n_out", "activation", "bias"])
def test_layers_do_not_change(name):
    with pytest.raises(AttributeError):
        setattr(Affine(2, 3), name, getattr(Affine(2, 3), name))


@pytest.mark.parametrize("name", ["layers", "dtype", "n_parameters", "n_inputs", "n_outputs", "weights", "biases"])
def test_only_parameters_can_be_assigned(name):
    net = Network([Affine(2, 3)])
    with pytest.raises(AttributeError):
        setattr(net, name, getattr(net, name))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ARCHITECTURES)
def test_parameters_are_each_layers_own_weights_and_then_its_bias(case, dtype):
    layers = ARCHITECTURES[case]
    net = Network(layers, dtype=dtype)
    places, P = reference.slots(layers)
    assert net.n_parameters == P
    net.parameters = np.arange(P)
    assert len(net.weights) == len(net.biases) == len(layers)
    for layer, W, b, (W_place, b_place) in zip(layers, net.weights, net.biases, places, strict=True):
        if W_place is None:
            assert W is None
        else:
            giver, transposed = reference.owner(layer)
            matrix = np.arange(P)[W_place].reshape(reference.matrix_shape(giver))
            np.testing.assert_array_equal(W, matrix.T if transposed else matrix)
        if layer.bias:
            np.testing.assert_array_equal(b, np.arange(P)[b_place])
        else:
            assert b is None


def test_views_write_through():
    net = Network(chain(3, 4, 2))
    assert net.parameters.flags.c_contiguous
    assert net.parameters.flags.writeable
    for view in (*net.weights, *net.biases):
        assert np.shares_memory(view, net.parameters)
    net.weights[1][2, 1] = 17
    net.biases[0][3] = 18
    assert net.parameters[3 * 4 + 4 + 2 * 2 + 1] == 17
    assert net.parameters[3 * 4 + 3] == 18


def test_views_of_a_repeated_layer_are_the_same_memory():
    layer = Affine(4, 4, "tanh")
    net = Network([layer, Affine(4, 4), layer])
    net.weights[0][...] = 5
    net.biases[2][...] = 6
    np.testing.assert_array_equal(net.weights[2], 5)
    np.testing.assert_array_equal(net.biases[0], 6)
    assert net.n_parameters == 2 * (16 + 4)


def test_equal_layers_are_not_one_layer():
    assert Network([Affine(4, 4), Affine(4, 4)]).n_parameters == 40
    assert Network([Affine(4, 4)] * 2).n_parameters == 20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "convert",
    [
        np.array,
        np.ndarray.tolist,
        tuple,
        lambda x: x.astype(np.float16),
        lambda x: x.astype(int),
        np.flip,
    ],
    ids=["array", "list", "tuple", "float16", "int", "strided"],
)
def test_assigning_parameters_copies_in(convert, dtype):
    net = Network([Affine(2, 3)], dtype=dtype)
    memory, values = net.parameters, np.arange(9.0)
    values_in = convert(values)
    net.parameters = values_in
    assert np.shares_memory(net.parameters, memory)
    np.testing.assert_array_equal(memory, values_in)
    values[...] = 100
    assert memory.max() == 8


def test_assigning_its_own_parameters_reversed():
    net = Network([Affine(2, 3)])
    net.parameters = np.arange(9)
    net.parameters = net.parameters[::-1]
    np.testing.assert_array_equal(net.parameters, np.arange(9)[::-1])


@pytest.mark.parametrize("shape", [(), (8,), (10,), (1, 9), (9, 1)], ids=str)
def test_assigning_a_wrong_shape_changes_nothing(shape):
    net = Network([Affine(2, 3)], seed=0)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=r"^parameters: expected shape \(9,\), got shape"):
        net.parameters = np.ones(shape)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("values", [np.ones(9, complex), ["a"] * 9, [None] * 9], ids=["complex", "strings", "objects"])
def test_assigning_a_wrong_kind_changes_nothing(values):
    net = Network([Affine(2, 3)], seed=0)
    before = net.parameters.copy()
    with pytest.raises(TypeError, match=r"^parameters: expected real numbers, got dtype"):
        net.parameters = values
    np.testing.assert_array_equal(net.parameters, before)


def test_softmax_may_be_the_only_layer_or_follow_repeated_ones():
    layer = Affine(3, 3)
    assert Network([Affine(3, 3, "softmax")]).n_parameters == 12
    assert Network([layer, layer, Affine(3, 2, "softmax")]).n_parameters == 12 + 8


def test_mlp():
    net = fastbp.mlp([5, 4, 3, 2], "relu", "softmax", dtype="float32", seed=1)
    assert [(layer.n_in, layer.n_out, layer.activation, layer.bias) for layer in net.layers] == [
        (5, 4, "relu", True),
        (4, 3, "relu", True),
        (3, 2, "softmax", True),
    ]
    assert net.dtype == np.float32
    assert net == Network(chain(5, 4, 3, 2, hidden="relu", output="softmax"), dtype="float32", seed=1)


def test_mlp_defaults():
    assert [layer.activation for layer in fastbp.mlp((2, 3, 1)).layers] == ["tanh", "identity"]
    assert [layer.activation for layer in fastbp.mlp(np.array([2, 1])).layers] == ["identity"]


def test_repr_builds_the_layers_again():
    layers = (Affine(4, 8, "tanh"), Affine(8, 3, bias=False), Affine(3, 2, "softmax"))
    assert [repr(layer) for layer in layers] == [
        "Affine(4, 8, 'tanh')",
        "Affine(8, 3, 'identity', bias=False)",
        "Affine(3, 2, 'softmax')",
    ]
    net = Network(layers, dtype="float32", init="zeros")
    names = {"Affine": Affine, "Network": lambda layers, dtype: Network(layers, dtype=dtype, init="zeros")}
    assert eval(repr(net), names) == net


def test_equal():
    net = network(chain(3, 4, 2))
    assert net == net.copy()
    assert not (net != net.copy())
    assert net == network(chain(3, 4, 2))


def changed_parameter(net):
    other = net.copy()
    other.parameters[-1] = np.nextafter(other.parameters[-1], np.inf)
    return other


DIFFERENT = {
    "one_bit": changed_parameter,
    "dtype": lambda net: network(net.layers, "float32"),
    "activation": lambda net: network(chain(3, 3, 3, hidden="relu")),
    "output": lambda net: network(chain(3, 3, 3, output="softmax")),
    "bias": lambda net: network(chain(3, 3, 3, bias=(True, False))),
    "size": lambda net: network(chain(3, 4, 3)),
    "depth": lambda net: network(chain(3, 3, 3, 3)),
    "something_else": lambda net: "net",
    "none": lambda net: None,
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_unequal(difference):
    net = network(chain(3, 3, 3))
    other = DIFFERENT[difference](net)
    assert net != other
    assert not (net == other)


def test_sharing_is_part_of_equality():
    layer = Affine(3, 3)
    shared = [network([layer, layer, Affine(3, 3)]), network([layer, Affine(3, 3), layer])]
    for net in shared:
        net.parameters = np.ones(24)
    assert shared[0] != shared[1]


def test_networks_are_not_hashable():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Network([Affine(1, 1)]))


COPIES = {
    "copy": Network.copy,
    "astype": lambda net: net.astype(net.dtype),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    **{
        f"pickle_{protocol}": lambda net, protocol=protocol: pickle.loads(pickle.dumps(net, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


def told(layer, layers):
    """What a copy must have in common with the layer; a tie to a tie is kept as one to the matrix."""
    giver, transposed = reference.owner(layer)
    if isinstance(layer, Tied):
        return "Tied", layers.index(giver), transposed, layer.n_in, layer.n_out, layer.activation, layer.bias
    return repr(layer)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case",
    ["one_by_one", "some_biases", "hidden_gelu", "repeated_aab", "repeated_cababc", "tied_to_a_tie_of_a_later_layer",
     "shared_and_tied", "conv1d_uneven", "conv_tied_uneven", "max_pool_overlapping", "everything"],
)  # fmt: skip
def test_copies(case, dtype, how):
    net = network(ARCHITECTURES[case], dtype)
    other = COPIES[how](net)
    assert type(other) is Network
    assert other == net
    assert other.parameters.dtype == net.parameters.dtype
    assert [told(layer, other.layers) for layer in other.layers] == [told(layer, net.layers) for layer in net.layers]
    assert not np.shares_memory(other.parameters, net.parameters)
    X, T = data(net, 7)
    np.testing.assert_array_equal(other(X), net(X))
    np.testing.assert_array_equal(fastbp.loss_and_gradient(other, X, T)[1], fastbp.loss_and_gradient(net, X, T)[1])
    other.parameters[0] += 1
    assert other != net


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "case", ["repeated_cababc", "tied_and_repeated", "shared_and_repeated", "conv_tied_and_repeated"]
)
def test_shared_layers_stay_shared(case, how):
    net = network(ARCHITECTURES[case])
    other = COPIES[how](net)
    for i, first in enumerate(net.layers):
        for j, second in enumerate(net.layers):
            assert (first is second) == (other.layers[i] is other.layers[j])
    other.weights[0][...] = 3
    for layer, W in zip(net.layers, other.weights, strict=True):
        if reference.owner(layer)[0] is net.layers[0]:
            np.testing.assert_array_equal(W, 3)


def test_deepcopy_and_pickle_keep_one_network_one():
    nets = [network(chain(2, 3))] * 2
    for other in (copy.deepcopy(nets), pickle.loads(pickle.dumps(nets))):
        assert other[0] is other[1]
        assert other[0] is not nets[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_astype(dtype):
    net = network(ARCHITECTURES["repeated_aab"], dtype)
    for other_dtype in DTYPES:
        other = net.astype(other_dtype)
        assert other.dtype == other_dtype
        assert other.layers == net.layers
        assert other.n_parameters == net.n_parameters
        np.testing.assert_array_equal(other.parameters, net.parameters.astype(other_dtype))
        assert not np.shares_memory(other.parameters, net.parameters)


@given(layers=architectures() | sharing_patterns())
def test_pickles_of_random_architectures(layers):
    net = network(layers)
    other = pickle.loads(pickle.dumps(net))
    assert other == net
    X, _ = data(net, 3)
    np.testing.assert_array_equal(other(X), net(X))
