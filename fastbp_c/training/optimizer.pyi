from typing import Any

class Optimizer:
    learning_rate: float
    weight_decay: float
    def __eq__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

class SGD(Optimizer):
    momentum: float
    nesterov: bool
    def __init__(
        self, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None: ...

class Adam(Optimizer):
    beta1: float
    beta2: float
    epsilon: float
    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None: ...
