"""Training: single steps and whole fits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastbp._boundary.convert import random_generator, real_array, shown, whole_number
from fastbp._derivatives.first_order import loss as loss_of
from fastbp._derivatives.first_order import targets
from fastbp._networks.network import Network
from fastbp_c.boundary.arrays import all_finite
from fastbp_c.training.optimizer import SGD, Adam, Optimizer
from fastbp_c.training.stepper import Stepper

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Loss


@dataclass
class History:
    """What a fit recorded, one entry an epoch.

    Attributes
    ----------
    loss : list of float
        Mean error per sample of the training data, each batch's taken before its step.
    validation_loss : list of float
        Mean error per sample of the validation data after the epoch; empty without such data.
    epochs : int
        Number of finished epochs.
    seconds : float
        Wall time.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0

    def plot(self, ax: Any = None) -> Any:
        """Draw the learning curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If `ax` is not given and matplotlib is not installed.
        """
        if ax is None:
            try:
                import matplotlib.pyplot as plt
            except ImportError:
                raise _not_installed("plot", "matplotlib", "plot") from None
            _, ax = plt.subplots()
        epochs = np.arange(1, self.epochs + 1)
        ax.plot(epochs, self.loss, label="training")
        if self.validation_loss:
            ax.plot(epochs, self.validation_loss, label="validation")
        ax.set(xlabel="epoch", ylabel="mean error per sample", yscale="log")
        ax.legend()
        return ax

    def _shorten(self, epochs: int) -> None:
        """Forget what is beyond that many epochs."""
        self.epochs = epochs
        del self.loss[epochs:], self.validation_loss[epochs:]


class Trainer:
    """Trains a network with an optimizer.

    The error is the **mean** over the batch, so that a learning rate does not depend on the batch size. What the
    optimizer remembers (momentum, moments) belongs to the trainer; its numbers may be changed between steps.

    Parameters
    ----------
    net : Network
        Its parameters are updated in place.
    optimizer : SGD or Adam
    loss : {"squared_error", "binary_cross_entropy", "cross_entropy"}, optional
        By default the one that belongs to the output unit.

    Attributes
    ----------
    net : Network
    optimizer : SGD or Adam
    history : History or None
        What the last call of `fit` recorded, or the current one so far; also if it was ended by Ctrl-C or an error.
    best_parameters : ndarray of shape (P,) or None
        The parameters that had the lowest validation error in that fit, those it began with among them; read-only.
        None without validation data.

    Raises
    ------
    TypeError
        If `net` or `optimizer` is something else.
    ValueError
        If the loss is unknown or does not go with the output unit.

    Notes
    -----
    One trainer belongs to one thread at a time; several trainers of several networks run side by side.

    Examples
    --------
    >>> net = mlp([1, 8, 1], seed=0)
    >>> X = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> history = Trainer(net, Adam(0.02)).fit(X, np.sin(3 * X), epochs=400, seed=0)
    >>> history.loss[-1] < 0.01 * history.loss[0]
    True
    """

    __slots__ = ("_loss", "_net", "_optimizer", "_run", "_stepper")

    def __init__(self, net: Network, optimizer: Optimizer, *, loss: Loss | None = None) -> None:
        if not isinstance(net, Network):
            raise TypeError(f"net: expected a Network, got {type(net).__name__}")
        if not isinstance(optimizer, (SGD, Adam)):
            raise TypeError(f"optimizer: expected SGD or Adam, got {type(optimizer).__name__}")
        self._net = net
        self._optimizer = optimizer
        self._loss = loss
        self._stepper = Stepper(net._plan, net._parameters, loss)
        self._run: _Run | None = None

    @property
    def net(self) -> Network:
        """The network being trained."""
        return self._net

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self._optimizer

    @property
    def history(self) -> History | None:
        """What the last call of `fit` recorded, however it ended."""
        return None if self._run is None else self._run.history

    @property
    def best_parameters(self) -> NDArray[Any] | None:
        """The parameters of the lowest validation error in the last call of `fit`, however it ended."""
        best = None if self._run is None else self._run.state.best
        return None if best is None else best[:]

    def __repr__(self) -> str:
        loss = "" if self._loss is None else f", loss={self._loss!r}"
        return f"Trainer({self._net!r}, {self._optimizer!r}{loss})"

    def step(self, X: ArrayLike, T: ArrayLike) -> float:
        """Update the parameters once, by the gradient of one batch's mean error.

        Parameters
        ----------
        X : array_like of shape (N, D)
        T : array_like of shape (N, K)
            Or what `loss` takes in its place.

        Returns
        -------
        E : float
            The batch's mean error before the update; 0.0 for an empty batch, which updates nothing.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If an argument is not as above; nothing is changed then.

        Notes
        -----
        Allocates nothing after the first call of a shape, if `X` and `T` are C-contiguous and of the network's dtype.
        """
        net = self._net
        X = real_array("X", X, net.dtype, 2)
        return self._stepper.step(self._optimizer, X, targets(net, T, X.shape[0]))

    def fit(
        self,
        X: ArrayLike,
        T: ArrayLike,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | np.random.Generator | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        patience: int | None = None,
        progress: bool = False,
        callback: Callable[[History], Any] | None = None,
    ) -> History:
        """Train for several epochs, each a single call into the kernels.

        Parameters
        ----------
        X : array_like of shape (N, D)
            At least one row, all finite.
        T : array_like of shape (N, K)
            Or what `loss` takes in its place; all finite.
        epochs : int
            How many times to go through the data, at least 1.
        batch_size : int, optional
            Samples a step; the last batch of an epoch is what is left.
        shuffle : bool, optional
            Draw a new order of the samples for every epoch.
        seed : int, numpy.random.Generator or None, optional
            For the shuffling. The same seed on the same machine gives the same parameters, bit for bit.
        validation_data : (X, T), optional
            Evaluated after every epoch.
        patience : int, optional
            Stop after that many epochs without a lower validation error, and in any case return to the parameters
            that had the lowest. Those from before the first epoch count, too. NaN is higher than any error.
        progress : bool, optional
            Show a progress bar (needs tqdm).
        callback : callable, optional
            Called with the `History` after every epoch; a true result stops the training.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError, OverflowError
            If an argument is not as above, or data are not finite; nothing is changed then.
        ImportError
            If `progress` is asked for and tqdm is not installed.
        MemoryError
            If there is no room to train or to validate in.
        KeyboardInterrupt
            On Ctrl-C.

        Notes
        -----
        Whatever ends it, an error while validating, one of the callback, or Ctrl-C: network and optimizer are then as
        the last finished epoch left them, `Trainer.history` has those epochs, and `Trainer.best_parameters` the best
        parameters so far.
        """
        net = self._net
        X, T = _finite_data(net, X, T, "")
        if X.shape[0] == 0:
            raise ValueError(f"X: expected at least one row, got shape {X.shape}")
        epochs = whole_number("epochs", epochs, 1)
        batch_size = min(whole_number("batch_size", batch_size, 1), X.shape[0])
        validation = _validation(net, validation_data)
        if patience is not None:
            patience = whole_number("patience", patience, 1)
            if validation is None:
                raise ValueError(f"validation_data: expected a pair (X, T) for patience={shown(patience)}, got None")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback: expected a callable, got {type(callback).__name__}")
        if not isinstance(shuffle, (bool, np.bool_)):
            raise TypeError(f"shuffle: expected True or False, got {type(shuffle).__name__}")
        if not isinstance(progress, (bool, np.bool_)):
            raise TypeError(f"progress: expected True or False, got {type(progress).__name__}")
        generator = random_generator(seed)
        bits = generator.bit_generator if shuffle else None

        with _progress_bar(epochs, progress) as bar:
            validate = None if validation is None else lambda: self._mean_error(*validation)
            self._run = None  # whatever ends the first validation, the fit before is not this one
            run = self._run = _Run(self._stepper, net._parameters, validate)
            for _ in range(epochs):
                run.epoch(self._optimizer, X, T, batch_size, bits)
                bar.update(run.history)
                if (callback is not None and callback(run.history)) or run.state.since == patience:
                    break
        if patience is not None:
            net._parameters[...] = run.state.best
        return run.history

    def _mean_error(self, X: NDArray[Any], T: NDArray[Any]) -> float:
        return loss_of(self._net, X, T, loss=self._loss, reduction="mean")


class _State(NamedTuple):
    """What a fit has come to: finished epochs, the lowest validation error, its parameters, epochs since then."""

    epochs: int
    lowest: float
    best: NDArray[Any] | None
    since: int

    def after(self, value: float | None, parameters: NDArray[Any]) -> _State:
        """The state after another epoch, which had that validation error."""
        if value is not None and value < self.lowest:
            return _State(self.epochs + 1, value, _fixed_copy(parameters), 0)
        return self._replace(epochs=self.epochs + 1, since=self.since + 1)


class _Run:
    """A fit under way. An epoch counts from the moment on at which `state` says so; until then it is taken back."""

    __slots__ = ("_parameters", "_start", "_stepper", "_validate", "history", "state")

    def __init__(self, stepper: Stepper, parameters: NDArray[Any], validate: Callable[[], float] | None) -> None:
        self._start = time.perf_counter()
        self._stepper, self._parameters, self._validate = stepper, parameters, validate
        self.history = History()
        self.state = _State(0, math.inf, None, 0)
        if validate is not None:
            value = validate()
            self.state = _State(0, math.inf if math.isnan(value) else value, _fixed_copy(parameters), 0)

    def epoch(self, *arguments: Any) -> None:
        """An epoch of these arguments to `Stepper.epoch`, its validation, and the entries of both in the history."""
        history, finished, steps = self.history, self.state.epochs, self._stepper.epochs
        try:
            history.loss.append(self._stepper.epoch(*arguments))
            value = None if self._validate is None else self._validate()
            if value is not None:
                history.validation_loss.append(value)
            history.epochs += 1
            history.seconds = time.perf_counter() - self._start
            self.state = self.state.after(value, self._parameters)
        except BaseException:
            if self.state.epochs == finished and self._stepper.epochs > steps:
                self._stepper.undo()
            history._shorten(self.state.epochs)
            raise


def _fixed_copy(parameters: NDArray[Any]) -> NDArray[Any]:
    copied = parameters.copy()
    copied.setflags(write=False)
    return copied


class _ProgressBar:
    """tqdm, or nothing at all."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, history: History) -> None:
        if self.bar is not None:
            values = {"loss": history.loss[-1]}
            if history.validation_loss:
                values["validation"] = history.validation_loss[-1]
            self.bar.set_postfix(values, refresh=False)
            self.bar.update()


def _progress_bar(epochs: int, wanted: bool) -> _ProgressBar:
    if not wanted:
        return _ProgressBar(None)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise _not_installed("progress", "tqdm", "progress") from None
    return _ProgressBar(tqdm(total=epochs, unit="epoch"))


def _not_installed(name: str, package: str, extra: str) -> ImportError:
    how = f"pip install 'fastbp[{extra}]'"
    return ImportError(f"{name}: expected {package} to be installed ({how}), got none")


def _finite_data(net: Network, X: ArrayLike, T: ArrayLike, prefix: str) -> tuple[NDArray[Any], NDArray[Any]]:
    X = real_array(f"{prefix}X", X, net.dtype, 2)
    T = targets(net, T, X.shape[0], f"{prefix}T")
    for name, x, columns in (("X", X, net.n_inputs), ("T", T, net.n_outputs)):
        if x.shape[1] != columns:
            what = "inputs" if name == "X" else "outputs"
            raise ValueError(f"{prefix}{name}: expected {columns} columns (the network's {what}), got shape {x.shape}")
        if not all_finite(x):
            finite = np.isfinite(x)
            row = int(np.argmin(finite.all(axis=1)))
            raise ValueError(f"{prefix}{name}: expected finite numbers, got {x[row][~finite[row]][0]} in row {row}")
    if T.shape[0] != X.shape[0]:
        raise ValueError(f"{prefix}T: expected {X.shape[0]} rows (the rows of X), got shape {T.shape}")
    return X, T


def _validation(net: Network, data: Any) -> tuple[NDArray[Any], NDArray[Any]] | None:
    if data is None:
        return None
    try:
        X, T = data
    except TypeError:
        raise TypeError(f"validation_data: expected a pair (X, T), got {type(data).__name__}") from None
    except ValueError:
        raise ValueError(f"validation_data: expected a pair (X, T), got another {type(data).__name__}") from None
    X, T = _finite_data(net, X, T, "validation_data: ")
    if X.shape[0] == 0:
        raise ValueError(f"validation_data: expected at least one row, got shape {X.shape}")
    return X, T
