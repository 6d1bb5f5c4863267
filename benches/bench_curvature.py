"""The exact Hessian and the Gauss-Newton matrix, dense: squared error, tanh hidden layers, float64.

The limit is the sum over the samples alone: a product for every pair of layers, over pairs of inputs and pairs of
outputs that are different. What the products are made of is not counted.
"""

import numpy as np
import pytest

import by_complex_step
import fastbp
import limits
import ways
from support import data, jax_output, load_jax, load_torch, name_of, record, split, start, timed, torch_output

AREA = "Hessian and Gauss-Newton matrix"
CASES = [((2, 10, 1), 200), ((8, 20, 3), 500), ((16, 32, 16, 4), 500), ((64, 32, 10), 500)]
LARGE = ((784, 16, 10), 500)  # 1.2 GiB; only the Hessian, and only timed
SLOW = 1000  # parameters, from which on the peers take seconds
MANY, AT_ONCE = 4000, 1024  # parameters from which on a peer makes so many rows at once: all take many times its memory

# PyTorch's forward mode uses what PyTorch advises against.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


# An implementation takes a network's sizes, a batch, and whether it is the Gauss-Newton matrix that is wanted. It
# returns a function without arguments, whose result is the (P, P) matrix.


def fastbp_call(sizes, X, T, gauss_newton):
    """As in the interface, into an array that is there already."""
    net = fastbp.mlp(sizes)
    net.parameters = start(sizes, "float64")
    out = np.zeros((net.n_parameters, net.n_parameters))
    compute = fastbp.gauss_newton if gauss_newton else fastbp.hessian
    return lambda: compute(net, X, T, out=out)


def jax_call(sizes, X, T, gauss_newton):
    """jax.hessian of the error, or the outputs' Jacobian J and Jᵀ J; of the flat vector, compiled."""
    jax = load_jax("float64")
    jnp = jax.numpy
    w, X, T = jnp.array(start(sizes, "float64")), jnp.array(X), jnp.array(T)

    def loss(w):
        return 0.5 * jnp.sum((jax_output(jnp, split(w, sizes), X) - T) ** 2)

    def output(w, x):
        return jax_output(jnp, split(w, sizes), x)

    def outer_product(w):
        J = jax.vmap(jax.jacrev(output), in_axes=(None, 0))(w, X).reshape(-1, w.size)
        return J.T @ J

    def by_parts(w):
        def row(i):
            return jax.jvp(jax.grad(loss), (w,), (jax.nn.one_hot(i, w.size, dtype=w.dtype),))[1]

        return jax.lax.map(row, jnp.arange(w.size), batch_size=AT_ONCE)

    hessian = by_parts if w.size > MANY else jax.hessian(loss)
    call = jax.jit(outer_product if gauss_newton else hessian)
    return lambda: jax.block_until_ready(call(w))


def torch_call(sizes, X, T, gauss_newton):
    """torch.func.hessian of the error, or Jᵀ J of torch.func.jacrev; of the flat vector."""
    torch = load_torch()
    func = torch.func
    w, X, T = torch.tensor(start(sizes, "float64")), torch.tensor(X), torch.tensor(T)

    def loss(w):
        return 0.5 * torch.sum((torch_output(torch, split(w, sizes), X) - T) ** 2)

    def output(w, x):
        return torch_output(torch, split(w, sizes), x[None])[0]

    if not gauss_newton:
        if len(w) <= MANY:
            compute = func.hessian(loss)
            return lambda: compute(w)

        def row(unit):
            return func.jvp(func.grad(loss), (w,), (unit,))[1]

        units, rows = torch.eye(len(w), dtype=w.dtype), func.vmap(row, chunk_size=AT_ONCE)
        return lambda: rows(units)
    jacobian = func.vmap(func.jacrev(output), in_dims=(None, 0))

    def outer_product():
        J = jacobian(w, X).flatten(0, 1)
        return J.T @ J

    return outer_product


IMPLEMENTATIONS = {"fastbp": fastbp_call, ways.JAX: jax_call, ways.TORCH: torch_call}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("sizes", "n_samples"), CASES, ids=str)
@pytest.mark.parametrize("gauss_newton", [False, True], ids=["Hessian", "Gauss-Newton"])
def test_matrix(benchmark, gauss_newton, sizes, n_samples, implementation):
    check_and_time(benchmark, gauss_newton, sizes, n_samples, implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_large_hessian(benchmark, implementation):
    if not benchmark.enabled:
        pytest.skip("too long for a test")
    check_and_time(benchmark, False, *LARGE, implementation)


def check_and_time(benchmark, gauss_newton, sizes, n_samples, implementation):
    """Columns of it agree with the derivatives of NumPy's gradient along them; it is symmetric."""
    X, T = data(sizes, n_samples, "float64")
    run = IMPLEMENTATIONS[implementation](sizes, X, T, gauss_newton)
    matrix = np.asarray(run())
    p = start(sizes, "float64")
    by_hand = by_complex_step.Derivatives(sizes, X, T, p)
    times = by_hand.gauss_newton_times if gauss_newton else by_hand.hessian_times
    tolerance = 1e-11 * np.abs(matrix).max()
    for i, unit in by_complex_step.units(p, 7):
        np.testing.assert_allclose(matrix[:, i], times(unit), rtol=0, atol=tolerance)
    for i in range(0, len(p), 512):  # by strips: a comparison takes several times the memory of what it compares
        strip, mirrored = matrix[i : i + 512], matrix[:, i : i + 512].T
        np.testing.assert_allclose(strip, mirrored, rtol=0, atol=0 if implementation == "fastbp" else tolerance)
    record(
        benchmark,
        AREA,
        f"{'Gauss-Newton' if gauss_newton else 'Hessian'}, {name_of(sizes)}, N {n_samples}",
        implementation,
        dtype="float64",
        flops=limits.assembly_flops(sizes, n_samples),
        nbytes=8 * len(p) ** 2,
        series="Gauss-Newton matrix" if gauss_newton else "Hessian",
        x=len(p),
        x_name="P",
    )
    timed(benchmark, run, slow=len(p) > SLOW and implementation != "fastbp", rounds=1 if len(p) > MANY else 2)
