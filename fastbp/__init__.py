"""Exact backpropagation of feed-forward networks on a CPU, from NumPy, at the speed of the machine."""

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
        from fastbp._derivatives import operators as _operators

        return getattr(_operators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, and what every module has; not the modules they come from."""
    return sorted({name for name in globals() if name.startswith("__")} | set(__all__))
