from collections.abc import Sequence
from typing import Any, Self, final

from numpy.typing import NDArray

@final
class Plan:
    def __new__(
        cls,
        typenum: int,
        slots: Sequence[tuple[int, int]],
        layers: Sequence[tuple[str, str, int, int, int, int, bool, int, NDArray[Any] | None]],
    ) -> Self: ...
    @property
    def typenum(self) -> int: ...
    @property
    def slots(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def specification(self) -> tuple[tuple[str, str, int, int, int, int, bool, int, NDArray[Any] | None], ...]: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def repeats(self) -> bool: ...
    def check_result(
        self, H: NDArray[Any], p: NDArray[Any], X: NDArray[Any], T: NDArray[Any], weight: NDArray[Any] | None
    ) -> None: ...
    def factors(self, loss: str | None) -> bool: ...
    def forward(self, p: NDArray[Any], X: NDArray[Any], Y: NDArray[Any]) -> None: ...
    def loss(
        self, p: NDArray[Any], X: NDArray[Any], T: NDArray[Any], weight: NDArray[Any] | None, loss: str | None
    ) -> float: ...
    def loss_and_gradient(
        self,
        p: NDArray[Any],
        X: NDArray[Any],
        T: NDArray[Any],
        weight: NDArray[Any] | None,
        loss: str | None,
        scale: float,
        g: NDArray[Any],
    ) -> float: ...
    def per_sample_gradients(
        self,
        p: NDArray[Any],
        X: NDArray[Any],
        T: NDArray[Any],
        weight: NDArray[Any] | None,
        loss: str | None,
        scale: float,
        G: NDArray[Any],
    ) -> None: ...
