"""Exact backpropagation of feed-forward networks on a CPU, from NumPy, at the speed of the machine."""

from typing import TYPE_CHECKING, Any

from fastbp._blocks import affine, affine_backward, delta_backward
from fastbp._check_gradient import GradientReport, check_gradient
from fastbp._config import show_config
from fastbp._curvature import (
    gauss_newton,
    gauss_newton_diagonal,
    hessian,
    hessian_diagonal,
    jacobian,
    parameter_jacobian,
)
from fastbp._derivatives import loss, loss_and_gradient, per_sample_gradients
from fastbp._images import AveragePool2d, Conv1d, Conv2d, MaxPool2d
from fastbp._inverse import WoodburyInverse
from fastbp._inverse_at_once import inverse_outer_product, woodbury_update
from fastbp._layers import Affine, Layer, Shared, Tied
from fastbp._network import Network, mlp
from fastbp._storage import load
from fastbp._training import History, Trainer
from fastbp._version import VERSION as __version__  # noqa: N811
from fastbp_c.optimizer import SGD, Adam

if TYPE_CHECKING:
    from fastbp._operators import GaussNewtonOperator, HessianOperator

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
    "show_config",
    "woodbury_update",
]


def __getattr__(name: str) -> Any:
    """The operators, which stand on scipy.sparse: imported when they are asked for."""
    if name in ("GaussNewtonOperator", "HessianOperator"):
        from fastbp import _operators

        return getattr(_operators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
