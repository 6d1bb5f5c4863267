from typing import final

@final
class Workspace: ...
