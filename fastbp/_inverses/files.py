"""Inverses in files: tensors named matrix, in full, and history; alpha and the log determinant in the metadata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.files import check_format, fill, write
from fastbp._boundary.memory import new_square
from fastbp._inverses.rows import positive_number
from fastbp_c.boundary.arrays import all_finite

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from fastbp._boundary.files import Content

FORMAT = "fastbp.inverse"
ROWS_AT_ONCE = 1024  # what is looked at in one go


def write_inverse(
    path: str | os.PathLike[str],
    matrix: NDArray[Any],
    alpha: float,
    logdet: tuple[float, float],
    history: NDArray[Any],
) -> None:
    """Write an inverse, straight from the memory where it lives."""
    metadata = {"format": FORMAT, "alpha": alpha.hex(), "logdet": logdet[0].hex(), "rest": logdet[1].hex()}
    write(path, metadata, matrix=matrix, history=history)


def read_inverse(content: Content) -> tuple[NDArray[Any], float, tuple[float, float], NDArray[Any] | None]:
    """Matrix, in memory of its own, alpha, log determinant and history; ValueError if that is not what there is."""
    check_format(content, FORMAT)
    found = (float.fromhex(content.metadata.get(key, "nan")) for key in ("alpha", "logdet", "rest"))
    alpha, logdet, rest = found
    if not (0 < alpha < math.inf and math.isfinite(logdet) and math.isfinite(rest)):
        raise ValueError("expected alpha above 0 and a finite logdet in its metadata, got other or none")
    positive_number("alpha", alpha)
    tensors = {tensor.name: tensor for tensor in content.tensors}
    if tensors.keys() - {"history"} != {"matrix"}:
        raise ValueError(f"expected one tensor named matrix, got {sorted(tensors)!r:.200}")
    kind, shape = tensors["matrix"].kind, tensors["matrix"].shape
    if kind != "F64" or len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"expected a square matrix of F64, got shape {shape} of {kind}")
    history = None
    if "history" in tensors:
        if tensors["history"].kind != "F64" or tensors["history"].shape != (2, shape[0]):
            raise ValueError(f"expected a history of 2 x {shape[0]} F64, got shape {tensors['history'].shape}")
        history = np.empty((2, shape[0]))
        fill(content, tensors["history"], history)
        if not (history[0] > 0).all() or not (history[1] >= 0).all():
            raise ValueError("expected a history of numbers above 0, got other")
    matrix = new_square("load", shape[0])
    fill(content, tensors["matrix"], matrix)
    if not all_finite(matrix) or not (matrix.diagonal() > 0).all():
        raise ValueError("expected finite numbers, above 0 on the diagonal, got others")
    for start in range(0, shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        if not np.array_equal(matrix[rows], matrix[:, rows].T):
            raise ValueError("expected a symmetric matrix, got another one")
    return matrix, alpha, (logdet, rest), history
