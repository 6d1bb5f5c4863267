"""Networks and inverses on disk: safetensors, with what else there is in the metadata, and never a pickle."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import shown
from fastbp._boundary.memory import new_square
from fastbp._inverses.inverse import WoodburyInverse, _living_in
from fastbp._networks.architecture import arrange, describe, layers_of
from fastbp._networks.network import Network, _rebuild
from fastbp_c.boundary.arrays import all_finite

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = "fastbp.network"
INVERSE_FORMAT = "fastbp.inverse"
VERSION = 1
ROWS_AT_ONCE = 1024  # of an inverse: what is looked at while it is read


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Write `net` to `path` so that the old or the new file is there whole, whatever happens."""
    from safetensors.numpy import save as serialize

    metadata = {"format": FORMAT, "version": str(VERSION), "layers": json.dumps(describe(net.layers))}
    _write(path, [serialize({"parameters": net.parameters}, metadata=metadata)])


def save_inverse(inverse: WoodburyInverse, path: str | os.PathLike[str]) -> None:
    """Write `inverse` to `path` in the same way, straight from its own memory."""
    matrix, (logdet, rest) = inverse.matrix, inverse._core.logdet()
    metadata = {"format": INVERSE_FORMAT, "version": str(VERSION), "alpha": inverse.alpha.hex()}
    metadata |= {"logdet": logdet.hex(), "rest": rest.hex()}
    tensor = {"dtype": "F64", "shape": matrix.shape, "data_offsets": [0, matrix.nbytes]}
    header = json.dumps({"__metadata__": metadata, "matrix": tensor}).encode()
    header += b" " * (-len(header) % 8)
    stored = matrix.astype("<f8", copy=False)
    _write(path, [len(header).to_bytes(8, "little"), header, stored.reshape(-1).data])


def _write(path: str | os.PathLike[str], content: Iterable[bytes | memoryview]) -> None:
    target = _name_of(path)
    if os.path.exists(target) and not os.path.isfile(target):  # to replace a device would be a disaster
        raise OSError(f"path: expected a regular file or none, got {target!r}")
    folder = os.path.dirname(target) or "."
    temporary = os.path.join(folder, f".fastbp-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in content:
                file.write(part)
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


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `Network.save` or `WoodburyInverse.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Network or WoodburyInverse
        Equal to the one that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated, foreign or inconsistent; the message says what is wrong.
    MemoryError
        If an inverse does not fit.

    Notes
    -----
    Nothing in the file is executed, and no memory is taken on its word: what it declares is held against the numbers
    it has.
    """
    return _read(path, FORMAT, INVERSE_FORMAT)


def load_inverse(path: str | os.PathLike[str]) -> WoodburyInverse:
    """Read what `WoodburyInverse.save` wrote, and nothing else."""
    inverse: WoodburyInverse = _read(path, INVERSE_FORMAT)
    return inverse


def _read(path: str | os.PathLike[str], *formats: str) -> Any:
    """What the file holds, by the first of the formats if its own is none of them."""
    from safetensors import SafetensorError, safe_open

    name, known = _name_of(path), formats[0]
    with open(name, "rb"):  # a missing or unreadable file is an OSError, not a foreign one
        pass
    try:
        with safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            known = metadata["format"] if metadata.get("format") in formats else known
            _check_format(metadata, known)
            return _network_in(file, metadata) if known == FORMAT else _inverse_in(name, file, metadata)
    except (SafetensorError, ValueError, TypeError, OverflowError, RecursionError) as error:
        what = "a network" if known == FORMAT else "an inverse"
        raise ValueError(f"path: expected {what} saved by fastbp, got {name!r}: {error}") from None


def _check_format(metadata: dict[str, str], known: str) -> None:
    if metadata.get("format") != known:
        raise ValueError(f"no {known} in its metadata")
    if metadata.get("version") != str(VERSION):
        raise ValueError(f"format version {metadata.get('version')!r:.50}, this release reads {VERSION}")


def _network_in(file: Any, metadata: dict[str, str]) -> Network:
    layers = layers_of(json.loads(metadata.get("layers", "null")))
    if list(file.keys()) != ["parameters"]:
        raise ValueError(f"expected one tensor named parameters, got {sorted(file.keys())!r:.200}")
    dtype = {"F32": "float32", "F64": "float64"}.get(file.get_slice("parameters").get_dtype())
    if dtype is None:
        raise ValueError("expected parameters in float32 or float64, got another type")
    needed, shape = arrange(layers).places[-1], file.get_slice("parameters").get_shape()
    if shape != [needed]:
        raise ValueError(f"expected {needed} parameters for these layers, got shape {tuple(shape)}")
    return _rebuild(layers, dtype, file.get_tensor("parameters"))


def _inverse_in(name: str, file: Any, metadata: dict[str, str]) -> WoodburyInverse:
    alpha, logdet, rest = (float.fromhex(metadata.get(key, "nan")) for key in ("alpha", "logdet", "rest"))
    if not (0 < alpha < math.inf and math.isfinite(logdet) and math.isfinite(rest)):
        raise ValueError("expected alpha above 0 and a finite logdet in its metadata, got other or none")
    if list(file.keys()) != ["matrix"]:
        raise ValueError(f"expected one tensor named matrix, got {sorted(file.keys())!r:.200}")
    stored, shape = file.get_slice("matrix").get_dtype(), file.get_slice("matrix").get_shape()
    if stored != "F64" or len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"expected a square matrix of F64, got shape {tuple(shape)} of {stored}")
    matrix = new_square("load", shape[0])
    with open(name, "rb") as content:  # past the header, into the place where it is to live
        content.seek(8 + int.from_bytes(content.read(8), "little"))
        if content.readinto(matrix.reshape(-1).data.cast("B")) != matrix.nbytes:
            raise ValueError(f"expected {matrix.nbytes} bytes of numbers, got fewer")
    if sys.byteorder == "big":
        matrix.byteswap(inplace=True)
    if not all_finite(matrix) or not (matrix.diagonal() > 0).all():
        raise ValueError("expected finite numbers, above 0 on the diagonal, got others")
    for start in range(0, shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        if not np.array_equal(matrix[rows], matrix[:, rows].T):
            raise ValueError("expected a symmetric matrix, got another one")
    return _living_in(matrix, alpha, (logdet, rest))


def _name_of(path: Any) -> str:
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path: expected a str or path-like, got {type(path).__name__}") from None
    if "\0" in name:
        raise ValueError(f"path: expected a name without NUL, got {shown(name)}")
    return name


def _flush_folder(folder: str) -> None:
    """Make the renaming itself last, where folders can be flushed."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
