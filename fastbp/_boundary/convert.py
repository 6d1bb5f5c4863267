"""Turning what users pass into what the kernels take: once, on entry, and only if need be."""

from __future__ import annotations

import numbers
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.foreign import check_real, plain_array, refuse_masked
from fastbp._boundary.memory import new_array
from fastbp_c.boundary.arrays import all_float32, fits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LARGEST_DIMENSION = 2**31 - 1
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
DTYPES: dict[Any, np.dtype[Any]] = {
    name: x for x in (FLOAT32, FLOAT64) for name in (x, x.type, x.name, x.char, x.str, x.str[1:])
}
DTYPES |= {"single": FLOAT32, "double": FLOAT64, float: FLOAT64}


def real_array(name: str, x: ArrayLike, dtype: np.dtype[Any], ndim: int) -> NDArray[Any]:
    """`x` as a C-contiguous array of that dtype: itself if it is one, a converted copy otherwise."""
    if fits(x, dtype.num, ndim):
        return x  # type: ignore[return-value]
    array = as_numbers(name, x)
    if array.ndim != ndim:
        what = "a matrix (2 dimensions)" if ndim == 2 else "a vector (1 dimension)"
        raise ValueError(f"{name}: expected {what}, got shape {array.shape}{_as_rows(name, array, ndim)}")
    return cast(name, array, dtype)


def _as_rows(name: str, array: NDArray[Any], ndim: int) -> str:
    """How a batch is made of images, or of a single sample."""
    batch = name.split()[-1]
    if ndim != 2 or batch not in ("X", "T"):
        return ""
    if array.ndim > 2:
        return f"; {batch}.reshape(len({batch}), -1) makes a row of each sample"
    if array.ndim == 1 and batch == "X":
        return "; X[None] is one sample, X[:, None] are samples of one number"
    return ""


def cast(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`array` in another dtype and in C order; what is too large for it becomes infinite, as NumPy does it."""
    if fits(array, dtype.num, array.ndim):
        return array
    if max(array.shape, default=0) > LARGEST_DIMENSION:
        raise too_large(name, max(array.shape), "dimensions of ")
    converted = new_array(name, array.shape, dtype)
    with np.errstate(all="ignore"):
        np.copyto(converted, array, casting="unsafe")
    return converted


def too_large(name: str, size: int, what: str = "") -> OverflowError:
    """The error for a dimension that BLAS cannot count."""
    return OverflowError(
        f"{name}: expected {what}at most {LARGEST_DIMENSION} (BLAS counts in 32 bits), got {shown(size)}"
    )


def output_array(x: Any) -> NDArray[Any]:
    """`x`, which a caller passed as `out`; the kernels look at its dtype and shape."""
    if not isinstance(x, np.ndarray):
        raise TypeError(f"out: expected an array to write to, got {type(x).__name__}")
    if type(x) is not np.ndarray:
        refuse_masked("out", x)
    return x


def as_numbers(name: str, x: ArrayLike) -> NDArray[Any]:
    """`x` as an array of real numbers of whatever dtype; TypeError if it holds anything else."""
    array = plain_array(name, x)
    check_real(name, array)
    return array


def common_dtype(*arrays: Any) -> np.dtype[Any]:
    """float32 if all given arrays are float32, else float64."""
    return FLOAT32 if all_float32(*arrays) else FLOAT64


def whole_number(name: str, value: Any, least: int) -> int:
    """`value` as an int; TypeError unless it is one, ValueError below `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {shown(number)}")
    return number


def real_number(name: str, value: Any, least: float) -> float:
    """`value` as a float; TypeError unless it is a real number, ValueError below `least` or for NaN."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected a number in the range of float64, got {shown(value)}") from None
    except TypeError:  # numpy.timedelta64 passes for a number
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
    if not number >= least:
        raise ValueError(f"{name}: expected at least {least:g}, got {number:g}")
    return number


def network_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of that name, scalar type or the dtype itself; only float32 and float64 will do."""
    if not isinstance(dtype, (str, type, np.dtype)):
        raise TypeError(f"dtype: expected 'float32' or 'float64', got {shown(dtype)}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {shown(dtype)}")
    return DTYPES[dtype]


def random_generator(seed: Any) -> np.random.Generator:
    """NumPy's generator for a seed; one that is a generator already is used, and moves on."""
    kind: type[Exception] = TypeError
    try:
        if _is_seed(seed):
            return np.random.default_rng(seed)
    # Others say nothing about the seed, such as those of a handler of signals.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
    raise kind(f"seed: expected None, a non-negative integer or a Generator, got {shown(seed)}")


def _is_seed(seed: Any) -> bool:
    """Whether NumPy may take it for one: it would ask other objects for much, and follow lists in lists for ever."""
    if isinstance(seed, (list, tuple)):
        return not any(isinstance(part, (list, tuple, np.ndarray)) for part in seed)
    random = np.random
    kinds = (np.ndarray, random.Generator, random.BitGenerator, random.SeedSequence, random.RandomState)
    return seed is None or hasattr(seed, "__index__") or isinstance(seed, kinds)


def shown(value: Any) -> str:
    """`value` as a message shows it; what cannot be written out (an integer of many digits) by its type."""
    try:
        return f"{value!r:.200}"
    except Exception:
        return f"an object of type {type(value).__name__}"
