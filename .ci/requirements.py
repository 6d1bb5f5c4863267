"""Prints requirements of pyproject.toml, one a line.

    python .ci/requirements.py build run test      of the build, of the package, of its extra `test`
    python .ci/requirements.py --lowest run        the lowest versions allowed

Run it by the Python of a virtual environment: before 3.11 it reads the file by the copy of tomli inside pip.
"""

import re
import sys
from pathlib import Path

try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib

settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
groups = {
    "build": settings["build-system"]["requires"],
    "run": settings["project"]["dependencies"],
    **settings["project"]["optional-dependencies"],
}
lowest = "--lowest" in sys.argv
for group in sys.argv[1:]:
    if group != "--lowest":
        for requirement in groups[group]:
            print(re.sub(r">=([\d.]+)", r"==\1.*", requirement) if lowest else requirement)
