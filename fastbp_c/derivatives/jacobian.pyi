from typing import Any

from numpy.typing import NDArray

from fastbp_c.networks.plan import Plan

def jacobian(plan: Plan, p: NDArray[Any], X: NDArray[Any], J: NDArray[Any]) -> None: ...
def parameter_jacobian(plan: Plan, p: NDArray[Any], X: NDArray[Any], preactivation: bool, J: NDArray[Any]) -> None: ...
