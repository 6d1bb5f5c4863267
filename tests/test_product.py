"""The matrix products under every layer: Y = X W + b, dW = Xᵀ dY, dX = dY Wᵀ, at the edges of every block.

Tiles are 6 or 12 rows by 2 vectors of 2 to 16 lanes, or up to 6 rows by 4 vectors; blocks are 256 to 768 rows by 128
deep; B is packed from 48, 96 or 192 rows on, by 64 or 128 columns, a large A from 512 columns on; and products of 2**20
multiply-adds and more are cut into pieces of 144 x 256 or 128 x 64.
"""

import itertools

import numpy as np
import pytest

import fastbp
import fastbp_c.affine
import reference
from util import DTYPES, assert_close, nan, shifted

ROWS = (0, 1, 5, 6, 7, 11, 12, 13, 127, 128, 129, 191, 192, 193, 255, 256, 257, 300)
COLUMNS = (0, *range(1, 34), 63, 64, 65, 100)
DEPTHS = (0, 1, 2, 127, 128, 129, 257, 513)
# At the limit, one step beyond it, and beyond it in shapes far from square.
LIMIT = 2**26
LARGE = ((512, 512, 256), (512, 512, 257), (513, 512, 256), (9001, 97, 79), (97, 79, 9001))


def random(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def product(A, B, plus=0.0):
    """A B + plus in float64, and what its roundings are relative to: the root sum of squares of its terms."""
    A, B, plus = (np.asarray(x, np.float64) for x in (A, B, plus))
    return A @ B + plus, np.sqrt(A**2 @ B**2 + plus**2)


def column_sums(x, plus=0.0):
    x, plus = x.astype(np.float64), np.asarray(plus, np.float64)
    return x.sum(axis=0) + plus, np.sqrt((x**2).sum(axis=0) + plus**2)


def check(actual, expected_and_scale, dtype, terms, *what):
    assert actual.dtype == dtype
    assert_close(actual, expected_and_scale[0], dtype, terms, expected_and_scale[1], what)


# The grids compute one large product by NumPy; the smaller ones are its upper left corners.


@pytest.mark.parametrize("given", [False, True], ids=["new_without_bias", "out_with_bias"])
@pytest.mark.parametrize("depth", DEPTHS, ids="depth_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
def test_affine(instruction_set, dtype, depth, given):
    X, W, b = random(0, dtype, (max(ROWS), depth), (depth, max(COLUMNS)), max(COLUMNS))
    expected, scale = product(X, W, b if given else 0.0)
    for columns in COLUMNS:
        left = np.ascontiguousarray(W[:, :columns])
        for rows in ROWS:
            out = nan((rows, columns), dtype) if given else None
            Y = fastbp.affine(X[:rows], left, b[:columns] if given else None, out=out)
            assert out is None or Y is out
            corner = expected[:rows, :columns], scale[:rows, :columns]
            check(Y, corner, dtype, depth + 1, rows, columns)


@pytest.mark.parametrize("N", DEPTHS, ids="N_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_gradient(instruction_set, dtype, N):
    X, dY = random(1, dtype, (N, max(ROWS)), (N, max(COLUMNS)))
    expected, scale = product(X.T, dY)
    sums, sums_scale = column_sums(dY)
    inputs = [np.ascontiguousarray(X[:, :n_in]) for n_in in ROWS]
    for n_out in COLUMNS:
        left = np.ascontiguousarray(dY[:, :n_out])
        for x in inputs:
            n_in = x.shape[1]
            dX, dW, db = fastbp.affine_backward(left, x, np.zeros((n_in, n_out), dtype), need_dX=False)
            assert dX is None
            check(dW, (expected[:n_in, :n_out], scale[:n_in, :n_out]), dtype, N + 1, n_in, n_out)
            check(db, (sums[:n_out], sums_scale[:n_out]), dtype, N + 1, n_out)


@pytest.mark.parametrize("n_out", DEPTHS, ids="n_out_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
def test_delta(instruction_set, dtype, n_out):
    delta, W, a = random(2, dtype, (max(ROWS), n_out), (max(COLUMNS), n_out), (max(ROWS), max(COLUMNS)))
    slope = reference.derivative("tanh", a.astype(np.float64))
    expected, scale = (x * slope for x in product(delta, W.T))
    for n_in in COLUMNS:
        left = np.ascontiguousarray(a[:, :n_in])
        for N in ROWS:
            result = fastbp.delta_backward(delta[:N], W[:n_in], left[:N], "tanh")
            check(result, (expected[:N, :n_in], scale[:N, :n_in]), dtype, n_out + 1, N, n_in)


@pytest.mark.parametrize("need_dX", [False, True], ids=["no_dX", "dX"])
@pytest.mark.parametrize("accumulate", [False, True], ids=["overwrite", "accumulate"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_into_given_arrays(instruction_set, dtype, accumulate, need_dX):
    for N, n_in, n_out in itertools.product((0, 1, 7, 257), (0, 1, 13, 64), (0, 1, 5, 33)):
        X, dY, W, dW, db = random(3, dtype, (N, n_in), (N, n_out), (n_in, n_out), (n_in, n_out), n_out)
        dX = nan(X.shape, dtype) if need_dX else None
        W_before, b_before = (dW.copy(), db.copy()) if accumulate else (0.0, 0.0)
        if not accumulate:
            dW[...] = db[...] = np.nan
        fastbp_c.affine.affine_backward(dY, X, W, dX, dW, db, accumulate)
        check(dW, product(X.T, dY, W_before), dtype, N + 1, "dW", N, n_in, n_out)
        check(db, column_sums(dY, b_before), dtype, N + 1, "db", N, n_in, n_out)
        if need_dX:
            check(dX, product(dY, W.T), dtype, n_out + 1, "dX", N, n_in, n_out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_into_new_arrays(instruction_set, dtype):
    for N, n_in, n_out in itertools.product((0, 1, 7, 257), (0, 1, 13, 64), (0, 1, 5, 33)):
        X, dY, W = random(4, dtype, (N, n_in), (N, n_out), (n_in, n_out))
        dX, dW, db = fastbp.affine_backward(dY, X, W)
        check(dX, product(dY, W.T), dtype, n_out + 1, "dX", N, n_in, n_out)
        check(dW, product(X.T, dY), dtype, N + 1, "dW", N, n_in, n_out)
        check(db, column_sums(dY), dtype, N + 1, "db", N, n_in, n_out)


@pytest.mark.parametrize("activation", reference.ELEMENTWISE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_delta_of_every_activation(instruction_set, dtype, activation):
    for N, n_in, n_out in ((1, 1, 1), (6, 17, 5), (13, 64, 257), (129, 33, 0), (300, 1, 3)):
        delta, W, a = random(5, dtype, (N, n_out), (n_in, n_out), (N, n_in))
        slope = reference.derivative(activation, a.astype(np.float64))
        expected, scale = product(delta, W.T)
        result = fastbp.delta_backward(delta, W, a, activation)
        check(result, (slope * expected, scale * np.maximum(abs(slope), 0.1)), dtype, n_out + 1, N, n_in, n_out)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_products_by_blas(dtype, depth, products_by_blas):
    products_by_blas(True)
    for N, n_out in ((0, 3), (3, 0), (1, 1), (5, 17), (13, 1), (64, 33)):
        X, dY, W, b = random(7, dtype, (N, depth), (N, n_out), (depth, n_out), n_out)
        check(fastbp.affine(X, W, b), product(X, W, b), dtype, depth + 1, "Y", N, n_out)
        dX, dW, db = fastbp.affine_backward(dY, X, W)
        check(dX, product(dY, W.T), dtype, n_out + 1, "dX", N, n_out)
        check(dW, product(X.T, dY), dtype, N + 1, "dW", N, n_out)
        check(db, column_sums(dY), dtype, N + 1, "db", N, n_out)


@pytest.mark.parametrize("N", [1, 24, 28, 29, 32, 33, 60, 64, 127])
@pytest.mark.parametrize("matrix", [(300, 257), (600, 515), (513, 1024)], ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_rows_and_a_large_matrix(instruction_set, dtype, matrix, N):
    X, W, dY, b = random(9, dtype, (N, matrix[0]), matrix, (N, matrix[1]), matrix[1])
    Y, dX = nan(dY.shape, dtype), nan(X.shape, dtype)
    check(fastbp.affine(X, W, b, out=Y), product(X, W, b), dtype, matrix[0] + 1, "Y")
    dW, db = nan(W.shape, dtype), nan(matrix[1], dtype)
    fastbp_c.affine.affine_backward(dY, X, W, dX, dW, db)
    check(dX, product(dY, W.T), dtype, matrix[1], "dX")
    check(dW, product(X.T, dY), dtype, N, "dW")


@pytest.mark.parametrize("shape", LARGE, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by_blas", [True, False], ids=["blas", "own"])
def test_large_products(dtype, shape, by_blas, products_by_blas):
    products_by_blas(by_blas)
    N, n_in, n_out = shape
    assert N * n_in * n_out >= LIMIT
    X, W, dY, b, dW = random(6, dtype, (N, n_in), (n_in, n_out), (N, n_out), n_out, (n_in, n_out))
    Y, dX, db = nan(dY.shape, dtype), nan(X.shape, dtype), nan(n_out, dtype)

    check(fastbp.affine(X, W, b, out=Y), product(X, W, b), dtype, n_in + 1, "Y with bias")
    Y[...] = np.nan
    check(fastbp.affine(X, W, out=Y), product(X, W), dtype, n_in, "Y")

    before = dW.copy()
    fastbp_c.affine.affine_backward(dY, X, W, dX, dW, np.zeros(n_out, dtype), True)
    check(dW, product(X.T, dY, before), dtype, N + 1, "accumulated dW")
    check(dX, product(dY, W.T), dtype, n_out, "dX")

    dW[...] = np.nan
    fastbp_c.affine.affine_backward(dY, X, W, None, dW, db)
    check(dW, product(X.T, dY), dtype, N, "dW")
    check(db, column_sums(dY), dtype, N, "db")


# Few rows, whose vectors are four wide or run along k; parts of A and B packed, with rests of every kind.
PACKED = (
    (1, 200, 131),
    (2, 131, 200),
    (3, 129, 300),
    (4, 300, 129),
    (5, 64, 270),
    (6, 140, 130),
    (97, 530, 1030),
    (200, 1400, 515),
    (790, 260, 525),
    (527, 301, 262),
    (130, 1027, 60),
)


@pytest.mark.parametrize("shape", PACKED, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_wide_and_packed_products(instruction_set, dtype, shape):
    N, n_in, n_out = shape
    X, W, dY, b, dW = random(8, dtype, (N, n_in), (n_in, n_out), (N, n_out), n_out, (n_in, n_out))
    Y, dX = nan(dY.shape, dtype), nan(X.shape, dtype)
    check(fastbp.affine(X, W, b, out=Y), product(X, W, b), dtype, n_in + 1, "Y")
    before = dW.copy()
    fastbp_c.affine.affine_backward(dY, X, W, dX, dW, np.zeros(n_out, dtype), True)
    check(dW, product(X.T, dY, before), dtype, N + 1, "accumulated dW")
    check(dX, product(dY, W.T), dtype, n_out, "dX")
    again = fastbp.affine(X, W, b)
    np.testing.assert_array_equal(Y, again)


def sprinkled(rng, shape, dtype):
    """Mostly ordinary numbers and zeros, with a few that are infinite or NaN."""
    x = np.round(rng.standard_normal(shape)).astype(dtype)  # many zeros
    special = rng.random(shape)
    x[special < 0.02] = np.inf
    x[special > 0.98] = -np.inf
    x[abs(special - 0.5) < 0.005] = np.nan
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_go_where_numpy_sends_them(instruction_set, dtype):
    rng = np.random.default_rng(2)
    for N, n_in, n_out in itertools.product((1, 7, 13, 130), (1, 6, 33), (1, 3, 17, 32, 33)):
        X, W, dY = (sprinkled(rng, s, dtype) for s in [(N, n_in), (n_in, n_out), (N, n_out)])
        b = sprinkled(rng, n_out, dtype)
        with np.errstate(invalid="ignore"):
            expected = (X @ W + b, dY @ W.T, X.T @ dY, dY.sum(axis=0))
        found = (fastbp.affine(X, W, b), *fastbp.affine_backward(dY, X, W))
        for name, x, y in zip(("Y", "dX", "dW", "db"), found, expected, strict=True):
            np.testing.assert_array_equal(x, y, err_msg=f"{name} of N {N} n_in {n_in} n_out {n_out}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_nan_stays_in_its_row_and_column(instruction_set, dtype):
    X, W = np.ones((13, 7), dtype), np.ones((7, 35), dtype)
    X[5, 3] = np.nan
    Y = fastbp.affine(X, W)
    assert np.isnan(Y[5]).all()
    np.testing.assert_array_equal(np.delete(Y, 5, axis=0), 7)
    X[5, 3], W[2, 34] = 1, np.nan
    Y = fastbp.affine(X, W)
    assert np.isnan(Y[:, 34]).all()
    np.testing.assert_array_equal(Y[:, :34], 7)


@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 33, 17), (300, 257, 65), (129, 100, 10)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_every_time_wherever_the_arrays_lie(instruction_set, dtype, shape):
    N, n_in, n_out = shape
    X, W, dY, b = random(7, dtype, (N, n_in), (n_in, n_out), (N, n_out), n_out)
    first = (fastbp.affine(X, W, b), *fastbp.affine_backward(dY, X, W), fastbp.delta_backward(dY, W, X, "gelu"))
    for offset in (0, 0, 1, 3):
        X, W, dY, b = (shifted(x, offset) for x in (X, W, dY, b))
        again = (fastbp.affine(X, W, b), *fastbp.affine_backward(dY, X, W), fastbp.delta_backward(dY, W, X, "gelu"))
        for x, y in zip(first, again, strict=True):
            np.testing.assert_array_equal(x, y)


def test_large_product_has_the_same_bits_every_time():
    (X,) = random(8, "float64", (600, 600))
    np.testing.assert_array_equal(fastbp.affine(X, X), fastbp.affine(X, X))


def test_instruction_sets_agree_on_exact_numbers():
    """Small integers have no rounding: every kernel and every block must give the very same sums."""
    rng = np.random.default_rng(5)
    X, W = (rng.integers(-8, 9, shape).astype(np.float32) for shape in [(257, 300), (300, 37)])
    before = fastbp_c.algebra.simd.instruction_set()[0]
    try:
        for name in fastbp_c.algebra.simd.available():
            fastbp_c.algebra.simd.use(name)
            np.testing.assert_array_equal(fastbp.affine(X, W), X.astype(int) @ W.astype(int))
    finally:
        fastbp_c.algebra.simd.use(before)
