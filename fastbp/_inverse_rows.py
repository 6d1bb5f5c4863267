"""The rows of a network's Gauss-Newton matrix, for its inverse: a chunk of samples at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._derivatives import batch
from fastbp._derivatives import loss as loss_of
from fastbp._memory import new_array
from fastbp_c.outer_product import outer_product_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fastbp._network import Network

LARGEST_CHUNK = 1 << 25  # numbers
FEWEST_ROWS = 64


def gauss_newton_rows(
    net: Network, X: ArrayLike, T: ArrayLike | None, loss: str | None, sample_weight: ArrayLike | None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Rows and weights whose outer products add up to Σ J_nᵀ M'_n J_n; all arguments are checked before the first.

    A first chunk of 0.75 P rows or more is inverted at once by `WoodburyInverse.update`, and starts without the
    rounding errors of 1/α; chunks are as large as that where it is not too large.
    """
    if T is None and np.ndim(X) == 2:
        T = np.full((np.shape(X)[0], net.n_outputs), 1 / net.n_outputs)
    X, T, weight, _ = batch(net, X, T, "sum", sample_weight)  # type: ignore[arg-type]
    loss_of(net, X[:0], T[:0], loss=loss)
    K, P = net.n_outputs, net.n_parameters
    wanted = max(3 * P // 4 + 1, FEWEST_ROWS)
    step = max(1, min(-(-wanted // K), LARGEST_CHUNK // (K * max(1, P))))
    for start in range(0, X.shape[0], step):
        part = slice(start, start + step)
        w = None if weight is None else weight[part]
        rows = new_array("from_network", (X[part].shape[0] * K, P), net.dtype)
        c = np.empty(rows.shape[0], net.dtype)
        outer_product_rows(net._plan, net.parameters, X[part], T[part], w, loss, rows, c)
        yield rows, c
