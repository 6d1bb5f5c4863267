"""Products with the Hessian, which nobody forms: softmax and cross-entropy, tanh hidden layers, float64.

A product is needed many times over, with one network and one batch: what does not depend on the vector may be kept.
"""

import numpy as np
import pytest

import by_complex_step
import fastbp
import limits
import ways
from support import data, jax_output, join, load_jax, load_torch, name_of, record, split, start, torch_output

AREA = "Products with the Hessian"
CASES = [((16, 32, 16, 4), 500), ((64, 32, 10), 500), ((784, 256, 128, 10), 256)]
COLUMNS = [1, 16]

# PyTorch's forward mode uses what PyTorch advises against.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


# An implementation takes a network's sizes, a batch and vectors (P, k). It returns a function without arguments and one
# that makes an array (P, k) of its result.


def fastbp_call(sizes, X, T, V):
    """The operator, made once; a single vector as a vector."""
    net = fastbp.mlp(sizes, output="softmax")
    net.parameters = start(sizes, "float64")
    op = fastbp.HessianOperator(net, X, T)
    v = V[:, 0].copy() if V.shape[1] == 1 else np.asfortranarray(V)  # vectors one by one, as for the others
    return lambda: op @ v, lambda result: result.reshape(V.shape)


def jax_product(sizes, X, T, V, kept):
    """The derivative of the gradient along each vector, compiled; or of the gradient linearized beforehand."""
    jax = load_jax("float64")
    jnp = jax.numpy
    w = [jnp.array(a) for a in split(start(sizes, "float64"), sizes)]
    X, T = jnp.array(X), jnp.array(T)
    columns = [[jnp.array(a) for a in split(v.copy(), sizes)] for v in V.T]
    tangents = columns[0] if len(columns) == 1 else [jnp.stack(blocks) for blocks in zip(*columns, strict=True)]

    def loss(w):
        a = jax_output(jnp, w, X)
        return jnp.sum(jax.nn.logsumexp(a, axis=-1) - jnp.sum(a * T, axis=-1))

    gradient = jax.grad(loss)
    if kept:
        product = jax.linearize(gradient, w)[1]
    else:

        def product(v):
            return jax.jvp(gradient, (w,), (v,))[1]

    call = jax.jit(product if len(columns) == 1 else jax.vmap(product))

    def array(result):
        if len(columns) == 1:
            return join(result)[:, None]
        return np.stack([join(blocks) for blocks in zip(*result, strict=True)], axis=1)

    return lambda: jax.block_until_ready(call(tangents)), array


def jax_call(sizes, X, T, V):
    """jvp of grad."""
    return jax_product(sizes, X, T, V, kept=False)


def jax_linearized(sizes, X, T, V):
    """jax.linearize of grad, once: the forward pass is kept."""
    return jax_product(sizes, X, T, V, kept=True)


def torch_call(sizes, X, T, V):
    """torch.func.jvp of grad."""
    torch = load_torch()
    func = torch.func
    w, X, T = torch.tensor(start(sizes, "float64")), torch.tensor(X), torch.tensor(T)
    v = torch.tensor(V[:, 0].copy() if V.shape[1] == 1 else V.T.copy())

    def loss(w):
        return torch.nn.functional.cross_entropy(torch_output(torch, split(w, sizes), X), T, reduction="sum")

    def product(v):
        return func.jvp(func.grad(loss), (w,), (v,))[1]

    call = product if v.ndim == 1 else func.vmap(product)
    return lambda: call(v), lambda result: result.numpy().reshape(-1, len(w)).T


IMPLEMENTATIONS = {
    "fastbp": fastbp_call,
    ways.JAX: jax_call,
    ways.JAX_LINEARIZED: jax_linearized,
    ways.TORCH: torch_call,
}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize(("sizes", "n_samples"), CASES, ids=str)
def test_product(benchmark, sizes, n_samples, columns, implementation):
    """Each product agrees with the derivative of NumPy's gradient along the vector."""
    X, T = data(sizes, n_samples, "float64", labels=True)
    p = start(sizes, "float64")
    V = np.random.default_rng(3).standard_normal((len(p), columns))
    run, array = IMPLEMENTATIONS[implementation](sizes, X, T, V)
    products = array(run())
    by_hand = by_complex_step.Derivatives(sizes, X, T, p, softmax=True)
    for number in range(columns):
        wanted = by_hand.hessian_times(V[:, number])
        np.testing.assert_allclose(products[:, number], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    record(
        benchmark,
        AREA,
        f"{columns if columns > 1 else 'one'} at once, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        # z V and R{z} W for l > 1; R{delta} Wᵀ and delta Vᵀ; zᵀ R{delta} and R{z}ᵀ delta
        flops=columns * (2 * limits.forward_flops(sizes, n_samples) + 4 * limits.delta_flops(sizes, n_samples)),
        nbytes=8 * 2 * columns * len(p),
    )
    benchmark(run)
