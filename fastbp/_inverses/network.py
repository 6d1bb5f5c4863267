"""The Gauss-Newton matrix of a network, for its inverse: as rows, or assembled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbp._boundary.convert import FLOAT64
from fastbp._boundary.memory import new_array, new_square
from fastbp._derivatives.curvature import gauss_newton
from fastbp._derivatives.first_order import batch, check_network
from fastbp._derivatives.first_order import loss as loss_of
from fastbp._inverses.rows import check_weights
from fastbp_c.boundary.arrays import all_finite
from fastbp_c.derivatives.outer_product import outer_product_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Loss
    from fastbp._networks.network import Network

LARGEST_CHUNK = 1 << 25  # numbers


class Batch(NamedTuple):
    """What the matrix is of; checked, in the network's dtype, which is float64."""

    net: Network
    X: NDArray[Any]
    T: NDArray[Any]
    loss: Loss | None
    weight: NDArray[Any] | None


def network_batch(
    net: Network, X: ArrayLike, T: ArrayLike | None, loss: Loss | None, sample_weight: ArrayLike | None
) -> Batch:
    """The arguments, checked. float32 would give an inverse of half of the digits, or none."""
    check_network(net)
    net = net.astype(FLOAT64)
    if T is None and np.ndim(X) == 2:
        T = np.full((np.shape(X)[0], net.n_outputs), 1 / net.n_outputs)
    X, T, weight, _ = batch(net, X, T, "sum", sample_weight)  # type: ignore[arg-type]
    loss_of(net, X[:0], T[:0], loss=loss)
    if weight is not None:
        check_weights("sample_weight", weight)
    return Batch(net, X, T, loss, weight)


def rows_are_less(batch: Batch) -> bool:
    """Whether adding rows, 3 N K P² flops, takes less than inverting, P³: the matrix costs little beside that."""
    return bool(3 * batch.X.shape[0] * batch.net.n_outputs <= batch.net.n_parameters)


def gauss_newton_rows(batch: Batch) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Rows and weights whose outer products add up to Σ J_nᵀ M'_n J_n."""
    net, X, T, loss, weight = batch
    K, P = net.n_outputs, net.n_parameters
    samples = max(1, LARGEST_CHUNK // (K * max(1, P)))
    for start in range(0, X.shape[0], samples):
        part = slice(start, start + samples)
        w = None if weight is None else weight[part]
        rows = new_array("from_network", (X[part].shape[0] * K, P), FLOAT64)
        c = np.empty(rows.shape[0])
        outer_product_rows(net._plan, net.parameters, X[part], T[part], w, loss, rows, c)
        yield rows, c


def assembled(batch: Batch, alpha: float) -> NDArray[Any]:
    """αI + G, in memory as an inverse lives in."""
    net, X, T, loss, weight = batch
    matrix = new_square("from_network", net.n_parameters)
    gauss_newton(net, X, T, loss=loss, sample_weight=weight, out=matrix)
    if not all_finite(matrix):
        raise ValueError("net: expected finite derivatives of the outputs, got others")
    matrix.flat[:: net.n_parameters + 1] += alpha
    return matrix
