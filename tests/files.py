"""Files of networks, written by hand."""

import json


def layer(n_in=3, n_out=2, activation="identity", bias=True, kind="affine"):
    return {"kind": kind, "n_in": n_in, "n_out": n_out, "activation": activation, "bias": bias}


def file_bytes(layers=None, values=8, dtype="F32", shape=None, name="parameters", **metadata):
    """A safetensors file, written by hand; `layers` may be a text that takes the place of JSON."""
    content = {"format": "fastbp.network", "version": "1"}
    content["layers"] = layers if isinstance(layers, str) else json.dumps([layer()] if layers is None else layers)
    content = {key: value for key, value in {**content, **metadata}.items() if value is not None}
    size = {"F64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}[dtype] * values
    tensor = {"dtype": dtype, "shape": [values] if shape is None else shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": content, name: tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)
