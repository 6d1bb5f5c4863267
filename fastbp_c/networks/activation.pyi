from typing import Any

from numpy.typing import NDArray

ACTIVATIONS: tuple[str, ...]

def activate(name: str, a: NDArray[Any], order: int = 2) -> tuple[NDArray[Any], ...]: ...
