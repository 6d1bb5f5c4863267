"""Arrays in every layout and dtype that users come with, and all the wrong things they may pass instead."""

import decimal
import fractions
import math

import numpy as np


class Subclass(np.ndarray):
    """An ndarray that is not quite one."""


class Frame:
    """What a data frame looks like from outside: no ndarray, no dtype of its own, but NumPy can have its values."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype)


def fortran(x):
    return np.asfortranarray(x)


def strided(x):
    """Every second element along each axis of something larger."""
    wide = np.full([2 * n for n in x.shape], 7, x.dtype)
    view = wide[(slice(None, None, 2),) * x.ndim]
    view[...] = x
    return view


def negative(x):
    """Backwards along each axis."""
    backwards = (slice(None, None, -1),) * x.ndim
    return np.ascontiguousarray(x[backwards])[backwards]


def padded_rows(x):
    """The first columns of something wider: rows are contiguous, the whole is not."""
    wide = np.full((*x.shape[:-1], x.shape[-1] + 3), 7, x.dtype)
    wide[..., : x.shape[-1]] = x
    return wide[..., : x.shape[-1]]


def misaligned(x):
    """One byte off."""
    room = np.empty(x.nbytes + 1, np.uint8)
    view = room[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def swapped(x):
    return x.astype(x.dtype.newbyteorder())


def read_only(x):
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def mapped(x):
    """A memory map of nothing but memory."""
    return x.copy().view(np.memmap)


def buffer(x):
    return memoryview(x.copy())


def tuples(x):
    return tuple(map(tuples, x)) if x.ndim > 1 else tuple(x.tolist())


def list_of_arrays(x):
    return list(x.copy())


# Of the same dtype as the array they are made from.
LAYOUTS = {
    "fortran": fortran,
    "strided": strided,
    "negative": negative,
    "padded_rows": padded_rows,
    "misaligned": misaligned,
    "swapped": swapped,
    "misaligned_and_swapped": lambda x: misaligned(swapped(x)),
    "read_only": read_only,
    "read_only_fortran": lambda x: read_only(fortran(x)),
    "memmap": mapped,
    "subclass": lambda x: x.copy().view(Subclass),
    "strided_subclass": lambda x: strided(x).view(Subclass),
    "masked_array": lambda x: np.ma.array(x),
}
# Of no dtype of their own.
CONTAINERS = {
    "list": lambda x: x.tolist(),
    "tuple": tuples,
    "list_of_arrays": list_of_arrays,
    "list_of_strided_arrays": lambda x: list(strided(x)),
    "memoryview": buffer,
    "frame": Frame,
    "frame_of_fortran": lambda x: Frame(fortran(x)),
}
# The smallest integers are also those that every dtype has.
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64", "longdouble")


def numbers(rng, shape, dtype):
    """Random values that are the same in `dtype`, float32 and float64."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        return rng.integers(-5 if kind == "i" else 0, 6, shape).astype(dtype)
    return (rng.integers(-40, 41, shape) / 16).astype(dtype)


class Unprintable:
    """An object of no use, which does not even show itself."""

    def __repr__(self):
        raise RuntimeError("no representation")


class Awkward:
    """An object that is no number, though it seems to be one."""

    def __index__(self):
        raise TypeError("no index")

    def __float__(self):
        raise TypeError("no float")


# Of the wrong kind whatever is asked for. Each is made anew: some can be used up, some could be changed.
OBJECTS = (
    lambda: None,
    lambda: ...,
    object,
    Unprintable,
    Awkward,
    lambda: "3",
    lambda: "",
    lambda: "a\0b",
    lambda: "\udc80",
    lambda: b"abc",
    lambda: {},
    lambda: {1: 2},
    lambda: {1.0},
    lambda: 1j,
    lambda: np.complex64(1),
    lambda: iter([1.0, 2.0]),
    lambda: (x for x in [[1.0]]),
    lambda: [[1.0, 2.0], [3.0]],
    lambda: [1.0, [2.0]],
    lambda: ["1", "2"],
    lambda: [[None]],
    lambda: [[10**400]],
    lambda: [decimal.Decimal(1)],
    lambda: np.array([[1j]]),
    lambda: np.array([["a", "b"]]),
    lambda: np.array([[b"a"]]),
    lambda: np.array([[None, 1]]),
    lambda: np.zeros((2, 2), "i4,f8"),
    lambda: np.zeros((2, 2), "M8[s]"),
    lambda: np.zeros((2, 2), "m8[s]"),
    lambda: np.zeros((2, 2), "V4"),
    lambda: type,
    lambda: math,
    lambda: slice(3),
    lambda: print,
)
# Numbers where one number is asked for: some are right, some are not.
SCALARS = (
    lambda: 0,
    lambda: 1,
    lambda: 2,
    lambda: 3,
    lambda: -1,
    lambda: 2**31 - 1,
    lambda: 2**31,
    lambda: 2**63,
    lambda: -(2**63) - 1,
    lambda: 10**30,
    lambda: 10**400,
    lambda: 10**5000,
    lambda: -(10**5000),
    lambda: True,
    lambda: False,
    lambda: 0.0,
    lambda: -0.0,
    lambda: 0.5,
    lambda: 1.0,
    lambda: -1e-300,
    lambda: 1e308,
    lambda: 5e-324,
    lambda: math.nan,
    lambda: math.inf,
    lambda: -math.inf,
    lambda: np.int8(2),
    lambda: np.uint64(2**64 - 1),
    lambda: np.float16(0.5),
    lambda: np.float32("nan"),
    lambda: np.longdouble(3),
    lambda: np.True_,
    lambda: np.timedelta64(3, "s"),
    lambda: np.datetime64(3, "s"),
    lambda: np.array(3),
    lambda: np.array(0.5),
    lambda: np.array([3]),
    lambda: np.array([]),
    lambda: np.ma.masked,
    lambda: fractions.Fraction(1, 3),
    lambda: decimal.Decimal("0.5"),
    lambda: decimal.Decimal("sNaN"),
)
# Arrays of numbers in shapes that hardly fit anything, with no more memory behind them than a few bytes.
SHAPES = (
    (),
    (0,),
    (1,),
    (7,),
    (0, 0),
    (0, 3),
    (3, 0),
    (1, 1),
    (1, 7),
    (2, 3, 4),
    (0, 2, 2),
    (1,) * 32,
    (2**31, 0),
    (0, 2**31),
    (2**40, 0),
)
HUGE_SHAPES = ((2**31,), (2**31, 3), (3, 2**31), (2**31 - 1, 2**29), (2**40, 2))
NAMES = ("", "tanh", "Tanh", "tanh ", "softmax", "sum", "mean", "float32", "zeros", "squared_error", "\0", "\udc80")


def misshapen(shape, dtype=np.float64):
    return np.zeros(shape, dtype)


def spread_out(shape, dtype=np.float64):
    """One number, seen in all places of a shape however large."""
    return np.broadcast_to(np.zeros((), dtype), shape)
