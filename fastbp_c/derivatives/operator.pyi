from typing import Any, Self, final

from numpy.typing import NDArray

from fastbp_c.networks.plan import Plan

@final
class Products:
    def __new__(
        cls,
        plan: Plan,
        p: NDArray[Any],
        X: NDArray[Any],
        T: NDArray[Any],
        weight: NDArray[Any] | None,
        loss: str | None,
        scale: float,
        gauss_newton: bool,
    ) -> Self: ...
    @property
    def cached(self) -> bool: ...
    def multiply(self, V: NDArray[Any], out: NDArray[Any]) -> None: ...
