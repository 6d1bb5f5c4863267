from typing import Any

from numpy.typing import NDArray

from fastbp_c.networks.plan import Plan

def diagonal(
    plan: Plan,
    p: NDArray[Any],
    X: NDArray[Any],
    T: NDArray[Any],
    weight: NDArray[Any] | None,
    loss: str | None,
    scale: float,
    gauss_newton: bool,
    approximate: bool,
    d: NDArray[Any],
) -> None: ...
