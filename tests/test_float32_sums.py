"""Sums of float32 over very many rows: as good as those over few, because blocks of rows are added in float64.

A block is a sum of at most 128 terms (256 of a column), at most 32 of which are added in float32, each with half an eps
of what has been summed by then. Up to chance that is eps sqrt(160), and `util.tolerance` allows four times as much of
160 terms, however many rows there are.
"""

import ctypes
import itertools

import numpy as np
import pytest

import fastbp
import fastbp_c.affine
from fastbp_c.algebra import simd
from util import assert_close

MANY = 20_000_000
BLOCK_TERMS = 160
SHAPES = [(1, 1), (1, 5), (2, 1), (3, 2), (1, 40), (17, 1), (20, 10), (33, 35)]
BY_BLAS = {"own": False, "blas": True}


def gradient(dY, X, dW, db, accumulate=False):
    """By the entry point from Python."""
    W = np.zeros(dW.shape, dW.dtype)
    fastbp_c.affine.affine_backward(dY, X, W, None, dW, db, accumulate)


def exported_gradient(dY, X, dW, db, accumulate=False):
    """By the function for cimport."""
    capsule = fastbp_c.affine.__pyx_capi__["__pyx_fuse_0affine_gradient"]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    types = [ctypes.c_void_p] * 4 + [ctypes.c_ssize_t] * 3 + [ctypes.c_int]
    call = ctypes.CFUNCTYPE(None, *types)(pointer_of(capsule, name_of(capsule)))
    call(dY.ctypes.data, X.ctypes.data, dW.ctypes.data, db.ctypes.data, len(X), *dW.shape, accumulate)


WAYS = (gradient, exported_gradient)


@pytest.fixture(scope="module")
def ones():
    return np.ones((MANY, 1), np.float32)


@pytest.mark.parametrize("way", WAYS, ids=["python", "cimport"])
@pytest.mark.parametrize("by", BY_BLAS)
def test_counting_ones(instruction_set, products_by_blas, ones, by, way):
    """A float counts up to 2^24, and no further."""
    products_by_blas(BY_BLAS[by])
    dW, db = np.empty((1, 1), np.float32), np.empty(1, np.float32)
    way(ones, ones, dW, db)
    assert (dW[0, 0], db[0]) == (MANY, MANY)


def test_counting_ones_from_numpy(ones):
    dX, dW, db = fastbp.affine_backward(ones, ones, np.zeros((1, 1), np.float32), need_dX=False)
    assert (dX, dW[0, 0], db[0]) == (None, MANY, MANY)


def sums(n_in, n_out, mean):
    """X and dY, dW and db in float64, and the sums of what their terms are without a sign."""
    rng = np.random.default_rng([n_in, n_out])
    X, dY = (rng.normal(mean, 1, (60_001, n)).astype(np.float32) for n in (n_in, n_out))
    x, d = X.astype(np.float64), dY.astype(np.float64)
    return X, dY, (x.T @ d, abs(x).T @ abs(d)), (d.sum(axis=0), abs(d).sum(axis=0))


@pytest.mark.parametrize(("n_in", "n_out", "mean"), [(*shape, mean) for shape in SHAPES for mean in (0.0, 285.0)])
def test_sums_over_many_rows(products_by_blas, n_in, n_out, mean):
    """With a mean every rounding goes the same way, and a chain of them far astray."""
    X, dY, (expected_W, scale_W), (expected_b, scale_b) = sums(n_in, n_out, mean)
    before = simd.instruction_set()[0]
    try:
        for name, by, way, start in itertools.product(simd.available(), BY_BLAS, WAYS, (None, 1e4)):
            simd.use(name)
            products_by_blas(BY_BLAS[by])
            dW, db = np.full((n_in, n_out), start, np.float32), np.full(n_out, start, np.float32)
            way(dY, X, dW, db, start is not None)
            what = name, by, way.__name__, start
            assert_close(dW, expected_W + (start or 0), "float32", BLOCK_TERMS, scale_W, what)
            assert_close(db, expected_b + (start or 0), "float32", BLOCK_TERMS, scale_b, what)
    finally:
        simd.use(before)


@pytest.mark.parametrize("n_out", [1, 2, 7, 511, 512, 513, 1025])
@pytest.mark.parametrize("N", [255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 8193])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_column_sums_around_every_block(instruction_set, dtype, N, n_out):
    """Whole numbers, so that no sum may be off by anything."""
    dY = np.random.default_rng(N).integers(-9, 10, (N, n_out)).astype(dtype)
    dW, db = np.empty((0, n_out), dtype), np.full(n_out, np.nan, dtype)
    X, W = np.empty((N, 0), dtype), np.empty((0, n_out), dtype)
    fastbp_c.affine.affine_backward(dY, X, W, None, dW, db)
    np.testing.assert_array_equal(db, dY.sum(axis=0))
    fastbp_c.affine.affine_backward(dY, X, W, None, dW, db, True)
    np.testing.assert_array_equal(db, 2 * dY.sum(axis=0))


def test_rows_of_a_product_have_the_same_bits_however_many_there_are(instruction_set):
    """How the inner dimension is cut depends on nothing but its length."""
    X, W = (np.random.default_rng(1).standard_normal(s).astype(np.float32) for s in ((300, 700), (700, 96)))
    Y = fastbp.affine(X, W)
    for N in (12, 24, 60, 192, 256, 257):
        np.testing.assert_array_equal(fastbp.affine(X[:N], W), Y[:N])
