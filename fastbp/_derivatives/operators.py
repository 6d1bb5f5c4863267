"""Hessian and Gauss-Newton matrix as operators: something to multiply by, for Lanczos and conjugate gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fastbp._boundary.convert import as_numbers, cast, shown, whole_number
from fastbp._boundary.foreign import refuse_masked
from fastbp._boundary.memory import new_array, new_units
from fastbp._derivatives.first_order import batch
from fastbp_c.derivatives.operator import Products

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Loss, Reduction
    from fastbp._networks.network import Network

BLOCK = 64  # columns of a dense block computed at once, and
ROOM = 1 << 20  # how many numbers their unit vectors may have


class CurvatureOperator(LinearOperator):  # type: ignore[misc]
    """What the two operators have in common."""

    _gauss_newton = False

    def _set_up(
        self,
        net: Network,
        X: ArrayLike,
        T: ArrayLike,
        loss: Loss | None,
        reduction: Reduction,
        sample_weight: ArrayLike | None,
    ) -> None:
        x, t, weight, scale = batch(net, X, T, reduction, sample_weight)
        if weight is not None:
            weight = weight.copy()
        self._layers, self._architecture = net.layers, net._architecture
        self._products = Products(
            net._plan, net._parameters.copy(), x.copy(), t.copy(), weight, loss, scale, self._gauss_newton
        )
        LinearOperator.__init__(self, net.dtype, (net.n_parameters, net.n_parameters))

    def dot(self, x: Any) -> Any:
        """The product with a vector or with columns; ``op @ x``."""
        refuse_masked("v", x)  # SciPy would pass on the numbers under the mask
        return super().dot(x)

    def __rmul__(self, x: Any) -> Any:
        refuse_masked("v", x)
        return super().__rmul__(x)

    def _matmat(self, V: ArrayLike) -> NDArray[Any]:
        return self._rows_times("V", as_numbers("V", V).swapaxes(-1, -2)).swapaxes(-1, -2)

    def _matvec(self, v: ArrayLike) -> NDArray[Any]:
        rows = as_numbers("v", v)
        return self._rows_times("v", rows.reshape(-1) if rows.shape == (self.shape[0], 1) else rows)

    def _rows_times(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """The product of every row (..., P), of which SciPy passes any number of dimensions from 1.18 on."""
        rows = cast(name, rows, self.dtype)
        out = new_array("operator", rows.shape, self.dtype)
        flat = math.prod(rows.shape[:-1]), rows.shape[-1]
        self._products.multiply(rows.reshape(flat), out.reshape(flat))
        return out

    def _adjoint(self) -> CurvatureOperator:
        return self

    def _transpose(self) -> CurvatureOperator:
        return self

    def block(self, layer_a: int, layer_b: int) -> NDArray[Any]:
        """Compute one block as a dense matrix.

        Parameters
        ----------
        layer_a, layer_b : int
            Numbers of layers, from 0; negative ones count from the end.

        Returns
        -------
        ndarray of shape (P_a, P_b)
            Second derivatives with respect to the parameters that layer a uses (W row by row as it lies in the
            network's parameters, then b) and to those that layer b uses.

        Raises
        ------
        TypeError, ValueError
            If there is no such layer.
        MemoryError
            If the block does not fit.

        Notes
        -----
        The cost is that of as many products as the smaller of P_a and P_b.
        """
        rows, columns = self._places("layer_a", layer_a), self._places("layer_b", layer_b)
        block = new_array("block", (rows.size, columns.size), self.dtype)
        if rows.size < columns.size:
            self._columns(columns, rows, block.T)
        else:
            self._columns(rows, columns, block)
        return block

    def _columns(self, rows: NDArray[Any], columns: NDArray[Any], block: NDArray[Any]) -> None:
        """Fill the block of these rows and columns of the matrix."""
        step = max(1, min(BLOCK, ROOM // max(1, self.shape[0])))
        for start in range(0, columns.size, step):
            some = columns[start : start + step]
            units = new_units("block", some, self.shape[0], self.dtype)
            products = new_array("block", units.shape, self.dtype)
            self._products.multiply(units, products)
            block[:, start : start + step] = products[:, rows].T

    def _places(self, name: str, layer: int) -> NDArray[Any]:
        """Where the parameters that a layer uses are."""
        count = len(self._layers)
        number = whole_number(name, layer, -count)
        if number >= count:
            raise ValueError(f"{name}: expected a number below {count}, got {shown(layer)}")
        use, places = self._architecture.uses[number], self._architecture.places
        slots = [slot for slot in (use.matrix, use.bias) if slot >= 0]
        return np.concatenate([np.arange(0), *(np.arange(places[slot], places[slot + 1]) for slot in slots)])


class HessianOperator(CurvatureOperator):
    """The exact Hessian of a batch's error as a `scipy.sparse.linalg.LinearOperator`; it is never formed.

    ``op @ v`` and ``op @ V``, for vectors (P,) and columns (P, k); `eigsh`, `cg`, `minres` and the like take it as it
    is.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`. They are read once: what happens to them later does not change the operator.

    Attributes
    ----------
    shape : tuple
        (P, P).
    dtype : numpy.dtype
        The network's.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.

    See Also
    --------
    hessian : The same matrix, dense.

    Notes
    -----
    The R-operator (PRML 5.4.6): a product costs about two gradients. The forward pass and the deltas are computed once
    and kept if they take no more than 256 MiB, 4 Σ n_out + D + 3 K numbers a sample; for larger batches they are
    computed anew for every product (for all k columns of one together). Beside them the operator keeps copies of the
    parameters, of `X` and of `T`. Several threads may use an operator at once.

    Examples
    --------
    >>> net = mlp([2, 3, 1], seed=0)
    >>> op = HessianOperator(net, [[1.0, 2.0]], [[0.5]])
    >>> np.allclose(op @ np.eye(13), hessian(net, [[1.0, 2.0]], [[0.5]]))
    True
    """

    def __init__(
        self,
        net: Network,
        X: ArrayLike,
        T: ArrayLike,
        *,
        loss: Loss | None = None,
        reduction: Reduction = "sum",
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self._set_up(net, X, T, loss, reduction, sample_weight)


class GaussNewtonOperator(CurvatureOperator):
    """The generalized Gauss-Newton matrix as a `scipy.sparse.linalg.LinearOperator`; it is never formed.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `gauss_newton`. They are read once: what happens to them later does not change the operator.

    Attributes
    ----------
    shape : tuple
        (P, P).
    dtype : numpy.dtype
        The network's.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.

    See Also
    --------
    gauss_newton : The same matrix, dense.
    HessianOperator : Its notes hold here too.

    Notes
    -----
    The R-operator without the terms in h'' and in the vector against the deltas: it is positive semidefinite.
    """

    _gauss_newton = True

    def __init__(
        self,
        net: Network,
        X: ArrayLike,
        T: ArrayLike,
        *,
        loss: Loss | None = None,
        reduction: Reduction = "sum",
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self._set_up(net, X, T, loss, reduction, sample_weight)
