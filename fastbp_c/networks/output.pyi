from typing import Any

from numpy.typing import NDArray

from fastbp_c.networks.activation import ACTIVATIONS as ACTIVATIONS

LOSSES: tuple[str, ...]

def softmax(a: NDArray[Any]) -> NDArray[Any]: ...
def error(
    output: str,
    loss: str | None,
    a: NDArray[Any],
    t: NDArray[Any],
    weight: NDArray[Any] | None = None,
    scale: float = 1.0,
    need_delta: bool = True,
) -> tuple[float, NDArray[Any] | None]: ...
def error_curvature(
    output: str,
    loss: str | None,
    a: NDArray[Any],
    t: NDArray[Any],
    weight: NDArray[Any] | None = None,
    scale: float = 1.0,
    gauss_newton: bool = False,
) -> NDArray[Any]: ...
