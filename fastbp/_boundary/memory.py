"""Will a dense result fit? Asked before it is allocated, because the system kills a process that finds out later."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CACHE_LINE = 64


def new_array(what: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An uninitialized array; MemoryError with both numbers of bytes if the machine has no room for it."""
    needed = math.prod(shape) * dtype.itemsize
    if needed > 1 << 26:  # not worth a look below 64 MiB
        available = available_bytes()
        if needed > available:
            raise MemoryError(f"{what}: expected {needed} bytes of memory for shape {shape}, got {available} available")
    try:
        return np.empty(shape, dtype)
    except MemoryError:  # a limit of the process's own
        raise MemoryError(f"{what}: expected {needed} bytes of memory for shape {shape}, got none") from None


def new_square(what: str, n: int) -> NDArray[Any]:
    """An uninitialized (n, n) array of float64 that begins on a cache line, as vectors like it."""
    room = new_array(what, (n * n + CACHE_LINE // 8,), np.dtype(np.float64))
    start = -(room.ctypes.data // 8) % (CACHE_LINE // 8)
    return room[start : start + n * n].reshape(n, n)


def available_bytes() -> int:
    """Memory that can be had without swapping, as far as the system tells; what it has in all otherwise."""
    if sys.platform == "win32":
        return _windows_bytes()
    found = []
    try:
        meminfo = Path("/proc/meminfo").read_text()
        found.append(int(meminfo.split("MemAvailable:")[1].split()[0]) * 1024)
    except (OSError, IndexError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:  # a container's own limit
        group = Path("/sys/fs/cgroup")
        found.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, min(found))


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
