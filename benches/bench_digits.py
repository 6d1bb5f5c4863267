"""Handwritten digits from the call of `fit` to its return: 1437 images of 8 x 8, 64-64-10, cross-entropy, Adam.

Batches of 32 in a new order every epoch, 30 epochs, float32. JAX's compilation is timed apart (`first_call_seconds`).
Without scikit-learn, which has the images, made-up ones of the same shape take their place.
"""

import functools
import time

import numpy as np
import pytest

import fastbp
import limits
import ways
from support import (
    NumpyNetwork,
    jax_output,
    join,
    load_jax,
    load_torch,
    record,
    split,
    start,
    torch_output,
    torch_parameters,
)

AREA = "Digits, whole fit"
SIZES = (64, 64, 10)
N, BATCH, RATE = 1437, 32, 1e-3
ROUNDS = 5


@functools.cache
def images():
    """X between 0 and 1, labels."""
    rng = np.random.default_rng(5)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        labels = rng.integers(10, size=N)
        X = np.clip(rng.random((10, 64))[labels] + 0.2 * rng.standard_normal((N, 64)), 0, 1)
    else:
        digits = load_digits()
        chosen = rng.permutation(len(digits.data))[:N]
        X, labels = digits.data[chosen] / 16, digits.target[chosen]
    return X.astype("float32"), labels.astype("int64")


# An implementation takes the number of epochs and returns three functions: one makes the arguments of the timed call,
# the second is the timed call, the third makes the flat parameters out of its result.


def fastbp_fit(epochs):
    """One call."""
    X, labels = images()

    def setup():
        net = fastbp.mlp(SIZES, output="softmax", dtype="float32")
        net.parameters = start(SIZES, "float32")
        return fastbp.Trainer(net, fastbp.Adam(RATE))

    def fit(trainer):
        trainer.fit(X, labels, epochs=epochs, batch_size=BATCH, seed=0)
        return trainer

    return setup, fit, lambda trainer: trainer.net.parameters


def scikit_learn(epochs):
    """MLPClassifier with the same settings: no early stopping, no penalty. It starts from numbers of its own."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    X, labels = images()

    def setup():
        return neural_network.MLPClassifier(
            (64,),
            activation="tanh",
            alpha=0,
            batch_size=BATCH,
            learning_rate_init=RATE,
            max_iter=epochs,
            n_iter_no_change=epochs,
            tol=0,
            random_state=0,
        )

    def fit(model):
        return model.fit(X, labels)

    def parameters(model):
        return join([a for pair in zip(model.coefs_, model.intercepts_, strict=True) for a in pair])

    return setup, fit, parameters


def torch_loop(epochs):
    """Functions and the fused optimizer; one gather an epoch, batches as views of it."""
    torch = load_torch()
    X, labels = (torch.tensor(a) for a in images())

    def setup():
        w = torch_parameters(torch, start(SIZES, "float32"), SIZES)
        return w, torch.optim.Adam(w, lr=RATE, fused=True), torch.Generator().manual_seed(0)

    def fit(state):
        w, optimizer, generator = state
        for _ in range(epochs):
            order = torch.randperm(N, generator=generator)
            for x, t in zip(X[order].split(BATCH), labels[order].split(BATCH), strict=True):
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(torch_output(torch, w, x), t).backward()
                optimizer.step()
        return w

    return setup, fit, lambda w: join([array.detach() for array in w])


def jax_scan(epochs):
    """All epochs in one compiled call; the shorter last batch of an epoch is a step of its own."""
    jax = load_jax("float32")
    jnp = jax.numpy
    X, labels = (jnp.array(a) for a in images())
    whole = N // BATCH

    def loss(w, x, t):
        a = jax_output(jnp, w, x)
        return jnp.mean(jax.nn.logsumexp(a, axis=1) - jnp.take_along_axis(a, t[:, None], axis=1)[:, 0])

    def step(state, batch):
        w, first, second, count = state
        g = jax.grad(loss)(w, *batch)
        count = count + 1
        correct1, correct2 = 1 - 0.9**count, 1 - 0.999**count
        first = [0.9 * m + 0.1 * d for m, d in zip(first, g, strict=True)]
        second = [0.999 * v + 0.001 * d * d for v, d in zip(second, g, strict=True)]
        w = [
            p - RATE * (m / correct1) / (jnp.sqrt(v / correct2) + 1e-8)
            for p, m, v in zip(w, first, second, strict=True)
        ]
        return (w, first, second, count), None

    def epoch(state, key):
        order = jax.random.permutation(key, N)
        x, t = X[order], labels[order]
        batches = x[: whole * BATCH].reshape(whole, BATCH, -1), t[: whole * BATCH].reshape(whole, BATCH)
        state, _ = jax.lax.scan(step, state, batches, unroll=4)
        return step(state, (x[whole * BATCH :], t[whole * BATCH :]))

    @jax.jit
    def train(w, keys):
        zeros = [jnp.zeros_like(a) for a in w]
        state, _ = jax.lax.scan(epoch, (w, zeros, zeros, jnp.float32(0)), keys)
        return state[0]

    w = [jnp.array(a) for a in split(start(SIZES, "float32"), SIZES)]

    def fit(_):
        return jax.block_until_ready(train(w, jax.random.split(jax.random.key(0), epochs)))

    return lambda: None, fit, join


IMPLEMENTATIONS = {
    "fastbp": fastbp_fit,
    ways.SCIKIT_LEARN: scikit_learn,
    ways.TORCH: torch_loop,
    ways.JAX_LOOP: jax_scan,
}


# scikit-learn warns of every training that ends at max_iter, which is the point here.
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations:Warning")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_digits(benchmark, implementation):
    """They start from different numbers or take other orders: what they must share is how well they end."""
    epochs = 30 if benchmark.enabled else 10
    setup, fit, parameters = IMPLEMENTATIONS[implementation](epochs)
    begin = time.perf_counter()
    result = fit(setup())  # compiles, where there is something to compile
    first = time.perf_counter() - begin

    X, labels = images()
    y = NumpyNetwork(SIZES, N, parameters(result), softmax=True).forward(X)
    loss, accuracy = -np.mean(np.log(y[np.arange(N), labels])), np.mean(y.argmax(axis=1) == labels)
    assert accuracy > (0.98 if epochs == 30 else 0.94)
    assert loss < (0.08 if epochs == 30 else 0.3)

    record(
        benchmark,
        AREA,
        f"{epochs} epochs",
        implementation,
        dtype="float32",
        flops=epochs * limits.gradient_flops(SIZES, N),
        nbytes=epochs * X.nbytes,
        first_call_seconds=first,
        loss=float(loss),
        accuracy=float(accuracy),
    )
    benchmark.pedantic(fit, setup=lambda: ((setup(),), {}), rounds=ROUNDS)
