"""Files: written whole or not at all, read from one open file; safetensors, and nothing in them is executed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbp._boundary.convert import shown

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that is open
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from numpy.typing import NDArray

VERSION = 1
DTYPES: dict[str, np.dtype[Any]] = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4")}
KINDS = {dtype: kind for kind, dtype in DTYPES.items()}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
LARGEST_HEADER = 100_000_000  # safetensors' own


class Tensor(NamedTuple):
    """What a header says of an array: its name, type and shape, and where its bytes begin in the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int


class Content(NamedTuple):
    """An open file whose header has been read."""

    file: BinaryIO
    metadata: dict[str, str]
    tensors: list[Tensor]


# Writing.


def write(path: str | os.PathLike[str], metadata: dict[str, str], **tensors: NDArray[Any]) -> None:
    """Write arrays of float32 or float64 so that the old or the new file is there whole, whatever happens."""
    header: dict[str, Any] = {"__metadata__": {**metadata, "version": str(VERSION)}}
    place, content = 0, []
    for name, array in tensors.items():
        stored = array.astype(array.dtype.newbyteorder("<"), copy=False)
        header[name] = {
            "dtype": KINDS[stored.dtype],
            "shape": stored.shape,
            "data_offsets": [place, place + stored.nbytes],
        }
        place += stored.nbytes
        content.append(stored.reshape(-1).data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    replace(path, [len(text).to_bytes(8, "little"), text, *content])


def replace(path: str | os.PathLike[str], parts: list[bytes | memoryview]) -> None:
    """Put a file of these parts in the place of `path`, or of the file a link of that name leads to."""
    name = name_of(path)
    try:
        target = os.path.realpath(name) if os.path.islink(name) else name
        if os.path.islink(target) or (os.path.exists(target) and not os.path.isfile(target)):
            # to replace a device would be a disaster
            raise OSError(f"path: expected a regular file or none, got {name!r}")
        folder = os.path.dirname(target) or "."
        temporary, file = _open_temporary(folder, _prefix_for(target))
        try:
            with file:
                _take_mode(target, temporary)  # before there is anything to read
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is not None:
                    os.replace(temporary, target)
            if fcntl is None:
                os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, name) from None
    _flush_folder(folder)


def _take_mode(target: str, temporary: str) -> None:
    """Whoever may read and write the file that is replaced may do so with the new one, and nobody else."""
    with contextlib.suppress(FileNotFoundError):
        os.chmod(temporary, os.stat(target).st_mode & 0o777)


def _prefix_for(target: str) -> str:
    """What the names of temporary files for that target begin with: short, since a name may be as long as it gets."""
    return f".fastbp-{hashlib.sha256(os.fsencode(os.path.basename(target))).hexdigest()[:16]}-"


def _open_temporary(folder: str, prefix: str) -> tuple[str, BinaryIO]:
    """A new file that belongs to this call as long as it is open; those of processes that are no more are removed."""
    with contextlib.suppress(OSError):  # a folder may be there to write to only
        for name in os.listdir(folder):
            if name.startswith(prefix):
                _remove_if_left(os.path.join(folder, name))
    while True:
        temporary = os.path.join(folder, prefix + secrets.token_hex(8))
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(handle)
            if _is_at(handle, temporary):
                return temporary, os.fdopen(handle, "wb")
        except BaseException:
            os.close(handle)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        os.close(handle)  # somebody took it for one that was left, before it was locked


def _lock(handle: int) -> None:
    """Mark an open file as in use until it is closed, by whatever end of the process."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # not every file system has locks; there nobody removes anything, either
            fcntl.flock(handle, fcntl.LOCK_EX)


def _is_at(handle: int, name: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(name))
    except FileNotFoundError:
        return False


def _remove_if_left(name: str) -> None:
    """Remove a temporary file unless somebody is writing it."""
    with contextlib.suppress(OSError):
        if fcntl is None:
            os.unlink(name)
            return
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name)
        finally:
            os.close(handle)


def _flush_folder(folder: str) -> None:
    """Make the renaming itself last, where folders can be flushed."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# Reading.


def read(file: BinaryIO) -> Content:
    """The header of an open safetensors file; ValueError if it is none, or not whole."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LARGEST_HEADER):
        raise ValueError("its header is cut or too large")
    text = file.read(length)
    if len(text) != length or text[:1] != b"{":
        raise ValueError("its header is cut or none of safetensors")
    header = json.loads(text.decode(), object_pairs_hook=_without_repetition, parse_constant=_no_number)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    found = sorted((_tensor(name, entry) for name, entry in header.items()), key=lambda each: each[1])
    place = 0
    for tensor, start, end in found:
        if start != place or end - start != math.prod(tensor.shape) * SIZES.get(tensor.kind, 0):
            raise ValueError(f"its header has {shown(tensor.name)} of another length, or not behind the last one")
        place = end
    if 8 + length + place != size:
        raise ValueError(f"expected {place} bytes of numbers, got {size - 8 - length}")
    tensors = [tensor._replace(start=8 + length + start) for tensor, start, _ in found]
    return Content(file, metadata, tensors)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in its header twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _tensor(name: str, entry: Any) -> tuple[Tensor, int, int]:
    """A tensor with its two offsets."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"expected a tensor's dtype, shape and data_offsets, got {shown(entry)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    numbers = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    if not numbers or not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, *offsets)):
        raise ValueError(f"expected sizes and two offsets of a tensor, got {shown(entry)}")
    if not isinstance(entry["dtype"], str):
        raise ValueError(f"expected the name of a dtype, got {shown(entry['dtype'])}")
    return Tensor(name, entry["dtype"], tuple(shape), 0), offsets[0], offsets[1]


def parse(path: str | os.PathLike[str], readers: Mapping[str, tuple[str, Callable[[Content], Any]]]) -> Any:
    """What the file holds, by the reader of its format, or by the first of them if it has none of these.

    The file is opened once, whatever becomes of its name meanwhile, and read: one that changes while it is mapped into
    memory would end the process.
    """
    name = name_of(path)
    what, reader = next(iter(readers.values()))
    try:
        with open(name, "rb") as file:
            content = read(file)
            what, reader = readers.get(content.metadata.get("format", ""), (what, reader))
            return reader(content)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"path: expected {what} saved by fastbp, got {name!r}: {error}") from None


def check_format(content: Content, known: str) -> None:
    """ValueError unless it is a file of that format, in a version that can be read."""
    if content.metadata.get("format") != known:
        raise ValueError(f"no {known} in its metadata")
    if content.metadata.get("version") != str(VERSION):
        raise ValueError(f"format version {content.metadata.get('version')!r:.50}, this release reads {VERSION}")


def fill(content: Content, tensor: Tensor, array: NDArray[Any]) -> None:
    """Read a tensor's numbers into an array of its type and size."""
    content.file.seek(tensor.start)
    if content.file.readinto(array.reshape(-1).data.cast("B")) != array.nbytes:  # type: ignore[attr-defined]
        raise ValueError(f"expected {array.nbytes} bytes of numbers, got fewer")
    if sys.byteorder == "big":
        array.byteswap(inplace=True)


def name_of(path: Any) -> str:
    """A path as text."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"path: expected a str or path-like, got {type(path).__name__}") from None
    if "\0" in name:
        raise ValueError(f"path: expected a name without NUL, got {shown(name)}")
    return name
