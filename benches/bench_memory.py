"""Memory: how far a call drives up the resident set of a process of its own, from just before it to its peak.

Inputs, networks and compiled code are there before; the result counts. Each implementation has made a small call of the
same kind before, so that what libraries load or start the first time is left out. The limit is the result; of an
update, which works in place, the 64 rows multiplied by the matrix.
"""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
import limits
import ways
from own_process import answer, ask, record_measured
from support import data, jax_output, name_of, record, split, start, torch_output, torch_parameters

AREA = "Memory"
SIZES, TRAINED = (64, 32, 10), (784, 256, 128, 10)
N, N_HESSIAN, N_TRAINED, ROWS = 2000, 500, 8192, 64
P = 4000
ROW = {
    "per-sample gradients": f"per-sample gradients, {name_of(SIZES)}, N {N}",
    "Hessian": f"Hessian, {name_of(SIZES)}, N {N_HESSIAN}",
    "fit": f"fit, one epoch in batches of 256, {name_of(TRAINED)}, N {N_TRAINED}",
    "rank-64 update": f"rank-64 update, P {P}",
}
RESULT = {
    "per-sample gradients": 8 * N * limits.n_parameters(SIZES),
    "Hessian": 8 * limits.n_parameters(SIZES) ** 2,
    "fit": 4 * limits.n_parameters(TRAINED),
    "rank-64 update": 8 * P * ROWS,
}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


# An implementation takes what is wanted and how much of it, and returns a function without arguments.


def fastbp_call(what, sizes, n_samples):
    """As in the interface; new arrays."""
    if what == "rank-64 update":
        inverse, B = fastbp.WoodburyInverse(n_samples, 1.0), rows(n_samples)
        return lambda: inverse.update(B)
    dtype = "float32" if what == "fit" else "float64"
    X, T = data(sizes, n_samples, dtype)
    net = fastbp.mlp(sizes, dtype=dtype)
    net.parameters = start(sizes, dtype)
    if what == "fit":
        trainer = fastbp.Trainer(net, fastbp.SGD(0.01))
        return lambda: trainer.fit(X, T, epochs=1, batch_size=256, seed=0)
    function = fastbp.hessian if what == "Hessian" else fastbp.per_sample_gradients
    return lambda: function(net, X, T)


def numpy_call(what, sizes, n_samples):
    """The update only: as one writes it."""
    if what != "rank-64 update":
        raise ImportError("by hand only the update")
    H, B = np.eye(n_samples), rows(n_samples)

    def update():
        nonlocal H
        U = B @ H
        H -= U.T @ np.linalg.solve(np.eye(len(B)) + U @ B.T, U)

    return update


def torch_call(what, sizes, n_samples):
    """torch.func, or a plain loop over shuffled batches."""
    import torch

    torch.set_num_threads(1)
    if what == "rank-64 update":
        H, B = torch.eye(n_samples, dtype=torch.float64), torch.tensor(rows(n_samples))

        def update():
            U = B @ H
            H.sub_(U.T @ torch.linalg.solve(torch.eye(len(B), dtype=H.dtype) + U @ B.T, U))

        return update
    dtype = "float32" if what == "fit" else "float64"
    X, T = (torch.tensor(array) for array in data(sizes, n_samples, dtype))
    w = torch_parameters(torch, start(sizes, dtype), sizes)

    def error(w, x, t):
        return torch.nn.functional.mse_loss(torch_output(torch, w, x), t, reduction="sum") / 2

    if what == "fit":
        optimizer = torch.optim.SGD(w, lr=1e-5)

        def epoch():
            for chosen in torch.randperm(n_samples).split(256):
                optimizer.zero_grad(set_to_none=True)
                error(w, X[chosen], T[chosen]).backward()
                optimizer.step()

        return epoch
    if what == "Hessian":
        flat = torch.tensor(start(sizes, dtype))
        total = torch.func.hessian(lambda p: error(split(p, sizes), X, T))
        return lambda: total(flat)
    w = tuple(a.detach() for a in w)
    one = torch.func.grad(lambda w, x, t: error(w, x[None], t[None]))
    each = torch.func.vmap(one, in_dims=(None, 0, 0))
    return lambda: each(w, X, T)


def jax_call(what, sizes, n_samples):
    """Compiled beforehand, without a call."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    if what == "rank-64 update":
        H, B = jnp.eye(n_samples), jnp.array(rows(n_samples))

        def plus(H, B):
            U = B @ H
            return H - U.T @ jnp.linalg.solve(jnp.eye(len(B)) + U @ B.T, U)

        update = jax.jit(plus, donate_argnums=0).lower(H, B).compile()
        return lambda: jax.block_until_ready(update(H, B))
    dtype = "float32" if what == "fit" else "float64"
    X, T = (jnp.array(array) for array in data(sizes, n_samples, dtype))
    w = jnp.array(start(sizes, dtype))

    def error(w, x, t):
        return jnp.sum((jax_output(jnp, split(w, sizes), x) - t) ** 2) / 2

    def epoch(w, X, T):
        order = jax.random.permutation(jax.random.key(0), n_samples).reshape(-1, min(256, n_samples))

        def step(w, chosen):
            return w - 1e-5 * jax.grad(error)(w, X[chosen], T[chosen]), None

        return jax.lax.scan(step, w, order)[0]

    function = {
        "fit": epoch,
        "Hessian": jax.hessian(error),
        "per-sample gradients": jax.vmap(jax.grad(error), in_axes=(None, 0, 0)),
    }[what]
    compiled = jax.jit(function).lower(w, X, T).compile()
    return lambda: jax.block_until_ready(compiled(w, X, T))


IMPLEMENTATIONS = {"fastbp": fastbp_call, ways.NUMPY: numpy_call, ways.TORCH: torch_call, ways.JAX: jax_call}


def rows(size):
    """What an inverse is given."""
    return np.random.default_rng(1).standard_normal((ROWS, size)) / np.sqrt(size)


def peak_bytes():
    """Of the resident set so far."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * int(next(line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")))


def measure(what, implementation):
    """Bytes from before the call to its peak."""
    make = IMPLEMENTATIONS[implementation]
    make(what, (8, 8, 8), 256)()
    sizes = TRAINED if what == "fit" else SIZES
    run = make(what, sizes, {"fit": N_TRAINED, "Hessian": N_HESSIAN, "rank-64 update": P}.get(what, N))
    if CLEAR.exists():
        CLEAR.write_text("5")  # Linux: the peak starts again from what is resident now
    before = peak_bytes()
    result = run()
    peak = peak_bytes()
    del result  # not before the peak is read
    return [peak - before]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("what", ROW)
def test_memory(benchmark, what, implementation):
    """At least as much as the result where that is new."""
    peak = ask(__file__, what, implementation)
    if what in ("per-sample gradients", "Hessian"):
        assert peak[0] > 0.9 * RESULT[what]
    record(benchmark, AREA, ROW[what], implementation, dtype="float64", nbytes=RESULT[what], unit="bytes")
    record_measured(benchmark, peak)


if __name__ == "__main__":
    answer(measure, *sys.argv[1:])
