from typing import Any

from numpy.typing import NDArray

from fastbp_c.networks.plan import Plan

def curvature(
    plan: Plan,
    p: NDArray[Any],
    X: NDArray[Any],
    T: NDArray[Any],
    weight: NDArray[Any] | None,
    loss: str | None,
    scale: float,
    gauss_newton: bool,
    H: NDArray[Any],
) -> None: ...
def route(plan: Plan, gauss_newton: bool, full: bool) -> str: ...
def symmetrize(H: NDArray[Any]) -> None: ...
