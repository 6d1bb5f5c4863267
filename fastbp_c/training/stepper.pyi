from typing import Any, Self, final

from numpy.random import BitGenerator
from numpy.typing import NDArray

from fastbp_c.networks.plan import Plan
from fastbp_c.training.optimizer import Optimizer

@final
class Stepper:
    def __new__(cls, plan: Plan, parameters: NDArray[Any], loss: str | None) -> Self: ...
    @property
    def epochs(self) -> int: ...
    def step(self, optimizer: Optimizer, X: NDArray[Any], T: NDArray[Any]) -> float: ...
    def epoch(
        self,
        optimizer: Optimizer,
        X: NDArray[Any],
        T: NDArray[Any],
        batch_size: int,
        bit_generator: BitGenerator | None = None,
    ) -> float: ...
    def undo(self) -> None: ...
