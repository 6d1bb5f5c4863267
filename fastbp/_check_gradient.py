"""The library's own finite-difference check, for users' networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._convert import random_generator, real_number, whole_number
from fastbp._derivatives import batch, loss_and_gradient
from fastbp._derivatives import loss as loss_of
from fastbp._network import Network, _rebuild

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class GradientReport:
    """What `check_gradient` found; true if the gradient passed.

    Attributes
    ----------
    indices : ndarray of int
        The parameters that were looked at.
    gradient, differences : ndarray of float64
        Their derivatives by backpropagation and by finite differences.
    max_error : float
        Largest difference between the two, relative to the largest derivative.
    worst : int
        The parameter where it is.
    tolerance : float
        What `max_error` was allowed to be.
    """

    indices: NDArray[np.intp]
    gradient: NDArray[np.float64]
    differences: NDArray[np.float64]
    max_error: float
    worst: int
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the largest error is within the tolerance."""
        return self.max_error <= self.tolerance

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"gradient check {verdict}: largest relative error {self.max_error:.1e} (parameter {self.worst}), "
            f"tolerance {self.tolerance:.0e}, {self.indices.size} parameters compared"
        )


def check_gradient(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: str | None = None,
    reduction: str = "sum",
    sample_weight: ArrayLike | None = None,
    max_parameters: int = 1000,
    tolerance: float | None = None,
    seed: int | np.random.Generator | None = 0,
) -> GradientReport:
    """Compare the gradient with finite differences of the error.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`.
    max_parameters : int, optional
        If the network has more parameters than that, only so many of them, drawn at random, are compared.
    tolerance : float, optional
        Largest error that passes, relative to the largest derivative: 1e-7 for float64 networks, 1e-4 for float32.
    seed : int, numpy.random.Generator or None, optional
        For the drawing.

    Returns
    -------
    GradientReport

    Raises
    ------
    TypeError, ValueError, OverflowError
        As for `loss`.

    Notes
    -----
    Central differences of fourth order with seven steps each, of which the most consistent counts, so that the kinks of
    relu and leaky_relu do no harm: 28 evaluations of the error a parameter, in float64 also for a float32 network. The
    network is not changed.

    Examples
    --------
    >>> net = mlp([3, 5, 2], seed=0)
    >>> X = np.ones((4, 3))
    >>> print(check_gradient(net, X, np.zeros((4, 2))).passed)
    True
    """
    batch(net, X, T, reduction, sample_weight)
    max_parameters = whole_number("max_parameters", max_parameters, 1)
    options: dict[str, Any] = {"loss": loss, "reduction": reduction, "sample_weight": sample_weight}
    usual = 1e-7 if net.dtype == np.float64 else 1e-4
    tolerance = usual if tolerance is None else real_number("tolerance", tolerance, 0)
    generator = random_generator(seed)
    gradient = loss_and_gradient(net, X, T, **options)[1].astype(np.float64)
    indices = np.arange(net.n_parameters)
    if net.n_parameters > max_parameters:
        indices = np.sort(generator.choice(indices, max_parameters, replace=False))

    wide = _rebuild(net.layers, "float64", net.parameters.astype(np.float64))
    with np.errstate(all="ignore"):  # NaN and infinity go into the report
        differences = np.array([_difference(wide, int(i), X, T, options) for i in indices])
        errors = np.abs(gradient[indices] - differences)
        scale = max(np.abs(gradient).max(), np.abs(differences).max()) or 1.0
        worst = int(np.argmax(errors))
        largest = float(errors[worst] / scale)
    return GradientReport(indices, gradient[indices], differences, largest, int(indices[worst]), tolerance)


def _difference(net: Network, i: int, X: ArrayLike, T: ArrayLike, options: dict[str, Any]) -> float:
    """The derivative by central differences, of that step which agrees best with the one four times as long.

    Too long a step meets a kink or a high derivative, too short a one the rounding of the error.
    """
    value = net.parameters[i]
    h = 1e-3 * max(1.0, abs(value))
    try:
        estimates = [_central(net, i, value, h / 4**k, X, T, options) for k in range(7)]
    finally:
        net.parameters[i] = value
    return estimates[1 + int(np.argmin(np.abs(np.diff(estimates))))]


def _central(
    net: Network, i: int, value: float, h: float, X: ArrayLike, T: ArrayLike, options: dict[str, Any]
) -> float:
    """(8 (E(h) - E(-h)) - (E(2h) - E(-2h))) / 12 h, with an error of order h⁴."""
    terms = []
    for factor in (1, -1, 2, -2):
        net.parameters[i] = value + factor * h
        terms.append(loss_of(net, X, T, **options))
    return float((8 * (terms[0] - terms[1]) - (terms[2] - terms[3])) / (12 * h))
