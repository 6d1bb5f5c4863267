"""What must hold of second derivatives whatever the network: random layers, sharing patterns, error functions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
import reference
from cases import data, network, sharing_patterns
from fastbp import GaussNewtonOperator, HessianOperator
from test_gradient_properties import problems
from util import assert_close

few = settings(max_examples=60)
DENSE = (fastbp.hessian, fastbp.gauss_newton)
OPERATORS = (HessianOperator, GaussNewtonOperator)
DIAGONALS = (fastbp.hessian_diagonal, fastbp.gauss_newton_diagonal)
kinds = st.sampled_from([0, 1])


def problem_of(layers, seed=0, N=6, loss=None):
    net = network(layers, seed=seed)
    return (net, *data(net, N, loss, seed + 1), loss)


def size_of(function, net, X, T, loss):
    """What roundings are relative to: the largest element of any sample's matrix."""
    samples = [np.abs(function(net, x[None], t[None], loss=loss)).max(initial=0.0) for x, t in zip(X, T, strict=True)]
    return max(samples) * np.sqrt(len(X)) + np.finfo(float).tiny


@few
@given(problem=problems(largest_batch=6))
def test_complex_steps_of_the_gradient(problem):
    net, X, T, loss = problem
    some = np.arange(net.n_parameters)[:: max(1, net.n_parameters // 20)]
    H = fastbp.hessian(net, X, T, loss=loss)
    np.testing.assert_array_equal(H, H.T)
    if some.size:
        expected = reference.hessians(net.layers, net.parameters, X, T, loss, some).sum(axis=0)
        assert_close(H[:, some], expected, "float64", 100, size_of(fastbp.hessian, *problem))


@few
@given(problem=problems(largest_batch=6))
def test_gauss_newton_by_its_definition(problem):
    """sum_n J_n^T M'_n J_n, J_n = da/dw, with the library's own J_n."""
    net, X, T, loss = problem
    output = net.layers[-1].activation
    a = reference.passes(net.layers, net.parameters, X)[-1][1]
    M = reference.gauss_newton_curvatures(output, loss or reference.canonical(output), a, T)
    J = fastbp.parameter_jacobian(net, X, of="preactivation")
    G = fastbp.gauss_newton(net, X, T, loss=loss)
    np.testing.assert_array_equal(G, G.T)
    expected = np.einsum("nki,nkl,nlj->ij", J, M, J, optimize=True)
    scale = max(size_of(fastbp.gauss_newton, *problem), np.abs(M).max() * np.abs(J).max(initial=0.0) ** 2)
    assert_close(G, expected, "float64", 100, scale)


@few
@given(problem=problems(largest_batch=6), kind=kinds)
def test_diagonal_is_that_of_the_matrix(problem, kind):
    net, X, T, loss = problem
    d = DIAGONALS[kind](net, X, T, loss=loss)
    expected = np.diag(DENSE[kind](net, X, T, loss=loss))
    # A diagonal is summed from rows, which may be larger than what is left of them.
    J = fastbp.parameter_jacobian(net, X, of="preactivation")
    scale = size_of(DENSE[kind], *problem) + (np.abs(J).max(initial=0.0) ** 2 if kind == 0 else 0)
    assert_close(d, expected, "float64", 100, scale)


@few
@given(problem=problems(largest_batch=6), kind=kinds, k=st.integers(0, 4), order=st.sampled_from("CF"))
def test_product_is_that_of_the_matrix(problem, kind, k, order):
    net, X, T, loss = problem
    op, M = OPERATORS[kind](net, X, T, loss=loss), DENSE[kind](net, X, T, loss=loss)
    V = np.asarray(np.random.default_rng(k).standard_normal((net.n_parameters, k)), order=order)
    scale = size_of(DENSE[kind], *problem) * np.abs(V).sum(axis=0).max(initial=0.0)
    assert_close(op @ V, M @ V, "float64", 100, scale)
    if k:
        np.testing.assert_array_equal(op @ V[:, 0], (op @ V)[:, 0])


@few
@given(problem=problems(largest_batch=6), kind=kinds)
def test_operators_are_symmetric(problem, kind):
    net, X, T, loss = problem
    op, (u, v) = OPERATORS[kind](net, X, T, loss=loss), np.random.default_rng(0).standard_normal((2, net.n_parameters))
    scale = size_of(DENSE[kind], *problem) * np.abs(u).sum() * np.abs(v).max(initial=0.0)
    assert_close(u @ (op @ v), v @ (op @ u), "float64", 100, scale)


@few
@given(problem=problems(largest_batch=6), kind=kinds, mean=st.booleans())
def test_matrix_is_the_weighted_sum_of_the_samples_own(problem, kind, mean):
    net, X, T, loss = problem
    w = np.random.default_rng(0).random(len(X)) * 3 - 0.5
    w[0] += 4
    parts = [w_n * DENSE[kind](net, x[None], t[None], loss=loss) for w_n, x, t in zip(w, X, T, strict=True)]
    total = w.sum() if mean else 1.0
    M = DENSE[kind](net, X, T, loss=loss, sample_weight=w, reduction="mean" if mean else "sum")
    scale = 5 * size_of(DENSE[kind], *problem) / total
    assert_close(M, np.sum(parts, axis=0) / total, "float64", 100, scale)


@few
@given(problem=problems(largest_batch=6))
def test_gauss_newton_is_positive_semidefinite(problem):
    net, X, T, loss = problem
    values = np.linalg.eigvalsh(fastbp.gauss_newton(net, X, np.abs(T), loss=loss))
    assert values.min(initial=0.0) >= -1e-14 * max(1, values.size) * np.abs(values).max(initial=0.0)
    assert (fastbp.gauss_newton_diagonal(net, X, np.abs(T), loss=loss) >= 0).all()


@few
@given(layers=sharing_patterns(["identity"]), seed=st.integers(0, 100))
def test_gauss_newton_is_the_hessian_where_outputs_are_linear_in_the_parameters(layers, seed):
    """One layer of any kind, and a pool above and below."""
    layer = next(layer for layer in layers if not isinstance(layer, fastbp.Tied))
    below = fastbp.MaxPool2d((2, 1), image_shape=(layer.n_in + 1, 1, 1), stride=1)
    above = fastbp.AveragePool2d((1, min(2, layer.n_out)), image_shape=(1, layer.n_out, 1), stride=1)
    net, X, T, loss = problem_of([below, layer, above], seed)
    H, G = fastbp.hessian(net, X, T), fastbp.gauss_newton(net, X, T)
    assert_close(G, H, "float64", 30, size_of(fastbp.hessian, net, X, T, loss))


@few
@given(problem=problems(activations=["identity"], maxima=False, largest_batch=6))
def test_linear_networks_have_no_second_derivatives_within_a_layer(problem):
    """Each layer's own block is the same in both matrices, of canonical pairs, if no slot has two uses."""
    net, X, T, _ = problem
    slots = [slot for pair in reference.slots(net.layers)[0] for slot in pair if slot is not None]
    if len({(slot.start, slot.stop) for slot in slots}) < len(slots):
        return
    H, G = fastbp.hessian(net, X, T), fastbp.gauss_newton(net, X, T)
    scale = size_of(fastbp.hessian, net, X, T, None) + size_of(fastbp.gauss_newton, net, X, T, None)
    for W, b in reference.slots(net.layers)[0]:
        own = np.r_[W or slice(0), b or slice(0)]
        assert_close(H[np.ix_(own, own)], G[np.ix_(own, own)], "float64", 100, scale)


@few
@given(problem=problems(activations=["relu", "leaky_relu", "identity"], largest_batch=6))
def test_diagonals_agree_where_nothing_bends(problem):
    """h'' = 0 everywhere, a canonical pair, and no slot used twice: then only the outer products are left."""
    net, X, T, _ = problem
    if net.layers[-1].activation not in ("identity", "softmax"):
        return  # of a squared error: M' is not M where h' is not 1
    slots = [slot for pair in reference.slots(net.layers)[0] for slot in pair if slot is not None]
    if len({(slot.start, slot.stop) for slot in slots}) < len(slots):
        return
    d, g = fastbp.hessian_diagonal(net, X, T), fastbp.gauss_newton_diagonal(net, X, T)
    assert_close(d, g, "float64", 100, size_of(fastbp.gauss_newton, net, X, T, None))


@few
@given(problem=problems(largest_batch=6))
def test_one_output_gives_an_outer_product(problem):
    net, X, _, _ = problem
    if net.layers[-1].activation == "softmax":
        return
    one = fastbp.Network([*net.layers, fastbp.Affine(net.n_outputs, 1)])
    one.parameters = np.concatenate([net.parameters, np.linspace(-1, 1, net.n_outputs + 1)])
    J = fastbp.parameter_jacobian(one, X)[:, 0]
    G = fastbp.gauss_newton(one, X, np.zeros(len(X)))
    assert_close(G, J.T @ J, "float64", 100, np.abs(J).max() ** 2 * len(X))


def untied(net):
    """A network of a matrix for every use, and S (its parameters, the net's): 1 where a parameter comes from one."""
    kept = [isinstance(layer, fastbp.MaxPool2d) for layer in net.layers]
    layers = [
        layer if keep else fastbp.Affine(layer.n_in, layer.n_out, layer.activation, bias=layer.bias)
        for layer, keep in zip(net.layers, kept, strict=True)
    ]
    (places, P), (apart, Q) = reference.slots(net.layers), reference.slots(layers)
    S, constant = np.zeros((Q, P)), np.zeros(Q)
    for layer, (W, b), (own_W, own_b) in zip(net.layers, places, apart, strict=True):
        if W is not None:
            shape = reference.matrix_shape(reference.owner(layer)[0])
            for i in range(W.stop - W.start):
                unit = np.zeros(W.stop - W.start)
                unit[i] = 1
                S[own_W, W.start + i] = reference.dense(layer, unit.reshape(shape)).ravel()
        elif own_W is not None:
            constant[own_W] = reference.dense(layer, None).ravel()
        if b is not None:
            S[own_b, b] = np.tile(np.eye(b.stop - b.start), ((own_b.stop - own_b.start) // (b.stop - b.start), 1))
    wide = fastbp.Network(layers)
    wide.parameters = S @ net.parameters + constant
    return wide, S


@few
@given(layers=sharing_patterns(largest=12, deepest=4), seed=st.integers(0, 100), kind=kinds)
def test_sharing_adds_the_blocks_of_an_untied_network(layers, seed, kind):
    """H = S^T H' S, H' that of a network in which every use has a matrix, fully connected, of its own."""
    net, X, T, loss = problem_of(layers, seed, 4)
    wide, S = untied(net)
    if wide.n_parameters > 1500:
        return
    M, apart = DENSE[kind](net, X, T), DENSE[kind](wide, X, T)
    scale = size_of(DENSE[kind], net, X, T, loss) + size_of(DENSE[kind], wide, X, T, loss)
    assert_close(M, S.T @ apart @ S, "float64", 100 + S.sum(axis=0).max(initial=0.0) ** 2, scale)


@few
@given(problem=problems(largest_batch=6), kind=kinds)
def test_float32_agrees_with_float64(problem, kind):
    """Within 4 eps sqrt(100) of the largest element of a sample's matrix, times the root of their number."""
    net, X, T, loss = problem
    narrow = fastbp.Network(net.layers, dtype="float32")
    narrow.parameters = net.parameters
    net.parameters = narrow.parameters  # the same numbers, rounded
    X, T = X.astype(np.float32), T.astype(np.float32)
    scale = size_of(DENSE[kind], net, X, T, loss)
    J = fastbp.parameter_jacobian(net, X, of="preactivation")
    rows = scale + np.abs(J).max(initial=0.0) ** 2
    for functions, size in ((DENSE, scale), (DIAGONALS, rows)):
        result = functions[kind](narrow, X, T, loss=loss)
        assert result.dtype == np.float32
        assert_close(result, functions[kind](net, X, T, loss=loss), "float32", 100, size)
    v = np.random.default_rng(0).standard_normal(net.n_parameters).astype(np.float32)
    product, expected = (OPERATORS[kind](one, X, T, loss=loss) @ v for one in (narrow, net))
    assert product.dtype == np.float32
    assert_close(product, expected, "float32", 100, scale * np.abs(v).sum())


@few
@given(problem=problems(largest_batch=6))
def test_approximate_diagonal_is_the_reference_recursion(problem):
    net, X, T, loss = problem
    samples = reference.approximate_diagonal(net.layers, net.parameters, X, T, loss)
    d = fastbp.hessian_diagonal(net, X, T, method="approximate", loss=loss)
    # The reference has 1 - y of a confident output no better than to eps.
    rows = np.abs(fastbp.parameter_jacobian(net, X, of="preactivation")).max(initial=0.0) ** 2
    scale = (np.abs(samples).max(initial=0.0) + rows) * np.sqrt(len(X))
    assert_close(d, samples.sum(axis=0), "float64", 100, scale)


@few
@given(problem=problems(largest_batch=4), kind=kinds, draw=st.data())
def test_block_is_that_of_the_matrix(problem, kind, draw):
    net, X, T, loss = problem
    op, M = OPERATORS[kind](net, X, T, loss=loss), DENSE[kind](net, X, T, loss=loss)
    a, b = (draw.draw(st.integers(-len(net.layers), len(net.layers) - 1)) for _ in range(2))
    rows, columns = (
        np.concatenate([np.arange(0), *(np.r_[slot] for slot in reference.slots(net.layers)[0][l] if slot is not None)])
        for l in (a, b)
    )
    assert_close(op.block(a, b), M[np.ix_(rows, columns)], "float64", 100, size_of(DENSE[kind], *problem))
