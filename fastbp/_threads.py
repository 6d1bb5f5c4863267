"""How many threads a call may use: as the program sets it, the environment, or what there is."""

from __future__ import annotations

import os

import threadpoolctl

from fastbp._boundary import control_groups
from fastbp._boundary.convert import shown, whole_number
from fastbp._version import VERSION
from fastbp_c.boundary import team

MOST = 256  # no call uses more


def set_num_threads(n: int | None) -> None:
    """Set how many threads a call may use, itself included.

    The results are the same to the bit, however many there are: large work is divided in a way that follows from its
    shapes alone, and whoever is free takes the next piece. Helpers are started when there is something for them to do.

    Parameters
    ----------
    n : int or None
        At least 1; of more than 256 no use is made. None is the number at the beginning: that of the environment
        variable ``FASTBP_NUM_THREADS``, else of ``OMP_NUM_THREADS``, else the processors that this process may use,
        up to the quota of its container.

    Notes
    -----
    It holds for all threads of the program, from their next calls on, and ends limits that ``threadpoolctl`` has set.
    Those concern a thread and its calls, and bound the calls of threads that have set none.

    Examples
    --------
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    global _source
    if n is None:
        number, _source = _default
    else:
        number, _source = min(whole_number("n", n, 1), MOST), "set_num_threads"
    team.set_threads(number, (control_groups.processors() if number == 0 else None) or MOST)


def get_num_threads() -> int:
    """How many threads a call of this thread may use, itself included.

    Returns
    -------
    int
        As `set_num_threads` has it, or by a limit of ``threadpoolctl``.
    """
    return team.threads()


def why() -> str:
    """Where the number of threads comes from."""
    if team.threads() != (usual := team.usual_threads()):
        return "a limit of threadpoolctl"
    if not _source and usual < _processors():
        return "quota of the container"
    return _source or "processors this process may use"


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _of_environment() -> tuple[int, str]:
    """A number and where it is from; 0 if it is not from the environment."""
    name = "FASTBP_NUM_THREADS"
    if text := os.environ.get(name):
        if n := _number(text):
            return n, name
        raise ValueError(f"{name}: expected a whole number of at least 1, got {shown(text)}")
    name = "OMP_NUM_THREADS"  # perhaps with those of further levels behind it
    if n := _number(os.environ.get(name, "").split(",")[0]):
        return n, name
    return 0, ""


def _number(text: str) -> int:
    """The number that stands there, up to the highest; 0 if there is none of at least 1."""
    text = text.strip().lstrip("0")
    return min(int(text[:9]), MOST) if text.isdecimal() else 0


class _Controller(threadpoolctl.LibController):  # type: ignore[misc]
    """How ``threadpoolctl`` finds this library and sets limits."""

    user_api = internal_api = "fastbp"
    filename_prefixes = ("team.",)
    check_symbols = ("fastbp_get_num_threads",)

    def get_num_threads(self) -> int:
        return int(self.dynlib.fastbp_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.fastbp_set_num_threads(num_threads)

    def get_version(self) -> str:
        return VERSION


_default = _of_environment()
_source = ""
set_num_threads(None)
threadpoolctl.register(_Controller)
