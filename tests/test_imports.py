"""Who imports whom: nobody upwards, and nobody in a circle, not even inside a function."""

import ast
from pathlib import Path

import pytest

import fastbp
import fastbp_c

LAYERS = ["_boundary", "_networks", "_derivatives", "_inverses", "_training"]  # from the bottom up


def modules(package):
    """The Python files of a package by the names they are imported by."""
    folder = Path(package.__file__).parent
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def runs(tree):
    """All statements but those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from (part for other in node.orelse for part in (other, *runs(other)))
            continue
        yield node
        yield from runs(node)


def imported(path, names):
    """The modules among `names` that a file imports."""
    for node in runs(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in names else node.module


@pytest.fixture(scope="module")
def graph():
    names = dict([*modules(fastbp), *modules(fastbp_c)])
    return {name: {other for other in imported(path, names) if other in names} for name, path in names.items()}


def test_no_circle(graph):
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            done.add(path.pop())

    for name in graph:
        visit(name)


def test_nobody_imports_upwards(graph):
    def level(name):
        parts = name.split(".")
        return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else None

    for name, others in graph.items():
        for other in others:
            if name.startswith("fastbp_c"):
                assert other.startswith("fastbp_c"), f"{name} imports {other}"
            elif level(name) is not None and level(other) is not None:
                assert level(other) <= level(name), f"{name} imports {other}"
            elif level(name) is not None and name.count(".") > 1:
                assert other.startswith("fastbp_c") or other.split(".")[1:2] == ["_algebra"], f"{name} imports {other}"
