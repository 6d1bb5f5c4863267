"""Building blocks: one affine layer, forward and backward, from NumPy to NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastbp_c.affine as kernels
from fastbp._boundary.convert import common_dtype, output_array, real_array
from fastbp._boundary.memory import new_array, new_like

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Activation


def affine(X: ArrayLike, W: ArrayLike, b: ArrayLike | None = None, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Compute ``X W + b``.

    Parameters
    ----------
    X : array_like of shape (N, n_in)
    W : array_like of shape (n_in, n_out)
    b : array_like of shape (n_out,), optional
    out : ndarray of shape (N, n_out), optional
        Where to put the result: C-contiguous, not overlapping the arguments.

    Returns
    -------
    Y : ndarray of shape (N, n_out)
        float32 if all arguments are, float64 otherwise.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If shapes do not fit together, or an argument is not an array of real numbers.
    MemoryError
        If the result does not fit.

    Notes
    -----
    2 N n_in n_out flops. A large product is shared by all cores.
    """
    dtype = common_dtype(X, W, b)
    X, W = real_array("X", X, dtype, 2), real_array("W", W, dtype, 2)
    if b is not None:
        b = real_array("b", b, dtype, 1)
    if out is None:
        out = new_array("affine", (X.shape[0], W.shape[1]), dtype)
    kernels.affine(X, W, b, output_array(out))
    return out


def affine_backward(
    dY: ArrayLike, X: ArrayLike, W: ArrayLike, *, need_dX: bool = True
) -> tuple[NDArray[Any] | None, NDArray[Any], NDArray[Any]]:
    """Backpropagate through ``Y = X W + b``.

    Parameters
    ----------
    dY : array_like of shape (N, n_out)
        ∂E/∂Y.
    X : array_like of shape (N, n_in)
    W : array_like of shape (n_in, n_out)
    need_dX : bool, optional
        Whether ∂E/∂X is wanted: the first layer of a network can do without.

    Returns
    -------
    dX : ndarray of shape (N, n_in) or None
        ``dY Wᵀ``.
    dW : ndarray of shape (n_in, n_out)
        ``Xᵀ dY``: a sum over the batch.
    db : ndarray of shape (n_out,)
        Column sums of `dY`.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If shapes do not fit together, or an argument is not an array of real numbers.
    MemoryError
        If a result does not fit.

    Notes
    -----
    2 N n_in n_out flops for each of `dX` and `dW`.
    """
    dtype = common_dtype(dY, X, W)
    dY, X, W = real_array("dY", dY, dtype, 2), real_array("X", X, dtype, 2), real_array("W", W, dtype, 2)
    dX = new_like("dX", X) if need_dX else None
    dW, db = new_like("dW", W), new_array("db", W.shape[1:], dtype)
    kernels.affine_backward(dY, X, W, dX, dW, db)
    return dX, dW, db


def delta_backward(delta_next: ArrayLike, W_next: ArrayLike, a: ArrayLike, activation: Activation) -> NDArray[Any]:
    """Take the error signal one layer down: ``h'(a) * (delta_next W_nextᵀ)``.

    Parameters
    ----------
    delta_next : array_like of shape (N, n_out)
        ∂E/∂a of the layer above.
    W_next : array_like of shape (n_in, n_out)
        Its weight.
    a : array_like of shape (N, n_in)
        Pre-activations of this layer.
    activation : str
        Name of this layer's `h`.

    Returns
    -------
    delta : ndarray of shape (N, n_in)

    Raises
    ------
    TypeError, ValueError, OverflowError
        If shapes do not fit together, an argument is not an array of real numbers, or the name is unknown.
    MemoryError
        If the result does not fit.

    Notes
    -----
    PRML (5.56). 2 N n_in n_out flops.
    """
    dtype = common_dtype(delta_next, W_next, a)
    delta_next = real_array("delta_next", delta_next, dtype, 2)
    W_next, a = real_array("W_next", W_next, dtype, 2), real_array("a", a, dtype, 2)
    delta, work = new_like("delta", a), new_like("delta", a)
    kernels.delta_backward(delta_next, W_next, a, activation, delta, work)
    return delta
