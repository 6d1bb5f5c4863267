"""The library's own finite-difference check, for users' networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
# Places looked at around a kink, at most, and how many of them without news end it. Each layer is moved by more than
# the one before it, so that at two of the places all units that are at their kinks are on the same side.
PLACES = 256
QUIET = 64
GROWTH = 2.0
# What the weights of `_one_sided` make of the noise, and how far apart directions are whose derivatives are compared.
ONE_SIDED = 11
ASIDE = 0.25


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

    A parameter that fails so is looked at from both sides, by 56 evaluations more. If one-sided differences of the
    error disagree by more than their steps and rounding explain, the error has a kink just here, as for a blank patch
    of an image and a bias of 0; then the derivative passes if it lies between them, or else between them and the
    differences on other sides of the kinks, which there are where several units are at theirs. Only the error decides:
    wherever the gradient is looked at again, it is for its rounding.

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

    with np.errstate(all="ignore"):  # NaN and infinity go into the report
        gradient, differences, errors = _compare(net, X, T, options, indices, usual, tolerance)
    if indices.size == 0:
        return GradientReport(indices, gradient, differences, 0.0, -1, tolerance)
    worst = int(np.argmax(errors))
    return GradientReport(indices, gradient, differences, float(errors[worst]), int(indices[worst]), tolerance)


def _compare(
    net: Network,
    X: NDArray[Any],
    T: NDArray[Any],
    options: dict[str, Any],
    indices: NDArray[np.intp],
    usual: float,
    tolerance: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Derivatives by backpropagation and by differences, and how far they are apart, relatively."""
    gradient = loss_and_gradient(net, X, T, **options)[1].astype(np.float64)
    if indices.size == 0:
        return np.empty(0), np.empty(0), np.empty(0)
    error = _Error(net, X, T, options)
    differences, noise = np.array([_central(error, i) for i in indices]).T
    largest = np.fmax.reduce(np.abs([*gradient, *differences]))
    gradient = gradient[indices]
    spread = _spread(net, lambda near: loss_and_gradient(near, X, T, **options)[1])[indices]
    sides: dict[int, _Sides] = {}
    if np.fmax.reduce(spread) > usual * largest:  # cancellation, or units that the last digits move across a kink
        sides = {place: _Sides(error, int(i)) for place, i in enumerate(indices)}
        spread[[place for place, side in sides.items() if side.apart]] = 0.0
    rounding = float(np.fmax.reduce(spread))

    def relative_to(noise: Any) -> Any:
        found = np.fmax(largest, (noise + rounding) / usual)
        return np.where(found == 0, 1.0, found)

    errors = np.abs(gradient - differences) / relative_to(noise)
    surroundings = _Surroundings(error)
    for place in map(int, np.flatnonzero(errors > tolerance)):
        side = sides.get(place) or _Sides(error, int(indices[place]))
        scale = relative_to(side.noise)
        low, high = side.interval
        if not low - tolerance * scale <= gradient[place] <= high + tolerance * scale:
            low, high = surroundings.widen(int(indices[place]), low, high, gradient[place], tolerance * scale)
        nearest = np.clip(gradient[place], low, high)
        found = abs(gradient[place] - nearest) / scale
        if found < errors[place]:
            differences[place], errors[place] = nearest, found
    return gradient, differences, errors


class _Error:
    """The error in float64, as a function of the parameters and inputs, and how far rounding makes it wrong."""

    def __init__(self, net: Network, X: NDArray[Any], T: NDArray[Any], options: dict[str, Any]) -> None:
        weight = options["sample_weight"]
        self._net, self.inputs, self._t = net.astype("float64"), X.astype(np.float64), T.astype(np.float64)
        self._options = {**options, "sample_weight": None if weight is None else weight.astype(np.float64)}
        self.place = self._net.parameters.copy()
        self.slot = np.zeros(self.place.size)  # of each parameter, in the order of use
        for number, start in enumerate(net._architecture.places[:-1]):
            self.slot[start:] = number
        (self.here,) = self.along(np.zeros(self.place.size), 0)
        self.noise = SAFETY * _noise(self)

    def along(self, direction: NDArray[np.float64], *steps: float, inputs: Any = None) -> list[float]:
        """Its values at some steps from here, in a direction of the parameters and perhaps one of the inputs."""
        found = []
        for step in steps:
            self._net.parameters = self.place + step * direction
            x = self.inputs if inputs is None else self.inputs + step * inputs
            found.append(loss_of(self._net, x, self._t, **self._options))
        return found

    def axis(self, i: int) -> NDArray[np.float64]:
        """The direction of one parameter."""
        direction = np.zeros(self.place.size)
        direction[i] = 1.0
        return direction


class _Sides:
    """The derivatives on the two sides of the place, by one parameter."""

    def __init__(self, error: _Error, i: int) -> None:
        right, left = (_one_sided(error, sign * error.axis(i)) for sign in (1, -1))
        left = left._replace(value=-left.value)
        self.noise = max(right.noise, left.noise)
        self.apart = abs(right.value - left.value) > SAFETY * (right.doubt + left.doubt)
        better = min(right, left, key=lambda found: found.doubt).value
        self.interval = sorted((left.value, right.value)) if self.apart else (better, better)


class _Surroundings:
    """The derivatives very close to the place, on all sides of the kinks there.

    They are those of the error's first-order part, which is linear along each ray from the place.
    """

    def __init__(self, error: _Error) -> None:
        self._error, self._generator = error, np.random.default_rng(0)
        self._rays: list[tuple[NDArray[np.float64], Any, _Derivative]] = []
        self._length = GROWTH ** np.minimum(error.slot, 16)

    def _ray(self, number: int) -> tuple[NDArray[np.float64], Any, _Derivative]:
        """A direction of the parameters and one of the inputs, and the derivative there.

        All parameters less, all more, and then some of each, with other inputs, too, for each sample its own side.
        """
        if number == len(self._rays):
            error, inputs = self._error, None
            direction = self._length * (2 * number - 1)
            if number > 1:
                direction = self._length * self._generator.choice([-1, 1], error.place.size)
                inputs = self._generator.normal(0, GROWTH, error.inputs.shape)
            self._rays.append((direction, inputs, _one_sided(error, direction, inputs)))
        return self._rays[number]

    @cached_property
    def _smooth(self) -> bool:
        """Whether the error seems to have no kink here."""
        for number in range(QUIET):
            direction, inputs, ahead = self._ray(number)
            behind = _one_sided(self._error, -direction, None if inputs is None else -inputs)
            if abs(ahead.value + behind.value) > SAFETY * (ahead.doubt + behind.doubt):
                return False
        return True

    def widen(self, i: int, low: float, high: float, derivative: float, near: float) -> tuple[float, float]:
        """An interval that the derivatives by one parameter are in, too, until it comes near a given derivative."""
        news = 0
        for number in range(0 if self._smooth else PLACES):
            if number - news > QUIET or low - near <= derivative <= high + near:
                break
            direction, inputs, ahead = self._ray(number)
            beside = _one_sided(self._error, direction + ASIDE * self._error.axis(i), inputs)
            found, doubt = (beside.value - ahead.value) / ASIDE, (beside.doubt + ahead.doubt) / ASIDE
            if found < low - doubt or found > high + doubt:
                low, high, news = min(low, found - doubt), max(high, found + doubt), number
        return low, high


def _noise(error: _Error) -> float:
    """How far the error is from a straight line where every smooth function is one; at least its last digit.

    Along changes of the parameters that are small, but not so small that all is rounded alike.
    """
    generator = np.random.default_rng(0)
    found: list[float] = [np.finfo(np.float64).eps * abs(error.here)]
    for _ in range(TRIALS):
        change = 2.0**-42 * error.place * generator.choice([-1, 1], error.place.size)
        found.append(abs(sum(error.along(change, 1, -1)) - 2 * error.here))
    return float(np.fmax.reduce(found))


def _spread(net: Network, function: Callable[[Network], Any]) -> NDArray[np.float64]:
    """What changes in the last digits of the parameters do to function(net), at most; at least a last digit of it."""
    generator, near, eps = np.random.default_rng(0), net.copy(), np.finfo(net.dtype).eps
    values = [np.asarray(function(net), np.float64)]
    for _ in range(TRIALS):
        near.parameters = net.parameters * (1 + eps * generator.choice([-1, 0, 1], net.n_parameters))
        values.append(np.asarray(function(near), np.float64))
    return np.array(np.fmax(np.ptp(values, axis=0), eps * np.abs(values[0])))


class _Derivative(NamedTuple):
    """A derivative by differences, what noise of the error may have made of it, and that and the step together."""

    value: float
    noise: float
    doubt: float


def _most_consistent(estimates: list[float], noise: NDArray[np.float64]) -> _Derivative:
    """The estimate, each from a step a quarter of the one before, with the least sum of two errors.

    Too long a step meets a kink or a high derivative, and disagrees with the one four times as long; too short a one
    meets the noise.
    """
    doubt = np.abs(np.diff(estimates)) + noise[1:]
    best = int(np.argmin(doubt))
    return _Derivative(float(estimates[best + 1]), float(noise[best + 1]), float(doubt[best]))


def _central(error: _Error, i: int) -> tuple[float, float]:
    """The derivative by one parameter and its noise: (8 (E(h) - E(-h)) - (E(2h) - E(-2h))) / 12 h, of order h⁴."""
    axis, estimates = error.axis(i), []
    steps = 1e-3 * max(1.0, abs(error.place[i])) / 4.0 ** np.arange(7)
    for h in steps:
        terms = error.along(axis, h, -h, 2 * h, -2 * h)
        estimates.append((8 * (terms[0] - terms[1]) - (terms[2] - terms[3])) / (12 * h))
    return _most_consistent(estimates, error.noise / steps)[:2]


def _one_sided(error: _Error, direction: NDArray[np.float64], inputs: Any = None) -> _Derivative:
    """The derivative in a direction, from this side of the place alone, with an error of order h⁴."""
    longest, estimates = np.abs(direction).max(), []
    steps = 1e-3 / longest / 4.0 ** np.arange(7)
    for h in steps:
        terms = error.along(direction, h, 2 * h, 3 * h, 4 * h, inputs=inputs)
        estimates.append((-25 * error.here + np.dot([48, -36, 16, -3], terms)) / (12 * h))
    return _most_consistent(estimates, ONE_SIDED * error.noise / steps)
