"""Arrays of other libraries, and NumPy's stranger kinds: taken for what they mean, or told how to convert."""

import decimal
import fractions
import re

import numpy as np
import pytest
from scipy import sparse

import fastbp
from cases import chain, data, network
from fastbp import SGD, Trainer
from util import DTYPES

N = 6


class Tensor:
    """As PyTorch's: on a device, with or without a gradient; NumPy is told what it cannot have."""

    def __init__(self, numbers, device="cpu", requires_grad=False):
        self.numbers, self.device, self.requires_grad = numbers, device, requires_grad
        self.shape, self.dtype = numbers.shape, "torch.float64"

    def detach(self):
        return Tensor(self.numbers, self.device)

    def cpu(self):
        return Tensor(self.numbers, "cpu", self.requires_grad)

    def numpy(self):
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.numbers

    def __array__(self, dtype=None, copy=None):
        return self.numpy() if dtype is None else self.numpy().astype(dtype)


class Column:
    """A dtype of pandas' own: nullable numbers by their kind and NumPy's counterpart, or no numbers."""

    def __init__(self, kind, name, counterpart=None):
        self.kind, self.name = kind, name
        if counterpart is not None:
            self.numpy_dtype = np.dtype(counterpart)

    def __str__(self):
        return self.name


class Series:
    """As pandas': NumPy makes objects of nullable numbers, unless it is told their dtype."""

    iloc = None

    def __init__(self, values, dtype):
        self.values, self.dtype = values, dtype

    @property
    def dtypes(self):
        return self.dtype

    def to_numpy(self, dtype=None, na_value=None):
        return converted(self.values, dtype, na_value)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, object)


class Dtypes(list):
    iloc = None


class Frame(Series):
    """The same of several columns."""

    def __init__(self, values, dtypes):
        super().__init__(values, None)
        self._dtypes = Dtypes(dtypes)

    @property
    def dtypes(self):
        return self._dtypes


def converted(values, dtype, na_value):
    array = np.array(values, object)
    missing = np.equal(array, None)
    if missing.any() and na_value is None:
        raise TypeError("float() argument must be a string or a real number, not 'NAType'")
    array[missing] = na_value
    return array.astype(dtype)


FLOAT64, INT64, BOOLEAN = Column("f", "Float64", "f8"), Column("i", "Int64", "i8"), Column("b", "boolean", "?")
TEXT, DATE, CATEGORY = Column("O", "str"), Column("M", "datetime64[ns, UTC]"), Column("O", "category")
ROWS = [[0.5 * n, n, n % 2 == 0] for n in range(N)]
EXPECTED = np.array(ROWS, float)

TAKEN = {
    "tensor": (lambda: Tensor(EXPECTED), EXPECTED),
    "nullable columns": (lambda: Frame(ROWS, [FLOAT64, INT64, BOOLEAN]), EXPECTED),
    "columns of different kinds": (lambda: Frame(ROWS, [np.dtype(float), np.dtype(int), np.dtype(bool)]), EXPECTED),
    "some nullable": (lambda: Frame(ROWS, [np.dtype(float), INT64, np.dtype(bool)]), EXPECTED),
    "integers": (lambda: Frame([[1, 2, 3]] * N, [INT64] * 3), np.tile([1.0, 2.0, 3.0], (N, 1))),
    "missing": (lambda: Frame([[None, 1, True]] * N, [FLOAT64, INT64, BOOLEAN]), np.tile([np.nan, 1, 1], (N, 1))),
    "missing integers": (lambda: Frame([[1, None, 2]] * N, [INT64] * 3), np.tile([1, np.nan, 2], (N, 1))),
    "no entry masked": (lambda: np.ma.array(EXPECTED), EXPECTED),
    "a mask of nothing": (lambda: np.ma.array(EXPECTED, mask=np.zeros((N, 3), bool)), EXPECTED),
    "rows with empty masks": (lambda: [np.ma.array(row) for row in EXPECTED], EXPECTED),
    "matrix": (lambda: EXPECTED.view(np.matrix), EXPECTED),
    "memoryview": (lambda: memoryview(EXPECTED), EXPECTED),
    "rows of tensors": (lambda: [Tensor(row) for row in EXPECTED], EXPECTED),
    "an empty frame's rows": (lambda: Frame(np.zeros((0, 3)).tolist() or [[0, 0, 0]] * N, [INT64] * 3), 0 * EXPECTED),
}

MASKED = "the method filled(value) puts numbers there"
NUMBERS = "numpy.asarray(X, float) converts numbers"
REFUSED = {
    "masked": (
        lambda: np.ma.array(EXPECTED, mask=EXPECTED > 2),
        f"ValueError: X: expected no masked entries, got {(EXPECTED > 2).sum()} of 18; {MASKED}",
    ),
    "all masked": (
        lambda: np.ma.masked_all((N, 3)),
        f"ValueError: X: expected no masked entries, got 18 of 18; {MASKED}",
    ),
    "rows that are masked": (
        lambda: [*EXPECTED[1:], np.ma.array([1, 2, 3], mask=[0, 1, 0])],
        f"ValueError: X: expected no masked entries, got 1 of 3; {MASKED}",
    ),
    "entries that are masked": (
        lambda: [[1.0, np.ma.masked, 2.0]],
        f"ValueError: X: expected no masked entries, got 1 of 1; {MASKED}",
    ),
    "tensor with a gradient": (
        lambda: Tensor(EXPECTED, requires_grad=True),
        "TypeError: X: expected plain numbers, got a Tensor that requires grad; X.detach() has them",
    ),
    "tensor on a GPU": (
        lambda: Tensor(EXPECTED, "cuda:0"),
        "TypeError: X: expected what NumPy makes an array of, got Tensor: can't convert cuda:0 device type tensor to "
        "numpy. Use Tensor.cpu() first.; X.cpu() is in the computer's memory",
    ),
    "rows of tensors with gradients": (
        lambda: [Tensor(row, requires_grad=True) for row in EXPECTED],
        "TypeError: X: expected what NumPy makes an array of, got list: Can't call numpy() on Tensor that requires "
        "grad.",
    ),
    "sparse matrix": (
        lambda: sparse.csr_matrix(EXPECTED),
        "TypeError: X: expected a dense array, got a sparse csr_matrix; X.toarray() is one",
    ),
    "sparse array": (
        lambda: sparse.coo_array(EXPECTED),
        "TypeError: X: expected a dense array, got a sparse coo_array; X.toarray() is one",
    ),
    "columns of text": (
        lambda: Frame([[1.0, "a", 2.0]] * N, [FLOAT64, TEXT, FLOAT64]),
        f"TypeError: X: expected real numbers, got dtype str; {NUMBERS}",
    ),
    "columns of objects": (
        lambda: Frame(ROWS, [np.dtype(float), np.dtype(object), np.dtype(bool)]),
        f"TypeError: X: expected real numbers, got dtype object; {NUMBERS}",
    ),
    "columns of dates": (
        lambda: Frame([[1.0, 2.0, 3.0]] * N, [FLOAT64, DATE, FLOAT64]),
        "TypeError: X: expected real numbers, got dtype datetime64[ns, UTC]; subtract a date and divide by "
        "numpy.timedelta64(1, 's') or another unit",
    ),
    "categories": (
        lambda: Series([[1.0, 2.0, 3.0]] * N, CATEGORY),
        f"TypeError: X: expected real numbers, got dtype category; {NUMBERS}",
    ),
    "objects": (
        lambda: [[decimal.Decimal(1), fractions.Fraction(1, 3), 2.0]],
        f"TypeError: X: expected real numbers, got dtype object; {NUMBERS}",
    ),
    "text": (
        lambda: EXPECTED.astype(str),
        f"TypeError: X: expected real numbers, got dtype {EXPECTED.astype(str).dtype}; {NUMBERS}",
    ),
    "bytes": (
        lambda: EXPECTED.astype("S4"),
        f"TypeError: X: expected real numbers, got dtype |S4; {NUMBERS}",
    ),
    "complex": (
        lambda: 1j * EXPECTED,
        "TypeError: X: expected real numbers, got dtype complex128; take its .real, or .real and .imag side by side",
    ),
    "durations": (
        lambda: EXPECTED.astype("m8[s]"),
        "TypeError: X: expected real numbers, got dtype timedelta64[s]; divide by numpy.timedelta64(1, 's') or another "
        "unit",
    ),
    "fields": (
        lambda: np.zeros(N, [("a", "f8"), ("b", "f4")]),
        "TypeError: X: expected real numbers, got dtype [('a', '<f8'), ('b', '<f4')]; "
        "numpy.lib.recfunctions.structured_to_unstructured makes columns of fields",
    ),
    "masked fields": (
        lambda: np.ma.array(np.zeros(N, [("a", "f8"), ("b", "f4")]), mask=[(1, 0)] * N),
        "TypeError: X: expected real numbers, got dtype [('a', '<f8'), ('b', '<f4')]; "
        "numpy.lib.recfunctions.structured_to_unstructured makes columns of fields",
    ),
    "one sample": (
        lambda: EXPECTED[0],
        "ValueError: X: expected a matrix (2 dimensions), got shape (3,); "
        "X[None] is one sample, X[:, None] are samples of one number",
    ),
    "images": (
        lambda: np.zeros((N, 1, 3, 1)),
        f"ValueError: X: expected a matrix (2 dimensions), got shape ({N}, 1, 3, 1); "
        "X.reshape(len(X), -1) makes a row of each sample",
    ),
}


def unlike(function, *arguments):
    """The error and its text, of which there is one and nothing raw behind it."""
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*arguments)
    assert caught.value.__cause__ is None
    return f"{type(caught.value).__name__}: {caught.value}"


def bits(array):
    return array.dtype.str, array.shape, array.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", TAKEN)
def test_taken_for_what_they_mean(kind, dtype):
    make, expected = TAKEN[kind]
    net = network(chain(3, 4, 3), dtype)
    T = np.zeros((N, 3))
    assert bits(net(make())) == bits(net(expected))
    assert bits(fastbp.loss_and_gradient(net, make(), T)[1]) == bits(fastbp.loss_and_gradient(net, expected, T)[1])
    assert bits(fastbp.per_sample_gradients(net, 0 * EXPECTED, make())) == bits(
        fastbp.per_sample_gradients(net, 0 * EXPECTED, expected)
    )
    assert bits(fastbp.affine(make(), np.eye(3))) == bits(fastbp.affine(expected, np.eye(3)))


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_what_to_do(kind):
    make, message = REFUSED[kind]
    net = network(chain(3, 4, 3))
    X, T = data(net, N)
    trainer = Trainer(net, SGD(0.1))
    before = net.copy()
    for call in (
        net.forward,
        lambda x: fastbp.hessian(net, x, T),
        lambda x: fastbp.jacobian(net, x),
        lambda x: trainer.step(x, T),
        lambda x: trainer.fit(x, T, epochs=1),
        lambda x: fastbp.affine(x, np.ones((3, 2))),
    ):
        assert unlike(call, make()) == message
    assert unlike(lambda x: trainer.fit(X, T, epochs=1, validation_data=(x, T)), make()) == re.sub(
        r" X: ", " validation_data: X: ", message, count=1
    )
    assert net == before


@pytest.mark.parametrize("out", [np.ma.array(np.zeros((N, 3)), mask=np.eye(N, 3))], ids=["masked"])
def test_results_under_a_mask_are_refused(out):
    net = network(chain(3, 4, 3))
    assert unlike(lambda: net.forward(EXPECTED, out=out)) == (
        f"ValueError: out: expected no masked entries, got 3 of {3 * N}; {MASKED}"
    )
    assert not out.data.any()


def test_parameters():
    net = network(chain(3, 2))
    net.parameters = Series(list(range(8)), INT64)
    np.testing.assert_array_equal(net.parameters, np.arange(8))
    message = f"ValueError: parameters: expected no masked entries, got 1 of 8; {MASKED}"
    assert unlike(setattr, net, "parameters", np.ma.array(np.ones(8), mask=np.arange(8) == 2)) == message
    np.testing.assert_array_equal(net.parameters, np.arange(8))


LABELS = [2, 0, 1, 1, 2, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "labels",
    [
        np.array(LABELS),
        np.array(LABELS, np.uint8),
        np.array(LABELS).reshape(-1, 1),
        [[label] for label in LABELS],
        Series(LABELS, INT64),
        Series(LABELS, np.dtype(np.int64)),
        Frame([[label] for label in LABELS], [INT64]),
        Tensor(np.array(LABELS)),
        Tensor(np.array(LABELS).reshape(-1, 1)),
        np.ma.array(LABELS),
    ],
    ids=["(N,)", "uint8", "(N, 1)", "column of a list", "nullable", "series", "frame", "tensor", "tensor (N, 1)", "ma"],
)
def test_labels(labels, dtype):
    net = network(chain(3, 4, 3, output="softmax"), dtype)
    expected = fastbp.loss_and_gradient(net, EXPECTED, np.eye(3)[LABELS])
    value, gradient = fastbp.loss_and_gradient(net, EXPECTED, labels)
    assert value == expected[0]
    assert bits(gradient) == bits(expected[1])
    history = Trainer(net, SGD(0.1)).fit(EXPECTED, labels, epochs=1, validation_data=(EXPECTED, labels))
    assert np.isfinite(history.validation_loss[0])


WHOLE = "T.astype(int) makes labels of whole numbers"
NAMED = "numpy.asarray(T, float) converts numbers, numpy.unique(T, return_inverse=True)[1] numbers classes"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.array(LABELS, float),
            f"ValueError: T: expected shape (N, 3) or (N,) integer class labels, got float64 of shape (6,); {WHOLE}",
        ),
        (
            np.array(LABELS, float).reshape(-1, 1),
            f"ValueError: T: expected shape (N, 3) or (N,) integer class labels, got float64 of shape (6, 1); {WHOLE}",
        ),
        (
            np.array(LABELS) > 0,
            f"ValueError: T: expected shape (N, 3) or (N,) integer class labels, got bool of shape (6,); {WHOLE}",
        ),
        (
            Series([2, 0, None, 1, 2, 0], INT64),
            f"ValueError: T: expected shape (N, 3) or (N,) integer class labels, got float64 of shape (6,); {WHOLE}",
        ),
        (["a", "b"] * 3, f"TypeError: T: expected real numbers, got dtype <U1; {NAMED}"),
        (Series(["a", "b"] * 3, TEXT), f"TypeError: T: expected real numbers, got dtype str; {NAMED}"),
        (Series(["a", "b"] * 3, CATEGORY), f"TypeError: T: expected real numbers, got dtype category; {NAMED}"),
        (
            np.array([[0], [1], [3], [0], [1], [2]]),
            "ValueError: T: expected class labels from 0 to 2, got 3",
        ),
        (np.array([[0], [1]]), "ValueError: T: expected 6 class labels (the rows of X), got shape (2, 1)"),
        (
            np.ma.array(LABELS, mask=[0, 0, 1, 0, 0, 0]),
            f"ValueError: T: expected no masked entries, got 1 of 6; {MASKED}",
        ),
        (
            np.zeros((N, 1, 3)),
            f"ValueError: T: expected a matrix (2 dimensions), got shape ({N}, 1, 3); "
            "T.reshape(len(T), -1) makes a row of each sample",
        ),
    ],
)
def test_labels_refused_with_what_to_do(labels, message):
    net = network(chain(3, 4, 3, output="softmax"))
    trainer = Trainer(net, SGD(0.1))
    for call in (
        lambda T: fastbp.loss(net, EXPECTED, T),
        lambda T: fastbp.hessian(net, EXPECTED, T),
        lambda T: trainer.fit(EXPECTED, T, epochs=1),
    ):
        assert unlike(call, labels) == message


def test_a_column_is_no_label_where_it_is_a_target():
    """One output, or one class."""
    net = network(chain(3, 1))
    column = np.arange(N).reshape(-1, 1)
    assert fastbp.loss(net, EXPECTED, column) == fastbp.loss(net, EXPECTED, column.astype(float))
    net = network(chain(3, 1, output="softmax"))
    ones = np.ones((N, 1), int)
    assert fastbp.loss(net, EXPECTED, ones) == fastbp.loss(net, EXPECTED, ones.astype(float))


def test_pandas_itself():
    pandas = pytest.importorskip("pandas")
    net = network(chain(3, 4, 3, output="softmax"))
    frame = pandas.DataFrame(EXPECTED, columns=["a", "b", "c"])
    mixed = frame.assign(b=frame["b"].astype("Int64"), c=frame["c"].astype(bool))
    for x in (frame, frame.astype("Float64"), frame.astype("float32").astype("Float32"), mixed):
        assert bits(net(x)) == bits(net(EXPECTED))
    missing = frame.astype("Float64")
    missing.iloc[2, 1] = pandas.NA
    assert np.isnan(net(missing)).any(axis=1).tolist() == [n == 2 for n in range(N)]
    for T in (pandas.Series(LABELS), pandas.Series(LABELS, dtype="Int64"), pandas.DataFrame({"y": LABELS})):
        assert fastbp.loss(net, frame, T) == fastbp.loss(net, EXPECTED, LABELS)
    assert unlike(net, frame.assign(b="x")).endswith(NUMBERS)
    assert unlike(fastbp.loss, net, frame, pandas.Series(list("abcabc"))).endswith(NAMED)


def test_torch_itself():
    torch = pytest.importorskip("torch")
    net = network(chain(3, 4, 3, output="softmax"))
    x, labels = torch.from_numpy(EXPECTED), torch.tensor(LABELS)
    assert bits(net(x)) == bits(net(EXPECTED))
    assert fastbp.loss(net, x, labels) == fastbp.loss(net, EXPECTED, LABELS)
    assert unlike(net, x.clone().requires_grad_()) == REFUSED["tensor with a gradient"][1]
    assert unlike(net, x.bfloat16()).startswith("TypeError: X: expected what NumPy makes an array of, got Tensor: ")


def test_masked_weights_and_inverses():
    """Where a single number will do for weights, and where the array itself is written to."""
    inv = fastbp.WoodburyInverse(3, 1.0)
    with pytest.raises(ValueError, match=r"^weights: expected no masked entries, got 1 of 1"):
        inv.update(np.ones(3), np.ma.masked)
    assert inv.logdet() == 0
    H = np.ma.masked_array(np.eye(3), mask=np.eye(3))
    with pytest.raises(ValueError, match=r"^H_inv: expected no masked entries, got 3 of 9"):
        fastbp.woodbury_update(H, np.ones(3))
    np.testing.assert_array_equal(H.data, np.eye(3))
