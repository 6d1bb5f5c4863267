"""Layers: what a network is made of. They hold sizes and names, the network holds the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fastbp._boundary.convert import LARGEST_DIMENSION, too_large, whole_number
from fastbp_c.networks.activation import ACTIVATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastbp._boundary.names import Activation


SHOWN_TIES = 8


class Layer:
    """What all layers have in common; make one of its subclasses.

    The same object more than once in a network is one set of parameters with several uses; two equal objects are two
    sets.
    """

    __slots__ = ("_activation", "_bias", "_n_in", "_n_out")
    # The arguments that make an equal layer, by which it is shown and saved; those from number _POSITIONAL on by name.
    _OPTIONS: ClassVar[tuple[str, ...]] = ()
    _POSITIONAL: ClassVar[int] = 3
    _DEFAULTS: ClassVar[dict[str, Any]] = {"bias": True}
    # Its kind in a file, and for fastbp_c.networks.records.
    _NAME: ClassVar[str] = ""
    _KIND: ClassVar[str] = "product"

    def __init__(self) -> None:
        raise TypeError("Layer: expected one of its subclasses, such as Affine, got Layer itself")

    def _set_up(self, n_in: int, n_out: int, activation: Any, bias: Any) -> None:
        check_activation("activation", activation)
        if not isinstance(bias, bool):
            raise TypeError(f"bias: expected True or False, got {type(bias).__name__}")
        self._n_in, self._n_out = n_in, n_out
        self._activation: Activation = activation
        self._bias = bias

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return self._n_in

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self._n_out

    @property
    def activation(self) -> Activation:
        """Name of the activation."""
        return self._activation

    @property
    def bias(self) -> bool:
        """Whether the layer has a bias."""
        return self._bias

    def _owner(self) -> tuple[Layer | None, bool]:
        """The layer whose matrix this one uses (None without weights), and whether it does so transposed."""
        return self, False

    def _matrix(self) -> tuple[int, int]:
        """Shape of the layer's own matrix: inputs and outputs of one group."""
        return self._n_in // self._groups(), self._n_out // self._groups()

    def _groups(self) -> int:
        """How often the matrix is applied to one sample."""
        return 1

    def _channels(self) -> int:
        """How many inputs of a group lie together: all, or those of a pixel."""
        return self._matrix()[0]

    def _bias_size(self) -> int:
        return self._matrix()[1]

    def _fans(self) -> tuple[int, int]:
        """How many terms an output has, and in how many outputs an input is one."""
        return self._matrix()

    def _pixels(self) -> int:
        """How many pixels all patches of an image have together; 0 if the layer takes none."""
        return 0

    def _taps(self) -> NDArray[Any] | None:
        """The pixels of every patch, if the layer takes patches of an image."""
        return None

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._OPTIONS}

    def _call(self, options: dict[str, Any]) -> str:
        """The call that makes a layer of these options."""
        shown = [
            repr(value) if place < self._POSITIONAL else f"{name}={value!r}"
            for place, (name, value) in enumerate(options.items())
            if name not in self._DEFAULTS or value != self._DEFAULTS[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self._call(self._options())


class Affine(Layer):
    """A fully connected layer, ``Z = h(X W + b)``.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of inputs and outputs; `W` is ``(n_in, n_out)``, `b` is ``(n_out,)``.
    activation : str, optional
        ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"softplus"``,
        ``"gelu"`` (exact, x Φ(x)), ``"silu"``, or, on the last layer of a network, ``"softmax"``.
    bias : bool, optional
        Whether there is a `b`.

    Raises
    ------
    TypeError
        If a size is not an integer, `activation` not a string or `bias` not a bool.
    ValueError
        If a size is below 1 or the activation is unknown.
    OverflowError
        If a size is past BLAS's 32-bit integer.

    Notes
    -----
    The same object more than once in a network is one set of parameters with several uses; two equal objects are two
    sets.

    Examples
    --------
    >>> Affine(64, 10, "softmax")
    Affine(64, 10, 'softmax')
    """

    __slots__ = ()
    _NAME = "affine"
    _OPTIONS = ("n_in", "n_out", "activation", "bias")

    def __init__(self, n_in: int, n_out: int, activation: Activation = "identity", *, bias: bool = True) -> None:
        self._set_up(layer_size("n_in", n_in), layer_size("n_out", n_out), activation, bias)


class Shared(Layer):
    """One small affine layer applied to every group of the input: shared weights.

    The input's `groups` groups of `n_in` numbers lie one after another, and so do the output's of `n_out`:
    ``Z[g] = h(X[g] W + b)``. The gradient of `W` and `b` is the sum over the groups.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of inputs and outputs of one group; `W` is ``(n_in, n_out)``, `b` is ``(n_out,)``. The layer takes
        ``groups * n_in`` inputs and has ``groups * n_out`` outputs, which are also its `n_in` and `n_out` attributes.
    groups : int
        G, how many groups there are.
    activation, bias
        As for `Affine`. Softmax is over all outputs together.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `Affine` does.

    See Also
    --------
    Conv1d, Conv2d : The same for overlapping groups.

    Notes
    -----
    PRML section 5.5.6: groups are rows of one matrix product, (N G) × n_in.

    Examples
    --------
    >>> layer = Shared(4, 2, 3, "tanh")
    >>> layer.n_in, layer.n_out
    (12, 6)
    """

    __slots__ = ("_group_count",)
    _NAME = "shared"
    _OPTIONS = ("n_in", "n_out", "groups", "activation", "bias")
    _POSITIONAL = 4

    def __init__(
        self, n_in: int, n_out: int, groups: int, activation: Activation = "identity", *, bias: bool = True
    ) -> None:
        n_in, n_out = layer_size("n_in", n_in), layer_size("n_out", n_out)
        self._group_count = layer_size("groups", groups)
        for name, size in (("n_in", n_in), ("n_out", n_out)):
            if size * self._group_count > LARGEST_DIMENSION:
                raise too_large(name, size * self._group_count, "for all groups together ")
        self._set_up(n_in * self._group_count, n_out * self._group_count, activation, bias)

    @property
    def groups(self) -> int:
        """G, how often the matrix is applied to one sample."""
        return self._group_count

    def _groups(self) -> int:
        return self._group_count

    def _options(self) -> dict[str, Any]:
        n_in, n_out = self._matrix()  # of one group, as the constructor takes them
        return {**super()._options(), "n_in": n_in, "n_out": n_out}


class Tied(Layer):
    """Another layer's matrix, transposed, with a bias of its own: ``Z = h(X Wᵀ + b)``.

    `W` belongs to the other layer and gets the gradient's terms from both: ``∂E/∂W = Xᵀ δ + (X' ᵀ δ')ᵀ``.

    Parameters
    ----------
    layer : Layer
        Any layer with weights that stands in the same network, before or after this one. Of a `Tied` layer it is the
        matrix that one is tied to, transposed twice. Tied to a `Shared` layer it goes from groups of `n_out` to groups
        of `n_in`; tied to a convolution, it adds patches up into an image (a transposed convolution).
    activation : str, optional
        As for `Affine`.
    bias : bool, optional
        Whether there is a `b`: one number for each input of the other layer's group, or channel of its image.

    Raises
    ------
    TypeError
        If `layer` is no layer or has no weights, `activation` is not a string or `bias` not a bool.
    ValueError
        If the activation is unknown. `Network` raises it if `layer` is not in the network.

    Examples
    --------
    The autoencoder with tied weights:

    >>> encoder = Affine(64, 16, "tanh")
    >>> net = Network([encoder, Tied(encoder)], init="zeros")
    >>> net.n_parameters
    1104
    >>> net.weights[1].base is net.weights[0].base
    True
    """

    __slots__ = ("_layer", "_owned")
    _NAME = "tied"
    _OPTIONS = ("layer", "activation", "bias")
    _POSITIONAL = 2

    def __init__(self, layer: Layer, activation: Activation = "identity", *, bias: bool = True) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a layer such as Affine, got {type(layer).__name__}")
        owner, transposed = layer._owner()
        if owner is None:
            raise TypeError(f"layer: expected a layer with weights, got {type(layer).__name__}")
        self._layer = layer
        self._owned = owner, not transposed  # kept, so that a chain of ties may be of any length
        self._set_up(layer.n_out, layer.n_in, activation, bias)

    @property
    def layer(self) -> Layer:
        """The layer whose matrix this one uses."""
        return self._layer

    def __repr__(self) -> str:
        """The call, with no more than so many ties in one another: a chain of them may be of any length."""
        ties = [self]
        while len(ties) < SHOWN_TIES and isinstance(ties[-1]._layer, Tied):
            ties.append(ties[-1]._layer)
        owner = ties[-1]._layer
        text = "..." if isinstance(owner, Tied) else repr(owner)
        for tie in reversed(ties):
            text = tie._call({**tie._options(), "layer": _Text(text)})
        return text

    def _owner(self) -> tuple[Layer, bool]:
        return self._owned

    def _groups(self) -> int:
        return self._owned[0]._groups()

    def _bias_size(self) -> int:
        owner, transposed = self._owned
        return owner._channels() if transposed else owner._matrix()[1]

    def _pixels(self) -> int:
        return self._owned[0]._pixels()

    def _taps(self) -> NDArray[Any] | None:
        return self._owned[0]._taps()


class _Text(str):
    """What is shown as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def layer_size(name: str, value: Any) -> int:
    """`value` as a number of inputs or outputs."""
    number = whole_number(name, value, 1)
    if number > LARGEST_DIMENSION:
        raise too_large(name, number)
    return number


def check_activation(name: str, value: Any) -> None:
    """TypeError or ValueError unless `value` is the name of an activation."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a name, got {type(value).__name__}")
    if value not in ACTIVATIONS:
        raise ValueError(f"{name}: expected one of {', '.join(ACTIVATIONS)}, got {value!r}")
