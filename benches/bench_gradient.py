"""The gradient of a batch, and every sample's own: softmax and cross-entropy, tanh hidden layers, float64.

The floor of per-sample gradients is writing them: `memset` of the output is shown beside the implementations.
"""

import functools

import numpy as np
import pytest

import fastbp
import limits
import ways
from support import (
    NumpyNetwork,
    backpack_call,
    data,
    jax_output,
    join,
    load_jax,
    load_torch,
    name_of,
    record,
    split,
    start,
    torch_output,
    torch_parameters,
)

AREA = "Gradients"
CASES = [((16, 32, 16, 4), 500), ((64, 32, 10), 500), ((784, 256, 128, 10), 256)]

# BackPACK's hooks are there for the parameters; that there is no gradient of the inputs they are warned of.
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")


# An implementation takes a network's sizes, a batch, and whether it is every sample's own gradient that is wanted. It
# returns a function without arguments and one that makes an array of its result: of P numbers, or of N x P.


def fastbp_call(sizes, X, T, each):
    """As in the interface, into an array that is there already."""
    net = fastbp.mlp(sizes, output="softmax")
    net.parameters = start(sizes, "float64")
    out = np.zeros((len(X), net.n_parameters) if each else net.n_parameters)
    if each:
        return lambda: fastbp.per_sample_gradients(net, X, T, out=out), lambda G: G
    return lambda: fastbp.loss_and_gradient(net, X, T, out=out), lambda result: result[1]


def numpy_call(sizes, X, T, each):
    """By hand, nothing allocated."""
    net = NumpyNetwork(sizes, len(X), start(sizes, "float64"), softmax=True)
    if each:
        G = np.zeros((len(X), len(net.p)))
        return lambda: net.per_sample_gradients(X, T, G), lambda G: G
    return lambda: net.gradient(X, T), lambda g: g


def torch_call(sizes, X, T, each):
    """autograd.grad, or vmap of torch.func.grad."""
    torch = load_torch()
    w = torch_parameters(torch, start(sizes, "float64"), sizes)
    X, T = torch.tensor(X), torch.tensor(T)

    def loss(w, x, t):
        return torch.nn.functional.cross_entropy(torch_output(torch, w, x), t, reduction="sum")

    if each:
        w = tuple(a.detach() for a in w)
        one = torch.func.grad(lambda w, x, t: loss(w, x[None], t[None]))
        batch = torch.func.vmap(one, in_dims=(None, 0, 0))
        return lambda: batch(w, X, T), lambda G: np.hstack([a.flatten(1).numpy() for a in G])
    return lambda: torch.autograd.grad(loss(w, X, T), w), join


def jax_call(sizes, X, T, each):
    """grad, or vmap of grad, compiled."""
    jax = load_jax("float64")
    jnp = jax.numpy
    w = [jnp.array(a) for a in split(start(sizes, "float64"), sizes)]
    X, T = jnp.array(X), jnp.array(T)

    def loss(w, x, t):
        a = jax_output(jnp, w, x)
        return jnp.sum(jax.nn.logsumexp(a, axis=-1) - jnp.sum(a * t, axis=-1))

    gradient = jax.grad(loss)
    call = jax.jit(jax.vmap(gradient, in_axes=(None, 0, 0)) if each else jax.value_and_grad(loss))

    def flat(result):
        if each:
            return np.hstack([np.asarray(a).reshape(len(X), -1) for a in result])
        return join(result[1])

    return lambda: jax.block_until_ready(call(w, X, T)), flat


def backpack(sizes, X, T, each):
    """BackPACK's BatchGrad, an extension of a backward pass of PyTorch."""
    return backpack_call(sizes, X, T, "BatchGrad")


IMPLEMENTATIONS = {"fastbp": fastbp_call, ways.NUMPY: numpy_call, ways.TORCH: torch_call, ways.JAX: jax_call}
EACH = {**IMPLEMENTATIONS, ways.BACKPACK: backpack}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("sizes", "n_samples"), CASES, ids=str)
def test_gradient(benchmark, sizes, n_samples, implementation):
    """All agree with the gradient that NumPy computes by hand."""
    X, T = data(sizes, n_samples, "float64", labels=True)
    run, flat = IMPLEMENTATIONS[implementation](sizes, X, T, each=False)
    np.testing.assert_allclose(flat(run()), by_hand(sizes, X, T), rtol=1e-9, atol=1e-11)
    record(
        benchmark,
        AREA,
        f"gradient, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        flops=limits.gradient_flops(sizes, n_samples),
        nbytes=8 * (X.size + T.size + 2 * limits.n_parameters(sizes)),
    )
    benchmark(run)


@pytest.mark.parametrize("implementation", [*EACH, "memset"])
@pytest.mark.parametrize(("sizes", "n_samples"), CASES, ids=str)
def test_per_sample_gradients(benchmark, sizes, n_samples, implementation):
    """Each row agrees with the gradient of that sample alone, and all of them with their sum."""
    X, T = data(sizes, n_samples, "float64", labels=True)
    P = limits.n_parameters(sizes)
    if implementation == "memset":
        run = functools.partial(np.ones((n_samples, P)).fill, 0)
    else:
        run, flat = EACH[implementation](sizes, X, T, each=True)
        G = flat(run())
        for rows in (slice(0, n_samples), slice(0, 1), slice(n_samples - 1, n_samples)):
            wanted = by_hand(sizes, X[rows], T[rows])
            np.testing.assert_allclose(G[rows].sum(axis=0), wanted, rtol=1e-9, atol=1e-11)
        del G
    record(
        benchmark,
        AREA,
        f"per sample, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        flops=limits.forward_flops(sizes, n_samples) + limits.delta_flops(sizes, n_samples),
        nbytes=8 * n_samples * P,
    )
    benchmark(run)


def by_hand(sizes, X, T):
    """The gradient of the sum over these samples."""
    return NumpyNetwork(sizes, len(X), start(sizes, "float64"), softmax=True).gradient(X, T)
