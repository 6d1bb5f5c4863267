from typing import Self, final

@final
class Lock:
    def __new__(cls, whole: bool) -> Self: ...
