"""From layers to slots and uses: what a network's plan is made of, and how it is described in a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fastbp._boundary.convert import shown
from fastbp._networks.images import AveragePool2d, Conv1d, Conv2d, MaxPool2d
from fastbp._networks.layers import Affine, Layer, Shared, Tied

# Pixels in the patches of all layers together: each takes four bytes of a table, however few parameters there are.
MOST_PIXELS = 1 << 25

KINDS: dict[str, type[Layer]] = {
    kind._NAME: kind for kind in (Affine, Shared, Conv1d, Conv2d, AveragePool2d, MaxPool2d)
}


class Use(NamedTuple):
    """Which slots a layer uses: indices into `Architecture.slots`, -1 for none."""

    matrix: int
    transposed: bool
    bias: int


class Architecture(NamedTuple):
    """The slots of the parameter vector, in order, where each begins, and every layer's use of them."""

    slots: list[tuple[int, int]]
    places: list[int]
    uses: list[Use]


def arrange(layers: Sequence[Layer]) -> Architecture:
    """Give every layer's own matrix and own bias a slot, in layer order; ValueError for a tie to no layer of these."""
    slots: list[tuple[int, int]] = []
    matrices: dict[int, int] = {}
    biases: dict[int, int] = {}
    for layer in layers:
        if id(layer) in biases:
            continue
        if layer._owner()[0] is layer:
            matrices[id(layer)] = len(slots)
            slots.append(layer._matrix())
        biases[id(layer)] = len(slots) if layer.bias else -1
        if layer.bias:
            slots.append((1, layer._bias_size()))
    uses = []
    for l, layer in enumerate(layers):
        owner, transposed = layer._owner()
        if owner is not None and id(owner) not in matrices:
            raise ValueError(f"layers: expected layer {l + 1} to be tied to a layer of the network, got {shown(layer)}")
        uses.append(Use(-1 if owner is None else matrices[id(owner)], transposed, biases[id(layer)]))
    places = [0, *itertools.accumulate(rows * columns for rows, columns in slots)]
    return Architecture(slots, places, uses)


def specification(layers: Sequence[Layer], architecture: Architecture) -> list[tuple[Any, ...]]:
    """The layers as `fastbp_c.networks.plan.Plan` takes them; ValueError for tables of pixels out of proportion."""
    pixels = sum(layer._pixels() for layer in layers)
    if pixels > MOST_PIXELS:
        raise ValueError(
            f"layers: expected at most {MOST_PIXELS} pixels in the patches of all layers together, got {pixels}"
        )
    return [
        (
            layer._KIND, layer.activation, layer.n_in, layer.n_out, layer._groups(),
            use.matrix, use.transposed, use.bias, layer._taps(),
        )
        for layer, use in zip(layers, architecture.uses, strict=True)
    ]  # fmt: skip


def checked_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers as a tuple; TypeError if they are not layers."""
    try:
        given = iter(layers)
    except TypeError:
        raise TypeError(f"layers: expected a sequence of layers, got {type(layers).__name__}") from None
    checked = []
    for layer in given:  # the first wrong one ends it, however many there are
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: expected layers such as Affine, got {type(layer).__name__}")
        checked.append(layer)
    return tuple(checked)


def describe(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The layers as plain data: a repeated object by its first place, a tied one by that of the layer it is tied to.

    A tie to a tie that does not stand in the network is one to the layer behind that, not transposed.
    """
    first: dict[int, int] = {}
    for l, layer in enumerate(layers):
        first.setdefault(id(layer), l)
    description: list[dict[str, Any]] = []
    for l, layer in enumerate(layers):
        if first[id(layer)] < l:
            description.append({"kind": "repeat", "of": first[id(layer)]})
        elif isinstance(layer, Tied):
            other, transposed = layer.layer, True
            while isinstance(other, Tied) and id(other) not in first:
                other, transposed = other.layer, not transposed
            description.append(
                {
                    "kind": "tied",
                    "of": first[id(other)],
                    "transposed": transposed,
                    "activation": layer.activation,
                    "bias": layer.bias,
                }
            )
        else:
            description.append({"kind": layer._NAME, **layer._options()})
    return description


def layers_of(description: Any) -> list[Layer]:
    """The layers that `describe` described; ValueError or TypeError if it did not."""
    if not isinstance(description, list):
        raise ValueError(f"layers: expected a list, got {type(description).__name__}")
    layers = [_owner_of(entry) for entry in description]
    for place in range(len(layers)):
        _tie(place, description, layers)
    return [_repeated(entry, layers[:place]) if layer is None else layer
            for place, (entry, layer) in enumerate(zip(description, layers, strict=True))]  # fmt: skip


def _owner_of(entry: Any) -> Layer | None:
    """The layer, if it is neither a repetition nor tied."""
    options = dict(entry) if isinstance(entry, dict) else {}
    kind = options.pop("kind", None)
    if kind in ("repeat", "tied"):
        return None
    if not isinstance(kind, str) or kind not in KINDS or options.keys() != set(KINDS[kind]._OPTIONS):
        raise _no_description(entry)
    return KINDS[kind](**options)


def _tie(place: int, description: list[dict[str, Any]], layers: list[Layer | None]) -> None:
    """Make the layer of that place, if it is tied, and those on the way to it: a tie may come before what it ties."""
    chain: list[int] = []
    while layers[place] is None and description[place]["kind"] == "tied":
        entry = description[place]
        chain.append(place)
        of = entry.get("of")
        wanted = entry.keys() == {"kind", "of", "transposed", "activation", "bias"}
        if not wanted or type(of) is not int or not 0 <= of < len(layers) or len(chain) > len(layers):
            raise _no_description(entry)
        place = of
    for last in reversed(chain):
        entry, other = description[last], layers[place]
        if other is None or not isinstance(entry["transposed"], bool):
            raise _no_description(entry)
        layers[last] = Tied(other if entry["transposed"] else Tied(other), entry["activation"], bias=entry["bias"])
        place = last


def _repeated(entry: dict[str, Any], before: list[Layer | None]) -> Layer:
    place = entry.get("of")
    if entry.keys() != {"kind", "of"} or type(place) is not int or not 0 <= place < len(before):
        raise _no_description(entry)
    layer = before[place]
    if layer is None:
        raise _no_description(entry)
    return layer


def _no_description(entry: Any) -> ValueError:
    return ValueError(f"layers: expected the description of a layer, got {shown(entry):.200}")
