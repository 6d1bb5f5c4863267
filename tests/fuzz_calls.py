"""Random calls of the public functions, and what is right if they return."""

from typing import Any

import numpy as np

import fastbp
import reference
from cases import chain, spread
from fastbp import (
    SGD,
    Adam,
    Affine,
    AveragePool2d,
    Conv1d,
    Conv2d,
    Layer,
    MaxPool2d,
    Network,
    Shared,
    Tied,
    Trainer,
    mlp,
)
from fuzz_world import ERRORS, Call, assert_near, moderate, values
from strategies import OBJECTS, SCALARS

ACTIVATIONS = (*reference.ELEMENTWISE, "softmax")


def forward(draw, world):
    rows = draw.randrange(5)
    net, X = world.net, draw.numbers((rows, world.net.n_inputs), world.dtype)
    out = draw.output((rows, net.n_outputs), world.dtype)

    def right(Y, X, out):
        x = values(X, world.dtype)
        assert out is None or Y is out
        if moderate(x):
            assert_near(Y, reference.forward(world.layers, net.parameters, x), world.dtype)

    return Call("forward", net.forward, {"X": X, "out": out}, right, ("out",), ("forward",))


def batches(name):
    """loss and its derivatives."""

    def make(draw, world):
        net, rows, P = world.net, draw.randrange(5), world.net.n_parameters
        X, T = world.batch(rows)
        canonical = reference.canonical(world.layers[-1].activation)
        arguments = {"net": net if draw.random() < 0.98 else draw.junk(), "X": X, "T": T}
        arguments["loss"] = draw.name((None, None, canonical, "squared_error"))
        arguments["reduction"] = draw.name(("sum", "sum", "mean"))
        arguments["sample_weight"] = None if draw.random() < 0.5 else draw.numbers((rows,), world.dtype)
        if name in ("loss_and_gradient", "per_sample_gradients"):
            shape = (P,) if name == "loss_and_gradient" else (rows, P)
            arguments["out"] = net.parameters if draw.random() < 0.01 else draw.output(shape, world.dtype)
        elif name == "check_gradient":
            arguments |= {"max_parameters": draw.scalar((1, 2)), "tolerance": draw.scalar((None, 1, 0.1))}
            arguments["seed"] = draw.scalar((None, 0))

        def right(result, net, X, T, loss, reduction, sample_weight, **_):
            numbers = right_numbers(world, X, T, sample_weight, reduction)
            if numbers is None:
                return
            x, t, w = numbers
            p, layers = net.parameters, world.layers
            if name == "check_gradient":
                assert len(result.indices) == min(net.n_parameters, _["max_parameters"])
                if abs(result.gradient).max() > 1e-3:
                    assert result.max_error < 1e-2
                return
            E = w @ reference.losses(layers, p, x, t, loss)
            if name == "loss":
                return assert_near(result, E, world.dtype)
            G = w[:, None] * reference.per_sample_gradients(layers, p, x, t, loss)
            if name == "loss_and_gradient":
                assert_near(result[0], E, world.dtype)
                return assert_near(result[1], G.sum(axis=0), world.dtype)
            return assert_near(result, G, world.dtype)

        options = tuple(list(arguments)[3:])
        return Call(name, getattr(fastbp, name), arguments, right, options, (name, "parameters"))

    return make


def right_numbers(world, X, T, sample_weight, reduction):
    """What the batch of a call that returned was, and each sample's factor; None if rounding may have spoiled it."""
    x, t = values(X, world.dtype), values(T, world.dtype)
    if t.ndim == 1 and world.layers[-1].activation == "softmax" and np.asarray(T).dtype.kind in "iu":
        t = np.eye(world.net.n_outputs)[np.asarray(T).astype(int)]
    t = t.reshape(len(x), world.net.n_outputs)
    w = np.ones(len(x)) if sample_weight is None else values(sample_weight, world.dtype).astype(np.float64)
    if reduction == "mean" and len(w) and moderate(w):
        if abs(w.sum()) < 1e-3:
            return None
        w = w / w.sum()
    return (x, t, w) if moderate(x, t, w) else None


def curvature(name):
    """Matrices, diagonals and operators, against products with the reference's columns or the library's matrix."""

    def make(draw, world):
        net, rows, P = world.net, draw.randrange(4), world.net.n_parameters
        X, T = world.batch(rows)
        canonical = reference.canonical(world.layers[-1].activation)
        arguments = {"net": net if draw.random() < 0.98 else draw.junk(), "X": X, "T": T}
        arguments["loss"] = draw.name((None, None, canonical, "squared_error"))
        arguments["reduction"] = draw.name(("sum", "sum", "mean"))
        arguments["sample_weight"] = None if draw.random() < 0.5 else draw.numbers((rows,), world.dtype)
        if name == "hessian_diagonal":
            arguments["method"] = draw.name(("exact", "approximate"))
        if "Operator" not in name:
            arguments["out"] = draw.output((P,) if "diagonal" in name else (P, P), world.dtype)

        def right(result, net, X, T, loss, reduction, sample_weight, method="exact", **_):
            numbers = right_numbers(world, X, T, sample_weight, reduction)
            if numbers is None:
                return
            x, t, w = numbers
            matrix = fastbp.gauss_newton if name.lower().startswith("gauss") else fastbp.hessian
            if method == "approximate":
                samples = reference.approximate_diagonal(world.layers, net.parameters, x, t, loss)
                return assert_near(result, w @ samples, world.dtype)
            if name == "hessian":
                columns = [draw.randrange(P)]
                samples = reference.hessians(world.layers, net.parameters, x, t, loss, columns)
                return assert_near(result[:, columns], np.tensordot(w, samples, 1), world.dtype)
            again = matrix(net, x, t, loss=loss, sample_weight=w)
            if name == "gauss_newton":
                assert np.array_equal(result, result.T)
                return assert_near(result, again, world.dtype)
            if name.endswith("diagonal"):
                return assert_near(result, np.diag(again), world.dtype)
            v = draw.array((P,), world.dtype)
            return assert_near(result @ v, again @ v, world.dtype)

        options = tuple(list(arguments)[3:])
        return Call(name, getattr(fastbp, name), arguments, right, options, (name, "parameters"))

    return make


def jacobians(name):
    """With respect to inputs or parameters."""

    def make(draw, world):
        net, rows = world.net, draw.randrange(4)
        columns = net.n_inputs if name == "jacobian" else net.n_parameters
        arguments = {"net": net if draw.random() < 0.98 else draw.junk()}
        arguments["X"] = draw.numbers((rows, net.n_inputs), world.dtype)
        if name == "parameter_jacobian":
            arguments["of"] = draw.name(("output", "preactivation"))
        arguments["out"] = draw.output((rows, net.n_outputs, columns), world.dtype)

        def right(J, net, X, out, **of):
            x = values(X, world.dtype)
            assert out is None or J is out
            if moderate(x):
                assert_near(J, getattr(reference, name)(world.layers, net.parameters, x, **of), world.dtype)

        return Call(name, getattr(fastbp, name), arguments, right, tuple(list(arguments)[2:]), (name, "parameters"))

    return make


def operator_call(draw, world):
    """A product or a block of an operator that is right."""
    net, P = world.net, world.net.n_parameters
    X, T = (draw.array((3, n), world.dtype) for n in (net.n_inputs, net.n_outputs))
    op = draw.pick((fastbp.HessianOperator, fastbp.GaussNewtonOperator))(net, X, T)
    if draw.random() < 0.5:
        L = len(net.layers)
        arguments = {name: draw.scalar(range(-L, L), 0.5) for name in ("layer_a", "layer_b")}

        def mirrored(block, layer_a, layer_b):
            assert_near(block, op.block(layer_b, layer_a).T, world.dtype)

        return Call("block", op.block, arguments, mirrored)
    V = draw.array((P, draw.randrange(3)), world.dtype) if draw.random() < 0.5 else draw.array((P,), world.dtype)
    if draw.random() < 0.3:
        V = draw.pick((V.astype(complex), V.astype(object), V.astype("U8")))

    def right(result, **given):
        v = values(given.popitem()[1], world.dtype)
        if moderate(v):
            assert result.shape == v.shape
            for column, expected in zip(v.reshape(P, -1).T, result.reshape(P, -1).T, strict=True):
                np.testing.assert_array_equal(op @ column, expected)

    # A column is a vector to SciPy before 1.18, and from then on a matrix.
    return Call("product", lambda x: op @ x, {"V": V}, right, also=("v",))


def assignment(draw, world):
    numbers = draw.numbers((world.net.n_parameters,), world.dtype, 0.6)

    def right(_, parameters):
        plain = values(parameters, world.dtype)
        assert world.net.parameters.tobytes() == plain.tobytes()
        if not moderate(plain):
            spread(world.net)
        world.renew()

    return Call(
        "parameters", lambda x: setattr(world.net, "parameters", x), {"parameters": numbers}, right, changes=True
    )


def repeat_on_twin(world, result, run):
    """The same with plain arrays, on a trainer that has not seen the errors."""
    assert run(world.twin) == result or not np.isfinite(np.float64(result)).all()
    if moderate(world.net.parameters):
        assert world.twin.net == world.net
        world.bits = world.net.parameters.tobytes()
    else:
        spread(world.net)
        world.renew()


def plain_targets(world, T):
    T = np.asarray(T)
    return T.copy() if T.ndim == 1 else values(T, world.dtype)


def step(draw, world):
    X, T = world.batch(draw.randrange(6))

    def right(result, X, T):
        x, t = values(X, world.dtype), plain_targets(world, T)
        repeat_on_twin(world, result, lambda trainer: trainer.step(x, t))

    return Call("step", world.trainer.step, {"X": X, "T": T}, right, changes=True)


def fit(draw, world):
    X, T = world.batch(1 + draw.randrange(5))
    arguments = {"X": X, "T": T, "epochs": draw.scalar((1, 2), 0.1), "batch_size": draw.scalar((1, 2, 3, 32), 0.1)}
    arguments["shuffle"] = draw.scalar((True, False), 0.1)
    arguments["seed"] = draw.scalar((0, 1, 2), 0.1)
    arguments["validation_data"] = draw.pick((None, None, world.batch(2), world.batch(0), draw.junk()))
    arguments["patience"] = draw.scalar((None, None, None, 1, 2), 0.1)
    arguments["callback"] = draw.pick((None, None, None, len, draw.junk())) if draw.random() < 0.2 else None
    epochs = arguments["epochs"]
    if isinstance(epochs, (int, np.integer)) and not isinstance(epochs, np.timedelta64) and epochs > 3:
        arguments["epochs"] = -1  # not forever
    if callable(arguments["callback"]):
        arguments["callback"] = lambda history: False

    def right(result, X, T, validation_data, seed, **options):
        x, t = values(X, world.dtype), plain_targets(world, T)
        if validation_data is not None:
            V, U = validation_data
            validation_data = values(V, world.dtype), plain_targets(world, U)

        def run(trainer):
            again = trainer.fit(x, t, validation_data=validation_data, seed=seed, **options)
            return again.loss + again.validation_loss

        if seed is None:
            world.renew()
        else:
            repeat_on_twin(world, result.loss + result.validation_loss, run)

    return Call("fit", world.trainer.fit, arguments, right, tuple(list(arguments)[2:]), changes=True)


def affine(draw, world):
    N, n_in, n_out = (draw.randrange(5) for _ in range(3))
    X, W = draw.numbers((N, n_in), world.dtype), draw.numbers((n_in, n_out), world.dtype)
    b = None if draw.random() < 0.5 else draw.numbers((n_out,), world.dtype)
    out = draw.output((N, n_out), draw.pick((world.dtype, "float64")))

    def right(Y, X, W, b, out):
        assert out is None or Y is out
        x, w, c = (np.zeros(1) if x is None else values(x, Y.dtype) for x in (X, W, b))
        if moderate(x, w, c):
            assert_near(Y, x.astype(float) @ w + np.broadcast_to(c, Y.shape[1:]), Y.dtype)

    return Call("affine", fastbp.affine, {"X": X, "W": W, "b": b, "out": out}, right, ("out",), ("affine",))


def affine_backward(draw, world):
    N, n_in, n_out = (draw.randrange(5) for _ in range(3))
    shapes = {"dY": (N, n_out), "X": (N, n_in), "W": (n_in, n_out)}

    def right(result, dY, X, W):
        dX, dW, db = result
        y, x, w = (values(a, dW.dtype).astype(float) for a in (dY, X, W))
        if moderate(y, x, w):
            assert_near(dX, y @ w.T, dW.dtype)
            assert_near(dW, x.T @ y, dW.dtype)
            assert_near(db, y.sum(axis=0), dW.dtype)

    arguments = {name: draw.numbers(shape, world.dtype, 0.08) for name, shape in shapes.items()}
    return Call("affine_backward", fastbp.affine_backward, arguments, right, also=("db",))


def delta_backward(draw, world):
    N, n_in, n_out = (draw.randrange(5) for _ in range(3))
    shapes = {"delta_next": (N, n_out), "W_next": (n_in, n_out), "a": (N, n_in)}
    arguments = {name: draw.numbers(shape, world.dtype, 0.08) for name, shape in shapes.items()}
    arguments["activation"] = draw.name(reference.ELEMENTWISE)

    def right(delta, delta_next, W_next, a, activation):
        d, w, x = (values(y, delta.dtype).astype(float) for y in (delta_next, W_next, a))
        if moderate(d, w, x):
            assert_near(delta, reference.derivative(activation, x) * (d @ w.T), delta.dtype)

    return Call("delta_backward", fastbp.delta_backward, arguments, right)


def affine_layer(draw, world):
    arguments = {"n_in": draw.scalar((1, 2, 3)), "n_out": draw.scalar((1, 2, 3)), "activation": draw.name(ACTIVATIONS)}
    arguments["bias"] = draw.scalar((True, False))

    def right(made, n_in, n_out, activation, bias):
        assert (made.n_in, made.n_out, made.activation, made.bias) == (n_in, n_out, activation, bias)

    return Call("Affine", Affine, arguments, right, ("bias",))


def shared_layer(draw, world):
    arguments = {name: draw.scalar((1, 2, 3), 0.1) for name in ("n_in", "n_out", "groups")}
    arguments |= {"activation": draw.name(ACTIVATIONS), "bias": draw.scalar((True, False), 0.1)}

    def right(made, n_in, n_out, groups, activation, bias):
        assert (made.n_in, made.n_out, made.groups) == (n_in * groups, n_out * groups, groups)
        assert (made.activation, made.bias) == (activation, bias)

    return Call("Shared", Shared, arguments, right, ("bias",))


def tied_layer(draw, world):
    other = draw.pick((*world.layers, draw.junk()))
    arguments = {"layer": other, "activation": draw.name(ACTIVATIONS), "bias": draw.scalar((True, False), 0.1)}

    def right(made, layer, activation, bias):
        assert (made.n_in, made.n_out, made.layer) == (layer.n_out, layer.n_in, layer)
        assert (made.activation, made.bias) == (activation, bias)

    return Call("Tied", Tied, arguments, right, ("bias",))


def window(draw, axes, right, wrong=0.1):
    """A size for every axis, in some form."""
    form = draw.random()
    if form < 0.5:
        return draw.scalar(right, wrong)
    numbers = [draw.scalar(right, wrong / 2) for _ in range(axes if form < 0.97 else axes + 1)]
    return draw.pick((tuple, list))(numbers)


def image_layer(draw, world):
    kind = draw.pick((Conv1d, Conv2d, AveragePool2d, MaxPool2d))
    axes = 1 if kind is Conv1d else 2
    arguments = {"kernel_size": window(draw, axes, (1, 2, 3))}
    if axes == 1 or kind is Conv2d:
        arguments = {name: draw.scalar((1, 2), 0.05) for name in ("in_channels", "out_channels")} | arguments
        arguments |= {"activation": draw.name(ACTIVATIONS), "bias": draw.scalar((True, False), 0.05)}
        arguments["dilation"] = window(draw, axes, (1, 1, 2), 0.05)
    shape = [draw.scalar((2, 3, 5), 0.05) for _ in range(axes)]
    if (not axes == 1 and kind is not Conv2d) or draw.random() < 0.3:
        shape.append(arguments.get("in_channels", 2))
    arguments["image_shape"] = draw.pick((tuple(shape), shape)) if draw.random() < 0.95 else draw.junk()
    arguments |= {"stride": window(draw, axes, (1, 2), 0.05), "padding": window(draw, axes, (0, 0, 1), 0.05)}

    def right(made, image_shape, **_):
        if max(made.n_in, made.n_out, np.prod(made.kernel_size)) < 1000:
            assert made.n_in == np.prod(made.image_shape)
            assert made.n_out == len(reference.patches(made)) * made.output_shape[-1]
            assert np.isfinite(Network([made], seed=0)(np.ones((1, made.n_in)))).all()

    options = ("image_shape", "stride", "padding", "dilation", "bias", "activation")
    return Call(kind.__name__, kind, arguments, right, tuple(name for name in options if name in arguments))


def sharing_layers(draw):
    """A few layers that use each other's weights, most of which fit."""
    first = draw.pick((Affine(2, 3), Shared(1, 3, 2), Conv1d(1, 2, 2, image_shape=3), Affine(4, 4, "tanh")))
    layers: list[Layer] = [first]
    for _ in range(draw.randrange(4)):
        last = draw.pick(layers)
        layers.append(draw.pick((last, Tied(last, draw.pick(reference.ELEMENTWISE)), Affine(layers[-1].n_out, 2))))
    return layers if draw.random() < 0.9 else layers[1:]


def network(draw, world):
    sizes = [draw.randrange(1, 4) for _ in range(draw.randrange(4))]
    layers: Any = chain(*sizes, output=draw.pick(ACTIVATIONS)) if len(sizes) > 1 else []
    chance = draw.random()
    if chance < 0.15:
        layers = [*layers, draw.pick((Affine(2, 2), layers[0] if layers else None, draw.junk()))]
    elif chance < 0.2:
        layers = draw.junk()
    elif chance < 0.6:
        layers = sharing_layers(draw)
    arguments = {"layers": layers, "dtype": draw.name(("float32", "float64", np.float32))}
    arguments |= {"seed": draw.scalar((None, 0, 1)), "init": draw.name((None, "zeros", "he_uniform"))}

    def right(made, layers, **_):
        assert made.layers == tuple(layers)
        assert made.n_parameters == reference.slots(made.layers)[1]
        assert np.isfinite(made.parameters).all()

    return Call("Network", Network, arguments, right, ("dtype", "seed", "init"), ("parameters", "activation"))


def perceptron(draw, world):
    sizes: Any = [draw.scalar((1, 2, 3), 0.1) for _ in range(draw.randrange(1, 5))]
    if draw.random() < 0.1:
        sizes = draw.pick((draw.pick(OBJECTS)(), draw.pick(SCALARS)(), [10**30, 2], [3, -(2**70)]))
    if isinstance(sizes, list):  # a large network is right, and slow
        sizes = [0 if type(size) in (int, np.uint64) and 1000 < size < 2**31 else size for size in sizes]
    arguments = {"sizes": sizes, "activation": draw.name(ACTIVATIONS), "output": draw.name(ACTIVATIONS)}
    arguments["seed"] = draw.scalar((None, 0, 1))

    def right(made, sizes, activation, output, seed):
        assert made.n_inputs == next(iter(sizes))
        assert [layer.activation for layer in made.layers] == [activation] * (len(sizes) - 2) + [output]

    return Call("mlp", mlp, arguments, right, ("seed",))


def optimizer(draw, world):
    names = {
        SGD: ("learning_rate", "momentum", "nesterov", "weight_decay"),
        Adam: ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay"),
    }
    kind = draw.pick((SGD, Adam))
    arguments = {name: draw.scalar((0.5, 0, 0.1), 0.15) for name in names[kind]}
    if kind is SGD:
        arguments["nesterov"] = draw.scalar((True, False), 0.1)

    def right(made, **given):
        assert all(getattr(made, name) == float(value) for name, value in given.items())

    return Call(kind.__name__, kind, arguments, right, tuple(arguments))


def change_of_optimizer(draw, world):
    made = draw.pick((SGD(0.1, 0.5), Adam(0.1)))
    name = draw.pick([name for name in ("learning_rate", "momentum", "beta1", "epsilon") if hasattr(made, name)])
    before = repr(made)

    def change(value):
        try:
            setattr(made, name, value)
        except ERRORS:
            assert repr(made) == before
            raise

    def right(_, **given):
        assert getattr(made, name) == float(given[name])

    return Call(f"set_{name}", change, {name: draw.scalar((0.5, 0, 0.1), 0.7)}, right)


def trainer(draw, world):
    arguments = {"net": draw.pick((world.net, draw.junk())), "optimizer": draw.pick((SGD(0.1), SGD, draw.junk()))}
    arguments["loss"] = draw.name((None, "squared_error", "cross_entropy"))
    return Call("Trainer", Trainer, arguments, options=("loss",))


def path(draw, world):
    wrong = draw.pick([object, lambda: None, lambda: 1.5, lambda: "a\0b", lambda: b"\0", lambda: [], lambda: {}])()
    return Call("path", draw.pick((world.net.save, fastbp.load)), {"path": wrong})
