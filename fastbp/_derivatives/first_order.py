"""Errors and their derivatives with respect to the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import as_numbers, cast, output_array, real_array
from fastbp._boundary.memory import new_array, new_like
from fastbp._networks.network import Network

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Loss, Reduction


def loss(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compute the error of a batch.

    Parameters
    ----------
    net : Network
    X : array_like of shape (N, D)
        One sample a row.
    T : array_like of shape (N, K)
        Targets. For a softmax output also (N,) or (N, 1) integer class labels; for one output also (N,).
    loss : {"squared_error", "binary_cross_entropy", "cross_entropy"}, optional
        ½ Σ (y - t)², for any output; for sigmoid and softmax outputs, and their default, the cross-entropies.
    reduction : {"sum", "mean"}, optional
        Σ w_n E_n, or the same divided by Σ w_n (the number of samples if there are no weights).
    sample_weight : array_like of shape (N,), optional
        w_n; 1 by default.

    Returns
    -------
    E : float
        0.0 for an empty batch.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.

    Notes
    -----
    The error functions are computed from the pre-activations, so that they keep their digits for confident outputs.
    2 N Σ n_in n_out flops.

    Examples
    --------
    >>> net = mlp([2, 3, 1], init="zeros")
    >>> loss(net, [[1, 2], [3, 4]], [2, 4])
    10.0
    >>> loss(net, [[1, 2], [3, 4]], [2, 4], reduction="mean")
    5.0
    """
    X, T, weight, scale = batch(net, X, T, reduction, sample_weight)
    return scale * net._plan.loss(net._parameters, X, T, weight, loss)


def loss_and_gradient(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> tuple[float, NDArray[Any]]:
    """Compute the error of a batch and its gradient with respect to the parameters.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`.
    out : ndarray of shape (P,), optional
        Where to put the gradient: of the network's dtype, C-contiguous, not overlapping the other arrays.

    Returns
    -------
    E : float
        The error, summed or averaged as `reduction` says.
    gradient : ndarray of shape (P,)
        ∂E/∂w in the order of `net.parameters`, of the same sum or mean.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.
    MemoryError
        If (P,) does not fit.

    Notes
    -----
    Backpropagation (PRML 5.53 to 5.56): 6 N Σ n_in n_out flops less 2 N n_in n_out of the first layer, whose input
    needs no derivative.

    Examples
    --------
    >>> net = Network([Affine(1, 1)], init="zeros")
    >>> loss_and_gradient(net, [[1.0], [2.0]], [[3.0], [5.0]])
    (17.0, array([-13.,  -8.]))
    """
    X, T, weight, scale = batch(net, X, T, reduction, sample_weight)
    if out is None:
        out = new_like("loss_and_gradient", net._parameters)
    value = net._plan.loss_and_gradient(net._parameters, X, T, weight, loss, scale, output_array(out))
    return scale * value, out


def per_sample_gradients(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Compute each sample's own gradient.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`; the rows add up to the gradient of `loss_and_gradient` with the same arguments.
    out : ndarray of shape (N, P), optional
        Where to put the result: of the network's dtype, C-contiguous, not overlapping the other arrays.

    Returns
    -------
    G : ndarray of shape (N, P)
        ``G[n]`` is w_n ∂E_n/∂w, divided by Σ w_n for the mean.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.
    MemoryError
        If (N, P) does not fit; the message says how many bytes it needs.

    Notes
    -----
    One backward pass, and then N P products written once: the cost is that of filling the result.
    """
    X, T, weight, scale = batch(net, X, T, reduction, sample_weight)
    if out is None:
        out = new_array("per_sample_gradients", (X.shape[0], net.n_parameters), net.dtype)
    net._plan.per_sample_gradients(net._parameters, X, T, weight, loss, scale, output_array(out))
    return out


def targets(net: Network, T: ArrayLike, rows: int, name: str = "T") -> NDArray[Any]:
    """`T` as an (N, K) array of the network's dtype: class labels become rows of 0 and 1."""
    if type(T) is np.ndarray and T.ndim == 2 and (T.shape[1] != 1 or net.n_outputs == 1):
        return real_array(name, T, net.dtype, 2)
    array = as_numbers(name, T)
    softmax, column = net.layers[-1].activation == "softmax", array.ndim == 2 and array.shape[1] == 1
    if array.ndim != 1 and not (softmax and column and net.n_outputs > 1):
        return real_array(name, array, net.dtype, 2)
    if softmax and array.dtype.kind in "iu":
        return _one_hot(net, array, rows, name)
    if net.n_outputs == 1:
        return cast(name, array.reshape(-1, 1), net.dtype)
    labels = " or (N,) integer class labels" if softmax else ""
    how = f"; {name.split()[-1]}.astype(int) makes labels of whole numbers" if softmax else ""
    raise ValueError(
        f"{name}: expected shape (N, {net.n_outputs}){labels}, got {array.dtype} of shape {array.shape}{how}"
    )


def _one_hot(net: Network, labels: NDArray[Any], rows: int, name: str) -> NDArray[Any]:
    if labels.size != rows:
        raise ValueError(f"{name}: expected {rows} class labels (the rows of X), got shape {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < net.n_outputs:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{name}: expected class labels from 0 to {net.n_outputs - 1}, got {wrong}")
    rows_of = new_array(name, (rows, net.n_outputs), net.dtype)
    rows_of[...] = 0
    rows_of[np.arange(rows), labels.reshape(-1)] = 1
    return rows_of


def check_network(net: Any) -> None:
    """TypeError unless it is a network."""
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Network, got {type(net).__name__}")


def batch(
    net: Network, X: ArrayLike, T: ArrayLike, reduction: Reduction, sample_weight: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, float]:
    """The arguments as the kernels take them, and what the sum is multiplied by."""
    check_network(net)
    if not isinstance(reduction, str):
        raise TypeError(f"reduction: expected 'sum' or 'mean', got {type(reduction).__name__}")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction: expected 'sum' or 'mean', got {reduction!r}")
    X = real_array("X", X, net.dtype, 2)
    T = targets(net, T, X.shape[0])
    weight = None if sample_weight is None else real_array("sample_weight", sample_weight, net.dtype, 1)
    if reduction == "sum" or X.shape[0] == 0:
        return X, T, weight, 1.0
    if weight is None:
        return X, T, weight, 1 / X.shape[0]
    if weight.size != X.shape[0]:
        raise ValueError(f"sample_weight: expected shape ({X.shape[0]},) (one a row of X), got shape {weight.shape}")
    with np.errstate(all="ignore"):
        count = float(weight.sum(dtype=np.float64))
    if count == 0:
        raise ValueError("sample_weight: expected weights with a sum other than 0 for the mean, got 0")
    return X, T, weight, 1 / count
