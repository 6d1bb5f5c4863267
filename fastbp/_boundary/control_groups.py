"""The control groups of Linux around this process, a container's or a batch job's, which may limit what it uses."""

from __future__ import annotations

from collections.abc import Iterator

PROC, CGROUP = "/proc", "/sys/fs/cgroup"


def read(path: str) -> str:
    """The text of a small file; OSError if there is none."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def around(controller: str) -> Iterator[tuple[str, bool]]:
    """The folders that may hold a limit of that controller, from the inside out, and whether they are version 1's."""
    try:
        lines = read(f"{PROC}/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = f"{CGROUP}/{controller}" if controllers else str(CGROUP)
        # In a container the path may be the host's, and the files of its own group are at the top.
        inner = path.strip("/")
        while inner:
            yield f"{top}/{inner}", bool(controllers)
            inner = inner.rpartition("/")[0]
        yield top, bool(controllers)


def processors() -> int | None:
    """How many processors the groups pay for, a part of one counted as one; None if they set no quota."""
    found = []
    for group, legacy in around("cpu"):
        try:
            if legacy:
                quota, period = (int(read(f"{group}/cpu.cfs_{name}_us")) for name in ("quota", "period"))
            else:
                quota, period = map(int, read(f"{group}/cpu.max").split())
            if quota > 0:  # -1 is none
                found.append(max(1, -(-quota // period)))
        except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
            pass
    return min(found, default=None)
