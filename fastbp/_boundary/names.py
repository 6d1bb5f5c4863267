"""The names that arguments may have, for type checkers and for editors."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

Activation: TypeAlias = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "silu", "softmax"
]  # fmt: skip
HiddenActivation: TypeAlias = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "silu"
]  # fmt: skip
Loss: TypeAlias = Literal["squared_error", "binary_cross_entropy", "cross_entropy"]
Reduction: TypeAlias = Literal["sum", "mean"]
Method: TypeAlias = Literal["exact", "approximate"]
Of: TypeAlias = Literal["output", "preactivation"]
Initialization: TypeAlias = Literal["glorot_uniform", "he_uniform", "zeros"]
DType: TypeAlias = (
    Literal["float64", "float32"] | type[float] | type[np.float64] | type[np.float32] | np.dtype[Any]
)  # fmt: skip
