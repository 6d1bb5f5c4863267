"""Exact backpropagation of feed-forward networks on a CPU, from NumPy, at the speed of the machine."""

from fastbp._blocks import affine, affine_backward, delta_backward
from fastbp._check_gradient import GradientReport, check_gradient
from fastbp._config import show_config
from fastbp._derivatives import loss, loss_and_gradient, per_sample_gradients
from fastbp._inverse import WoodburyInverse, inverse_outer_product, woodbury_update
from fastbp._layers import Affine
from fastbp._network import Network, mlp
from fastbp._storage import load
from fastbp._training import History, Trainer
from fastbp._version import VERSION as __version__  # noqa: N811
from fastbp_c.optimizer import SGD, Adam

__all__ = [
    "SGD",
    "Adam",
    "Affine",
    "GradientReport",
    "History",
    "Network",
    "Trainer",
    "WoodburyInverse",
    "__version__",
    "affine",
    "affine_backward",
    "check_gradient",
    "delta_backward",
    "inverse_outer_product",
    "load",
    "loss",
    "loss_and_gradient",
    "mlp",
    "per_sample_gradients",
    "show_config",
    "woodbury_update",
]
