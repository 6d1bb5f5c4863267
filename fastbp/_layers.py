"""Layers: what a network is made of. They hold sizes and names, the network holds the numbers."""

from __future__ import annotations

from typing import Any

from fastbp._convert import LARGEST_DIMENSION, too_large, whole_number
from fastbp_c.activation import ACTIVATIONS


class Affine:
    """A fully connected layer, ``Z = h(X W + b)``.

    The same object more than once in a network is one set of parameters with several uses; two equal objects are two
    sets.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of inputs and outputs; `W` is ``(n_in, n_out)``, `b` is ``(n_out,)``.
    activation : str, optional
        ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"softplus"``,
        ``"gelu"`` (exact, x Φ(x)), ``"silu"``, or, on the last layer of a network, ``"softmax"``.
    bias : bool, optional
        Whether there is a `b`.

    Raises
    ------
    TypeError
        If a size is not an integer, `activation` not a string or `bias` not a bool.
    ValueError
        If a size is below 1 or the activation is unknown.
    OverflowError
        If a size is past BLAS's 32-bit integer.

    Examples
    --------
    >>> Affine(64, 10, "softmax")
    Affine(64, 10, 'softmax')
    """

    __slots__ = ("_activation", "_bias", "_n_in", "_n_out")

    def __init__(self, n_in: int, n_out: int, activation: str = "identity", *, bias: bool = True) -> None:
        self._n_in = layer_size("n_in", n_in)
        self._n_out = layer_size("n_out", n_out)
        check_activation("activation", activation)
        if not isinstance(bias, bool):
            raise TypeError(f"bias: expected True or False, got {type(bias).__name__}")
        self._activation = activation
        self._bias = bias

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self._n_in

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self._n_out

    @property
    def activation(self) -> str:
        """Name of the activation."""
        return self._activation

    @property
    def bias(self) -> bool:
        """Whether the layer has a bias."""
        return self._bias

    def __repr__(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"Affine({self.n_in}, {self.n_out}, {self.activation!r}{bias})"


def layer_size(name: str, value: Any) -> int:
    """`value` as a number of inputs or outputs."""
    number = whole_number(name, value, 1)
    if number > LARGEST_DIMENSION:
        raise too_large(name, number)
    return number


def check_activation(name: str, value: Any) -> None:
    """TypeError or ValueError unless `value` is the name of an activation."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a name, got {type(value).__name__}")
    if value not in ACTIVATIONS:
        raise ValueError(f"{name}: expected one of {', '.join(ACTIVATIONS)}, got {value!r}")
