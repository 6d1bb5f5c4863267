"""The library's own finite-difference check, for users' networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import random_generator, real_number, whole_number
from fastbp._derivatives.first_order import batch, loss_and_gradient
from fastbp._derivatives.first_order import loss as loss_of
from fastbp._networks.network import Network, _rebuild

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

# Changes of the parameters by which it is seen how well the error and the gradient are known.
TRIALS = 8
# Of thousands of differences the worst lies further off than the error does in so few trials.
SAFETY = 4


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
        Largest difference between the two, relative to the largest derivative or, if that is larger, to the smallest
        one that rounding leaves the usual tolerance of.
    worst : int
        The parameter where it is; -1 if there are no parameters.
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
        What rounding alone may make of a difference or of the gradient passes too.
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
    relu, leaky_relu and `MaxPool2d` do no harm: 28 evaluations of the error a parameter, in float64 also for a float32
    network. The network is not changed.

    At a minimum the derivatives vanish, while the numbers that they are the sums or differences of do not. How well the
    error and the gradient are known at all is measured, by small random changes of all parameters.

    Examples
    --------
    >>> net = mlp([3, 5, 2], seed=0)
    >>> X = np.ones((4, 3))
    >>> print(check_gradient(net, X, np.zeros((4, 2))).passed)
    True
    """
    X, T, weight, _ = batch(net, X, T, reduction, sample_weight)  # all in what the network computes in
    max_parameters = whole_number("max_parameters", max_parameters, 1)
    options: dict[str, Any] = {"loss": loss, "reduction": reduction, "sample_weight": weight}
    usual = 1e-7 if net.dtype == np.float64 else 1e-4
    tolerance = usual if tolerance is None else real_number("tolerance", tolerance, 0)
    generator = random_generator(seed)
    gradient = loss_and_gradient(net, X, T, **options)[1].astype(np.float64)
    if net.n_parameters == 0:
        return GradientReport(np.empty(0, np.intp), gradient, gradient.copy(), 0.0, -1, tolerance)
    indices = np.arange(net.n_parameters)
    if net.n_parameters > max_parameters:
        indices = np.sort(generator.choice(indices, max_parameters, replace=False))

    wide = _rebuild(net.layers, "float64", net.parameters.astype(np.float64))
    x, t = X.astype(np.float64), T.astype(np.float64)
    options_wide = {**options, "sample_weight": None if weight is None else weight.astype(np.float64)}
    with np.errstate(all="ignore"):  # NaN and infinity go into the report
        noise = SAFETY * _noise(wide, lambda: loss_of(wide, x, t, **options_wide))
        found = [_difference(wide, int(i), noise, lambda: loss_of(wide, x, t, **options_wide)) for i in indices]
        differences, rounding = np.array(found).T
        rounding = rounding + _spread(net, lambda near: loss_and_gradient(near, X, T, **options)[1])
        errors = np.abs(gradient[indices] - differences)
        largest = np.fmax.reduce(np.abs([*gradient, *differences]))
        relative_to = np.fmax(largest, rounding / usual)
        errors /= np.where(relative_to == 0, 1.0, relative_to)
        worst = int(np.argmax(errors))
    return GradientReport(indices, gradient[indices], differences, float(errors[worst]), int(indices[worst]), tolerance)


def _noise(net: Network, error: Callable[[], float]) -> float:
    """How far the error is from a straight line where every smooth function is one; at least its last digit.

    Along changes of the parameters that are small, but not so small that all is rounded alike.
    """
    generator, place = np.random.default_rng(0), net.parameters.copy()
    middle, found = error(), [0.0]
    for _ in range(TRIALS):
        change = 2.0**-42 * place * generator.choice([-1, 1], place.size)
        ends = []
        for sign in (1, -1):
            net.parameters = place + sign * change
            ends.append(error())
        found.append(abs(ends[0] + ends[1] - 2 * middle))
    net.parameters = place
    return float(np.fmax(np.fmax.reduce(found), np.finfo(np.float64).eps * abs(middle)))


def _spread(net: Network, function: Callable[[Network], Any]) -> float:
    """What changes in the last digits of the parameters do to function(net), at most; at least a last digit of it."""
    generator, near, eps = np.random.default_rng(0), net.copy(), np.finfo(net.dtype).eps
    values = [np.asarray(function(net), np.float64)]
    for _ in range(TRIALS):
        near.parameters = net.parameters * (1 + eps * generator.choice([-1, 0, 1], net.n_parameters))
        values.append(np.asarray(function(near), np.float64))
    spread = np.fmax(np.ptp(values, axis=0), eps * np.abs(values[0]))
    return float(np.fmax.reduce(spread, axis=None, initial=0.0))


def _difference(net: Network, i: int, noise: float, error: Callable[[], float]) -> tuple[float, float]:
    """The derivative of the error by central differences, and what noise of the error may have made of it.

    It is that of the step with the least sum of two errors. Too long a step meets a kink or a high derivative, and
    disagrees with the one four times as long; too short a one meets the noise.
    """
    value = net.parameters[i]
    steps = 1e-3 * max(1.0, abs(value)) / 4.0 ** np.arange(7)
    try:
        estimates = [_central(net, i, value, float(h), error) for h in steps]
    finally:
        net.parameters[i] = value
    best = 1 + int(np.argmin(np.abs(np.diff(estimates)) + noise / steps[1:]))
    return estimates[best], noise / float(steps[best])


def _central(net: Network, i: int, value: float, h: float, error: Callable[[], float]) -> float:
    """(8 (E(h) - E(-h)) - (E(2h) - E(-2h))) / 12 h, with an error of order h⁴."""
    terms = []
    for factor in (1, -1, 2, -2):
        net.parameters[i] = value + factor * h
        terms.append(error())
    return float((8 * (terms[0] - terms[1]) - (terms[2] - terms[3])) / (12 * h))
