"""One affine layer forward and backward, by fastbp's kernels on pointers, without the GIL."""

from cython cimport floating
from fastbp_c.affine cimport affine_delta, affine_forward, affine_gradient


def forward(const floating[:, ::1] X, const floating[:, ::1] W, const floating[::1] b, floating[:, ::1] Y):
    """Y = X W + b"""
    with nogil:
        affine_forward(&X[0, 0], &W[0, 0], &b[0], &Y[0, 0], X.shape[0], W.shape[0], W.shape[1])


def backward(
    const floating[:, ::1] dY, const floating[:, ::1] X, const floating[:, ::1] W, floating[:, ::1] dX,
    floating[:, ::1] dW, floating[::1] db,
):
    """dX = dY W^T, dW += X^T dY, db += sum_n dY_n"""
    with nogil:
        affine_delta(&dY[0, 0], &W[0, 0], &dX[0, 0], X.shape[0], W.shape[0], W.shape[1])
        affine_gradient(&dY[0, 0], &X[0, 0], &dW[0, 0], &db[0], X.shape[0], W.shape[0], W.shape[1], True)
