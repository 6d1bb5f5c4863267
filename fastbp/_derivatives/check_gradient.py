"""The library's own finite-difference check, for users' networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbp._boundary.convert import random_generator, real_number, whole_number
from fastbp._derivatives.first_order import batch, loss_and_gradient
from fastbp._derivatives.first_order import loss as loss_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Loss, Reduction
    from fastbp._networks.network import Network

# Changes of the parameters by which it is seen how well the error and the gradient are known.
TRIALS = 8
# Of thousands of differences the worst lies further off than the error does in so few trials.
SAFETY = 4
# Places looked at around a kink: away from it, where differences can be trusted, and close to it, on all its sides.
AWAY = 2
CLOSE = 16


@dataclass(frozen=True, eq=False)
class GradientReport:
    """What `check_gradient` found; true if the gradient passed.

    Attributes
    ----------
    indices : ndarray of int
        The parameters that were looked at.
    gradient, differences : ndarray of float64
        Their derivatives by backpropagation and by finite differences. At a kink there is a derivative on each side;
        then the second is what is nearest to the first of those and what lies between them.
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
    loss: Loss | None = None,
    reduction: Reduction = "sum",
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
    Central differences of fourth order with seven steps each, of which the most consistent counts, so that kinks (of
    relu, leaky_relu and `MaxPool2d`) near the parameters do no harm: 28 evaluations of the error a parameter, in
    float64 also for a float32 network. The network is not changed.

    A parameter for which the error has a kink just here, as for a blank patch of an image and a bias of 0, is judged by
    its surroundings. Its derivative passes if it agrees with the differences at another place nearby, and if here it is
    among the derivatives on the different sides of the kink, or between them (by as much as they differ from each
    other, since not all sides are looked at).

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
    indices = np.arange(net.n_parameters)
    if net.n_parameters > max_parameters:
        indices = np.sort(generator.choice(indices, max_parameters, replace=False))

    def compare(here: Network, indices: NDArray[np.intp]) -> _Comparison:
        return _compare(here, X, T, options, indices, usual)

    with np.errstate(all="ignore"):  # NaN and infinity go into the report
        found = compare(net, indices)
        doubtful = np.flatnonzero(found.errors > tolerance)
        if doubtful.size:
            sides = _sides(net, indices[doubtful], lambda near: loss_and_gradient(near, X, T, **options)[1])
            _judge_by_surroundings(found, doubtful, sides, _away(net, indices[doubtful], compare), tolerance)
    if indices.size == 0:
        return GradientReport(indices, found.gradient, found.differences, 0.0, -1, tolerance)
    worst = int(np.argmax(found.errors))
    return GradientReport(
        indices, found.gradient, found.differences, float(found.errors[worst]), int(indices[worst]), tolerance
    )


class _Comparison(NamedTuple):
    """Derivatives by backpropagation and by differences, and how far they are apart, relative to `relative_to`."""

    gradient: NDArray[np.float64]
    differences: NDArray[np.float64]
    errors: NDArray[np.float64]
    relative_to: NDArray[np.float64]


def _compare(
    net: Network, X: NDArray[Any], T: NDArray[Any], options: dict[str, Any], indices: NDArray[np.intp], usual: float
) -> _Comparison:
    gradient = loss_and_gradient(net, X, T, **options)[1].astype(np.float64)
    if indices.size == 0:
        return _Comparison(np.empty(0), np.empty(0), np.empty(0), np.empty(0))
    wide = net.astype("float64")
    x, t, weight = X.astype(np.float64), T.astype(np.float64), options["sample_weight"]
    options_wide = {**options, "sample_weight": None if weight is None else weight.astype(np.float64)}

    def error() -> float:
        return loss_of(wide, x, t, **options_wide)

    noise = SAFETY * _noise(wide, error)
    differences, rounding = np.array([_difference(wide, int(i), noise, error) for i in indices]).T
    rounding = rounding + _spread(net, lambda near: loss_and_gradient(near, X, T, **options)[1])
    errors = np.abs(gradient[indices] - differences)
    largest = np.fmax.reduce(np.abs([*gradient, *differences]))
    relative_to = np.fmax(largest, rounding / usual)
    relative_to = np.where(relative_to == 0, 1.0, relative_to)
    return _Comparison(gradient[indices], differences, errors / relative_to, relative_to)


def _judge_by_surroundings(
    found: _Comparison,
    doubtful: NDArray[np.intp],
    sides: NDArray[np.float64],
    away: NDArray[np.float64],
    tolerance: float,
) -> None:
    """Put right what a comparison says of parameters that only seemed wrong, because of a kink.

    `sides` are derivatives around it, a row each; `away` are the errors at another place.
    """
    low, high = sides.min(axis=0), sides.max(axis=0)
    low, high = low - (high - low), high + (high - low)
    gradient = found.gradient[doubtful]
    nearest = np.clip(gradient, low, high)
    errors = np.maximum(np.abs(gradient - nearest) / found.relative_to[doubtful], away)
    right = errors <= tolerance
    found.errors[doubtful[right]] = errors[right]
    found.differences[doubtful[right]] = nearest[right]


def _sides(net: Network, indices: NDArray[np.intp], gradient: Callable[[Network], Any]) -> NDArray[np.float64]:
    """Derivatives very close to here: all parameters less, all more, and some of each.

    Each layer is moved by more than what the ones before it move it by, so that at two of the places all units that are
    at a kink are on the same side of it.
    """
    generator, near, slot = np.random.default_rng(0), net.copy(), np.zeros(net.n_parameters)
    for number, start in enumerate(net._architecture.places[:-1]):
        slot[start:] = number
    eps = float(np.finfo(net.dtype).eps)
    length = _scale(net) * np.minimum(64 * eps * 16.0 ** np.minimum(slot, 16), np.sqrt(eps))
    signs = generator.choice([-1, 1], (CLOSE, net.n_parameters))
    signs[0], signs[1] = -1, 1
    found = []
    for sign in signs:
        near.parameters = net.parameters + sign * length
        found.append(np.asarray(gradient(near), np.float64)[indices])
    return np.array(found)


def _away(
    net: Network, indices: NDArray[np.intp], compare: Callable[[Network, NDArray[np.intp]], _Comparison]
) -> NDArray[np.float64]:
    """The errors of the comparison at other places, the least for each parameter."""
    generator, there, errors = np.random.default_rng(0), net.copy(), []
    for _ in range(AWAY):
        there.parameters = net.parameters + _scale(net) * generator.normal(0, 0.1, net.n_parameters)
        errors.append(compare(there, indices).errors)
    return np.array(np.min(errors, axis=0))


def _scale(net: Network) -> float:
    """What size the parameters are of."""
    return float(np.sqrt(np.mean(np.square(net.parameters, dtype=np.float64)))) or 1.0


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
