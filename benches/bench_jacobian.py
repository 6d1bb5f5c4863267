"""Jacobians of the outputs with respect to the inputs and to the parameters: tanh hidden layers, float64.

The limit of the parameter Jacobian is writing it.
"""

import numpy as np
import pytest

import by_complex_step
import fastbp
import limits
import ways
from support import data, jax_output, load_jax, load_torch, name_of, record, split, start, torch_output

AREA = "Jacobians"
INPUT_CASES = [((16, 32, 16, 4), 500), ((64, 32, 10), 500)]
PARAMETER_CASES = [((2, 10, 1), 200), ((8, 20, 3), 500), ((16, 32, 16, 4), 500), ((64, 32, 10), 500)]


# An implementation takes a network's sizes, inputs, and whether the derivatives with respect to the parameters are
# wanted, of identity outputs, or those with respect to the inputs, of softmax outputs. It returns a function without
# arguments and one that makes an array (N, K, P) or (N, K, D) of its result.


def fastbp_call(sizes, X, parameters):
    """As in the interface, into an array that is there already."""
    net = fastbp.mlp(sizes, output="identity" if parameters else "softmax")
    net.parameters = start(sizes, "float64")
    compute = fastbp.parameter_jacobian if parameters else fastbp.jacobian
    out = np.zeros((len(X), sizes[-1], net.n_parameters if parameters else sizes[0]))
    return lambda: compute(net, X, out=out), lambda J: J


def jax_call(sizes, X, parameters):
    """Vmap of jacrev, compiled. K is less than D and P."""
    jax = load_jax("float64")
    jnp = jax.numpy
    w, x = [jnp.array(a) for a in split(start(sizes, "float64"), sizes)], jnp.array(X)

    def output(w, x):
        return jax_output(jnp, w, x) if parameters else jax.nn.softmax(jax_output(jnp, w, x))

    call = jax.jit(jax.vmap(jax.jacrev(output, argnums=0 if parameters else 1), in_axes=(None, 0)))
    return lambda: jax.block_until_ready(call(w, x)), lambda J: joined(J) if parameters else np.asarray(J)


def torch_call(sizes, X, parameters):
    """Vmap of torch.func.jacrev."""
    torch = load_torch()
    w, x = tuple(torch.tensor(a) for a in split(start(sizes, "float64"), sizes)), torch.tensor(X)

    def output(w, x):
        a = torch_output(torch, w, x[None])[0]
        return a if parameters else torch.softmax(a, dim=0)

    call = torch.func.vmap(torch.func.jacrev(output, argnums=0 if parameters else 1), in_dims=(None, 0))
    return lambda: call(w, x), lambda J: joined(J) if parameters else J.numpy()


def joined(blocks):
    """(N, K, P) of one array for every weight and bias."""
    return np.concatenate([np.asarray(block).reshape(*block.shape[:2], -1) for block in blocks], axis=2)


IMPLEMENTATIONS = {"fastbp": fastbp_call, ways.JAX: jax_call, ways.TORCH: torch_call}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("sizes", "n_samples"), INPUT_CASES, ids=str)
def test_input_jacobian(benchmark, sizes, n_samples, implementation):
    """Each column agrees with the derivative of NumPy's outputs."""
    X, T = data(sizes, n_samples, "float64")
    run, array = IMPLEMENTATIONS[implementation](sizes, X, parameters=False)
    J = array(run())
    by_hand = by_complex_step.Derivatives(sizes, X, T, start(sizes, "float64"), softmax=True)
    for i in range(sizes[0]):
        np.testing.assert_allclose(J[:, :, i], by_hand.outputs_by_input(i), rtol=1e-9, atol=1e-12)
    record(
        benchmark,
        AREA,
        f"∂y/∂x, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        flops=limits.forward_flops(sizes, n_samples) * (1 + min(sizes[0], sizes[-1])),
        nbytes=8 * J.size,
    )
    benchmark(run)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, "memset"])
@pytest.mark.parametrize(("sizes", "n_samples"), PARAMETER_CASES, ids=str)
def test_parameter_jacobian(benchmark, sizes, n_samples, implementation):
    """Some columns agree with the derivatives of NumPy's outputs."""
    X, T = data(sizes, n_samples, "float64")
    p = start(sizes, "float64")
    if implementation == "memset":
        J = np.ones((n_samples, sizes[-1], len(p)))

        def run():
            J.fill(0)
    else:
        run, array = IMPLEMENTATIONS[implementation](sizes, X, parameters=True)
        J = array(run())
        by_hand = by_complex_step.Derivatives(sizes, X, T, p)
        for i, unit in by_complex_step.units(p, 9):
            np.testing.assert_allclose(J[:, :, i], by_hand.outputs_along(unit), rtol=1e-9, atol=1e-12)
        del J
    K = sizes[-1]
    record(
        benchmark,
        AREA,
        f"∂y/∂w, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        flops=limits.forward_flops(sizes, n_samples) + K * limits.delta_flops(sizes, n_samples),
        nbytes=8 * n_samples * K * len(p),
    )
    benchmark(run)
