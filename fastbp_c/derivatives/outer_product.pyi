from typing import Any

from numpy.typing import NDArray

from fastbp_c.networks.plan import Plan

def outer_product(
    plan: Plan,
    p: NDArray[Any],
    X: NDArray[Any],
    T: NDArray[Any],
    weight: NDArray[Any] | None,
    loss: str | None,
    scale: float,
    H: NDArray[Any],
) -> None: ...
def outer_product_rows(
    plan: Plan,
    p: NDArray[Any],
    X: NDArray[Any],
    T: NDArray[Any],
    weight: NDArray[Any] | None,
    loss: str | None,
    G: NDArray[Any],
    c: NDArray[Any],
) -> None: ...
