"""The README is true: its Python runs, the shapes it states are right, and what it links to is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


def blocks():
    """Yield the number of the line before and the source of every ```python block."""
    text = README.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)), match[1]


def shapes(source):
    """Return {name: shape} of the lines `name = ...  # (2, 3)`."""
    found = re.findall(r"^(\w+) = .*# (\([\d, ]+\))", source, re.MULTILINE)
    return {name: ast.literal_eval(shape) for name, shape in found}


def test_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    checked = 0
    for line, source in blocks():
        exec(compile("\n" * line + source, README, "exec"), namespace)
        for name, shape in shapes(source).items():
            assert namespace[name].shape == shape, f"README.md, in the block of line {line}: {name}"
            checked += 1
    assert checked > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
