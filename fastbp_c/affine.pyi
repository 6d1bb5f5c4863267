from typing import Any

from numpy.typing import NDArray

def affine(X: NDArray[Any], W: NDArray[Any], b: NDArray[Any] | None, Y: NDArray[Any]) -> None: ...
def affine_backward(
    dY: NDArray[Any],
    X: NDArray[Any],
    W: NDArray[Any],
    dX: NDArray[Any] | None,
    dW: NDArray[Any],
    db: NDArray[Any],
    accumulate: bool = False,
) -> None: ...
def delta_backward(
    delta_next: NDArray[Any],
    W_next: NDArray[Any],
    a: NDArray[Any],
    activation: str,
    out: NDArray[Any],
    work: NDArray[Any],
) -> None: ...
