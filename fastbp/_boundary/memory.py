"""Will a dense result fit? Asked before it is allocated, because the system kills a process that finds out later."""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbp._boundary import control_groups
from fastbp._boundary.control_groups import read

if TYPE_CHECKING:
    from numpy.typing import NDArray

CACHE_LINE = 64
UNNOTICED = 1 << 26  # bytes: a smaller result is taken without a look at the memory there is


def new_array(what: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An uninitialized array; MemoryError with both numbers of bytes if the machine has no room for it."""
    needed = math.prod(shape) * dtype.itemsize
    if needed > UNNOTICED:
        check_room(what, needed, f"shape {shape}")
    try:
        return np.empty(shape, dtype)
    except MemoryError:  # a limit of the process's own
        raise MemoryError(f"{what}: expected {needed} bytes of memory for shape {shape}, got none") from None


def check_room(what: str, needed: int, purpose: str) -> None:
    """MemoryError with both numbers of bytes if the machine has no room for as many."""
    if needed > UNNOTICED and needed > (available := available_bytes()):
        raise MemoryError(f"{what}: expected {needed} bytes of memory for {purpose}, got {available} available")


def new_like(what: str, x: NDArray[Any]) -> NDArray[Any]:
    """An uninitialized array of the shape and dtype of `x`, which is C-contiguous; for small ones without any delay."""
    return np.empty_like(x) if x.size * 8 <= UNNOTICED else new_array(what, x.shape, x.dtype)


def new_square(what: str, n: int) -> NDArray[Any]:
    """An uninitialized (n, n) array of float64 that begins on a cache line, as vectors like it."""
    room = new_array(what, (n * n + CACHE_LINE // 8,), np.dtype(np.float64))
    start = -(room.ctypes.data // 8) % (CACHE_LINE // 8)
    return room[start : start + n * n].reshape(n, n)


def new_units(what: str, places: NDArray[Any], n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows of n numbers, each a 1 at one of the places and 0 everywhere else."""
    units = new_array(what, (places.size, n), dtype)
    units[...] = 0
    units[np.arange(places.size), places] = 1
    return units


def available_bytes() -> int:
    """Memory that can be had without swapping, as far as the system tells; what it has in all otherwise."""
    if sys.platform == "win32":
        return _windows_bytes()
    try:
        free = int(read(f"{control_groups.PROC}/meminfo").split("MemAvailable:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(0, min([free, *_group_bytes()]))


class _Accounts(NamedTuple):
    """Where a version of Linux' control groups keeps what is allowed and used, and what of it the page cache has."""

    limit: str
    usage: str
    cache: tuple[str, ...]


# With those below a group counted in, as its usage does.
UNIFIED = _Accounts("memory.max", "memory.current", ("active_file", "inactive_file"))
LEGACY = _Accounts("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))


def _group_bytes() -> list[int]:
    """What every control group around this process (a container, a batch job) has left."""
    found = []
    for group, legacy in control_groups.around("memory"):
        found += _left_in(group, LEGACY if legacy else UNIFIED)
    return found


def _left_in(group: str, accounts: _Accounts) -> list[int]:
    """What a group has left, in a list; nothing if it has no limit.

    Files that were read or written stay in memory, are counted as used, and make room as soon as somebody needs it:
    both lists of their pages, as in the kernel's own MemAvailable. (The `cache` and `file` of the statistics would be
    too much, since they have shared memory, which can only be swapped.)
    """
    try:
        limit, used = (int(read(f"{group}/{name}")) for name in (accounts.limit, accounts.usage))
        statistics = dict(line.split() for line in read(f"{group}/memory.stat").splitlines())
        return [limit - used + sum(int(statistics.get(name, 0)) for name in accounts.cache)]
    except (OSError, ValueError):  # "max" is no number
        return []


def _windows_bytes() -> int:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            ("total", ctypes.c_ulonglong),
            ("available", ctypes.c_ulonglong),
            ("rest", ctypes.c_ulonglong * 5),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.available)
