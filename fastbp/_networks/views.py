"""What `Network.weights` and `Network.biases` are: views into the parameter vector, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Entry = TypeVar("Entry")


class Views(Sequence["NDArray[Any]"]):
    """One array a layer, like a tuple, whose items may be changed in place: ``net.weights[0] += 1``.

    An array that was given out is the caller's: what becomes of its shape or dtype does not matter to the network.
    """

    __slots__ = ("_name", "_uses", "_view")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str, uses: Sequence[Entry], view: Callable[[Entry], NDArray[Any]]) -> None:
        self._name = name
        self._uses = uses
        self._view = view

    def __len__(self) -> int:
        return len(self._uses)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Views: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | Views:
        if isinstance(index, slice):
            return Views(self._name, self._uses[index], self._view)
        return self._view(self._uses[index])

    def __setitem__(self, index: int, value: NDArray[Any]) -> None:
        """The end of ``net.weights[0] += 1``, when all is done: nothing but the view itself may be put there."""
        if isinstance(index, slice) or not _same(self[index], value):
            raise TypeError(
                f"{self._name}: expected changes in place, as by net.{self._name}[{index!r:.20}][...] = values, "
                f"got another {type(value).__name__} to put there"
            )

    def __eq__(self, other: object) -> bool:
        """As many arrays, each with the same numbers."""
        if not isinstance(other, (Views, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and all(map(_equal, self, other))

    def __contains__(self, value: object) -> bool:
        return any(_equal(view, value) for view in self)

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The first place of an array with the same numbers."""
        for place in range(*slice(start, stop).indices(len(self))):
            if _equal(self[place], value):
                return place
        raise ValueError(f"{self._name}: expected an array that is one of them, got another")

    def count(self, value: Any) -> int:
        """How many arrays have the same numbers."""
        return sum(_equal(view, value) for view in self)

    def __add__(self, other: Iterable[Any]) -> tuple[Any, ...]:
        return (*self, *other)

    def __radd__(self, other: Iterable[Any]) -> tuple[Any, ...]:
        return (*other, *self)

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)

    def __repr__(self) -> str:
        return repr(tuple(self))


def _same(view: Any, value: Any) -> bool:
    """Whether the value is that view, or one of the same numbers laid out in the same way."""
    if not isinstance(view, np.ndarray) or not isinstance(value, np.ndarray):
        return view is None and value is None
    place, other = view.__array_interface__, value.__array_interface__
    return all(place[key] == other[key] for key in ("data", "shape", "strides", "typestr"))


def _equal(a: Any, b: Any) -> bool:
    return (a is None) == (b is None) and np.array_equal(a, b)
