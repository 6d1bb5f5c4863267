"""The library's own matrix products against BLAS: why `product.pxd` divides the work as it does.

The shapes are the products of affine layers: forward (NN: X W), weights (TN: X^T dY) and deltas (NT: dY W^T). Both
sides are called in the same way, through the addresses that the modules export to C, and the time of a call on empty
operands is taken off. Smaller products than these cannot be told from their calls.

The library computes all of them itself here, whatever the limit; FASTBP_INSTRUCTION_SET and OPENBLAS_CORETYPE (Haswell
for AVX2) choose the instruction sets of the two sides, OPENBLAS_NUM_THREADS=1 one core for both.

Rows to look at for the constants of gemm.inc.h and kernels.c: PACK_FROM_ROWS in "batch n, 256 x 256", where copying
panels of W begins to pay; GROUP_ROWS and AHEAD_FROM_BYTES in "1024 x 1024"; LEFT_BYTES and LEFT_FROM_BYTES in those of
1024 rows; DOTTED_ROWS and WIDE_ROWS in batches up to 8.
"""

import ctypes
import functools
import time

import numpy as np
import pytest
import scipy.linalg.cython_blas

import fastbp_c.affine
import fastbp_c.algebra.simd
import ways
from support import record

AREA = "Matrix products"
# (batch, n_in, n_out)
SHAPES = [
    (1, 256, 256),
    (3, 256, 256),
    (8, 256, 256),
    (16, 16, 16),
    (24, 24, 24),
    (32, 32, 32),
    (32, 64, 32),
    (48, 48, 48),
    (64, 64, 64),
    (128, 128, 128),
    (128, 784, 100),
    (128, 100, 10),
    (128, 128, 1),
    (128, 128, 3),
    (192, 192, 192),
    (256, 784, 256),
    (500, 64, 32),
    (32, 256, 256),
    (64, 256, 256),
    (96, 256, 256),
    (127, 256, 256),
    (128, 256, 256),
    (512, 512, 256),  # 2^26 multiply-adds
    (520, 512, 256),
    (512, 600, 300),
    (1024, 512, 512),
    (1024, 784, 512),
    (1024, 1024, 1024),
    (32, 1024, 1024),
]
EXPORTED = {"NN": "affine_forward", "TN": "affine_gradient", "NT": "affine_delta"}


def address(module, name):
    """Of a function that the module exports to other Cython modules."""
    capsule = module.__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer_of(capsule, name_of(capsule))


def c_function(module, name, n_arguments):
    """Every argument is a pointer or as long as one; neither converted nor checked at the call."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(address(module, name))


def own(kind, dtype, left, right, result, batch, n_in, n_out):
    """affine_forward(X, W, b, Y), affine_gradient(dY, X, dW, db) or affine_delta(dY, W, dX), without biases."""
    function = EXPORTED[kind]
    fused = f"__pyx_fuse_{int(dtype == 'float64')}{function}"
    sizes = batch, n_in, n_out
    arguments = {
        "NN": (left, right, None, result, *sizes),
        "TN": (right, left, result, None, *sizes, 0),
        "NT": (left, right, result, *sizes),
    }[kind]
    return functools.partial(c_function(fastbp_c.affine, fused, len(arguments)), *map(ctypes.c_void_p, arguments))


def by_blas(kind, dtype, left, right, result, batch, n_in, n_out):
    """gemm on the transposed arrays: in BLAS's order of memory that is what C-ordered arrays are."""
    rows, inner, columns = {"NN": (batch, n_in, n_out), "TN": (n_in, batch, n_out), "NT": (batch, n_out, n_in)}[kind]
    number = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    left_width, right_width = (rows if kind == "TN" else inner), (inner if kind == "NT" else columns)
    values = [ctypes.c_char(letter.encode()) for letter in reversed(kind)]
    # 64 bits, of which a BLAS with 32-bit integers reads the lower half.
    values += map(ctypes.c_int64, (columns, rows, inner, max(1, right_width), max(1, left_width), max(1, columns)))
    values += [number(1), number(0)]
    trans_right, trans_left, m, n, k, ld_right, ld_left, ld_result, one, zero = map(ctypes.addressof, values)
    arguments = trans_right, trans_left, m, n, k, one, right, ld_right, left, ld_left, zero, result, ld_result
    gemm = c_function(scipy.linalg.cython_blas, {"float32": "sgemm", "float64": "dgemm"}[dtype], len(arguments))
    call = functools.partial(gemm, *map(ctypes.c_void_p, arguments))
    call.values = values  # their addresses are valid as long as the call exists
    return call


IMPLEMENTATIONS = {"fastbp": own, ways.BLAS: by_blas}


@functools.cache
def overhead(implementation, kind, dtype):
    """Seconds of a call with nothing to do: the least of many short measurements, as disturbances come in bursts."""
    x = np.ones(1, dtype).ctypes.data
    call, calls = IMPLEMENTATIONS[implementation](kind, dtype, x, x, x, 0, 0, 0), range(500)
    seconds = []
    for _ in range(50):
        begin = time.process_time()
        for _ in calls:
            call()
        seconds.append((time.process_time() - begin) / len(calls))
    return min(seconds)


@pytest.mark.benchmark(max_time=0.05)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", EXPORTED)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product(benchmark, dtype, shape, kind, implementation):
    """C = op(A) op(B), written over NaN."""
    batch, n_in, n_out = shape
    rng = np.random.default_rng(6)
    X, W, dY = (rng.standard_normal(s).astype(dtype) for s in ((batch, n_in), (n_in, n_out), (batch, n_out)))
    left, right = {"NN": (X, W), "TN": (X, dY), "NT": (dY, W)}[kind]
    wanted = (left.T if kind == "TN" else left) @ (right.T if kind == "NT" else right)
    result = np.full_like(wanted, np.nan)
    addresses = left.ctypes.data, right.ctypes.data, result.ctypes.data
    run = IMPLEMENTATIONS[implementation](kind, dtype, *addresses, batch, n_in, n_out)
    run()
    np.testing.assert_allclose(result, wanted, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(wanted).max())
    record(
        benchmark,
        AREA,
        f"{dtype}, batch {batch}, {n_in} x {n_out}, {kind}",
        implementation,
        dtype=dtype,
        flops=2 * batch * n_in * n_out,
        unit="flops/s",
        overhead=overhead(implementation, kind, dtype),
    )
    benchmark(run)
