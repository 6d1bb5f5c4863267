"""Inverses of αI + Σ w b bᵀ without an object that keeps them: from all rows at once, and in a caller's own matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import fastbp_c.inverses.inverse as kernels
from fastbp._boundary.convert import FLOAT64
from fastbp._boundary.foreign import refuse_masked
from fastbp._boundary.memory import new_array, new_square
from fastbp._inverses.rows import positive_number, weighted_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def woodbury_update(H_inv: NDArray[Any], B: ArrayLike, weights: ArrayLike | None = None) -> None:
    """Add ``Σ w b bᵀ`` to the matrix of which `H_inv` is the inverse, in place.

    Parameters
    ----------
    H_inv : ndarray of shape (P, P)
        Symmetric and positive definite, float64, C-contiguous, writeable; overlapping no other argument. The triangles
        may differ as rounding makes them: ``H[p, q]`` and ``H[q, p]`` by 2⁻²⁶ ``sqrt(H[p, p] H[q, q])``. The lower one
        is read; both are written.
    B : array_like of shape (P,) or (k, P)
        One row b, or k of them.
    weights : array_like of shape (k,), optional
        w, at least 0; 1 by default. For a single row b a number will do.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If the arguments are not as above, not finite, or so large that ``bᵀ H_inv b`` is not.
    numpy.linalg.LinAlgError
        If the matrix turns out not to be positive definite.
    MemoryError
        If there is no room for the work.

    Notes
    -----
    As `WoodburyInverse.update`, but that all rows are added at once, and the result is mirrored: P² more numbers move
    through memory. After an error `H_inv` is as it was. To remove rows take a `WoodburyInverse`.

    Examples
    --------
    >>> H_inv = np.eye(2)
    >>> woodbury_update(H_inv, [[1.0, 0.0], [0.0, 2.0]])
    >>> H_inv
    array([[0.5, 0. ],
           [0. , 0.2]])
    """
    if not isinstance(H_inv, np.ndarray):
        raise TypeError(f"H_inv: expected an array to write to, got {type(H_inv).__name__}")
    refuse_masked("H_inv", H_inv)
    B, weights = weighted_rows(B, weights)
    kernels.woodbury_update(H_inv, B, weights)


def inverse_outer_product(B: ArrayLike, alpha: float, weights: ArrayLike | None = None) -> NDArray[Any]:
    """Compute ``(αI + Σ w b bᵀ)⁻¹`` from all rows at once, the cheapest exact way.

    Parameters
    ----------
    B : array_like of shape (N, P) or (P,)
        Rows b.
    alpha : float
        Above 0.
    weights : array_like of shape (N,), optional
        w, at least 0; 1 by default.

    Returns
    -------
    ndarray of shape (P, P)
        Exactly symmetric.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If the arguments are not as above, or not finite.
    numpy.linalg.LinAlgError
        If rounding leaves no positive definite matrix: `alpha` is too small beside the rows.
    MemoryError
        If the result, or the work, does not fit.

    Notes
    -----
    Which way is the cheaper one depends on the shape only, and is chosen by the number of flops:

    - N P² + P³: the matrix is assembled and inverted in place, by block Gauss-Jordan elimination with Cholesky
      factors of the blocks on its diagonal.
    - N P² + 2 N² P, for N up to 0.7 P: the dual way by an N × N matrix, ``(I - Bᵀ (αI + B Bᵀ)⁻¹ B) / α``, factored
      block by block. It needs N × P numbers of work. Nothing is lost to it: with fewer rows than columns the norm of
      the inverse is 1/α.

    Examples
    --------
    >>> inverse_outer_product([[1.0, 0.0], [0.0, 2.0]], alpha=1.0)
    array([[0.5, 0. ],
           [0. , 0.2]])
    """
    alpha = positive_number("alpha", alpha)
    B, weights = weighted_rows(B, weights)
    N, P = B.shape
    out = new_square("inverse_outer_product", P)
    work = new_array("inverse_outer_product", (kernels.rows_to_keep(N, P), P), FLOAT64)
    kernels.inverse_outer_product(B, weights, alpha, out, work)
    return out
