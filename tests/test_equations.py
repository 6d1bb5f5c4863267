"""The tables of docs/equations.md: all equations of the sources, and whether what they and other pages name exists."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import fastbp

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "equations.md"

pytestmark = pytest.mark.skipif(
    not PAGE.is_file() or not (ROOT / "fastbp_c").is_dir(), reason="needs the whole source tree"
)

# The equations of the five sources, by their own numbers or, in the last strings, by their places.
NUMBERS = {
    "The affine layer": [
        *("1. i)", "1. ii)", "1. iv)", "1. v)", "2. X, W, b", "2. B", "3. Y"),
        *("3. ∂E/∂X, chain", "3. ∂E/∂X, units", "3. ∂E/∂X", "3. ∂E/∂W, chain", "3. ∂E/∂W"),
        *("3. ∂E/∂b, chain", "3. ∂E/∂b", "3. one by one", "3. batch", "3. remark"),
    ],
    "Any number of layers": [*(f"({number})" for number in range(1, 12)), "start"],
    "Shared weights": [
        *("①", "②"),
        *("review: forward", "review: ∂a/∂w", "review: ∂E/∂w", "review: δ", "review: ∂a/∂a", "review: recursion"),
        *("forward", "∂a/∂w", "δ", "∂a/∂a"),
    ],
    "Tied weights": ["(1) forward", "(1) ∂E/∂w", "(2)", "(3)", "(4) k = j", "(4) k ≠ j", "together"],
    "Jacobian, Hessian and its inverse": [
        *("(5.48)", "(5.49)", "(5.71)", "(5.73)", "(5.74)", "(5.79)", "(5.80)", "(5.81)", "(5.82)", "(5.83)"),
        *("(5.84)", "(5.86)", "(5.88), (C.7)", "(5.93)", "(5.94)", "(5.95)"),
        *("(5.53)", "(5.70)", "(5.75)", "(5.76)", "(5.76), denominator", "(5.78)", "E", "(5.80), chain"),
        *("(5.81), remark", "(5.84), b", "(5.84), remark", "(5.87)", "(5.89)", "(5.89), start", "(5.92)"),
        "(5.94), operator",
    ],
}


class Row(NamedTuple):
    """An equation: what computes it, [(names, file), ...], and [(file, test), ...]; or why nothing does."""

    equation: str
    reason: str
    functions: list
    tests: list


def tables():
    """{heading: rows} of the page."""
    text, found = PAGE.read_text(encoding="utf-8"), {}
    for heading, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
        if rows:
            assert rows[0] == ["equation", "formula", "function", "file", "test"], heading
            found[heading] = [row_of(*cells) for cells in rows[1:]]
    return found


def row_of(equation, formula, function, file, test):
    assert formula, equation
    if file == test == "–":
        return Row(equation, function, [], [])
    names = [re.findall(r"`([\w.]+)`", line) for line in function.split("<br>")]
    files = re.findall(r"`([^`]+)`", file)
    tests = re.findall(r"`(\w+\.py)::(\w+)`", test)
    assert len(tests) == test.count("<br>") + 1, equation
    return Row(equation, "", list(zip(names, files, strict=True)), tests)


TABLES = tables() if PAGE.is_file() else {}
ROWS = [pytest.param(row, id=f"{heading}-{row.equation}") for heading, rows in TABLES.items() for row in rows]


def defines(text, name, path):
    """Whether the file has a function or class of that name; of a method, the class too."""
    owner, _, name = name.rpartition(".")
    if owner and not re.search(rf"^(cdef )?class {owner}\b", text, re.MULTILINE):
        return False
    if path.suffix == ".h":
        return re.search(rf"\bNAME\({name}\)\(", text) is not None
    return re.search(rf"^\s*(cdef|cpdef|def|class)\b[^(=\n]*\b{name}\b\s*[(:]", text, re.MULTILINE) is not None


@pytest.mark.parametrize("source", NUMBERS)
def test_every_equation_of_the_source_is_there(source):
    there = [row.equation for row in TABLES[source]]
    assert len(there) == len(set(there))
    assert set(there) == set(NUMBERS[source])


@pytest.mark.parametrize("row", ROWS)
def test_functions_and_tests_exist(row):
    for names, file in row.functions:
        path = ROOT / file
        text = path.read_text(encoding="utf-8")
        assert names, row.equation
        for name in names:
            assert defines(text, name, path), f"{name} in {file}"
            if file.startswith("fastbp/"):
                owner, _, method = name.partition(".")
                assert owner in fastbp.__all__
                assert not method or hasattr(getattr(fastbp, owner), method)
    for file, test in row.tests:
        assert re.search(rf"^def {test}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE), test


@pytest.mark.parametrize("source", TABLES)
def test_equations_that_nobody_computes_say_what_they_are(source):
    there = {row.equation: row for row in TABLES[source]}
    for row in there.values():
        if row.functions:
            continue
        if row.reason.startswith("step of "):
            of = there[row.reason.removeprefix("step of ")]
            assert of.functions, row.equation
        else:
            assert re.match(r"(definition|notation|statement)(; .*)?$", row.reason), row.equation


def test_a_function_that_is_not_there_would_be_noticed():
    path = ROOT / "fastbp_c" / "networks" / "linear.pyx"
    text = path.read_text(encoding="utf-8")
    assert defines(text, "linear_map", path)
    assert not defines(text, "linear", path)
    assert not defines(text, "apply_matri", path)
    assert not defines(text, "Layer.linear_map", path)


# The other pages.

PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [page for page in PAGES if page.parent.name == "docs" and page != PAGE]


def quoted(page):
    """What stands in backticks in running text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    paths = [name for name in quoted(page) if re.fullmatch(r"(fastbp|fastbp_c|tests|benches|demo|docs)/[\w./]+", name)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.fixture(scope="module")
def words():
    """All that occur in the sources."""
    folders = [ROOT / folder for folder in ("fastbp", "fastbp_c", "tests", "benches")]
    files = [path for folder in folders for kind in ("py", "pyx", "pxd", "h") for path in folder.rglob(f"*.{kind}")]
    return {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.name)
def test_functions_that_a_page_names_exist(page, words):
    names = [name for name in quoted(page) if re.fullmatch(r"[a-z]+_\w+", name)]
    assert [name for name in names if name not in words] == []
