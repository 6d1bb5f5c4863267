"""What a call costs when there is next to nothing to compute."""

import functools

import numpy as np
import pytest

import fastbp
import limits
import ways
from fastbp_c.affine import affine_backward
from support import (
    NumpyNetwork,
    data,
    jax_output,
    load_jax,
    load_torch,
    name_of,
    record,
    split,
    start,
    torch_output,
    torch_parameters,
)

AREA = "Call overhead"
SIDE = 4
SIZES, BATCH, BATCHES = (4, 32, 32, 1), 32, 256


def operands():
    """dY, X, W, all of them square."""
    return np.random.default_rng(2).random((3, SIDE, SIDE))


# Each implementation of affine_backward returns a function without arguments that returns (dX, dW, db).


def backward_fastbp():
    """As in the interface: new arrays."""
    return functools.partial(fastbp.affine_backward, *operands())


def backward_kernel():
    """The compiled core, into arrays that are there already."""
    dX, dW, db = np.empty((SIDE, SIDE)), np.empty((SIDE, SIDE)), np.empty(SIDE)
    call = functools.partial(affine_backward, *operands(), dX, dW, db)

    def run():
        call()
        return dX, dW, db

    return run


def backward_numpy():
    """Three operations, new arrays."""
    dY, X, W = operands()
    add = np.add.reduce
    return lambda: (dY @ W.T, X.T @ dY, add(dY, axis=0))


def backward_numpy_out():
    """Three operations into arrays that are there already, transposed views made beforehand."""
    dY, X, W = operands()
    dX, dW, db = np.empty((SIDE, SIDE)), np.empty((SIDE, SIDE)), np.empty(SIDE)
    matmul, add, W_transposed, X_transposed = np.matmul, np.add.reduce, W.T, X.T

    def run():
        matmul(dY, W_transposed, dX)
        matmul(X_transposed, dY, dW)
        add(dY, 0, None, db)
        return dX, dW, db

    return run


def backward_torch():
    """The backward pass alone, through a graph that is kept."""
    torch = load_torch()
    dY, X, W = (torch.tensor(a) for a in operands())
    variables = X.requires_grad_(), W.requires_grad_(), torch.zeros(SIDE, dtype=X.dtype, requires_grad=True)
    Y = torch.addmm(variables[2], X, W)
    return functools.partial(torch.autograd.grad, Y, variables, dY, retain_graph=True)


def backward_jax():
    """The three operations compiled into one call."""
    jax = load_jax("float64")
    call = jax.jit(lambda dY, X, W: (dY @ W.T, X.T @ dY, dY.sum(axis=0)))
    arrays = [jax.numpy.array(a) for a in operands()]
    return lambda: jax.block_until_ready(call(*arrays))


BACKWARD = {
    "fastbp": backward_fastbp,
    "fastbp_c, out given": backward_kernel,
    ways.NUMPY: backward_numpy,
    ways.NUMPY_OUT: backward_numpy_out,
    ways.TORCH: backward_torch,
    ways.JAX: backward_jax,
}


@pytest.mark.parametrize("implementation", BACKWARD)
def test_affine_backward(benchmark, implementation):
    """4 x 4 arrays, float64."""
    run = BACKWARD[implementation]()
    dY, X, W = operands()
    for result, wanted in zip(run(), (dY @ W.T, X.T @ dY, dY.sum(axis=0)), strict=True):
        np.testing.assert_allclose(np.asarray(result), wanted, rtol=1e-13)
    record(benchmark, f"{AREA}: affine_backward", f"{SIDE} x {SIDE}", implementation, dtype="float64")
    benchmark(run)


def trainer():
    """A float32 network, plain gradient descent."""
    net = fastbp.mlp(SIZES, dtype="float32")
    net.parameters = start(SIZES, "float32")
    return fastbp.Trainer(net, fastbp.SGD(0.001))


@pytest.mark.parametrize("implementation", ["fastbp inside fit", "fastbp step"])
def test_step(benchmark, implementation):
    """`Trainer.step` against the same step inside `fit`, on one and the same batch over and over."""
    X, T = data(SIZES, BATCH, "float32")
    stepped, fitted = trainer(), trainer()
    many_X, many_T = np.tile(X, (BATCHES, 1)), np.tile(T, (BATCHES, 1))
    fit = functools.partial(fitted.fit, many_X, many_T, epochs=1, batch_size=BATCH, shuffle=False)
    step = functools.partial(stepped.step, X, T)
    fit()
    for _ in range(BATCHES):
        step()
    np.testing.assert_array_equal(stepped.net.parameters, fitted.net.parameters)
    inside = implementation == "fastbp inside fit"
    record(
        benchmark,
        f"{AREA}: a training step",
        f"{name_of(SIZES)}, batch {BATCH}",
        implementation,
        dtype="float32",
        flops=limits.gradient_flops(SIZES, BATCH),
        repeats=BATCHES if inside else 1,
    )
    benchmark(fit if inside else step)


# Each implementation of the forward pass takes one row and returns a function without arguments.


def forward_fastbp(x):
    """As in the interface: checks, a new array."""
    return functools.partial(trainer().net.forward, x)


def forward_numpy(x):
    """By hand, nothing allocated."""
    return functools.partial(NumpyNetwork(SIZES, 1, start(SIZES, "float32")).forward, x)


def forward_torch(x):
    """Without a graph."""
    torch = load_torch()
    w, x = torch_parameters(torch, start(SIZES, "float32"), SIZES), torch.tensor(x)
    w = [a.detach() for a in w]

    def run():
        with torch.inference_mode():
            return torch_output(torch, w, x)

    return run


def forward_jax(x):
    """Compiled."""
    jax = load_jax("float32")
    w, x = [jax.numpy.array(a) for a in split(start(SIZES, "float32"), SIZES)], jax.numpy.array(x)
    call = jax.jit(functools.partial(jax_output, jax.numpy))
    return lambda: jax.block_until_ready(call(w, x))


FORWARD = {"fastbp": forward_fastbp, ways.NUMPY: forward_numpy, ways.TORCH: forward_torch, ways.JAX: forward_jax}


@pytest.mark.parametrize("implementation", FORWARD)
def test_forward_one_row(benchmark, implementation):
    """The outputs for one sample, float32."""
    x, _ = data(SIZES, 1, "float32")
    run = FORWARD[implementation](x)
    wanted = NumpyNetwork(SIZES, 1, start(SIZES, "float64")).forward(x.astype("float64"))
    np.testing.assert_allclose(np.asarray(run()), wanted, rtol=1e-5, atol=1e-6)
    record(
        benchmark,
        f"{AREA}: forward",
        f"{name_of(SIZES)}, one row",
        implementation,
        dtype="float32",
        flops=limits.forward_flops(SIZES, 1),
    )
    benchmark(run)
