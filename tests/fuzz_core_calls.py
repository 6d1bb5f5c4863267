"""Random calls of the compiled functions, which convert nothing, and what is right if they return."""

import numpy as np

import fastbp_c.affine
import fastbp_c.networks.activation
import fastbp_c.networks.output
import reference
from fastbp_c.networks.plan import Plan
from fuzz_world import Call, assert_near, moderate, values


def strict_kernel(draw, world):
    N, n_in, n_out = (draw.randrange(5) for _ in range(3))
    shapes = {"X": (N, n_in), "W": (n_in, n_out), "b": (n_out,), "dY": (N, n_out), "out": (N, n_out)}
    shapes |= {"dX": (N, n_in), "dW": (n_in, n_out), "db": (n_out,), "work": (N, n_in)}
    A = {name: draw.strict(shape, world.dtype, 0.05) for name, shape in shapes.items()}
    kind = draw.randrange(3)
    if kind == 0:

        def right(_, X, W, b, out):
            assert_near(out, values(X, float) @ values(W, float) + values(b, float), world.dtype)

        arguments = {name: A[name] for name in ("X", "W", "b", "out")}
        return Call("strict affine", fastbp_c.affine.affine, arguments, right)
    if kind == 1:

        def right(_, dY, X, W, dX, dW, db):
            dY, X, W = (values(x, float) for x in (dY, X, W))
            for found, expected in ((dX, dY @ W.T), (dW, X.T @ dY), (db, dY.sum(axis=0))):
                assert_near(found, expected, world.dtype)

        arguments = {name: A[name] for name in ("dY", "X", "W", "dX", "dW", "db")}
        return Call("strict affine_backward", fastbp_c.affine.affine_backward, arguments, right)

    def right(_, delta_next, W_next, a, activation, out, work):
        expected = reference.derivative(activation, values(a, float)) * (
            values(delta_next, float) @ values(W_next, float).T
        )
        assert_near(out, expected, world.dtype)

    arguments = {"delta_next": A["dY"], "W_next": A["W"], "a": A["X"]}
    arguments |= {"activation": draw.name(reference.ELEMENTWISE, 0.05), "out": A["dX"], "work": A["work"]}
    return Call("strict delta_backward", fastbp_c.affine.delta_backward, arguments, right)


def strict_function(draw, world):
    shape = draw.randrange(5), draw.randrange(5)
    kind = draw.randrange(3)
    a = draw.strict(shape, world.dtype)
    if kind == 0:

        def right(result, name, a):
            if moderate(a):
                assert_near(result[0], reference.activate(name, a.astype(float)), a.dtype)

        return Call(
            "activate", fastbp_c.networks.activation.activate, {"name": draw.name(reference.ELEMENTWISE), "a": a}, right
        )
    arguments = {"output": draw.name((*reference.ELEMENTWISE, "softmax")), "loss": draw.name((None, "squared_error"))}
    arguments |= {"a": a, "t": draw.strict(shape, world.dtype)}
    arguments["weight"] = None if draw.random() < 0.5 else draw.strict(shape[:1], world.dtype)
    if isinstance(arguments["weight"], np.ndarray) and kind == 1:

        def right(result, output, loss, a, t, weight):
            if a.shape[1] and moderate(a, t, weight):
                errors = reference.errors(output, loss or reference.canonical(output), a.astype(float), t.astype(float))
                assert_near(result[0], values(weight, float) @ errors, a.dtype)

        return Call("error", fastbp_c.networks.output.error, arguments, right)
    return Call("error_curvature", fastbp_c.networks.output.error_curvature, arguments)


def strict_plan(draw, world):
    plan, net, rows, P = world.net._plan, world.net, draw.randrange(5), world.net.n_parameters
    X, T = (draw.strict((rows, n), world.dtype, 0.08) for n in (net.n_inputs, net.n_outputs))
    p = net.parameters if draw.random() < 0.9 else draw.strict((P,), world.dtype, 0.5)
    if draw.random() < 0.3:
        out = draw.strict((rows, net.n_outputs), world.dtype, 0.2)

        def right(_, parameters, X, out):
            assert_near(out, reference.forward(world.layers, parameters, X), world.dtype)

        return Call("plan forward", plan.forward, {"parameters": p, "X": X, "out": out}, right)
    weight = draw.strict((rows,), world.dtype, 0.2)
    out = draw.strict((P,), world.dtype, 0.2)
    arguments = {"parameters": p, "X": X, "T": T, "sample_weight": weight, "loss": draw.name((None,)), "scale": 0.5}

    def right(value, parameters, X, T, sample_weight, loss, scale, out):
        X, T, sample_weight = (values(x, float) for x in (X, T, sample_weight))
        G = reference.per_sample_gradients(world.layers, parameters, X, T, loss)
        assert_near(value, sample_weight @ reference.losses(world.layers, parameters, X, T, loss), world.dtype)
        assert_near(out, scale * (sample_weight @ G), world.dtype)

    return Call("plan gradient", plan.loss_and_gradient, {**arguments, "out": out}, right)


def table(draw, groups, n_taps, pixels):
    """Pixels of patches: right ones, or of another shape or type, or with one pixel that does not exist."""
    taps = np.array([draw.randrange(-1, pixels) for _ in range(groups * n_taps)], np.int32).reshape(groups, n_taps)
    chance = draw.random()
    if chance < 0.05:
        return draw.junk()
    if chance < 0.1:
        return taps.astype(draw.pick(("i8", "i2", ">i4", "f4", "u4", "?")))
    if chance < 0.15:
        return np.zeros(draw.resized(taps.shape), np.int32)
    if chance < 0.25:
        taps.flat[draw.randrange(taps.size)] = draw.pick((pixels, pixels + 1, -2, 2**31 - 1, -(2**31)))
    return np.asfortranarray(taps) if draw.random() < 0.2 else taps


def specification(draw, world):
    """A plan of random layers, of which some say something that does not go together."""

    def off(size, choices=(0, -1, 1, 2, 5, 2**31, 2**40, 2**31 - 1)):
        return size if draw.random() < 0.98 else draw.pick(choices)

    slots, layers, width = [], [], draw.randrange(1, 5)
    for _ in range(draw.randrange(4)):
        kind = draw.pick(("affine", "shared", "patches", "pool"))
        channels = draw.pick([k for k in range(1, width + 1) if width % k == 0])
        groups, n_taps, columns, taps = 1, 1, draw.randrange(1, 4), None
        transposed, matrix, bias = draw.random() < 0.3, len(slots), -1
        if kind == "pool":
            groups, n_taps = draw.randrange(1, 4), draw.randrange(1, 3)
            taps = table(draw, groups, n_taps, width // channels)
            name, n_out, matrix, transposed = draw.pick(("average", "maximum")), groups * channels, -1, False
        elif kind == "patches":
            groups, n_taps, name = draw.randrange(1, 4), draw.randrange(1, 3), "product"
            if transposed:  # rows of the matrix are patches of the output
                groups = draw.pick([k for k in range(1, width + 1) if width % k == 0])
                pixels, rows, columns = draw.randrange(1, 4), n_taps * channels, width // groups
                taps, n_out = table(draw, groups, n_taps, pixels), pixels * channels
            else:
                taps, rows, n_out = table(draw, groups, n_taps, width // channels), n_taps * channels, groups * columns
        else:
            name, groups = "product", 1 if kind == "affine" else width // channels
            rows, n_out = width // groups, groups * columns
            if transposed:
                rows, columns = columns, rows
        if name == "product":
            slots.append((off(rows), off(columns)))
            n_b = (rows // n_taps if kind == "patches" else rows) if transposed else columns
            if draw.random() < 0.5:
                bias = len(slots)
                slots.append((off(1, (2, 3)), off(n_b)))
        activation = "identity" if kind == "pool" else draw.name(("tanh", "relu", "identity"), 0.03)
        sizes = off(width), off(n_out), off(groups), off(matrix, (-1, 0, 1, 9)), transposed, off(bias, (-2, -1, 0, 9))
        layers.append((name if draw.random() < 0.99 else draw.pick(("", None, "dense")), activation, *sizes, taps))
        width = n_out
    typenum = draw.pick((np.dtype(world.dtype).num, np.dtype("f8").num, np.dtype("f8").num, 3))

    def right(plan, typenum, slots, layers):
        assert plan.slots == tuple(slots)
        assert plan.n_parameters == sum(rows * columns for rows, columns in slots)
        if plan.n_parameters > 10**4 or max(layer[2] + layer[3] for layer in layers) > 10**4:
            return
        dtype = np.dtype("f4" if typenum == np.dtype("f4").num else "f8")
        p, X = draw.array((plan.n_parameters,), dtype), draw.array((3, layers[0][2]), dtype)
        T, Y = (draw.array((3, layers[-1][3]), dtype) for _ in range(2))
        g, G = np.full(p.shape, np.nan, dtype), np.full((3, p.size), np.nan, dtype)
        plan.forward(p, X, Y)
        plan.loss_and_gradient(p, X, T, None, "squared_error", 1.0, g)
        plan.per_sample_gradients(p, X, T, None, "squared_error", 1.0, G)
        assert np.isfinite(Y).all()
        assert_near(g, G.sum(axis=0), dtype)

    arguments = {"typenum": typenum, "slots": slots, "layers": layers}
    return Call("Plan", Plan, arguments, right, also=("activation",))
