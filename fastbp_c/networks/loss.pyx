"""Output units and error functions (theory: PRML 5.2 and 5.4); the formulas stand in src/error.inc.h."""

cimport numpy as cnp

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_floating, check_matrix, check_vector
from fastbp_c.networks.activation cimport activation_id
from fastbp_c.algebra.simd cimport (
    FBP_BINARY_CROSS_ENTROPY, FBP_CROSS_ENTROPY, FBP_SIGMOID, FBP_SOFTMAX, FBP_SQUARED_ERROR,
)

from fastbp_c.networks.activation import ACTIVATIONS

cnp.import_array()

# In the order of enum fbp_error.
LOSSES = ("squared_error", "binary_cross_entropy", "cross_entropy")


cdef int loss_id(int output, name) except -1:
    """The error function of that name for that output unit; None is the canonical one."""
    cdef int canonical = FBP_SQUARED_ERROR
    if output == FBP_SIGMOID:
        canonical = FBP_BINARY_CROSS_ENTROPY
    elif output == FBP_SOFTMAX:
        canonical = FBP_CROSS_ENTROPY
    if name is None:
        return canonical
    if not isinstance(name, str):
        raise TypeError(f"loss: expected the name of an error function, got {type(name).__name__}")
    if name not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {name!r}")
    cdef int number = LOSSES.index(name)
    if number != FBP_SQUARED_ERROR and number != canonical:
        unit = "sigmoid" if number == FBP_BINARY_CROSS_ENTROPY else "softmax"
        actual = f"a network with {ACTIVATIONS[output]} output"
        raise ValueError(f"loss: expected a {unit} output for {name!r}, got {actual}")
    return number


cdef tuple checked(output, loss, cnp.ndarray a, cnp.ndarray t, weight):
    cdef int typenum = check_floating("a", a)
    check_matrix("a", a, typenum, -1, "", -1, "", False)
    check_matrix("t", t, typenum, a.shape[0], "those of a", a.shape[1], "those of a", False)
    if weight is not None:
        check_vector("weight", weight, typenum, a.shape[0], "one a row of a", False)
    h = activation_id("output", output)
    return h, loss_id(h, loss), typenum


def softmax(cnp.ndarray a not None):
    """z[n, k] = exp(a[n, k]) / sum_j exp(a[n, j]), a new (N, K) array."""
    cdef int typenum = check_floating("a", a)
    check_matrix("a", a, typenum, -1, "", -1, "", False)
    cdef Py_ssize_t N = a.shape[0], K = a.shape[1]
    cdef cnp.ndarray z = cnp.PyArray_EMPTY(2, cnp.PyArray_DIMS(a), typenum, 0)
    if typenum == cnp.NPY_FLOAT:
        simd.softmax(N, K, <const float *> cnp.PyArray_DATA(a), <float *> cnp.PyArray_DATA(z))
    else:
        simd.softmax(N, K, <const double *> cnp.PyArray_DATA(a), <double *> cnp.PyArray_DATA(z))
    return z


def error(output, loss, cnp.ndarray a not None, cnp.ndarray t not None, weight=None, double scale=1.0,
          bint need_delta=True):
    """(sum_n weight_n E_n, delta) with delta[n, k] = scale weight_n dE_n/da_nk, or None in its place."""
    cdef int h, e, typenum
    h, e, typenum = checked(output, loss, a, t, weight)
    cdef Py_ssize_t N = a.shape[0], K = a.shape[1]
    cdef cnp.ndarray delta = cnp.PyArray_EMPTY(2, cnp.PyArray_DIMS(a), typenum, 0) if need_delta else None
    cdef cnp.npy_intp size = 2 * N * K
    cdef cnp.ndarray work = cnp.PyArray_EMPTY(1, &size, typenum, 0)
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    cdef void *d = cnp.PyArray_DATA(delta) if need_delta else NULL
    if typenum == cnp.NPY_FLOAT:
        value = simd.error(h, e, N, K, <const float *> cnp.PyArray_DATA(a), <const float *> cnp.PyArray_DATA(t),
                           <const float *> w, <float> scale, <float *> d, <float *> cnp.PyArray_DATA(work))
    else:
        value = simd.error(h, e, N, K, <const double *> cnp.PyArray_DATA(a), <const double *> cnp.PyArray_DATA(t),
                           <const double *> w, scale, <double *> d, <double *> cnp.PyArray_DATA(work))
    return value, delta


def error_curvature(output, loss, cnp.ndarray a not None, cnp.ndarray t not None, weight=None, double scale=1.0,
                    bint gauss_newton=False):
    """M[n] = scale weight_n d2E_n/da da, a new (N, K, K) array; M' of the Gauss-Newton matrix if asked for."""
    cdef int h, e, typenum
    h, e, typenum = checked(output, loss, a, t, weight)
    cdef Py_ssize_t N = a.shape[0], K = a.shape[1]
    cdef cnp.npy_intp[3] shape = [N, K, K]
    cdef cnp.npy_intp size = 3 * N * K
    cdef cnp.ndarray M = cnp.PyArray_EMPTY(3, shape, typenum, 0)
    cdef cnp.ndarray work = cnp.PyArray_EMPTY(1, &size, typenum, 0)
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    if typenum == cnp.NPY_FLOAT:
        simd.error_curvature(h, e, N, K, <const float *> cnp.PyArray_DATA(a), <const float *> cnp.PyArray_DATA(t),
                             <const float *> w, <float> scale, gauss_newton, <float *> cnp.PyArray_DATA(M),
                             <float *> cnp.PyArray_DATA(work))
    else:
        simd.error_curvature(h, e, N, K, <const double *> cnp.PyArray_DATA(a), <const double *> cnp.PyArray_DATA(t),
                             <const double *> w, scale, gauss_newton, <double *> cnp.PyArray_DATA(M),
                             <double *> cnp.PyArray_DATA(work))
    return M
