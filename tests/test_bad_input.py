"""What every function says to wrong arguments, word for word, and that nothing has changed when it has said so."""

import decimal
import re

import numpy as np
import pytest

import fastbp
import fastbp._memory
from cases import chain, data, network
from fastbp import SGD, Adam, Affine, Network, Trainer, mlp
from strategies import misaligned, misshapen, negative, read_only, spread_out, strided, swapped

NAMES = "identity, sigmoid, tanh, relu, leaky_relu, softplus, gelu, silu, softmax"
LOSSES = "squared_error, binary_cross_entropy, cross_entropy"
BLAS = "at most 2147483647 (BLAS counts in 32 bits)"
DIMENSIONS = f"dimensions of {BLAS}, got 2147483648"
LAYOUT = "a C-contiguous, aligned array in native byte order"
RAGGED = [[1.0, 2.0, 3.0], [4.0]]
FLOAT64 = np.dtype(np.float64).num


class Scene:
    """Everything that a failing call could change."""

    def __init__(self):
        self.net, self.classifier = network(chain(3, 4, 2)), network(chain(3, 4, 2, output="softmax"))
        self.X, self.T = data(self.net, 5)
        self.optimizer, self.trainer, self.twin = self.trained()
        self.Y, self.g, self.G = np.full((5, 2), 7.0), np.full(26, 7.0), np.full((5, 26), 7.0)
        self.p, self.b = self.net.parameters, np.full(2, 7.0)
        self.W, self.square, self.dX, self.dW = (np.full(shape, 7.0) for shape in ((3, 2), (5, 5), (5, 3), (3, 2)))
        self.work, self.db = np.full((5, 3), 7.0), np.full(2, 7.0)
        self.plan, self.stepper = self.net._plan, self.trainer._stepper

    def trained(self):
        """An optimizer, a trainer of it that has momentum already, and another in the same state."""
        twin = Trainer(self.net.copy(), Adam(0.1))
        twin.step(self.X, self.T)
        optimizer = Adam(0.1)
        trainer = Trainer(self.net, optimizer)
        trainer.step(self.X, self.T)
        return optimizer, trainer, twin

    def state(self):
        arrays = [(name, x.tobytes()) for name, x in vars(self).items() if isinstance(x, np.ndarray)]
        return arrays, self.net.copy(), self.classifier.copy(), repr(self.optimizer)

    def fit(self, *arguments, **options):
        return self.trainer.fit(*arguments, **{"epochs": 2, "seed": 0, **options})


def check(call, message):
    """The error with its whole text, and the scene as it was, down to what the trainer remembers."""
    scene = Scene()
    before = scene.state()
    with pytest.raises((TypeError, ValueError, OverflowError, MemoryError)) as caught:
        call(scene)
    assert f"{type(caught.value).__name__}: {caught.value}" == message
    assert scene.state() == before
    assert scene.trainer.step(scene.X, scene.T) == scene.twin.step(scene.X, scene.T)
    assert scene.net == scene.twin.net


def table(cases):
    """A test for each (call, message)."""
    return pytest.mark.parametrize(
        ("call", "message"), cases, ids=[f"{k}-{case[-1][:40]}" for k, case in enumerate(cases)]
    )


@table(
    [
        (lambda s: Affine(0, 1), "ValueError: n_in: expected at least 1, got 0"),
        (lambda s: Affine(1, -2), "ValueError: n_out: expected at least 1, got -2"),
        (lambda s: Affine(1.0, 1), "TypeError: n_in: expected an integer, got float"),
        (lambda s: Affine(float("nan"), 1), "TypeError: n_in: expected an integer, got float"),
        (lambda s: Affine("3", 1), "TypeError: n_in: expected an integer, got str"),
        (lambda s: Affine(1, None), "TypeError: n_out: expected an integer, got NoneType"),
        (lambda s: Affine(True, 1), "TypeError: n_in: expected an integer, got bool"),
        (lambda s: Affine(np.array([3]), 1), "TypeError: n_in: expected an integer, got ndarray"),
        (lambda s: Affine(2**31, 1), f"OverflowError: n_in: expected {BLAS}, got 2147483648"),
        (lambda s: Affine(1, 10**30), f"OverflowError: n_out: expected {BLAS}, got 1{30 * '0'}"),
        (lambda s: Affine(1, -(10**30)), f"ValueError: n_out: expected at least 1, got -1{30 * '0'}"),
        (lambda s: Affine(1, 1, 5), "TypeError: activation: expected a name, got int"),
        (lambda s: Affine(1, 1, None), "TypeError: activation: expected a name, got NoneType"),
        (lambda s: Affine(1, 1, "Tanh"), f"ValueError: activation: expected one of {NAMES}, got 'Tanh'"),
        (lambda s: Affine(1, 1, "tanh\0"), f"ValueError: activation: expected one of {NAMES}, got 'tanh\\x00'"),
        (lambda s: Affine(1, 1, bias=1), "TypeError: bias: expected True or False, got int"),
    ]
)
def test_affine_layer(call, message):
    check(call, message)


def layers_of(*layers, **options):
    return lambda s: Network([Affine(*sizes) for sizes in layers], **options)


@table(
    [
        (lambda s: Network(None), "TypeError: layers: expected a sequence of layers, got NoneType"),
        (lambda s: Network(Affine(1, 1)), "TypeError: layers: expected a sequence of layers, got Affine"),
        (lambda s: Network("abc"), "TypeError: layers: expected layers such as Affine, got str"),
        (lambda s: Network([Affine(1, 1), None]), "TypeError: layers: expected layers such as Affine, got NoneType"),
        (lambda s: Network([Affine]), "TypeError: layers: expected layers such as Affine, got type"),
        (lambda s: Network(s.net), "TypeError: layers: expected a sequence of layers, got Network"),
        (lambda s: Network([]), "ValueError: layers: expected at least one layer, got none"),
        (
            layers_of((3, 4), (5, 2)),
            "ValueError: layers: expected layer 2 to take 4 inputs (the outputs of layer 1), got 5",
        ),
        (
            layers_of((3, 3, "softmax"), (3, 2)),
            "ValueError: layers: expected softmax on the last layer only, got it on layer 1 of 2",
        ),
        (layers_of((1, 1), dtype="float16"), "ValueError: dtype: expected 'float32' or 'float64', got 'float16'"),
        (layers_of((1, 1), dtype="a5"), "ValueError: dtype: expected 'float32' or 'float64', got 'a5'"),
        (layers_of((1, 1), dtype=int), "ValueError: dtype: expected 'float32' or 'float64', got <class 'int'>"),
        (layers_of((1, 1), dtype=None), "TypeError: dtype: expected 'float32' or 'float64', got None"),
        (layers_of((1, 1), dtype=64), "TypeError: dtype: expected 'float32' or 'float64', got 64"),
        (layers_of((1, 1), seed=-1), "ValueError: seed: expected None, a non-negative integer or a Generator, got -1"),
        (
            layers_of((1, 1), seed="1", init="zeros"),
            "TypeError: seed: expected None, a non-negative integer or a Generator, got '1'",
        ),
        (layers_of((1, 1), init="he"), "ValueError: init: expected one of glorot_uniform, he_uniform, zeros, got 'he'"),
        (layers_of((1, 1), init=0), "TypeError: init: expected the name of an initialization, got int"),
        (
            layers_of((2**31 - 1, 2**31 - 1)),
            f"MemoryError: layers: expected parameters that fit in memory, got {2**31 * (2**31 - 1)}",
        ),
    ]
)
def test_network(call, message):
    check(call, message)


@table(
    [
        (lambda s: mlp(5), "TypeError: sizes: expected a sequence of integers, got int"),
        (lambda s: mlp("34"), "TypeError: sizes: expected an integer, got str"),
        (lambda s: mlp([]), "ValueError: sizes: expected at least two (inputs and outputs), got 0"),
        (lambda s: mlp([3]), "ValueError: sizes: expected at least two (inputs and outputs), got 1"),
        (lambda s: mlp([3, 2.0]), "TypeError: sizes: expected an integer, got float"),
        (lambda s: mlp([3, 0, 2]), "ValueError: sizes: expected at least 1, got 0"),
        (lambda s: mlp([2**31, 2]), f"OverflowError: sizes: expected {BLAS}, got 2147483648"),
        (lambda s: mlp([3, 2], "no"), f"ValueError: activation: expected one of {NAMES}, got 'no'"),
        (lambda s: mlp([3, 2, 1], "softmax"), "ValueError: activation: expected one for hidden layers, got 'softmax'"),
        (lambda s: mlp([3, 2], output="no"), f"ValueError: output: expected one of {NAMES}, got 'no'"),
        (lambda s: mlp([3, 2], output=1), "TypeError: output: expected a name, got int"),
    ]
)
def test_mlp(call, message):
    check(call, message)


def assigning(values):
    def call(scene):
        scene.net.parameters = values

    return call


@table(
    [
        (assigning(np.zeros(25)), "ValueError: parameters: expected shape (26,), got shape (25,)"),
        (assigning(np.zeros((26, 1))), "ValueError: parameters: expected shape (26,), got shape (26, 1)"),
        (assigning(0.0), "ValueError: parameters: expected shape (26,), got shape ()"),
        (assigning(None), "TypeError: parameters: expected real numbers, got dtype object"),
        (assigning(np.zeros(26, complex)), "TypeError: parameters: expected real numbers, got dtype complex128"),
        (assigning(["1"] * 26), "TypeError: parameters: expected real numbers, got dtype <U1"),
        (assigning(RAGGED), "ValueError: parameters: expected rows of equal length, got a ragged list"),
    ]
)
def test_parameters(call, message):
    check(call, message)


# Wrong X for networks of 3 inputs, wrong T for 2 outputs and 5 rows, wrong weights for 5 rows.
WRONG_X = [
    (None, "TypeError: X: expected real numbers, got dtype object"),
    ("abc", "TypeError: X: expected real numbers, got dtype <U3"),
    (np.zeros((5, 3), complex), "TypeError: X: expected real numbers, got dtype complex128"),
    (np.zeros((5, 3), object), "TypeError: X: expected real numbers, got dtype object"),
    (np.zeros((5, 3), "M8[s]"), "TypeError: X: expected real numbers, got dtype datetime64[s]"),
    (np.zeros((5, 3), "V2"), "TypeError: X: expected real numbers, got dtype |V2"),
    ([[1, 2, 10**400]], "TypeError: X: expected real numbers, got dtype object"),
    (RAGGED, "ValueError: X: expected rows of equal length, got a ragged list"),
    (1.0, "ValueError: X: expected a matrix (2 dimensions), got shape ()"),
    (np.zeros(3), "ValueError: X: expected a matrix (2 dimensions), got shape (3,)"),
    (np.zeros((5, 3, 1)), "ValueError: X: expected a matrix (2 dimensions), got shape (5, 3, 1)"),
    (np.zeros((5, 4)), "ValueError: X: expected 3 columns (the network's inputs), got shape (5, 4)"),
    (np.zeros((0, 2)), "ValueError: X: expected 3 columns (the network's inputs), got shape (0, 2)"),
    (spread_out((2**31, 3)), f"OverflowError: X: expected {DIMENSIONS}"),
    (spread_out((2**31, 3), np.int8), f"OverflowError: X: expected {DIMENSIONS}"),
]
WRONG_T = [
    (None, "TypeError: T: expected real numbers, got dtype object"),
    (np.zeros((5, 2), complex), "TypeError: T: expected real numbers, got dtype complex128"),
    (["a"] * 5, "TypeError: T: expected real numbers, got dtype <U1"),
    (RAGGED, "ValueError: T: expected rows of equal length, got a ragged list"),
    (np.zeros(5), "ValueError: T: expected shape (N, 2), got float64 of shape (5,)"),
    (np.zeros(5, int), "ValueError: T: expected shape (N, 2), got int64 of shape (5,)"),
    (0.0, "ValueError: T: expected a matrix (2 dimensions), got shape ()"),
    (np.zeros((5, 2, 1)), "ValueError: T: expected a matrix (2 dimensions), got shape (5, 2, 1)"),
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
        "ValueError: T: expected shape (N, 2) or (N,) integer class labels, got float64 of shape (5,)",
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
    ({"sample_weight": ["1"] * 5}, "TypeError: sample_weight: expected real numbers, got dtype <U1"),
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


def wrong_outputs(call, shape, sizes):
    """Wrong `out` for call(scene, out), which wants that shape; `sizes` says what a smaller one is told."""
    right = np.zeros(shape)
    smaller = tuple(n - 1 for n in shape)
    return [
        (lambda s: call(s, [0.0]), "TypeError: out: expected an array to write to, got list"),
        (lambda s: call(s, "out"), "TypeError: out: expected an array to write to, got str"),
        (lambda s: call(s, right.astype("f4")), "TypeError: out: expected dtype float64, got float32"),
        (lambda s: call(s, right.astype(int)), "TypeError: out: expected dtype float64, got int64"),
        (lambda s: call(s, right.astype(object)), "TypeError: out: expected dtype float64, got object"),
        (lambda s: call(s, np.zeros(smaller)), f"ValueError: out: expected {sizes}, got shape {smaller}"),
        (lambda s: call(s, read_only(right)), "ValueError: out: expected a writeable array, got a read-only one"),
        *(
            (
                lambda s, layout=layout: call(s, layout(right)),
                f"ValueError: out: expected {LAYOUT}, got strides {layout(right).strides} for shape {shape} "
                f"and dtype '{layout(right).dtype.str}'",
            )
            for layout in (strided, negative, misaligned, swapped)
        ),
    ]


def overlapping(call, shape, *names):
    """`out` that is, or begins inside, another argument."""
    size = int(np.prod(shape))

    def shared(array):
        """The other argument as a part of something larger, and `out` as its last element and what follows."""
        room = np.zeros(array.size + size)
        room[: array.size] = array.ravel()
        return room[: array.size].reshape(array.shape), room[array.size - 1 :][:size].reshape(shape)

    found = []
    for name in names:

        def run(scene, name=name):
            arrays = {"X": scene.X, "T": scene.T, "sample_weight": np.ones(5), "W": scene.W, "b": scene.b}
            arrays[name], out = shared(arrays[name])
            call(scene, out, **arrays)

        found.append((run, f"ValueError: out: expected memory of its own, got an array that overlaps {name}"))
    return found


def inside_parameters(call):
    """`out` over the network's own parameters."""
    return [(call, "ValueError: out: expected memory of its own, got an array that overlaps parameters")]


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


AT_LEAST_0 = "expected a finite number at least 0"
NO_NUMBERS = [("3", "str"), (None, "NoneType"), (True, "bool"), (np.True_, "bool"), (1j, "complex"), ([0.1], "list")]
NO_NUMBERS += [(np.complex64(1), "complex64"), (decimal.Decimal("sNaN"), "Decimal")]
RANGES = {
    (SGD, "learning_rate"): AT_LEAST_0,
    (SGD, "momentum"): f"{AT_LEAST_0} and below 1",
    (SGD, "weight_decay"): AT_LEAST_0,
    (Adam, "learning_rate"): AT_LEAST_0,
    (Adam, "beta1"): f"{AT_LEAST_0} and below 1",
    (Adam, "beta2"): f"{AT_LEAST_0} and below 1",
    (Adam, "epsilon"): "expected a finite number above 0",
    (Adam, "weight_decay"): AT_LEAST_0,
}


@pytest.mark.parametrize(("kind", "name"), RANGES, ids=lambda x: getattr(x, "__name__", x))
def test_optimizers(kind, name):
    """When they are made and when they are changed: a failed change leaves them as they were."""
    numbers = [(-1, "-1"), (float("nan"), "nan"), (float("inf"), "inf"), (10**400, "inf")]
    numbers += [(1, "1")] * ("below 1" in RANGES[kind, name]) + [(0, "0")] * (name == "epsilon")
    wrong = [(value, f"ValueError: {name}: {RANGES[kind, name]}, got {shown}") for value, shown in numbers]
    wrong += [(value, f"TypeError: {name}: expected a number, got {shown}") for value, shown in NO_NUMBERS]
    for value, message in wrong:
        check(lambda s, value=value: kind(**{"learning_rate": 0.1, name: value}), message)
        optimizer = kind(learning_rate=0.1)
        before = repr(optimizer)
        check(lambda s, value=value, optimizer=optimizer: setattr(optimizer, name, value), message)
        assert repr(optimizer) == before


@table(
    [
        (lambda s: SGD(0.1, nesterov=1), "TypeError: nesterov: expected True or False, got int"),
        (lambda s: setattr(SGD(0.1), "nesterov", "yes"), "TypeError: nesterov: expected True or False, got str"),
    ]
)
def test_nesterov(call, message):
    check(call, message)


@table(
    [
        (lambda s: Trainer(None, s.optimizer), "TypeError: net: expected a Network, got NoneType"),
        (lambda s: Trainer([Affine(1, 1)], s.optimizer), "TypeError: net: expected a Network, got list"),
        (lambda s: Trainer(s.net, SGD), "TypeError: optimizer: expected SGD or Adam, got type"),
        (lambda s: Trainer(s.net, 0.1), "TypeError: optimizer: expected SGD or Adam, got float"),
        (lambda s: Trainer(s.net, Adam.__base__()), "TypeError: optimizer: expected SGD or Adam, got Optimizer"),
        (
            lambda s: Trainer(s.net, s.optimizer, loss=1),
            "TypeError: loss: expected the name of an error function, got int",
        ),
        (lambda s: Trainer(s.net, s.optimizer, loss="mse"), f"ValueError: loss: expected one of {LOSSES}, got 'mse'"),
        (
            lambda s: Trainer(s.classifier, s.optimizer, loss="binary_cross_entropy"),
            "ValueError: loss: expected a sigmoid output for 'binary_cross_entropy', got a network with softmax output",
        ),
    ]
)
def test_trainer(call, message):
    check(call, message)


def fitting(**options):
    return lambda s: s.fit(s.X, s.T, **options)


def validating(change):
    return lambda s: s.fit(s.X, s.T, validation_data=change(s))


def with_entry(x, row, value):
    x = x.copy()
    x[row, 1] = value
    return x


@table(
    [
        (lambda s: s.fit(s.X[:0], s.T[:0]), "ValueError: X: expected at least one row, got shape (0, 3)"),
        (lambda s: s.fit(with_entry(s.X, 3, np.nan), s.T), "ValueError: X: expected finite numbers, got nan in row 3"),
        (
            lambda s: s.fit(with_entry(s.X, 0, -np.inf), s.T),
            "ValueError: X: expected finite numbers, got -inf in row 0",
        ),
        (lambda s: s.fit(s.X, with_entry(s.T, 4, np.inf)), "ValueError: T: expected finite numbers, got inf in row 4"),
        (fitting(epochs=0), "ValueError: epochs: expected at least 1, got 0"),
        (fitting(epochs=1.0), "TypeError: epochs: expected an integer, got float"),
        (fitting(epochs=True), "TypeError: epochs: expected an integer, got bool"),
        (fitting(epochs=None), "TypeError: epochs: expected an integer, got NoneType"),
        (fitting(batch_size=0), "ValueError: batch_size: expected at least 1, got 0"),
        (fitting(batch_size=-(10**30)), f"ValueError: batch_size: expected at least 1, got -1{30 * '0'}"),
        (fitting(batch_size="32"), "TypeError: batch_size: expected an integer, got str"),
        (fitting(shuffle=1), "TypeError: shuffle: expected True or False, got int"),
        (fitting(shuffle=None), "TypeError: shuffle: expected True or False, got NoneType"),
        (fitting(seed=-1), "ValueError: seed: expected None, a non-negative integer or a Generator, got -1"),
        (
            fitting(seed=0.5, shuffle=False),
            "TypeError: seed: expected None, a non-negative integer or a Generator, got 0.5",
        ),
        (fitting(patience=1), "ValueError: patience: expected validation_data to go with it, got 1 and none"),
        (
            lambda s: s.fit(s.X, s.T, validation_data=(s.X, s.T), patience=0),
            "ValueError: patience: expected at least 1, got 0",
        ),
        (
            lambda s: s.fit(s.X, s.T, validation_data=(s.X, s.T), patience=1.5),
            "TypeError: patience: expected an integer, got float",
        ),
        (fitting(callback=5), "TypeError: callback: expected a callable, got int"),
        (fitting(progress="yes"), "TypeError: progress: expected True or False, got str"),
        (fitting(validation_data=5), "TypeError: validation_data: expected a pair (X, T), got int"),
        (
            validating(lambda s: (s.X, s.T, s.T)),
            "ValueError: validation_data: expected a pair (X, T), got another tuple",
        ),
        (
            validating(lambda s: (s.X[:0], s.T[:0])),
            "ValueError: validation_data: expected at least one row, got shape (0, 3)",
        ),
        (
            validating(lambda s: (s.T, s.T)),
            "ValueError: validation_data: X: expected 3 columns (the network's inputs), got shape (5, 2)",
        ),
        (
            validating(lambda s: (s.X, s.X)),
            "ValueError: validation_data: T: expected 2 columns (the network's outputs), got shape (5, 3)",
        ),
        (
            validating(lambda s: (s.X, s.T[:3])),
            "ValueError: validation_data: T: expected 5 rows (the rows of X), got shape (3, 2)",
        ),
        (
            validating(lambda s: (s.X, s.T[:, 0])),
            "ValueError: validation_data: T: expected shape (N, 2), got float64 of shape (5,)",
        ),
        (validating(lambda s: (s.X, "ab")), "TypeError: validation_data: T: expected real numbers, got dtype <U2"),
        (
            validating(lambda s: (with_entry(s.X, 2, np.nan), s.T)),
            "ValueError: validation_data: X: expected finite numbers, got nan in row 2",
        ),
    ]
)
def test_fit(call, message):
    check(call, message)


def test_what_is_too_large_for_float32_is_not_finite():
    net = network(chain(1, 1), "float32")
    with pytest.raises(ValueError, match=r"^X: expected finite numbers, got inf in row 1$"):
        Trainer(net, SGD(0.1)).fit([[1.0], [1e300]], [[1.0], [1.0]], epochs=1)


@pytest.mark.parametrize("call", [lambda net, path: net.save(path), lambda net, path: fastbp.load(path)])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "TypeError: path: expected a str or path-like, got NoneType"),
        (3, "TypeError: path: expected a str or path-like, got int"),
        ("a\0b", "ValueError: path: expected a name without NUL, got 'a\\x00b'"),
        (b"a\0b", "ValueError: path: expected a name without NUL, got 'a\\x00b'"),
    ],
)
def test_paths(call, path, message):
    check(lambda s: call(s.net, path), message)


def test_save_replaces_nothing_but_files(tmp_path):
    with pytest.raises(OSError, match=re.escape(f"path: expected a regular file or none, got {str(tmp_path)!r}")):
        network(chain(1, 1)).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@table(
    [
        (lambda s: fastbp.affine(s.X, s.T), "ValueError: X: expected 5 columns (the rows of W), got shape (5, 3)"),
        (lambda s: fastbp.affine(None, s.W), "TypeError: X: expected real numbers, got dtype object"),
        (lambda s: fastbp.affine(s.X, "abc"), "TypeError: W: expected real numbers, got dtype <U3"),
        (lambda s: fastbp.affine(s.X, RAGGED), "ValueError: W: expected rows of equal length, got a ragged list"),
        (lambda s: fastbp.affine(s.X[0], s.W), "ValueError: X: expected a matrix (2 dimensions), got shape (3,)"),
        (lambda s: fastbp.affine(s.X, s.W, 1.0), "ValueError: b: expected a vector (1 dimension), got shape ()"),
        (
            lambda s: fastbp.affine(s.X, s.W, s.X[0]),
            "ValueError: b: expected shape (2,) (the columns of W), got shape (3,)",
        ),
        (lambda s: fastbp.affine(misshapen((2**31, 0)), misshapen((0, 0))), f"OverflowError: X: expected {DIMENSIONS}"),
        (lambda s: fastbp.affine(misshapen((0, 0)), misshapen((0, 2**31))), f"OverflowError: W: expected {DIMENSIONS}"),
        *wrong_outputs(lambda s, out: fastbp.affine(s.X, s.W, out=out), (5, 2), "5 rows (the rows of X)"),
        *overlapping(lambda s, out, X, W, b, **_: fastbp.affine(X, W, b, out=out), (5, 2), "X", "W", "b"),
    ]
)
def test_affine(call, message):
    check(call, message)


@table(
    [
        (
            lambda s: fastbp.affine_backward(s.X, s.X, s.W),
            "ValueError: dY: expected 2 columns (the columns of W), got shape (5, 3)",
        ),
        (
            lambda s: fastbp.affine_backward(s.T[:4], s.X, s.W),
            "ValueError: X: expected 4 rows (the rows of dY), got shape (5, 3)",
        ),
        (
            lambda s: fastbp.affine_backward(s.T, s.T, s.W),
            "ValueError: X: expected 3 columns (the rows of W), got shape (5, 2)",
        ),
        (
            lambda s: fastbp.affine_backward(s.T, s.X, s.W[0]),
            "ValueError: W: expected a matrix (2 dimensions), got shape (2,)",
        ),
        (lambda s: fastbp.affine_backward(1j, s.X, s.W), "TypeError: dY: expected real numbers, got dtype complex128"),
        (
            lambda s: fastbp.affine_backward(misshapen((0, 2**31)), misshapen((0, 0)), misshapen((0, 2**31))),
            f"OverflowError: W: expected {DIMENSIONS}",
        ),
    ]
)
def test_affine_backward(call, message):
    check(call, message)


@table(
    [
        (
            lambda s: fastbp.delta_backward(s.X, s.W, s.X, "tanh"),
            "ValueError: delta_next: expected 2 columns (the columns of W_next), got shape (5, 3)",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X[1:], "tanh"),
            "ValueError: a: expected 5 rows (the rows of delta_next), got shape (4, 3)",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.T, "tanh"),
            "ValueError: a: expected 3 columns (the rows of W_next), got shape (5, 2)",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, None, s.X, "tanh"),
            "TypeError: W_next: expected real numbers, got dtype object",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X, 3),
            "TypeError: activation: expected the name of an activation, got int",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X, "Relu"),
            f"ValueError: activation: expected one of {NAMES}, got 'Relu'",
        ),
        (
            lambda s: fastbp.delta_backward(s.T, s.W, s.X, "softmax"),
            "ValueError: activation: expected an elementwise activation, got 'softmax'",
        ),
        (
            lambda s: fastbp.delta_backward(misshapen((0, 0)), misshapen((2**31, 0)), misshapen((0, 2**31)), "tanh"),
            f"OverflowError: W_next: expected {DIMENSIONS}",
        ),
    ]
)
def test_delta_backward(call, message):
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
    monkeypatch.setattr(fastbp._memory, "available_bytes", lambda: 2**26)
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


def test_widths_of_zero():
    Y = fastbp.affine(np.zeros((300, 0)), np.zeros((0, 1)), [5.0])
    assert Y.tolist() == [[5.0]] * 300
    dX, dW, db = fastbp.affine_backward(np.zeros((4, 0)), np.ones((4, 3)), np.zeros((3, 0)))
    assert dX.tolist() == [[0.0] * 3] * 4
    assert dW.shape == (3, 0)
    assert db.shape == (0,)
    assert fastbp.affine(np.zeros((3, 2)), np.zeros((2, 0))).shape == (3, 0)


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
