"""What several benches share: seeded data, the peers' networks, and the record of a measurement.

A network is a tuple of sizes with tanh between its layers; its parameters are one flat vector in fastbp's order, so
that every implementation starts from the same numbers and its result can be compared with every other's.
"""

import functools

import numpy as np
import pytest

import cores

compiling = []


def compile_seconds():
    """What JAX has spent so far on tracing and compiling."""
    return sum(compiling)


def note_compiling(event, seconds, **_):
    """Listen to JAX."""
    if event.startswith("/jax/core/compile/"):
        compiling.append(seconds)


def record(
    benchmark, area, row, implementation, *, dtype, flops=0, nbytes=0, repeats=1, unit="s", overhead=0.0, **more
):
    """Put into the JSON file what the report needs.

    Parameters
    ----------
    area, row, implementation : str
        The table, its row and its column.
    flops, nbytes : int
        Of one repeat: what the limit is computed from.
    repeats : int
        Steps in one timed call.
    unit : {"s", "flops/s", "elements/s", "bytes"}
        What the report shows; for rates `flops` or, in `more`, `elements` are divided by the time.
    overhead : float
        Seconds of the call that are not the work, the same for all implementations of the row.
    series, x, x_name : str, float, str
        In `more`: the row is a point of this curve, at this place of the named axis.
    exponent : float
        In `more`: the power of x that the time of the series is expected to grow by.
    """
    benchmark.group = f"{area}: {row}"
    benchmark.extra_info.update(
        area=area,
        row=row,
        implementation=implementation,
        dtype=dtype,
        flops=flops,
        bytes=nbytes,
        repeats=repeats,
        unit=unit,
        overhead_seconds=overhead,
        **{"cores": cores.used(), **more},
    )


def load_torch():
    """PyTorch with a thread a core, or skip."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(cores.used())
    return torch


def load_jax(dtype):
    """JAX with or without 64-bit numbers, or skip."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", dtype == "float64")
    listen(jax)
    return jax


@functools.cache
def listen(jax):
    """To how long JAX compiles, from now on."""
    jax.monitoring.register_event_duration_secs_listener(note_compiling)


def name_of(sizes):
    """'4-32-32-1'."""
    return "-".join(map(str, sizes))


def data(sizes, n_samples, dtype, *, labels=False):
    """Inputs and targets: random numbers, or classes one-hot."""
    rng = np.random.default_rng(20)
    X = rng.standard_normal((n_samples, sizes[0]))
    if labels:
        T = np.eye(sizes[-1])[rng.integers(sizes[-1], size=n_samples)]
    else:
        T = rng.uniform(-1, 1, (n_samples, sizes[-1]))
    return X.astype(dtype), T.astype(dtype)


def start(sizes, dtype):
    """Initial parameters of unit fan-in variance; small biases that are not zero."""
    rng = np.random.default_rng(7)
    blocks = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        blocks += [rng.standard_normal(n_in * n_out) / np.sqrt(n_in), 0.1 * rng.standard_normal(n_out)]
    return np.concatenate(blocks).astype(dtype)


def split(p, sizes):
    """[W1, b1, W2, b2, ...] as views of the vector."""
    arrays, place = [], 0
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        arrays.append(p[place : place + n_in * n_out].reshape(n_in, n_out))
        arrays.append(p[place + n_in * n_out : place + (n_in + 1) * n_out])
        place += (n_in + 1) * n_out
    return arrays


def join(arrays):
    """The flat vector again, from any library's arrays."""
    return np.concatenate([np.asarray(array).ravel() for array in arrays])


class NumpyNetwork:
    """The network as one writes it by hand with care: every array allocated once, every operation in place."""

    def __init__(self, sizes, n_samples, p, *, softmax=False):
        self.sizes, self.p, self.softmax = sizes, p, softmax
        self.weights, self.biases = split(p, sizes)[::2], split(p, sizes)[1::2]
        self.g = np.empty_like(p)
        self.dW, self.db = split(self.g, sizes)[::2], split(self.g, sizes)[1::2]
        self.z, self.delta, self.work = ([np.empty((n_samples, n), p.dtype) for n in sizes[1:]] for _ in range(3))

    def forward(self, X):
        """The outputs: of the last affine layer, softmax or not."""
        for W, b, z in zip(self.weights, self.biases, self.z, strict=True):
            np.matmul(X, W, out=z)
            np.add(z, b, out=z)
            if z is not self.z[-1]:
                np.tanh(z, out=z)
            X = z
        if self.softmax:
            np.subtract(z, z.max(axis=1, keepdims=True), out=z)
            np.exp(z, out=z)
            np.divide(z, z.sum(axis=1, keepdims=True), out=z)
        return z

    def deltas(self, X, T):
        """Every layer's deltas of the summed squared error or cross-entropy."""
        np.subtract(self.forward(X), T, out=self.delta[-1])
        for layer in range(len(self.weights) - 1, 0, -1):
            z, work, delta = self.z[layer - 1], self.work[layer - 1], self.delta[layer - 1]
            np.matmul(self.delta[layer], self.weights[layer].T, out=delta)
            np.multiply(z, z, out=work)
            np.subtract(1, work, out=work)
            np.multiply(delta, work, out=delta)

    def gradient(self, X, T):
        """The gradient of the sum over the batch."""
        self.deltas(X, T)
        for z, delta, dW, db in zip([X, *self.z[:-1]], self.delta, self.dW, self.db, strict=True):
            np.matmul(z.T, delta, out=dW)
            np.add.reduce(delta, axis=0, out=db)
        return self.g

    def per_sample_gradients(self, X, T, G):
        """G[n] = the gradient of sample n alone."""
        self.deltas(X, T)
        place = 0
        for z, delta in zip([X, *self.z[:-1]], self.delta, strict=True):
            (N, n_in), n_out = z.shape, delta.shape[1]
            block = G[:, place : place + n_in * n_out].reshape(N, n_in, n_out)  # a view: the rows split, nothing moves
            np.multiply(z[:, :, None], delta[:, None, :], out=block)
            G[:, place + n_in * n_out : place + (n_in + 1) * n_out] = delta
            place += (n_in + 1) * n_out
        return G


def torch_output(torch, parameters, X):
    """Affine layers with tanh between them, as plain functions: a module call a layer would cost more."""
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        X = torch.tanh(torch.addmm(b, X, W))
    return torch.addmm(parameters[-1], X, parameters[-2])


def torch_parameters(torch, p, sizes):
    """Leaf tensors of their own memory."""
    return [torch.tensor(array, requires_grad=True) for array in split(p, sizes)]


def torch_module(torch, p, sizes):
    """The same network from torch.nn, whose weights are transposed."""
    layers, dtype = [], getattr(torch, p.dtype.name)
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out, dtype=dtype), torch.nn.Tanh()]
    module = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), split(p, sizes), strict=True):
            parameter.copy_(torch.tensor(array).T if array.ndim == 2 else torch.tensor(array))
    return module


def jax_output(jnp, parameters, x):
    """Affine layers with tanh between them, for one row or a batch."""
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = jnp.tanh(x @ W + b)
    return x @ parameters[-2] + parameters[-1]


def backpack_call(sizes, X, T, extension):
    """A backward pass of softmax and cross-entropy with one of BackPACK's extensions, or skip.

    Returns a function without arguments and one that makes an array of its result: (P,), or (N, P) for BatchGrad.
    """
    torch = load_torch()
    backpack = pytest.importorskip("backpack")
    module = backpack.extend(torch_module(torch, start(sizes, "float64"), sizes))
    loss = backpack.extend(torch.nn.CrossEntropyLoss(reduction="sum"))
    X, labels = torch.tensor(X), torch.tensor(T.argmax(axis=1))
    wanted = getattr(backpack.extensions, extension)()

    def run():
        module.zero_grad(set_to_none=True)
        with backpack.backpack(wanted):
            loss(module(X), labels).backward()

    def array(_):
        found = [getattr(parameter, wanted.savefield) for parameter in module.parameters()]
        arrays = [
            (a.transpose(-1, -2) if w.ndim == 2 else a).detach().numpy()
            for w, a in zip(module.parameters(), found, strict=True)
        ]
        if extension == "BatchGrad":
            return np.hstack([a.reshape(len(X), -1) for a in arrays])
        return join(arrays)

    return run, array


def timed(benchmark, run, *, slow=False, rounds=2):
    """Time it; what takes seconds only twice a pass, or once."""
    if slow and benchmark.enabled:
        benchmark.pedantic(run, rounds=rounds)
    else:
        benchmark(run)
