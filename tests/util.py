"""What all tests share: the dtypes, the one tolerance, and outputs in which an unwritten element shows."""

import numpy as np

DTYPES = ("float32", "float64")


def tolerance(dtype, terms=1):
    """What rounding may do to a sum of `terms` numbers, relative to its size: c eps sqrt(terms)."""
    return 4 * np.finfo(dtype).eps * np.sqrt(max(1, terms))


def assert_close(actual, expected, dtype, terms=1, scale=None, what=""):
    """Every element within the tolerance of `dtype`, relative to `scale`, by default the largest expected element."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if expected.size == 0:
        return
    if scale is None:
        scale = np.abs(expected).max()
    error = np.abs(actual - expected)
    allowed = tolerance(dtype, terms) * np.broadcast_to(scale, expected.shape)
    wrong = ~(error <= allowed)  # NaN is wrong too
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} elements are off; at {place} got {actual[place]!r}, "
            f"expected {expected[place]!r} to {allowed[place]:.1e}"
        )


def nan(shape, dtype):
    """An output array in which an element that nobody wrote is NaN."""
    return np.full(shape, np.nan, dtype)


def shifted(array, offset=1):
    """A copy that starts `offset` elements after a cache line does."""
    line = 64 // array.itemsize
    room = np.empty(array.size + line + offset, array.dtype)
    start = -(room.ctypes.data // array.itemsize) % line + offset
    copy = room[start : start + array.size].reshape(array.shape)
    copy[...] = array
    return copy
