"""What users pass to make an inverse of: rows and their weights, and alpha."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import FLOAT64, as_numbers, cast, real_number, shown
from fastbp._boundary.foreign import refuse_masked
from fastbp_c.boundary.arrays import all_finite, fits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def positive_number(name: str, value: Any) -> float:
    """`value` as a float above 0 that has a finite inverse."""
    with contextlib.suppress(ValueError):
        number = real_number(name, value, 0)
        if 0 < number < math.inf and not math.isinf(1 / number):
            return number
    raise ValueError(f"{name}: expected a number above 0 with a finite inverse, got {shown(value)}")


def weighted_rows(B: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows and weights as the kernels take them, without NaN or infinity."""
    if fits(B, FLOAT64.num, 2):
        rows: NDArray[Any] = B  # type: ignore[assignment]
    elif weights is None and fits(B, FLOAT64.num, 1):
        rows = B.reshape(1, -1)  # type: ignore[union-attr]
    else:
        array = as_numbers("B", B)
        if array.ndim not in (1, 2):
            raise ValueError(f"B: expected one row (1 dimension) or rows (2 dimensions), got shape {array.shape}")
        if array.ndim == 1 and weights is not None and np.ndim(weights) == 0:
            refuse_masked("weights", weights)
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
    check_weights("weights", array)
    return rows, array


def check_weights(name: str, weights: NDArray[Any]) -> None:
    """ValueError unless all of them are finite and at least 0: the matrix could not be positive definite."""
    allowed = (weights >= 0) & (weights < math.inf)
    if not allowed.all():
        row = int(np.argmin(allowed))
        raise ValueError(f"{name}: expected finite numbers of at least 0, got {weights[row]} in row {row}")
