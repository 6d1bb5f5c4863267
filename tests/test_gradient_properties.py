"""What must hold of gradients whatever the network: random architectures, sharing patterns, error functions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fastbp
import reference
from cases import SMOOTH, architectures, data, error_functions, network, sharing_patterns
from util import assert_close


@st.composite
def problems(draw, activations=reference.ELEMENTWISE, largest_batch=20, maxima=True, **sizes):
    """(net, X, T, loss) with at least one sample, and layers that share or not."""
    layers = draw(architectures(activations, **sizes) | sharing_patterns(activations, maxima=maxima))
    loss = draw(error_functions(layers))
    seed = draw(st.integers(0, 1000))
    net = network(layers, seed=seed)
    return (net, *data(net, draw(st.integers(1, largest_batch)), loss, seed + 1), loss)


def size_of(net, X, T, loss):
    """What roundings in the gradient are relative to: the largest derivative of any sample."""
    return np.abs(fastbp.per_sample_gradients(net, X, T, loss=loss)).max(initial=0.0) * np.sqrt(len(X))


@given(problem=problems())
def test_complex_step(problem):
    net, X, T, loss = problem
    expected = reference.complex_step(lambda z: reference.losses(net.layers, z, X, T, loss).sum(), net.parameters)
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss)
    scale = size_of(net, X, T, loss)
    assert_close(gradient, expected, "float64", 100, scale)
    errors = reference.losses(net.layers, net.parameters, X, T, loss)
    assert_close(value, errors.sum(), "float64", 100, np.abs(errors).sum())


@given(problem=problems(activations=SMOOTH, maxima=False, largest=5, deepest=4))
def test_finite_differences(problem):
    """The library against itself: the fourth-order difference of its error along the gradient of a random direction."""
    net, X, T, loss = problem
    _, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss)
    direction = np.random.default_rng(0).standard_normal(net.n_parameters)
    direction /= np.linalg.norm(direction)
    p, h = net.parameters.copy(), 1e-3

    def error(step):
        net.parameters = p + step * direction
        return fastbp.loss(net, X, T, loss=loss)

    difference = (8 * (error(h) - error(-h)) - (error(2 * h) - error(-2 * h))) / (12 * h)
    net.parameters = p
    # Truncation is of order h^4 = 1e-12, rounding of order eps E / h.
    allowed = 1e-8 * max(1.0, np.linalg.norm(gradient), abs(error(0)))
    assert abs(difference - gradient @ direction) < allowed


@given(problem=problems())
def test_gradients_of_samples_add_up(problem):
    net, X, T, loss = problem
    rows = fastbp.per_sample_gradients(net, X, T, loss=loss)
    assert_close(rows.sum(axis=0), fastbp.loss_and_gradient(net, X, T, loss=loss)[1], "float64", 100, size_of(*problem))


@given(problem=problems(), seed=st.integers(0, 1000))
def test_linear_in_the_weights(problem, seed):
    net, X, T, loss = problem
    weight = np.random.default_rng(seed).random(len(X)) * 3
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss, sample_weight=weight)
    rows = fastbp.per_sample_gradients(net, X, T, loss=loss)
    assert_close(gradient, weight @ rows, "float64", 100, 3 * size_of(*problem))
    weighted = fastbp.per_sample_gradients(net, X, T, loss=loss, sample_weight=weight)
    assert_close(weighted, weight[:, None] * rows, "float64", 100)
    E_n = [fastbp.loss(net, x[None], t[None], loss=loss) for x, t in zip(X, T, strict=True)]
    assert_close(value, weight @ E_n, "float64", 100, weight @ np.abs(E_n))


@given(problem=problems(), cut=st.floats(0, 1))
def test_batch_is_its_two_parts(problem, cut):
    net, X, T, loss = problem
    n = round(cut * len(X))
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss)
    parts = [fastbp.loss_and_gradient(net, x, t, loss=loss) for x, t in ((X[:n], T[:n]), (X[n:], T[n:]))]
    assert_close(value, parts[0][0] + parts[1][0], "float64", 100, abs(parts[0][0]) + abs(parts[1][0]))
    assert_close(gradient, parts[0][1] + parts[1][1], "float64", 100, size_of(*problem))


@given(problem=problems(), order=st.integers(0, 1000))
def test_order_of_the_samples_does_not_matter(problem, order):
    net, X, T, loss = problem
    order = np.random.default_rng(order).permutation(len(X))
    gradient = fastbp.loss_and_gradient(net, X[order], T[order], loss=loss)[1]
    assert_close(gradient, fastbp.loss_and_gradient(net, X, T, loss=loss)[1], "float64", 100, size_of(*problem))


@given(problem=problems(), weighted=st.booleans())
def test_mean_is_the_sum_divided(problem, weighted):
    net, X, T, loss = problem
    weight = np.random.default_rng(1).random(len(X)) + 0.1 if weighted else None
    count = weight.sum() if weighted else len(X)
    options = {"loss": loss, "sample_weight": weight}
    value, gradient = fastbp.loss_and_gradient(net, X, T, **options)
    mean, mean_gradient = fastbp.loss_and_gradient(net, X, T, reduction="mean", **options)
    assert_close(mean, value / count, "float64", 4)
    assert_close(mean, fastbp.loss(net, X, T, reduction="mean", **options), "float64", 4)
    assert_close(mean_gradient, gradient / count, "float64", 100, size_of(*problem) / count)
    rows = fastbp.per_sample_gradients(net, X, T, **options)
    mean_rows = fastbp.per_sample_gradients(net, X, T, reduction="mean", **options)
    assert_close(mean_rows, rows / count, "float64", 100)


@given(problem=problems())
def test_sharing_is_addition(problem):
    """Make every use a fully connected layer by itself: what its matrix gets at the places of one weight adds up."""
    net, X, T, loss = problem
    kept = [isinstance(layer, fastbp.MaxPool2d) for layer in net.layers]
    layers = [
        layer if keep else fastbp.Affine(layer.n_in, layer.n_out, layer.activation, bias=layer.bias)
        for layer, keep in zip(net.layers, kept, strict=True)
    ]
    untied = fastbp.Network(layers)
    matrices = [matrix for _, _, matrix in reference.passes(net.layers, net.parameters, X)]
    for l, layer in enumerate(net.layers):
        if not kept[l]:
            untied.weights[l][...] = reference.dense(layer, matrices[l])
        if layer.bias:
            untied.biases[l][...] = np.tile(net.biases[l], layer.n_out // len(net.biases[l]))
    apart = fastbp.loss_and_gradient(untied, X, T, loss=loss)[1]
    together = np.zeros(net.n_parameters)
    for layer, (W, b), (own_W, own_b) in zip(
        net.layers, reference.slots(net.layers)[0], reference.slots(layers)[0], strict=True
    ):
        if W is not None:
            giver, transposed = reference.owner(layer)
            dM = apart[own_W].reshape(layer.n_in, layer.n_out)
            dM = dM.T if transposed else dM
            dW = together[W].reshape(reference.matrix_shape(giver))
            for inputs, outputs, rows in reference.uses(giver):
                dW[rows] += dM[inputs, outputs]
            together[W] = dW.ravel()
        if b is not None:
            together[b] += apart[own_b].reshape(-1, b.stop - b.start).sum(axis=0)
    gradient = fastbp.loss_and_gradient(net, X, T, loss=loss)[1]
    assert_close(gradient, together, "float64", 100, max(size_of(*problem), size_of(untied, X, T, loss)))


@given(problem=problems())
def test_float32_agrees_with_float64(problem):
    net, X, T, loss = problem
    narrow = fastbp.Network(net.layers, dtype="float32")
    narrow.parameters = net.parameters
    net.parameters = narrow.parameters  # the same numbers, rounded
    X, T = X.astype(np.float32), T.astype(np.float32)
    value, gradient = fastbp.loss_and_gradient(narrow, X, T, loss=loss)
    wide_value, wide = fastbp.loss_and_gradient(net, X, T, loss=loss)
    assert gradient.dtype == np.float32
    errors = reference.losses(net.layers, net.parameters, X, T, loss)
    assert_close(value, wide_value, "float32", 100, np.abs(errors).sum())
    assert_close(gradient, wide, "float32", 100, size_of(net, X, T, loss))
