"""Inverse Hessians that are kept up to date as samples come and go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastbp_c.inverses.inverse as kernels
from fastbp._boundary.convert import (
    FLOAT64,
    LARGEST_DIMENSION,
    as_numbers,
    cast,
    random_generator,
    shown,
    too_large,
    whole_number,
)
from fastbp._boundary.files import parse
from fastbp._boundary.memory import new_array, new_square
from fastbp._inverses.files import FORMAT, read_inverse, write_inverse
from fastbp._inverses.network import assembled, gauss_newton_rows, network_batch, rows_are_less
from fastbp._inverses.rows import positive_number, weighted_rows

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.files import Content
    from fastbp._boundary.names import Loss
    from fastbp._networks.network import Network


class WoodburyInverse:
    """The inverse of ``αI + Σ w b bᵀ``, kept up to date as rows b are added and removed.

    Parameters
    ----------
    n : int
        P, the number of rows and columns.
    alpha : float
        Above 0. The inverse starts as ``(αI)⁻¹``.

    Attributes
    ----------
    n : int
        P.
    alpha : float
        As given.
    matrix : ndarray of shape (P, P)
        The inverse, exactly symmetric.

    Raises
    ------
    TypeError
        If `n` is not an integer or `alpha` not a number.
    ValueError
        If `n` is negative, or `alpha` not above 0 and finite, with a finite inverse.
    OverflowError
        If `n` is more than BLAS can count.
    MemoryError
        If the matrix does not fit.

    Notes
    -----
    PRML (5.87) to (5.89), for k rows at once by Woodbury's identity: with ``U = V H⁻¹`` and ``S = I + U Vᵀ = RᵀR`` for
    rows V, ``H⁻¹ - ZᵀZ`` with ``Z = R⁻ᵀU`` is the new inverse. Everything is float64, whatever comes in.

    All of it lives in one P × P array: P = 20000 takes 3.2 GB, and what is needed beside it is a few hundred rows.
    Copies, pickles and comparisons go by the values of `matrix` and `alpha`. Calls from several threads wait for each
    other; one from within another (a handler of signals, a finalizer) is a RuntimeError. A fork waits for the calls of
    other threads. After an error, or Ctrl-C, the inverse is as it was before the call.

    Examples
    --------
    >>> inv = WoodburyInverse(2, alpha=0.5)
    >>> inv.update([1.0, 0.0])
    >>> inv.matrix
    array([[0.66666667, 0.        ],
           [0.        , 2.        ]])
    >>> inv.downdate([1.0, 0.0])
    >>> inv.diagonal()
    array([2., 2.])
    """

    __slots__ = ("__weakref__", "_core")
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # an array on the left of @ leaves the product to us

    def __init__(self, n: int, alpha: float) -> None:
        n, alpha = whole_number("n", n, 0), positive_number("alpha", alpha)
        if n > LARGEST_DIMENSION:
            raise too_large("n", n)
        self._core = kernels.Inverse(new_square("WoodburyInverse", n), alpha, None)

    @classmethod
    def from_network(
        cls,
        net: Network,
        X: ArrayLike,
        T: ArrayLike | None = None,
        *,
        alpha: float,
        loss: Loss | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> WoodburyInverse:
        """The inverse of ``αI + G``, G being a network's Gauss-Newton matrix, by one row for each sample and output.

        Parameters
        ----------
        net : Network
        X : array_like of shape (N, D)
            One sample a row; they are taken in chunks.
        T : array_like of shape (N, K) or (N,), optional
            As for `loss`. Only the cross-entropy's sums over classes count; by default they are 1.
        alpha : float
            Above 0.
        loss, sample_weight
            As for `loss`; the weights have to be at least 0.

        Returns
        -------
        WoodburyInverse
            Of ``inv(gauss_newton(net, X, T) + αI)``, ready for the samples to come.

        Raises
        ------
        TypeError, ValueError, OverflowError, MemoryError, numpy.linalg.LinAlgError
            As `gauss_newton`, `WoodburyInverse` and `update` do.

        Notes
        -----
        For one identity output it is PRML (5.86) to (5.89). Few rows, up to P / 3, are added to ``I / α``: 3 N K P²
        flops. Of more, `gauss_newton` assembles the matrix in the place where the inverse is to live, and it is
        inverted there by Cholesky factors of blocks: P³ flops and those of `gauss_newton`. A float32 network is
        computed in float64.
        """
        alpha = positive_number("alpha", alpha)
        batch = network_batch(net, X, T, loss, sample_weight)
        if rows_are_less(batch):
            inverse = cls(net.n_parameters, alpha)
            for rows, weights in gauss_newton_rows(batch):
                inverse.update(rows, weights)
            return inverse
        inverse = _living_in(assembled(batch, alpha), alpha, (0.0, 0.0), None)
        inverse._core.invert()
        return inverse

    @property
    def n(self) -> int:
        """P, the number of rows and columns."""
        return self._core.n

    @property
    def shape(self) -> tuple[int, int]:
        """(P, P)."""
        return self._core.n, self._core.n

    @property
    def alpha(self) -> float:
        """What the inverse started from, as ``(αI)⁻¹``."""
        return self._core.alpha

    @property
    def matrix(self) -> NDArray[Any]:
        """The inverse, exactly symmetric: a read-only array of shape (P, P) that keeps its values.

        It is a view of the inverse's own memory, a new one each time. If it is still in use at the next change, the
        inverse moves to memory of its own first; so drop it where there is no room for two.
        """
        return self._core.matrix()

    def update(self, B: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Add ``Σ w b bᵀ``.

        Parameters
        ----------
        B : array_like of shape (P,) or (k, P)
            One row b, or k of them.
        weights : array_like of shape (k,), optional
            w, at least 0; 1 by default. For a single row b a number will do.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If the arguments are not as above, not finite, or so large that ``bᵀH⁻¹b`` is not.
        numpy.linalg.LinAlgError
            If rounding has made the matrix indefinite; `refresh` it.
        MemoryError
            If `matrix` is still in use elsewhere and there is no room for another one.

        Notes
        -----
        Rows are taken in blocks of 64 to 256: 3 P² flops a row, by products. When there are so many that it costs
        less (more rows than columns, or 0.7 as many while no row has been added yet), the matrix is inverted, the rows
        are added, P² flops each, and it is inverted again: P³ flops an inversion, only one while there are no rows.
        Few rows are kept aside until there are enough for a block, so that a single one reads half of the matrix and
        writes nothing.
        """
        self._change(B, weights, False)

    def downdate(self, B: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Remove ``Σ w b bᵀ``.

        Parameters
        ----------
        B : array_like of shape (P,) or (k, P)
            Rows that were added before, in whatever order.
        weights : array_like of shape (k,), optional
            As for `update`.

        Raises
        ------
        TypeError, ValueError, OverflowError, MemoryError
            As `update` does.
        numpy.linalg.LinAlgError
            If what would be left is not positive definite, or if rounding would have taken all of its digits.

        Notes
        -----
        As for `update`, with the sign of ``b bᵀ`` turned. With ``s = 1 + bᵀH⁻¹b`` at the time when b was added, its
        removal loses the digits of s², and fewer if b was one of many rows that were added at once. The inverse keeps
        an estimate of its rounding errors, and a removal that would leave no digit by that is refused; `refresh` the
        inverse from the rows that stay.
        """
        self._change(B, weights, True)

    def _change(self, B: ArrayLike, weights: ArrayLike | None, remove: bool) -> None:
        B, weights = weighted_rows(B, weights)
        while not self._core.change(B, weights, remove):
            self._core.move(new_square("matrix", self.n))

    def refresh(self, B: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Begin anew: the inverse of ``αI + Σ w b bᵀ`` over these rows only, free of what rounding has piled up.

        Parameters
        ----------
        B : array_like of shape (N, P) or (P,)
            All rows, or all that are left.
        weights : array_like of shape (N,), optional
            As for `update`.

        Raises
        ------
        TypeError, ValueError, OverflowError, MemoryError, numpy.linalg.LinAlgError
            As `update` does.

        Notes
        -----
        N P² + P³ flops, or 3 N P² where that is less.
        """
        B, weights = weighted_rows(B, weights)
        while not self._core.refresh(B, weights):
            self._core.move(new_square("matrix", self.n))

    def error_estimate(
        self, B: ArrayLike, weights: ArrayLike | None = None, *, probes: int = 8, seed: Any = 0
    ) -> float:
        """Estimate ``‖H⁻¹ (αI + Σ w b bᵀ) - I‖``, the Frobenius norm, by products with random vectors.

        Parameters
        ----------
        B : array_like of shape (N, P) or (P,)
            All rows that are in the inverse now: added and not removed.
        weights : array_like of shape (N,), optional
            Theirs.
        probes : int, optional
            How many vectors of random signs, 1 to 64. The estimate is within about ``1 / sqrt(probes)`` of the norm.
        seed : int, numpy.random.Generator or None, optional
            For the signs.

        Returns
        -------
        float
            0 would be an exact inverse. The error of the inverse, relative to its norm, is at most the norm.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If the arguments are not as above.

        Notes
        -----
        For a vector x of random signs ``‖x M‖²`` has the mean ``‖M‖²`` (Hutchinson's estimator). 2 P² + 4 N P flops a
        probe; no P × P array is made.
        """
        B, weights = weighted_rows(B, weights)
        probes = whole_number("probes", probes, 1)
        if probes > 64:
            raise ValueError(f"probes: expected at most 64, got {shown(probes)}")
        signs = random_generator(seed).integers(0, 2, (probes, self.n)) * 2.0 - 1
        residual = np.empty_like(signs)
        self._core.residual(B, weights, signs, residual)
        with np.errstate(all="ignore"):
            return float(np.sqrt(np.sum(residual * residual) / probes))

    def diagonal(self) -> NDArray[Any]:
        """The diagonal of the inverse.

        Returns
        -------
        ndarray of shape (P,)
        """
        out = np.empty(self.n)
        self._core.diagonal(out)
        return out

    def logdet(self) -> float:
        """``log det(αI + Σ w b bᵀ)``, of the matrix and not of its inverse.

        Returns
        -------
        float

        Notes
        -----
        Kept up to date by the matrix determinant lemma: k rows add ``log det S``. Nothing is computed here.
        """
        return math.fsum(self._core.logdet())

    def __matmul__(self, v: ArrayLike) -> NDArray[Any]:
        """The product with v of shape (P,) or (P, k)."""
        array = _operand(v, self.n, 0)
        return self._product(array.T).T if array.ndim == 2 else self._product(array)

    def __rmatmul__(self, v: ArrayLike) -> NDArray[Any]:
        """The product of v of shape (P,) or (k, P) with the inverse."""
        return self._product(_operand(v, self.n, -1))

    def _product(self, v: NDArray[Any]) -> NDArray[Any]:
        """Rows v times the inverse, which is its own transpose."""
        rows = cast("v", v, FLOAT64)
        out = new_array("product", rows.shape, FLOAT64)
        self._core.multiply(np.atleast_2d(rows), np.atleast_2d(out))
        return out

    def copy(self) -> WoodburyInverse:
        """An independent one of the same values."""
        return _rebuild(*self._state())

    def _state(self) -> tuple[NDArray[Any], float, tuple[float, float], NDArray[Any]]:
        """Matrix, alpha, log determinant and history of one moment."""
        history = np.empty((2, self.n))
        matrix, logdet = self._core.snapshot(history)
        return matrix, self.alpha, logdet, history

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the inverse to a safetensors file; `fastbp.load` reads it.

        The file is written beside `path` under another name, flushed to the disk and then renamed, so that whatever
        happens `path` is the old file or the new one, whole.

        Parameters
        ----------
        path : str or path-like
            The file; one that exists is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_inverse(path, *self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WoodburyInverse:
        """Read an inverse that `save` wrote, as `fastbp.load` does; a file of another kind is a ValueError.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        WoodburyInverse

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it holds no inverse, or is truncated or inconsistent.
        MemoryError
            If the matrix does not fit.
        """
        inverse: WoodburyInverse = parse(path, READER)
        return inverse

    def __copy__(self) -> WoodburyInverse:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> WoodburyInverse:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._state()

    def __eq__(self, other: object) -> bool:
        """Same alpha, same matrix."""
        if not isinstance(other, WoodburyInverse):
            return NotImplemented
        return self.alpha == other.alpha and np.array_equal(self.matrix, other.matrix)

    def __repr__(self) -> str:
        return f"WoodburyInverse(n={self.n}, alpha={self.alpha!r}, logdet={self.logdet():.6g})"


def _rebuild(matrix: NDArray[Any], alpha: float, logdet: tuple[float, float], history: NDArray[Any]) -> WoodburyInverse:
    """An inverse of these values."""
    memory = new_square("WoodburyInverse", len(matrix))
    np.copyto(memory, matrix)
    return _living_in(memory, alpha, logdet, history)


def _living_in(
    memory: NDArray[Any], alpha: float, logdet: tuple[float, float], history: NDArray[Any] | None
) -> WoodburyInverse:
    """The inverse that this array holds, and nobody else."""
    inverse = WoodburyInverse.__new__(WoodburyInverse)
    inverse._core = kernels.Inverse(memory, alpha, logdet, history)
    return inverse


def _read(content: Content) -> WoodburyInverse:
    return _living_in(*read_inverse(content))


READER = {FORMAT: ("an inverse", _read)}  # for `fastbp.load`


def _operand(v: ArrayLike, n: int, axis: int) -> NDArray[Any]:
    array = as_numbers("v", v)
    if array.ndim not in (1, 2):
        raise ValueError(f"v: expected a vector or a matrix, got shape {array.shape}")
    if array.shape[axis] != n:
        what = "rows" if axis == 0 else "columns"
        raise ValueError(f"v: expected {n} {what} (n of the inverse), got shape {array.shape}")
    return array
