"""One step of gradient descent: forward pass, gradient, update. Squared error, tanh between the layers, float32.

Every implementation goes EPOCHS times through the same batches, starting from the same parameters, and must end where
NumPy in float64 ends. The time is that of the whole call or loop over the number of steps in it, so that what `fit`
does once a call (it reads all the data to find NaN and infinity) is spread over EPOCHS epochs; a column of its own
shows what a call for a single epoch costs.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest

import fastbp
import jax_steps
import limits
import ways
from support import (
    NumpyNetwork,
    data,
    jax_output,
    join,
    load_jax,
    load_torch,
    name_of,
    record,
    split,
    start,
    torch_module,
    torch_output,
    torch_parameters,
)

AREA = "Training step"
RATE = 0.01
EPOCHS = 8
EPOCH_BYTES = 1 << 20  # so that most rows' batches come from the second-level cache
FEWEST_BATCHES, MOST_BATCHES = 2, 64
SMALL = 10_000_000  # flops a step, below which calls cost more than arithmetic
LARGE = 10_000_000_000  # flops a step, above which it is timed only


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    sizes: tuple
    batch: int

    def __str__(self):
        return f"{name_of(self.sizes)}, batch {self.batch}"

    @functools.cached_property
    def n_batches(self):
        """Of an epoch."""
        wanted = EPOCH_BYTES // (4 * self.batch * (self.sizes[0] + self.sizes[-1]))
        return max(FEWEST_BATCHES, min(wanted, MOST_BATCHES))

    @functools.cached_property
    def flops(self):
        """Of one step."""
        return limits.gradient_flops(self.sizes, self.batch)

    @functools.cached_property
    def data(self):
        """An epoch's batches, one after the other."""
        return data(self.sizes, self.n_batches * self.batch, "float32")

    @functools.cached_property
    def batches(self):
        """[(X, T), ...]: views."""
        X, T = self.data
        return [(X[i : i + self.batch], T[i : i + self.batch]) for i in range(0, len(X), self.batch)]

    @functools.cached_property
    def end(self):
        """The parameters after all epochs, in float64."""
        p = start(self.sizes, "float64")
        net = NumpyNetwork(self.sizes, self.batch, p)
        for x, t in self.batches * EPOCHS:
            p -= RATE / self.batch * net.gradient(x.astype("float64"), t.astype("float64"))
        return p

    def trainer(self):
        """fastbp's, from the start."""
        net = fastbp.mlp(self.sizes, dtype="float32")
        net.parameters = start(self.sizes, "float32")
        return fastbp.Trainer(net, fastbp.SGD(RATE))


CASES = [
    Case((4, 32, 32, 1), 32),
    Case((8, 64, 64, 4), 64),
    Case((64, 32, 10), 32),
    Case((64, 128, 128, 10), 128),
    Case((784, 100, 10), 128),
    Case((784, 256, 128, 10), 256),
    Case((784, 512, 512, 10), 1024),
    Case((1024, 1024, 1024, 1024), 1024),
    Case((256, 256, 256, 256, 256), 64),
]

SIDES = (16, 32, 64, 128, 256, 512, 1024)
GROWING = [Case((4, 8, 1), 32), *[Case((n, n, n), 32) for n in SIDES]]


# An implementation takes a case and returns two functions: one runs all epochs, one gives the parameters.


def fastbp_fit(case, shuffle=False):
    """One call, with all its checks."""
    trainer = case.trainer()
    X, T = case.data

    def run():
        trainer.fit(X, T, epochs=EPOCHS, batch_size=case.batch, shuffle=shuffle, seed=1)

    return run, lambda: trainer.net.parameters


def fastbp_shuffled(case):
    """The same, the rows drawn in a new order."""
    return fastbp_fit(case, shuffle=True)


def fastbp_one_epoch(case):
    """A call an epoch, each with all its checks: the data are read for NaN and infinity as often as for training."""
    trainer = case.trainer()
    X, T = case.data

    def run():
        for _ in range(EPOCHS):
            trainer.fit(X, T, epochs=1, batch_size=case.batch, shuffle=False)

    return run, lambda: trainer.net.parameters


def fastbp_step(case):
    """One call a step."""
    trainer = case.trainer()
    batches = case.batches * EPOCHS

    def run():
        for x, t in batches:
            trainer.step(x, t)

    return run, lambda: trainer.net.parameters


def numpy_step(case):
    """By hand, nothing allocated."""
    p = start(case.sizes, "float32")
    net = NumpyNetwork(case.sizes, case.batch, p)
    batches, rate = case.batches * EPOCHS, np.float32(RATE / case.batch)

    def run():
        for x, t in batches:
            g = net.gradient(x, t)
            np.multiply(g, rate, out=g)
            np.subtract(p, g, out=p)

    return run, lambda: p


def torch_usual(case):
    """As its tutorials do it: torch.nn, torch.optim; the update fused, or foreach where that is faster."""
    torch = load_torch()
    module = torch_module(torch, start(case.sizes, "float32"), case.sizes)
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, **{"foreach" if case.flops < SMALL else "fused": True})
    batches = [(torch.tensor(x), torch.tensor(t)) for x, t in case.batches]

    def run():
        for x, t in batches * EPOCHS:
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.mse_loss(module(x), t, reduction="sum") * (0.5 / case.batch)
            loss.backward()
            optimizer.step()

    def parameters():
        return join([w.detach().T if w.ndim == 2 else w.detach() for w in module.parameters()])

    return run, parameters


def torch_lean(case):
    """The fastest eager way found: functions instead of modules, gradients without .grad, one call to update."""
    torch = load_torch()
    w = torch_parameters(torch, start(case.sizes, "float32"), case.sizes)
    batches = [(torch.tensor(x), torch.tensor(t)) for x, t in case.batches]

    def run():
        for x, t in batches * EPOCHS:
            loss = torch.nn.functional.mse_loss(torch_output(torch, w, x), t, reduction="sum")
            gradient = torch.autograd.grad(loss, w)
            with torch.no_grad():
                torch._foreach_add_(w, gradient, alpha=-0.5 * RATE / case.batch)

    return run, lambda: join([array.detach() for array in w])


def jax_update(case, jax):
    """(parameters, batch) -> (parameters, loss)"""

    def loss(w, x, t):
        return jax.numpy.sum((jax_output(jax.numpy, w, x) - t) ** 2) * (0.5 / case.batch)

    def update(w, batch):
        value, gradient = jax.value_and_grad(loss)(w, *batch)
        return [a - RATE * g for a, g in zip(w, gradient, strict=True)], value

    return update


def jax_step(case):
    """One compiled call a step."""
    jax = load_jax("float32")
    return jax_steps.calls(jax, case, jax_update(case, jax), split(start(case.sizes, "float32"), case.sizes), EPOCHS)


def jax_scan(case):
    """All epochs compiled into one loop over epochs and one over batches."""
    jax = load_jax("float32")
    unroll = 4 if case.flops < SMALL else 1
    return jax_steps.loop(
        jax, case, jax_update(case, jax), split(start(case.sizes, "float32"), case.sizes), EPOCHS, unroll
    )


IMPLEMENTATIONS = {
    "fastbp fit": fastbp_fit,
    "fastbp fit, shuffled": fastbp_shuffled,
    "fastbp fit, one epoch": fastbp_one_epoch,
    "fastbp step": fastbp_step,
    ways.NUMPY: numpy_step,
    ways.TORCH: torch_usual,
    ways.TORCH_LEAN: torch_lean,
    ways.JAX_CALLS: jax_step,
    ways.JAX_LOOP: jax_scan,
}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_training_step(benchmark, case, implementation):
    """Same batches, same start, same end."""
    if case.flops > LARGE and not benchmark.enabled:
        pytest.skip("too long for a test")
    measure(benchmark, AREA, case, implementation)


@pytest.mark.parametrize("implementation", ["fastbp fit", ways.NUMPY, ways.TORCH_LEAN, ways.JAX_CALLS, ways.JAX_LOOP])
@pytest.mark.parametrize("case", GROWING, ids=str)
def test_step_against_size(benchmark, case, implementation):
    """From the smallest network to one whose parameters fill the second-level cache several times."""
    P = limits.n_parameters(case.sizes)
    measure(benchmark, "Training step against size", case, implementation, series="batch 32", x=P, x_name="parameters")


def measure(benchmark, area, case, implementation, **more):
    """Check the end of all epochs, then time them."""
    run, parameters = IMPLEMENTATIONS[implementation](case)
    run()
    change, wanted = parameters() - start(case.sizes, "float32"), case.end - start(case.sizes, "float64")
    # Another order of the samples takes another way, but not far from it in so few steps.
    tolerance = 0.2 if implementation == "fastbp fit, shuffled" else 1e-3
    assert np.linalg.norm(change - wanted) <= tolerance * np.linalg.norm(wanted)
    record(
        benchmark,
        area,
        str(case),
        implementation,
        dtype="float32",
        flops=case.flops,
        nbytes=limits.training_bytes(case.sizes, case.batch, 4),
        repeats=EPOCHS * case.n_batches,
        **more,
    )
    benchmark(run)
