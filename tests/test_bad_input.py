"""What every function of a network says to wrong arguments, word for word, and that nothing has changed thereby."""

import numpy as np
import pytest

import fastbp
import fastbp._boundary.memory
from bad_input import (
    DIMENSIONS,
    LOSSES,
    PARTS,
    RAGGED,
    check,
    converted,
    inside_parameters,
    overlapping,
    table,
    wrong_outputs,
)
from cases import chain, data, network
from fastbp import SGD, Affine, Network, Trainer, mlp
from strategies import misshapen, spread_out

# Wrong X for networks of 3 inputs, wrong T for 2 outputs and 5 rows, wrong weights for 5 rows.
WRONG_X = [
    (None, "TypeError: X: expected real numbers, got dtype object"),
    ("abc", "TypeError: X: expected real numbers, got dtype <U3"),
    (np.zeros((5, 3), complex), f"TypeError: X: expected real numbers, got dtype complex128; {PARTS}"),
    (np.zeros((5, 3), object), f"TypeError: X: expected real numbers, got dtype object; {converted('X')}"),
    (
        np.zeros((5, 3), "M8[s]"),
        "TypeError: X: expected real numbers, got dtype datetime64[s]"
        "; subtract a date and divide by numpy.timedelta64(1, 's') or another unit",
    ),
    (
        np.zeros((5, 3), "V2"),
        "TypeError: X: expected real numbers, got dtype |V2"
        "; numpy.lib.recfunctions.structured_to_unstructured makes columns of fields",
    ),
    ([[1, 2, 10**400]], f"TypeError: X: expected real numbers, got dtype object; {converted('X')}"),
    (RAGGED, "ValueError: X: expected rows of equal length, got a ragged list"),
    (1.0, "ValueError: X: expected a matrix (2 dimensions), got shape ()"),
    (
        np.zeros(3),
        "ValueError: X: expected a matrix (2 dimensions), got shape (3,)"
        "; X[None] is one sample, X[:, None] are samples of one number",
    ),
    (
        np.zeros((5, 3, 1)),
        "ValueError: X: expected a matrix (2 dimensions), got shape (5, 3, 1)"
        "; X.reshape(len(X), -1) makes a row of each sample",
    ),
    (np.zeros((5, 4)), "ValueError: X: expected 3 columns (the network's inputs), got shape (5, 4)"),
    (np.zeros((0, 2)), "ValueError: X: expected 3 columns (the network's inputs), got shape (0, 2)"),
    (spread_out((2**31, 3)), f"OverflowError: X: expected {DIMENSIONS}"),
    (spread_out((2**31, 3), np.int8), f"OverflowError: X: expected {DIMENSIONS}"),
]
WRONG_T = [
    (None, "TypeError: T: expected real numbers, got dtype object"),
    (np.zeros((5, 2), complex), f"TypeError: T: expected real numbers, got dtype complex128; {PARTS}"),
    (["a"] * 5, f"TypeError: T: expected real numbers, got dtype <U1; {converted('T')}"),
    (RAGGED, "ValueError: T: expected rows of equal length, got a ragged list"),
    (np.zeros(5), "ValueError: T: expected shape (N, 2), got float64 of shape (5,)"),
    (np.zeros(5, int), "ValueError: T: expected shape (N, 2), got int64 of shape (5,)"),
    (0.0, "ValueError: T: expected a matrix (2 dimensions), got shape ()"),
    (
        np.zeros((5, 2, 1)),
        "ValueError: T: expected a matrix (2 dimensions), got shape (5, 2, 1)"
        "; T.reshape(len(T), -1) makes a row of each sample",
    ),
    (np.zeros((5, 3)), "ValueError: T: expected 2 columns (the network's outputs), got shape (5, 3)"),
    (spread_out((2**31, 2)), f"OverflowError: T: expected {DIMENSIONS}"),
]
WRONG_LABELS = [
    ([0, 1, 0, 1], "ValueError: T: expected 5 class labels (the rows of X), got shape (4,)"),
    ([0, 1, 0, 1, 2], "ValueError: T: expected class labels from 0 to 1, got 2"),
    ([0, 1, 0, 1, -1], "ValueError: T: expected class labels from 0 to 1, got -1"),
    (np.full(5, 2**64 - 1, np.uint64), "ValueError: T: expected class labels from 0 to 1, got 18446744073709551615"),
    (
        [0.0, 1.0, 0.0, 1.0, 0.0],
        "ValueError: T: expected shape (N, 2) or (N,) integer class labels, got float64 of shape (5,)"
        "; T.astype(int) makes labels of whole numbers",
    ),
]
WRONG_ROWS = [(np.zeros((4, 2)), "ValueError: T: expected 5 rows (the rows of X), got shape (4, 2)")]
WEIGHT_SHAPE = "sample_weight: expected shape (5,) (one a row of X), got shape"
WRONG_OPTIONS = [
    ({"loss": 1}, "TypeError: loss: expected the name of an error function, got int"),
    ({"loss": "mse"}, f"ValueError: loss: expected one of {LOSSES}, got 'mse'"),
    (
        {"loss": "cross_entropy"},
        "ValueError: loss: expected a softmax output for 'cross_entropy', got a network with identity output",
    ),
    ({"reduction": None}, "TypeError: reduction: expected 'sum' or 'mean', got NoneType"),
    ({"reduction": "none"}, "ValueError: reduction: expected 'sum' or 'mean', got 'none'"),
    ({"sample_weight": np.ones(4)}, f"ValueError: {WEIGHT_SHAPE} (4,)"),
    ({"sample_weight": [], "reduction": "mean"}, f"ValueError: {WEIGHT_SHAPE} (0,)"),
    (
        {"sample_weight": np.ones((5, 1))},
        "ValueError: sample_weight: expected a vector (1 dimension), got shape (5, 1)",
    ),
    (
        {"sample_weight": ["1"] * 5},
        f"TypeError: sample_weight: expected real numbers, got dtype <U1; {converted('sample_weight')}",
    ),
    ({"sample_weight": spread_out((2**31,))}, f"OverflowError: sample_weight: expected {DIMENSIONS}"),
    (
        {"sample_weight": [1, -1, 0, 0, 0], "reduction": "mean"},
        "ValueError: sample_weight: expected weights with a sum other than 0 for the mean, got 0",
    ),
]


def calls(function, *, weights=True):
    """The wrong batches, as calls of function(scene, net, X, T, **options)."""
    found = [(lambda s, x=x: function(s, s.net, x, s.T), message) for x, message in WRONG_X]
    found += [(lambda s, t=t: function(s, s.net, s.X, t), message) for t, message in WRONG_T + WRONG_ROWS]
    if weights:
        found += [(lambda s, t=t: function(s, s.classifier, s.X, t), message) for t, message in WRONG_LABELS]
        found += [(lambda s, o=o: function(s, s.net, s.X, s.T, **o), message) for o, message in WRONG_OPTIONS]
        found += [
            (lambda s, net=net: function(s, net, s.X, s.T), f"TypeError: net: expected a Network, got {name}")
            for net, name in ((None, "NoneType"), (Network, "type"), ([Affine(3, 2)], "list"))
        ]
    return found


def on_batch(name):
    return lambda scene, net, X, T, **options: getattr(fastbp, name)(net, X, T, **options)


@table([(lambda s, x=x: s.net.forward(x, out=s.Y), message) for x, message in WRONG_X])
def test_forward(call, message):
    check(call, message)


@pytest.mark.parametrize("name", ["loss", "loss_and_gradient", "per_sample_gradients", "check_gradient"])
@pytest.mark.parametrize("k", range(len(calls(on_batch("loss")))))
def test_batches(name, k):
    check(*calls(on_batch(name))[k])


@table(calls(lambda scene, net, X, T: scene.trainer.step(X, T), weights=False))
def test_step(call, message):
    check(call, message)


@table(calls(lambda scene, net, X, T: scene.fit(X, T), weights=False))
def test_fit_data(call, message):
    check(call, message)


@table(
    [
        *wrong_outputs(lambda s, out: s.net.forward(s.X, out=out), (5, 2), "5 rows (the rows of X)"),
        (
            lambda s: s.net.forward(s.X, out=np.zeros((5, 3))),
            "ValueError: out: expected 2 columns (the network's outputs), got shape (5, 3)",
        ),
        (
            lambda s: s.net.forward(s.X, out=np.zeros(10)),
            "ValueError: out: expected a matrix (2 dimensions), got shape (10,)",
        ),
        *overlapping(lambda s, out, X, **_: s.net.forward(X, out=out), (5, 2), "X"),
        *inside_parameters(lambda s: s.net.forward(s.X, out=s.p[3:13].reshape(5, 2))),
    ]
)
def test_forward_out(call, message):
    check(call, message)


def gradient(scene, out, X=None, T=None, sample_weight=None, **_):
    X, T = scene.X if X is None else X, scene.T if T is None else T
    return fastbp.loss_and_gradient(scene.net, X, T, sample_weight=sample_weight, out=out)


def sample_gradients(scene, out, X=None, T=None, sample_weight=None, **_):
    X, T = scene.X if X is None else X, scene.T if T is None else T
    return fastbp.per_sample_gradients(scene.net, X, T, sample_weight=sample_weight, out=out)


@table(
    [
        *wrong_outputs(gradient, (26,), "shape (26,) (the network's parameters)"),
        (
            lambda s: gradient(s, np.zeros((26, 1))),
            "ValueError: out: expected shape (26,) (the network's parameters), got shape (26, 1)",
        ),
        *overlapping(gradient, (26,), "X", "T", "sample_weight"),
        *inside_parameters(lambda s: gradient(s, s.p)),
    ]
)
def test_loss_and_gradient_out(call, message):
    check(call, message)


@table(
    [
        *wrong_outputs(sample_gradients, (5, 26), "5 rows (the rows of X)"),
        *overlapping(sample_gradients, (5, 26), "X", "T", "sample_weight"),
        *inside_parameters(lambda s: fastbp.per_sample_gradients(s.net, s.X[:1], s.T[:1], out=s.p.reshape(1, 26))),
    ]
)
def test_per_sample_gradients_out(call, message):
    check(call, message)


def checked(**options):
    return lambda s: fastbp.check_gradient(s.net, s.X, s.T, **options)


@table(
    [
        (checked(max_parameters=0), "ValueError: max_parameters: expected at least 1, got 0"),
        (checked(max_parameters=2.5), "TypeError: max_parameters: expected an integer, got float"),
        (checked(tolerance="1"), "TypeError: tolerance: expected a number, got str"),
        (checked(tolerance=True), "TypeError: tolerance: expected a number, got bool"),
        (checked(tolerance=-1), "ValueError: tolerance: expected at least 0, got -1"),
        (checked(tolerance=float("nan")), "ValueError: tolerance: expected at least 0, got nan"),
        (checked(seed=-1), "ValueError: seed: expected None, a non-negative integer or a Generator, got -1"),
        (checked(seed=1.5), "TypeError: seed: expected None, a non-negative integer or a Generator, got 1.5"),
    ]
)
def test_check_gradient(call, message):
    check(call, message)


@pytest.mark.parametrize(
    ("call", "needed"),
    [
        (lambda s: fastbp.affine(misshapen((2**20, 0)), misshapen((0, 2**20))), ("affine", (2**20, 2**20))),
        (lambda s: Network([Affine(2**28, 2**20)]), ("parameters", (2**48 + 2**20,))),
        (lambda s: s.net.forward(spread_out((2**31 - 1, 3))), ("X", (2**31 - 1, 3))),
        (lambda s: fastbp.loss(s.net, s.X, spread_out((2**31 - 1, 2))), ("T", (2**31 - 1, 2))),
        (
            lambda s: fastbp.per_sample_gradients(mlp([1, 5000, 1], init="zeros"), np.zeros((700, 1)), np.zeros(700)),
            ("per_sample_gradients", (700, 15001)),
        ),
        (
            lambda s: fastbp.loss(
                Network([Affine(1, 2**17, "softmax")], init="zeros"), np.zeros((2**10, 1)), np.zeros(2**10, int)
            ),
            ("T", (2**10, 2**17)),
        ),
    ],
    ids=["affine", "parameters", "X", "T", "per_sample_gradients", "labels"],
)
def test_memory(monkeypatch, call, needed):
    """Asked for before it is taken: on a machine with little left, nothing of it is touched."""
    what, shape = needed
    monkeypatch.setattr(fastbp._boundary.memory, "available_bytes", lambda: 2**26)
    bytes_needed = 8 * int(np.prod(shape, dtype=object))
    message = f"{what}: expected {bytes_needed} bytes of memory for shape {shape}, got 67108864 available"
    check(call, f"MemoryError: {message}")


def test_more_memory_than_any_machine_has():
    """A million parameters and two million samples: 24 TB."""
    net = Network([Affine(1, 500_000), Affine(500_000, 1)], init="zeros")
    X = np.zeros((2_000_000, 1))
    with pytest.raises(MemoryError, match=r"^per_sample_gradients: expected 24000016000000 bytes of memory for shape "):
        fastbp.per_sample_gradients(net, X, X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_empty_batches(dtype):
    net, X, T = network(chain(3, 4, 2), dtype), np.zeros((0, 3), dtype), np.zeros((0, 2), dtype)
    before = net.copy()
    for options in ({}, {"reduction": "mean"}, {"sample_weight": np.zeros(0), "reduction": "mean"}):
        assert fastbp.loss(net, X, T, **options) == 0.0
        value, gradient = fastbp.loss_and_gradient(net, X, T, **options, out=np.full(26, np.nan, dtype))
        assert value == 0.0
        assert not gradient.any()
        assert fastbp.per_sample_gradients(net, X, T, **options).shape == (0, 26)
    assert net(X).shape == (0, 2)
    assert fastbp.check_gradient(net, X, T)
    trainer = Trainer(net, SGD(0.1, 0.9, weight_decay=0.1))
    assert trainer.step(X, T) == 0.0
    assert net == before
    assert fastbp.affine(X, np.ones((3, 2), dtype)).shape == (0, 2)
    dX, dW, db = fastbp.affine_backward(T, X, np.ones((3, 2), dtype))
    assert dX.shape == (0, 3)
    assert not dW.any()
    assert not db.any()
    assert fastbp.delta_backward(T, np.ones((3, 2)), X, "gelu").shape == (0, 3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_nan_and_infinity_propagate(output, wrong):
    """Through the rows they are in, and no further; no warning is given."""
    net = network(chain(3, 4, 2, output=output, hidden="identity"))
    X, T = data(net, 4)
    clean = net(X), fastbp.per_sample_gradients(net, X, T)
    X[2, 1] = wrong
    for result, expected in zip((net(X), fastbp.per_sample_gradients(net, X, T)), clean, strict=True):
        assert np.array_equal(np.delete(result, 2, 0), np.delete(expected, 2, 0))
    assert not np.isfinite(fastbp.loss(net, X, T))
    assert not np.isfinite(fastbp.loss_and_gradient(net, X, T)[1]).all()
    assert not fastbp.check_gradient(net, X, T)
    assert np.isnan(fastbp.loss(net, X[:2], np.full((2, 2), np.nan)))
