"""The affine layer, batched: Y = X W + b and its backward pass (theory: PRML 5.48 to 5.56)."""

cimport numpy as cnp
from cython cimport floating

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_apart, check_floating, check_matrix, check_vector
from fastbp_c.networks.activation cimport activation_id
from fastbp_c.algebra.product cimport product
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_BIAS, FBP_SOFTMAX, FBP_ZERO

cnp.import_array()


cdef void affine_forward(
    const floating *X, const floating *W, const floating *b, floating *Y, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out,
) noexcept nogil:
    """Y = X W + b; b may be NULL"""
    # Y[n, o] = b[o] + X[n, i] W[i, o]
    product(False, False, N, n_out, n_in, X, W, FBP_ZERO if b == NULL else FBP_BIAS, b, Y)


cdef void affine_gradient(
    const floating *dY, const floating *X, floating *dW, floating *db, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out, bint accumulate,
) noexcept nogil:
    """dW (+)= X^T dY, db (+)= sum_n dY_n; db may be NULL"""
    # dW[i, o] = X[n, i]^T dY[n, o]
    product(True, False, n_in, n_out, N, X, dY, FBP_ADD if accumulate else FBP_ZERO, NULL, dW)
    if db != NULL:
        simd.column_sums(N, n_out, dY, accumulate, db)


cdef void affine_delta(
    const floating *dY, const floating *W, floating *dX, Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out,
) noexcept nogil:
    """dX = dY W^T"""
    # dX[n, i] = dY[n, o] W[i, o]^T
    product(False, True, N, n_in, n_out, dY, W, FBP_ZERO, NULL, dX)


cdef void backward(
    const floating *dY, const floating *X, const floating *W, floating *dX, floating *dW, floating *db,
    Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out, bint accumulate,
) noexcept nogil:
    affine_gradient(dY, X, dW, db, N, n_in, n_out, accumulate)
    if dX != NULL:
        affine_delta(dY, W, dX, N, n_in, n_out)


def affine(cnp.ndarray X not None, cnp.ndarray W not None, cnp.ndarray b, cnp.ndarray Y not None):
    """Y[n, o] = b[o] + X[n, i] W[i, o]   Y is overwritten and must not overlap X or W; b may be None"""
    cdef int typenum = check_floating("X", X)
    check_matrix("W", W, typenum, -1, "", -1, "", False)
    check_matrix("X", X, typenum, -1, "", W.shape[0], "the rows of W", False)
    cdef Py_ssize_t N = X.shape[0], n_in = W.shape[0], n_out = W.shape[1]
    if b is not None:
        check_vector("b", b, typenum, n_out, "the columns of W", False)
    check_matrix("out", Y, typenum, N, "the rows of X", n_out, "the columns of W", True)
    check_apart("out", Y, "X", X)
    check_apart("out", Y, "W", W)
    if b is not None:
        check_apart("out", Y, "b", b)
    cdef const void *bias = NULL if b is None else cnp.PyArray_DATA(b)
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            affine_forward(<const float *> cnp.PyArray_DATA(X), <const float *> cnp.PyArray_DATA(W),
                           <const float *> bias, <float *> cnp.PyArray_DATA(Y), N, n_in, n_out)
        else:
            affine_forward(<const double *> cnp.PyArray_DATA(X), <const double *> cnp.PyArray_DATA(W),
                           <const double *> bias, <double *> cnp.PyArray_DATA(Y), N, n_in, n_out)


def affine_backward(
    cnp.ndarray dY not None, cnp.ndarray X not None, cnp.ndarray W not None, cnp.ndarray dX, cnp.ndarray dW not None,
    cnp.ndarray db not None, bint accumulate=False,
):
    """dX = dY W^T, dW (+)= X^T dY, db (+)= sum_n dY_n   dX may be None; accumulate concerns dW and db only"""
    cdef int typenum = check_floating("dY", dY)
    check_matrix("W", W, typenum, -1, "", -1, "", False)
    cdef Py_ssize_t n_in = W.shape[0], n_out = W.shape[1]
    check_matrix("dY", dY, typenum, -1, "", n_out, "the columns of W", False)
    cdef Py_ssize_t N = dY.shape[0]
    check_matrix("X", X, typenum, N, "the rows of dY", n_in, "the rows of W", False)
    if dX is not None:
        check_matrix("dX", dX, typenum, N, "the rows of X", n_in, "the columns of X", True)
    check_matrix("dW", dW, typenum, n_in, "the rows of W", n_out, "the columns of W", True)
    check_vector("db", db, typenum, n_out, "the columns of W", True)
    cdef void *dx = NULL if dX is None else cnp.PyArray_DATA(dX)
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            backward(<const float *> cnp.PyArray_DATA(dY), <const float *> cnp.PyArray_DATA(X),
                     <const float *> cnp.PyArray_DATA(W), <float *> dx, <float *> cnp.PyArray_DATA(dW),
                     <float *> cnp.PyArray_DATA(db), N, n_in, n_out, accumulate)
        else:
            backward(<const double *> cnp.PyArray_DATA(dY), <const double *> cnp.PyArray_DATA(X),
                     <const double *> cnp.PyArray_DATA(W), <double *> dx, <double *> cnp.PyArray_DATA(dW),
                     <double *> cnp.PyArray_DATA(db), N, n_in, n_out, accumulate)


cdef void delta(
    const floating *delta_next, const floating *W, const floating *a, floating *result, floating *h1, int activation,
    Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out,
) noexcept nogil:
    """result = h'(a) * (delta_next W^T); h1: N n_in elements of work"""
    simd.activate(activation, N * n_in, a, result, h1, NULL)
    affine_delta(delta_next, W, result, N, n_in, n_out)
    simd.multiply(N, 1, n_in, h1, result)


def delta_backward(
    cnp.ndarray delta_next not None, cnp.ndarray W_next not None, cnp.ndarray a not None, activation,
    cnp.ndarray out not None, cnp.ndarray work not None,
):
    """out[n, i] = h'(a[n, i]) sum_o delta_next[n, o] W_next[i, o]   out and work are overwritten, both of a's shape"""
    cdef int typenum = check_floating("delta_next", delta_next)
    cdef int h = activation_id("activation", activation)
    if h == FBP_SOFTMAX:
        raise ValueError("activation: expected an elementwise activation, got 'softmax'")
    check_matrix("W_next", W_next, typenum, -1, "", -1, "", False)
    cdef Py_ssize_t n_in = W_next.shape[0], n_out = W_next.shape[1]
    check_matrix("delta_next", delta_next, typenum, -1, "", n_out, "the columns of W_next", False)
    cdef Py_ssize_t N = delta_next.shape[0]
    check_matrix("a", a, typenum, N, "the rows of delta_next", n_in, "the rows of W_next", False)
    check_matrix("out", out, typenum, N, "the rows of a", n_in, "the columns of a", True)
    check_matrix("work", work, typenum, N, "the rows of a", n_in, "the columns of a", True)
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            delta(<const float *> cnp.PyArray_DATA(delta_next), <const float *> cnp.PyArray_DATA(W_next),
                  <const float *> cnp.PyArray_DATA(a), <float *> cnp.PyArray_DATA(out),
                  <float *> cnp.PyArray_DATA(work), h, N, n_in, n_out)
        else:
            delta(<const double *> cnp.PyArray_DATA(delta_next), <const double *> cnp.PyArray_DATA(W_next),
                  <const double *> cnp.PyArray_DATA(a), <double *> cnp.PyArray_DATA(out),
                  <double *> cnp.PyArray_DATA(work), h, N, n_in, n_out)
