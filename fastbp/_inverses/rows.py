"""The rows that make an inverse: as users pass them, or of a network's Gauss-Newton matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import FLOAT64, as_numbers, cast, real_number
from fastbp._boundary.memory import new_array
from fastbp._derivatives.first_order import batch
from fastbp._derivatives.first_order import loss as loss_of
from fastbp_c.boundary.arrays import all_finite, fits
from fastbp_c.derivatives.outer_product import outer_product_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fastbp._networks.network import Network

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


def positive_number(name: str, value: Any) -> float:
    """`value` as a float above 0 that has a finite inverse."""
    number = real_number(name, value, 0)
    if not 0 < number < math.inf or math.isinf(1 / number):
        raise ValueError(f"{name}: expected a number above 0 with a finite inverse, got {number:g}")
    return number


def weighted_rows(B: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows and weights as the kernels take them, without NaN or infinity."""
    if fits(B, FLOAT64.num, 2):
        rows: NDArray[Any] = B  # type: ignore[assignment]
    else:
        array = as_numbers("B", B)
        if array.ndim not in (1, 2):
            raise ValueError(f"B: expected one row (1 dimension) or rows (2 dimensions), got shape {array.shape}")
        if array.ndim == 1 and weights is not None and np.ndim(weights) == 0:
            weights = np.reshape(np.asarray(weights), 1)
        rows = cast("B", array, FLOAT64)
        if array.ndim == 1:
            rows = rows.reshape(1, -1)
    if not all_finite(rows):
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        wrong = rows[row][~np.isfinite(rows[row])][0]
        raise ValueError(f"B: expected finite numbers, got {wrong} in row {row}")
    if weights is None:
        return rows, None
    array = as_numbers("weights", weights)
    if array.ndim != 1:
        raise ValueError(f"weights: expected a vector (1 dimension), got shape {array.shape}")
    array = cast("weights", array, FLOAT64)
    allowed = (array >= 0) & (array < math.inf)
    if not allowed.all():
        row = int(np.argmin(allowed))
        raise ValueError(f"weights: expected finite numbers of at least 0, got {array[row]} in row {row}")
    return rows, array
