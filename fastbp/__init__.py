"""Exact backpropagation of feed-forward networks on a CPU, from NumPy, at the speed of the machine.

>>> net = fastbp.mlp([64, 32, 10], "tanh", "softmax", seed=0)
>>> history = fastbp.Trainer(net, fastbp.Adam(1e-3)).fit(X, labels, epochs=20)  # doctest: +SKIP

Batches are rows: ``X`` is (N, D), ``T`` is (N, K). Errors are sums over them, and the squared error has its ½;
``reduction="mean"`` divides by the number of samples, as `Trainer` does. Each name below has a docstring with shapes,
formulas (by their numbers in Bishop's "Pattern Recognition and Machine Learning", PRML) and cost.

Build a network
    Network             layers over one flat parameter vector: parameters, weights, biases; forward, or net(X)
    mlp                 the usual fully connected ones
    Layer               what the following have in common
    Affine              a fully connected layer
    Tied, Shared        another layer's weights, transposed; one layer at every group of the input
    Conv1d, Conv2d      convolutions over sequences and images
    AveragePool2d, MaxPool2d

Train it
    Trainer             step (one update), fit (whole epochs in a call each)
    SGD, Adam           its optimizers
    History             what a fit recorded

Differentiate
    loss, loss_and_gradient         the error of a batch and its derivatives with respect to the parameters
    per_sample_gradients            those of each sample's error
    jacobian                        of the outputs with respect to the inputs
    parameter_jacobian              and with respect to the parameters
    check_gradient                  a comparison with finite differences, and its GradientReport

Second derivatives
    hessian, gauss_newton                       dense, exactly symmetric
    hessian_diagonal, gauss_newton_diagonal     without forming the matrix
    HessianOperator, GaussNewtonOperator        products with vectors, for SciPy's solvers

Inverse Hessians
    WoodburyInverse                 kept up to date as samples come and go, with its log determinant
    inverse_outer_product           from all samples at once
    woodbury_update                 in place, on a matrix of yours

Files
    Network.save, WoodburyInverse.save, load

Building blocks and the installation
    affine, affine_backward, delta_backward     one layer, forward and backward, from array to array
    set_num_threads, get_num_threads            how many threads a call may use; the results are the same
    show_config                                 versions, threads, BLAS and vector instructions in use
"""

from typing import TYPE_CHECKING, Any

from fastbp._algebra.blocks import affine, affine_backward, delta_backward
from fastbp._config import show_config
from fastbp._derivatives.check_gradient import GradientReport, check_gradient
from fastbp._derivatives.curvature import (
    gauss_newton,
    gauss_newton_diagonal,
    hessian,
    hessian_diagonal,
    jacobian,
    parameter_jacobian,
)
from fastbp._derivatives.first_order import loss, loss_and_gradient, per_sample_gradients
from fastbp._inverses.at_once import inverse_outer_product, woodbury_update
from fastbp._inverses.inverse import WoodburyInverse
from fastbp._networks.images import AveragePool2d, Conv1d, Conv2d, MaxPool2d
from fastbp._networks.layers import Affine, Layer, Shared, Tied
from fastbp._networks.network import Network, mlp
from fastbp._storage import load
from fastbp._threads import get_num_threads, set_num_threads
from fastbp._training.trainer import History, Trainer
from fastbp._version import VERSION as __version__  # noqa: N811
from fastbp_c.training.optimizer import SGD, Adam

if TYPE_CHECKING:
    from fastbp._derivatives.operators import GaussNewtonOperator, HessianOperator

__all__ = [
    "SGD",
    "Adam",
    "Affine",
    "AveragePool2d",
    "Conv1d",
    "Conv2d",
    "GaussNewtonOperator",
    "GradientReport",
    "HessianOperator",
    "History",
    "Layer",
    "MaxPool2d",
    "Network",
    "Shared",
    "Tied",
    "Trainer",
    "WoodburyInverse",
    "__version__",
    "affine",
    "affine_backward",
    "check_gradient",
    "delta_backward",
    "gauss_newton",
    "gauss_newton_diagonal",
    "get_num_threads",
    "hessian",
    "hessian_diagonal",
    "inverse_outer_product",
    "jacobian",
    "load",
    "loss",
    "loss_and_gradient",
    "mlp",
    "parameter_jacobian",
    "per_sample_gradients",
    "set_num_threads",
    "show_config",
    "woodbury_update",
]


def __getattr__(name: str) -> Any:
    """The operators, which stand on scipy.sparse: imported when they are asked for."""
    if name in ("GaussNewtonOperator", "HessianOperator"):
        from fastbp._derivatives import operators as _operators

        return getattr(_operators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, and what every module has; not the modules they come from."""
    return sorted({name for name in globals() if name.startswith("__")} | set(__all__))
