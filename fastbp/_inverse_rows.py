"""The rows of a network's Gauss-Newton matrix, for its inverse: a chunk of samples at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._curvature import parameter_jacobian
from fastbp._derivatives import batch
from fastbp._derivatives import loss as loss_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fastbp._network import Network

CANONICAL = {"sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}
LARGEST_CHUNK = 1 << 25  # numbers
FEWEST_ROWS = 64


def gauss_newton_rows(
    net: Network, X: ArrayLike, T: ArrayLike | None, loss: str | None, sample_weight: ArrayLike | None
) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Rows and weights whose outer products add up to Σ J_nᵀ M'_n J_n; all arguments are checked before the first.

    A first chunk of 0.75 P rows or more is inverted at once by `WoodburyInverse.update`, and starts without the
    rounding errors of 1/α; chunks are as large as that where it is not too large.
    """
    if T is None and np.ndim(X) == 2:
        T = np.full((np.shape(X)[0], net.n_outputs), 1 / net.n_outputs)
    X, T, weight, _ = batch(net, X, T, "sum", sample_weight)  # type: ignore[arg-type]
    loss_of(net, X[:0], T[:0], loss=loss)
    K, P = net.n_outputs, net.n_parameters
    name = loss or CANONICAL.get(net.layers[-1].activation, "squared_error")
    wanted = max(3 * P // 4 + 1, FEWEST_ROWS)
    step = max(1, min(-(-wanted // K), LARGEST_CHUNK // (K * P)))
    for start in range(0, X.shape[0], step):
        part = slice(start, start + step)
        w = None if weight is None else weight[part, None].astype(np.float64)
        yield _rows(net, name, X[part], T[part], w)


def _rows(
    net: Network, name: str, X: NDArray[Any], T: NDArray[Any], weight: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """M' = Sᵀ S with S = ∂y/∂a for the squared error; y (1 - y); s (diag(y) - y yᵀ) = s Cᵀ diag(y) C, C = I - 1 yᵀ."""
    J = parameter_jacobian(net, X, of="output" if name == "squared_error" else "preactivation")
    rows = J.astype(np.float64, copy=False)
    factor = np.ones((X.shape[0], net.n_outputs)) if weight is None else np.broadcast_to(weight, T.shape)
    if name == "binary_cross_entropy":
        y = net(X).astype(np.float64)
        factor = factor * y * (1 - y)
    elif name == "cross_entropy":
        y = net(X).astype(np.float64)
        rows = rows - np.matmul(y[:, None, :], rows)
        factor = factor * y * T.sum(axis=1, keepdims=True, dtype=np.float64)
    elif weight is None:
        return rows.reshape(-1, net.n_parameters), None
    return rows.reshape(-1, net.n_parameters), factor.reshape(-1)
