"""Networks on disk: safetensors, with the architecture in the metadata and never a pickle."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import TYPE_CHECKING

from fastbp._architecture import arrange, describe, layers_of
from fastbp._convert import shown
from fastbp._network import Network, _rebuild

if TYPE_CHECKING:
    from typing import Any

FORMAT = "fastbp.network"
VERSION = 1


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Write `net` to `path` so that the old or the new file is there whole, whatever happens."""
    from safetensors.numpy import save as serialize

    target = _name_of(path)
    if os.path.exists(target) and not os.path.isfile(target):  # to replace a device would be a disaster
        raise OSError(f"path: expected a regular file or none, got {target!r}")
    metadata = {"format": FORMAT, "version": str(VERSION), "layers": json.dumps(describe(net.layers))}
    content = serialize({"parameters": net.parameters}, metadata=metadata)
    folder = os.path.dirname(target) or "."
    temporary = os.path.join(folder, f".fastbp-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(target).st_mode & 0o777)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _flush_folder(folder)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network that `Network.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Network
        Equal to the one that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated, foreign or inconsistent; the message says what is wrong.

    Notes
    -----
    Nothing in the file is executed, and no memory is taken on its word: what it declares is held against the numbers
    it has.
    """
    from safetensors import SafetensorError, safe_open

    name = _name_of(path)
    with open(name, "rb"):  # a missing or unreadable file is an OSError, not a foreign one
        pass
    try:
        with safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            layers = _layers_in(metadata)
            if list(file.keys()) != ["parameters"]:
                raise ValueError(f"expected one tensor named parameters, got {sorted(file.keys())!r:.200}")
            dtype = {"F32": "float32", "F64": "float64"}.get(file.get_slice("parameters").get_dtype())
            if dtype is None:
                raise ValueError("expected parameters in float32 or float64, got another type")
            needed, shape = arrange(layers).places[-1], file.get_slice("parameters").get_shape()
            if shape != [needed]:
                raise ValueError(f"expected {needed} parameters for these layers, got shape {tuple(shape)}")
            return _rebuild(layers, dtype, file.get_tensor("parameters"))
    except (SafetensorError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"path: expected a network saved by fastbp, got {name!r}: {error}") from None


def _name_of(path: Any) -> str:
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path: expected a str or path-like, got {type(path).__name__}") from None
    if "\0" in name:
        raise ValueError(f"path: expected a name without NUL, got {shown(name)}")
    return name


def _layers_in(metadata: dict[str, str]) -> list[Any]:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"no {FORMAT} in its metadata")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"format version {metadata.get('version')!r:.50}, this release reads {VERSION}")
    return layers_of(json.loads(metadata.get("layers", "null")))


def _flush_folder(folder: str) -> None:
    """Make the renaming itself last, where folders can be flushed."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
