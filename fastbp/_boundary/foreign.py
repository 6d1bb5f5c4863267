"""Arrays of other libraries, and of NumPy's stranger kinds: made into plain ones, or told how it is done.

None of these libraries is imported: their objects are known by what they can do.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kinds of dtypes: numbers; what may stand for numbers; what to do with the others, x being the argument's name.
REAL = "fiub"
WRITTEN = "OUST"
ADVICE = {
    "c": "take its .real, or .real and .imag side by side",
    "M": "subtract a date and divide by numpy.timedelta64(1, 's') or another unit",
    "m": "divide by numpy.timedelta64(1, 's') or another unit",
    "V": "numpy.lib.recfunctions.structured_to_unstructured makes columns of fields",
}


def plain_array(name: str, x: Any) -> NDArray[Any]:
    """`x` as NumPy sees it; TypeError or ValueError where it sees something else than the caller meant."""
    if type(x) is np.ndarray:
        return x
    refuse_masked(name, x)
    kind, given = type(x).__name__, _argument(name)
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise TypeError(f"{name}: expected a dense array, got a sparse {kind}; {given}.toarray() is one")
    if getattr(x, "requires_grad", False) is True and hasattr(x, "detach"):
        raise TypeError(f"{name}: expected plain numbers, got a {kind} that requires grad; {given}.detach() has them")
    dtypes = _dtypes(x)
    if dtypes:
        return _from_frame(name, x, dtypes)
    try:
        return np.asarray(x)
    except ValueError as error:
        if not isinstance(x, (list, tuple)):
            raise ValueError(_not_converted(name, x, error)) from None
        raise ValueError(f"{name}: expected rows of equal length, got a ragged {kind}") from None
    except (TypeError, RuntimeError) as error:  # of __array__, such as that of a tensor on a GPU
        if isinstance(error, RecursionError):
            raise
        how = f"; {given}.cpu() is in the computer's memory" if _on_a_device(x) else ""
        raise TypeError(_not_converted(name, x, error) + how) from None


def check_real(name: str, array: NDArray[Any]) -> None:
    """TypeError unless it is an array of real numbers."""
    if array.dtype.kind not in REAL:
        raise TypeError(_no_numbers(name, array.dtype, array.ndim > 0))


def _is_masked(x: Any) -> bool:
    """Whether it is one of NumPy's masked arrays; if their module is not loaded, there are none."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(x, module.MaskedArray)


def refuse_masked(name: str, x: Any) -> None:
    """ValueError for what NumPy would take for numbers, although a mask says that there are none."""
    if "numpy.ma" not in sys.modules:
        return
    rows = x if isinstance(x, (list, tuple)) else ()
    entries = (entry for row in rows if isinstance(row, (list, tuple)) for entry in row)
    for part in (x, *rows, *entries):
        if _is_masked(part) and part.dtype.names is None and np.any(part.mask):
            raise ValueError(
                f"{name}: expected no masked entries, got {np.sum(part.mask)} of {part.size}; "
                "the method filled(value) puts numbers there"
            )


def _no_numbers(name: str, dtype: Any, advise: bool) -> str:
    kind, x = getattr(dtype, "kind", "O"), _argument(name)
    how = ADVICE.get(kind, "").format(x=x)
    if kind in WRITTEN:
        how = f"numpy.asarray({x}, float) converts numbers"
        how += f", numpy.unique({x}, return_inverse=True)[1] numbers classes" if x == "T" else ""
    return f"{name}: expected real numbers, got dtype {dtype}" + (f"; {how}" if how and advise else "")


def _argument(name: str) -> str:
    """The last of "validation_data: X"."""
    return name.split()[-1]


def _not_converted(name: str, x: Any, error: Exception) -> str:
    return f"{name}: expected what NumPy makes an array of, got {type(x).__name__}: {error!s:.200}"


def _on_a_device(x: Any) -> bool:
    return hasattr(x, "cpu") and str(getattr(x, "device", "cpu")) != "cpu"


def _dtypes(x: Any) -> list[Any]:
    """The dtypes of pandas' frames, series and arrays where NumPy might make objects of their numbers."""
    if isinstance(x, np.ndarray) or not hasattr(x, "to_numpy"):
        return []
    found: Any = getattr(x, "dtypes" if hasattr(x, "iloc") else "dtype", None)
    dtypes = list(found) if hasattr(found, "iloc") else [found]
    return dtypes if hasattr(x, "iloc") or hasattr(found, "numpy_dtype") else []


def _from_frame(name: str, x: Any, dtypes: list[Any]) -> NDArray[Any]:
    """Columns of different or of nullable numbers have to be asked for as numbers. Missing ones become NaN."""
    for dtype in dtypes:
        if getattr(dtype, "kind", "O") not in REAL:
            raise TypeError(_no_numbers(name, dtype, True))
    common = np.result_type(*(getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype)) for dtype in dtypes))
    try:
        return np.asarray(x.to_numpy(dtype=common))
    except (TypeError, ValueError):  # an integer cannot be missing
        return np.asarray(x.to_numpy(dtype=np.dtype(np.float64), na_value=np.nan))
