"""Networks: layers over one flat parameter vector."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import as_numbers, cast, network_dtype, output_array, random_generator, real_array
from fastbp._boundary.memory import new_array
from fastbp._networks.architecture import arrange, checked_layers, describe, layers_of, specification
from fastbp._networks.files import FORMAT, read_network, write_network
from fastbp._networks.layers import Affine, Layer, check_activation, layer_size
from fastbp._networks.views import Views
from fastbp_c.networks.plan import Plan

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.files import Content
    from fastbp._boundary.names import Activation, DType, HiddenActivation, Initialization
    from fastbp._networks.architecture import Use

INITIALIZERS = ("glorot_uniform", "he_uniform", "zeros")
HE_ACTIVATIONS = ("relu", "leaky_relu", "softplus", "gelu", "silu")
DRAWN_AT_ONCE = 1 << 20  # initial weights: a large network has no second one of its size beside it


class Network:
    """A feed-forward network: a chain of layers over one flat parameter vector.

    Parameters
    ----------
    layers : iterable of Layer
        `Affine`, `Tied`, `Shared`, convolutions and pools. Each takes as many inputs as the one before it has outputs.
        The same object twice shares its parameters.
    dtype : {"float64", "float32"}, optional
        What the network computes in, from end to end.
    seed : int, numpy.random.Generator or None, optional
        For the initial weights; the same seed gives the same weights, None different ones each time.
    init : {"glorot_uniform", "he_uniform", "zeros"}, optional
        Distribution of the initial weights: uniform in ±sqrt(6 / (n_in + n_out)), in ±sqrt(6 / n_in), or 0. By default
        He's before relu, leaky_relu, softplus, gelu and silu, and Glorot's otherwise. Biases start at 0.

    Attributes
    ----------
    parameters : ndarray of shape (P,)
        All parameters, in layer order each layer's own `W` (row-major) and then its own `b`. Contiguous and writable;
        assigning to the attribute copies in.
    weights, biases : sequence of ndarray
        One view into `parameters` per layer: `W` as ``(n_in, n_out)``, for a shared layer or a convolution those of a
        group or patch, for a `Tied` layer the other's, transposed. A layer without weights or a bias has None. They
        are changed in place: ``net.weights[0] += 1``, ``net.weights[0][...] = W``.
    n_parameters, n_inputs, n_outputs : int
        P, D and K.
    layers : tuple of Layer
        The layers as given.
    dtype : numpy.dtype
        float64 or float32.

    Raises
    ------
    TypeError, ValueError
        If `layers` are not layers, do not fit together, or have softmax before the last one; if `dtype` or `init` is
        none of the above.

    Notes
    -----
    A network may be used from several Python threads at once: every call takes a workspace of its own from a pool.
    Writing to the parameters while another thread computes with them is the caller's business.

    Examples
    --------
    >>> net = Network([Affine(4, 8, "tanh"), Affine(8, 3, "softmax")], seed=0)
    >>> net.n_parameters
    67
    >>> net([[0.0, 0.0, 0.0, 0.0]])
    array([[0.33333333, 0.33333333, 0.33333333]])
    """

    __slots__ = ("_architecture", "_dtype", "_layers", "_n_outputs", "_parameters", "_plan")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        dtype: DType = "float64",
        seed: int | np.random.Generator | None = None,
        init: Initialization | None = None,
    ) -> None:
        self._dtype = network_dtype(dtype)
        self._layers = checked_layers(layers)
        self._architecture = arrange(self._layers)
        self._plan = Plan(self._dtype.num, self._architecture.slots, specification(self._layers, self._architecture))
        self._n_outputs = self._layers[-1].n_out
        # A view, so that nobody can resize it; and never given out, so that its shape and dtype are nobody's to change.
        self._parameters = new_array("parameters", (self._plan.n_parameters,), self._dtype)[:]
        _initialize(self, seed, init)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers as given."""
        return self._layers

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the network computes in."""
        return self._dtype

    @property
    def n_parameters(self) -> int:
        """P, the number of free parameters."""
        return self._parameters.size

    @property
    def n_inputs(self) -> int:
        """D, the number of inputs."""
        return self._layers[0].n_in

    @property
    def n_outputs(self) -> int:
        """K, the number of outputs."""
        return self._n_outputs

    @property
    def parameters(self) -> NDArray[Any]:
        """All parameters, as one vector: a view of them."""
        return self._parameters[:]

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        array = as_numbers("parameters", values)
        if array.shape != self._parameters.shape:
            raise ValueError(f"parameters: expected shape {self._parameters.shape}, got shape {array.shape}")
        self._parameters[...] = cast("parameters", array, self._dtype)

    @property
    def weights(self) -> Views:
        """One view into the parameters per layer, or None where there are no weights."""
        return Views("weights", self._architecture.uses, self._weight)

    @property
    def biases(self) -> Views:
        """One view into the parameters per layer, or None where there is no bias."""
        return Views("biases", self._architecture.uses, self._bias)

    # Typed without None, so that ``net.weights[0] += 1`` is right to a type checker, too.
    def _weight(self, use: Use) -> NDArray[Any]:
        if use.matrix < 0:
            return None  # type: ignore[return-value]
        return self._slot(use.matrix).T if use.transposed else self._slot(use.matrix)

    def _bias(self, use: Use) -> NDArray[Any]:
        return None if use.bias < 0 else self._slot(use.bias)[0]  # type: ignore[return-value]

    def _slot(self, slot: int) -> NDArray[Any]:
        start, end = self._architecture.places[slot : slot + 2]
        return self._parameters[start:end].reshape(self._architecture.slots[slot])

    def forward(self, X: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Compute the outputs.

        Parameters
        ----------
        X : array_like of shape (N, D)
            One sample a row.
        out : ndarray of shape (N, K), optional
            Where to put the result: of the network's dtype, C-contiguous, not overlapping `X`.

        Returns
        -------
        Y : ndarray of shape (N, K)
            The last layer's activations.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If `X` or `out` is not as above.

        Notes
        -----
        2 N Σ n_in n_out flops.
        """
        X = real_array("X", X, self._dtype, 2)
        if out is None:
            out = new_array("forward", (X.shape[0], self.n_outputs), self._dtype)
        self._plan.forward(self._parameters, X, output_array(out))
        return out

    def __call__(self, X: ArrayLike) -> NDArray[Any]:
        """Short for `forward`."""
        return self.forward(X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file; `fastbp.load` reads it.

        The file is written beside `path` under another name, flushed to the disk and then renamed, so that whatever
        happens `path` is the old file or the new one, whole.

        Parameters
        ----------
        path : str or path-like
            The file; one that exists is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_network(path, self._layers, self._parameters)

    def copy(self) -> Network:
        """A network of the same layers with its own copy of the parameters."""
        return self.astype(self._dtype)

    def astype(self, dtype: DType) -> Network:
        """A network of the same layers that computes in another dtype, with the parameters rounded to it.

        Parameters
        ----------
        dtype : {"float64", "float32"}

        Returns
        -------
        Network
            Independent of this one, also if the dtype is the same.

        Raises
        ------
        TypeError, ValueError
            If `dtype` is none of the above.
        """
        return _rebuild(self._layers, dtype, self._parameters)

    def __copy__(self) -> Network:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_from_description, (describe(self._layers), self._dtype.name, self._parameters)

    def __eq__(self, other: object) -> bool:
        """Same layers, same sharing, same dtype, same parameters."""
        if not isinstance(other, Network):
            return NotImplemented
        return (
            self._dtype == other._dtype
            and describe(self._layers) == describe(other._layers)
            and np.array_equal(self._parameters, other._parameters)
        )

    def __repr__(self) -> str:
        return f"Network([{', '.join(map(repr, self._layers))}], dtype={self._dtype.name!r})"


def mlp(
    sizes: Sequence[int],
    activation: HiddenActivation = "tanh",
    output: Activation = "identity",
    *,
    dtype: DType = "float64",
    seed: int | np.random.Generator | None = None,
    init: Initialization | None = None,
) -> Network:
    """Build a multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden layers, outputs: at least two numbers.
    activation, output : str, optional
        Activation of the hidden layers and of the last one.
    dtype, seed, init
        As for `Network`.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `Affine` and `Network` do.

    Examples
    --------
    >>> mlp([64, 32, 10], output="softmax").n_parameters
    2410
    """
    try:
        given = iter(sizes)
    except TypeError:
        raise TypeError(f"sizes: expected a sequence of integers, got {type(sizes).__name__}") from None
    sizes = [layer_size("sizes", size) for size in given]
    if len(sizes) < 2:
        raise ValueError(f"sizes: expected at least two (inputs and outputs), got {len(sizes)}")
    check_activation("activation", activation)
    check_activation("output", output)
    hidden: str = activation
    if hidden == "softmax":
        raise ValueError(f"activation: expected one for hidden layers, got {activation!r}")
    last = len(sizes) - 2
    pairs = enumerate(itertools.pairwise(sizes))
    layers = [Affine(*pair, output if l == last else activation) for l, pair in pairs]
    return Network(layers, dtype=dtype, seed=seed, init=init)


def _rebuild(layers: Iterable[Layer], dtype: Any, parameters: NDArray[Any]) -> Network:
    net = Network(layers, dtype=dtype, init="zeros")
    net.parameters = parameters
    return net


def _read(content: Content) -> Network:
    layers, parameters = read_network(content)
    return _rebuild(layers, parameters.dtype, parameters)


READER = {FORMAT: ("a network", _read)}  # for `load`


def _rebuild_from_description(description: Any, dtype: Any, parameters: NDArray[Any]) -> Network:
    return _rebuild(layers_of(description), dtype, parameters)


def _initialize(net: Network, seed: int | np.random.Generator | None, init: str | None) -> None:
    if not isinstance(init, (str, type(None))):
        raise TypeError(f"init: expected the name of an initialization, got {type(init).__name__}")
    if init is not None and init not in INITIALIZERS:
        raise ValueError(f"init: expected one of {', '.join(INITIALIZERS)}, got {init!r}")
    generator = random_generator(seed)
    net._parameters[...] = 0
    if init == "zeros":
        return
    done: set[int] = set()
    for layer, W in zip(net.layers, net.weights, strict=True):
        if W is None or layer._owner()[0] is not layer or id(layer) in done:
            continue
        done.add(id(layer))
        he = init == "he_uniform" or (init is None and layer.activation in HE_ACTIVATIONS)
        fan_in, fan_out = layer._fans()
        bound = np.sqrt(6 / (fan_in if he else fan_in + fan_out))
        drawn = W.reshape(-1)
        for start in range(0, drawn.size, DRAWN_AT_ONCE):
            part = drawn[start : start + DRAWN_AT_ONCE]
            part[...] = generator.uniform(-bound, bound, part.size)
