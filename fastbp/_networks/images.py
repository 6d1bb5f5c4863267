"""Layers over images: convolutions, which are shared layers over overlapping patches, and pools of patches.

A row of a batch is an image, flattened with its channels last: ``X.reshape(N, height, width, channels)`` shows the
images, ``images.reshape(N, -1)`` makes the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastbp._boundary.convert import LARGEST_DIMENSION, shown, too_large, whole_number
from fastbp._boundary.memory import new_array
from fastbp._networks.layers import Layer, layer_size

if TYPE_CHECKING:
    from fastbp._boundary.names import Activation


class ImageLayer(Layer):
    """What convolutions and pools have in common: a window that moves over an image."""

    __slots__ = ("_dilation", "_image_shape", "_kernel_size", "_output_shape", "_padding", "_stride")
    _AXES: ClassVar[tuple[str, ...]] = ("height", "width")

    def _set_window(self, channels: int | None, image_shape: Any, kernel_size: Any, **options: Any) -> int:
        """Take the window's numbers and fill in what follows from them; returns the channels of the image."""
        axes = len(self._AXES)
        self._image_shape = image_of("image_shape", image_shape, self._AXES, channels)
        self._kernel_size = sizes("kernel_size", kernel_size, axes, 1)
        self._stride = sizes("stride", options["stride"], axes, 1)
        self._padding = sizes("padding", options["padding"], axes, 0)
        self._dilation = sizes("dilation", options["dilation"], axes, 1)
        reach = [(k - 1) * d + 1 for k, d in zip(self._kernel_size, self._dilation, strict=True)]
        room = [n + 2 * p for n, p in zip(self._image_shape, self._padding, strict=False)]
        if max(room) > LARGEST_DIMENSION:
            raise too_large("padding", max(room), "a padded image of ")
        if any(r > n for r, n in zip(reach, room, strict=True)):
            raise ValueError(
                f"kernel_size: expected at most the padded image, {by(room)}, got {by(self._kernel_size)}"
                + (f" spread over {by(reach)} by the dilation" if reach != list(self._kernel_size) else "")
            )
        self._output_shape = tuple((n - r) // s + 1 for n, r, s in zip(room, reach, self._stride, strict=True))
        count = math.prod(self._output_shape) * math.prod(self._kernel_size)
        if count > LARGEST_DIMENSION:
            raise too_large("kernel_size", count, "pixels of all patches together ")
        return self._image_shape[-1]

    def _set_channels(self, name: str, channels: int) -> None:
        """Take the output's channels, which the argument of that name gave."""
        self._output_shape = (*self._output_shape, channels)
        for source, shape in (("image_shape", self._image_shape), (name, self._output_shape)):
            if math.prod(shape) > LARGEST_DIMENSION:
                raise too_large(source, math.prod(shape), "numbers in an image ")

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of an input image, channels last."""
        return self._image_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of an output image, channels last: the next layer's `image_shape`."""
        return self._output_shape

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Size of the window along each axis."""
        return self._kernel_size

    @property
    def stride(self) -> tuple[int, ...]:
        """Steps of the window along each axis."""
        return self._stride

    @property
    def padding(self) -> tuple[int, ...]:
        """Rows and columns added at each side."""
        return self._padding

    @property
    def dilation(self) -> tuple[int, ...]:
        """Distance between the pixels of a window along each axis."""
        return self._dilation

    def _groups(self) -> int:
        return math.prod(self._output_shape[:-1])

    def _pixels(self) -> int:
        return self._groups() * math.prod(self._kernel_size)

    def _taps(self) -> NDArray[Any]:
        taps = new_array("layers", (self._groups(), math.prod(self._kernel_size)), np.dtype(np.int32))
        taps[...] = 0
        axes = len(self._AXES)
        # The table with an axis for each of the output and of the window, written to in place.
        view = taps.reshape(*self._output_shape[:-1], *self._kernel_size)
        outside = []
        for axis in range(axes):
            n, n_out, k = self._image_shape[axis], self._output_shape[axis], self._kernel_size[axis]
            place = np.arange(n_out, dtype=np.int32)[:, None] * self._stride[axis] - self._padding[axis]
            place = place + np.arange(k, dtype=np.int32) * self._dilation[axis]
            shape = [1] * (2 * axes)
            shape[axis], shape[axes + axis] = n_out, k
            outside.append(((place < 0) | (place >= n)).reshape(shape))
            view *= n
            view += place.clip(0, n - 1, out=place).reshape(shape)
        for wrong in outside:
            np.copyto(view, -1, where=wrong)
        return taps


class Convolution(ImageLayer):
    """What convolutions over one or two axes have in common."""

    __slots__ = ("_in_channels", "_out_channels")
    _OPTIONS = (
        "in_channels", "out_channels", "kernel_size", "activation",
        "image_shape", "stride", "padding", "dilation", "bias",
    )  # fmt: skip
    _POSITIONAL = 4

    def _set_convolution(
        self, in_channels: int, out_channels: int, kernel_size: Any, activation: Activation, bias: bool, **window: Any
    ) -> None:
        self._in_channels = layer_size("in_channels", in_channels)
        self._out_channels = layer_size("out_channels", out_channels)
        self._set_window(self._in_channels, kernel_size=kernel_size, **window)
        self._set_channels("out_channels", self._out_channels)
        if math.prod(self._kernel_size) * self._in_channels > LARGEST_DIMENSION:
            raise too_large("kernel_size", math.prod(self._kernel_size) * self._in_channels, "numbers in a patch ")
        self._set_up(math.prod(self._image_shape), math.prod(self._output_shape), activation, bias)

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self._in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self._out_channels

    def _matrix(self) -> tuple[int, int]:
        return math.prod(self._kernel_size) * self._in_channels, self._out_channels

    def _channels(self) -> int:
        return self._in_channels

    def _fans(self) -> tuple[int, int]:
        window = math.prod(self._kernel_size)
        return window * self._in_channels, window * self._out_channels


class Conv1d(Convolution):
    """A convolution over sequences: one affine layer applied to every patch.

    A row of the batch is a sequence of `length` steps with `in_channels` numbers each, flattened: step by step, the
    channels of a step together. The output is laid out the same way.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers a step has, before and after.
    kernel_size : int
        Steps in a patch.
    activation : str, optional
        As for `Affine`.
    image_shape : int, (int,) or (int, int)
        The length of the sequence, alone or with `in_channels`; the `output_shape` of the layer before will do.
    stride, padding, dilation : int, optional
        Steps from patch to patch; zeros added at both ends; distance between the steps of a patch.
    bias : bool, optional
        Whether there is a `b`, one number for each output channel.

    Raises
    ------
    TypeError
        If a size is not an integer, `activation` not a string or `bias` not a bool.
    ValueError
        If a size is too small, the kernel larger than the padded sequence or the activation unknown.
    OverflowError
        If a size is past BLAS's 32-bit integer.

    See Also
    --------
    Conv2d : The same over images; its notes hold here too.

    Examples
    --------
    >>> layer = Conv1d(2, 8, 5, "relu", image_shape=100, stride=2)
    >>> layer.output_shape
    (48, 8)
    """

    __slots__ = ()
    _NAME = "conv1d"
    _AXES = ("length",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        activation: Activation = "identity",
        *,
        image_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
    ) -> None:
        self._set_convolution(
            in_channels, out_channels, kernel_size, activation, bias,
            image_shape=image_shape, stride=stride, padding=padding, dilation=dilation,
        )  # fmt: skip


class Conv2d(Convolution):
    """A convolution over images: one affine layer applied to every patch.

    A row of the batch is an image of shape (height, width, in_channels), flattened: the channels of a pixel lie
    together, then the pixels of a row, then the rows. The output is laid out the same way.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers a pixel has, before and after.
    kernel_size : int or (int, int)
        Height and width of a patch.
    activation : str, optional
        As for `Affine`.
    image_shape : (int, int) or (int, int, int)
        Height and width of the image, alone or with `in_channels`; the `output_shape` of the layer before will do.
    stride, padding, dilation : int or (int, int), optional
        Pixels from patch to patch; zeros added at each side; distance between the pixels of a patch.
    bias : bool, optional
        Whether there is a `b`, one number for each output channel.

    Raises
    ------
    TypeError
        If a size is not an integer, `activation` not a string or `bias` not a bool.
    ValueError
        If a size is too small, the kernel larger than the padded image or the activation unknown.
    OverflowError
        If a size is past BLAS's 32-bit integer.

    Notes
    -----
    `W` has a row for each number of a patch, in the order of a flattened (kernel height, kernel width, in_channels),
    and a column for each output channel. (From PyTorch's ``weight``: ``weight.transpose(2, 3, 1, 0)``, reshaped.)

    It is a shared layer whose groups are the patches (PRML section 5.5.6). The patches are gathered into a strip of at
    most 8192 numbers or 16 patches, multiplied there and thrown away, so that the memory for them does not grow with
    the batch or the image; beside it there is room for `W` transposed. A network keeps tables of the patches' pixels,
    20 bytes or less for each, of 2²⁵ at most in all its layers. 2 N · patches · kernel · in_channels · out_channels
    flops.

    Examples
    --------
    >>> layer = Conv2d(1, 8, 3, "tanh", image_shape=(8, 8), stride=2, padding=1)
    >>> layer.output_shape
    (4, 4, 8)
    >>> Conv2d(8, 16, 3, image_shape=layer.output_shape).n_out
    64
    """

    __slots__ = ()
    _NAME = "conv2d"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        activation: Activation = "identity",
        *,
        image_shape: Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
    ) -> None:
        self._set_convolution(
            in_channels, out_channels, kernel_size, activation, bias,
            image_shape=image_shape, stride=stride, padding=padding, dilation=dilation,
        )  # fmt: skip


class Pool(ImageLayer):
    """What pools have in common: no parameters, channels by themselves."""

    __slots__ = ()
    _OPTIONS = ("kernel_size", "image_shape", "stride", "padding")
    _POSITIONAL = 1
    _DEFAULTS: ClassVar[dict[str, Any]] = {}

    def _set_pool(self, kernel_size: Any, image_shape: Any, stride: Any, padding: Any) -> None:
        stride = kernel_size if stride is None else stride
        channels = self._set_window(None, image_shape, kernel_size, stride=stride, padding=padding, dilation=1)
        self._set_channels("image_shape", channels)
        if any(2 * p > k for p, k in zip(self._padding, self._kernel_size, strict=True)):
            raise ValueError(
                f"padding: expected at most half of the window, {by(self._kernel_size)}, got {by(self._padding)}"
            )
        self._set_up(math.prod(self._image_shape), math.prod(self._output_shape), "identity", False)

    def _owner(self) -> tuple[None, bool]:
        return None, False


class AveragePool2d(Pool):
    """The mean of every window of an image, channel by channel. It has no parameters.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    image_shape : (int, int, int)
        Height, width and channels of the image; the `output_shape` of the layer before will do. Rows of the batch are
        flattened images, channels last, as for `Conv2d`.
    stride : int or (int, int), optional
        Pixels from window to window; the window's size by default.
    padding : int or (int, int), optional
        Zeros added at each side, at most half of the window. They count.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `Conv2d` does.

    Examples
    --------
    >>> AveragePool2d(2, image_shape=(8, 8, 4)).output_shape
    (4, 4, 4)
    """

    __slots__ = ()
    _NAME = "average_pool2d"
    _KIND = "average"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        *,
        image_shape: Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ) -> None:
        self._set_pool(kernel_size, image_shape, stride, padding)


class MaxPool2d(Pool):
    """The largest number of every window of an image, channel by channel. It has no parameters.

    Of equal numbers the first is taken, row by row; a NaN is taken before any number. The second derivative is 0.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    image_shape : (int, int, int)
        Height, width and channels of the image; the `output_shape` of the layer before will do. Rows of the batch are
        flattened images, channels last, as for `Conv2d`.
    stride : int or (int, int), optional
        Pixels from window to window; the window's size by default.
    padding : int or (int, int), optional
        How far a window may reach beyond each side, at most half of it. What is there is never taken.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `Conv2d` does.

    Examples
    --------
    >>> MaxPool2d(3, image_shape=(9, 9, 4), stride=2).output_shape
    (4, 4, 4)
    """

    __slots__ = ()
    _NAME = "max_pool2d"
    _KIND = "maximum"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        *,
        image_shape: Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
    ) -> None:
        self._set_pool(kernel_size, image_shape, stride, padding)


def is_sequence(value: Any) -> bool:
    """Whether it has one number for each axis; how many, its length says before they are looked at."""
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def sizes(name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis; a single one stands for all."""
    given = value if is_sequence(value) else [value] * axes
    if len(given) != axes:
        what = "one number" if axes == 1 else f"one number or {axes}"
        raise ValueError(f"{name}: expected {what}, got {shown(value)}")
    numbers = tuple(whole_number(name, number, least) for number in given)
    for number in numbers:
        if number > LARGEST_DIMENSION:
            raise too_large(name, number)
    return numbers


def image_of(name: str, value: Any, axes: tuple[str, ...], channels: int | None) -> tuple[int, ...]:
    """The shape of an image, channels last."""
    given = value if is_sequence(value) else [whole_number(name, value, 1)]
    complete = [] if channels is None or len(given) != len(axes) else [channels]
    if len(given) + len(complete) != len(axes) + 1:
        raise ValueError(f"{name}: expected ({', '.join(axes)}, channels), got {shown(value)}")
    shape = tuple(layer_size(name, number) for number in [*given, *complete])
    if channels is not None and shape[-1] != channels:
        raise ValueError(f"{name}: expected {channels} channels (in_channels), got {shown(value)}")
    return shape


def by(numbers: Any) -> str:
    """The numbers as in "3 x 3"."""
    return " x ".join(map(str, numbers))
