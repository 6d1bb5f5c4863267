"""Steps of gradient descent in JAX, whatever the network: (run, a function that returns the parameters).

`update` takes (parameters, batch) to (parameters, loss).
"""

from support import join


def calls(jax, case, update, arrays, epochs):
    """One compiled call a step; it may overwrite the parameters it is given."""
    update = jax.jit(update, donate_argnums=0)
    w = own(jax, arrays)
    batches = [(jax.numpy.array(x), jax.numpy.array(t)) for x, t in case.batches]

    def run():
        nonlocal w
        for batch in batches * epochs:
            w, _ = update(w, batch)
        jax.block_until_ready(w)

    return run, lambda: join(w)


def loop(jax, case, update, arrays, epochs, unroll):
    """All epochs in one compiled call."""

    def all_epochs(w, batches):
        def epoch(w, _):
            return jax.lax.scan(update, w, batches, unroll=unroll)

        return jax.lax.scan(epoch, w, length=epochs)

    compiled = jax.jit(all_epochs, donate_argnums=0)
    w = own(jax, arrays)
    X, T = (jax.numpy.array(a.reshape(case.n_batches, case.batch, -1)) for a in case.data)

    def run():
        nonlocal w
        w, _ = compiled(w, (X, T))
        jax.block_until_ready(w)

    return run, lambda: join(w)


def own(jax, arrays):
    """In memory of their own, which may be donated."""
    return [jax.numpy.array(array) for array in arrays]
