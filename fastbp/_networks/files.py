"""Networks in files: one tensor named parameters, and the layers in the metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.files import DTYPES, check_format, fill, write
from fastbp._networks.architecture import arrange, describe, layers_of

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastbp._boundary.files import Content
    from fastbp._networks.layers import Layer

FORMAT = "fastbp.network"


def write_network(path: str | os.PathLike[str], layers: Sequence[Layer], parameters: NDArray[Any]) -> None:
    """Write layers and parameters."""
    write(path, {"format": FORMAT, "layers": json.dumps(describe(layers))}, parameters=parameters)


def read_network(content: Content) -> tuple[list[Layer], NDArray[Any]]:
    """Layers and parameters; ValueError or TypeError if that is not what there is."""
    check_format(content, FORMAT)
    layers = layers_of(json.loads(content.metadata.get("layers", "null")))
    names = [tensor.name for tensor in content.tensors]
    if names != ["parameters"]:
        raise ValueError(f"expected one tensor named parameters, got {sorted(names)!r:.200}")
    (tensor,) = content.tensors
    if tensor.kind not in DTYPES:
        raise ValueError("expected parameters in float32 or float64, got another type")
    needed = arrange(layers).places[-1]
    if tensor.shape != (needed,):
        raise ValueError(f"expected {needed} parameters for these layers, got shape {tensor.shape}")
    parameters = np.empty(needed, DTYPES[tensor.kind].newbyteorder("="))
    fill(content, tensor, parameters)
    return layers, parameters
