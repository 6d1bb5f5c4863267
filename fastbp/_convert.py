"""Turning what users pass into what the kernels take: once, on entry, and only if need be."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp_c.boundary import fits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def real_array(name: str, x: ArrayLike, dtype: np.dtype[Any], ndim: int) -> NDArray[Any]:
    """`x` as a C-contiguous array of that dtype: itself if it is one, a converted copy otherwise."""
    if fits(x, dtype.num, ndim):
        return x  # type: ignore[return-value]
    array = as_numbers(name, x)
    if array.ndim != ndim:
        what = "a matrix (2 dimensions)" if ndim == 2 else "a vector (1 dimension)"
        raise ValueError(f"{name}: expected {what}, got shape {array.shape}")
    return cast(array, dtype)


def cast(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`array` in another dtype and in C order; what is too large for it becomes infinite, as NumPy does it."""
    with np.errstate(all="ignore"):
        return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def as_numbers(name: str, x: ArrayLike) -> NDArray[Any]:
    """`x` as an array of real numbers of whatever dtype; TypeError if it holds anything else."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name}: expected rows of equal length, got a ragged {type(x).__name__}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
    return array


def common_dtype(*arrays: Any) -> np.dtype[Any]:
    """float32 if all given arrays are float32, else float64."""
    for x in arrays:
        if x is not None and getattr(x, "dtype", None) != FLOAT32:
            return FLOAT64
    return FLOAT32


def whole_number(name: str, value: Any, least: int) -> int:
    """`value` as an int; TypeError unless it is one, ValueError below `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def network_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of that name; only float32 and float64 will do."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        if isinstance(dtype, str):
            raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}") from None
        raise TypeError(f"dtype: expected 'float32' or 'float64', got {dtype!r}") from None
    if dtype is None or found not in (FLOAT32, FLOAT64):
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    return FLOAT32 if found == FLOAT32 else FLOAT64


def random_generator(seed: Any) -> np.random.Generator:
    """NumPy's generator for a seed; one that is a generator already is used, and moves on."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed: expected None, a non-negative integer or a Generator, got {seed!r:.200}") from None
