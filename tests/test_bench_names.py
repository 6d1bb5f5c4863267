"""A peer, and each way to call it, has one name: in benches, in tables and in what is written about them."""

import re
from pathlib import Path

import pytest

import ways

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/benchmarks.md", "docs/curvature.md", "docs/inverse.md"]
NAMES = {name for key, name in vars(ways).items() if key.isupper() and isinstance(name, str)}
OTHERS = {"", "limit", "speed-up", "best peer", *ways.FLOORS}


def columns(page):
    """The columns of the tables of times."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for head in re.findall(r"^\|(.* (?:limit|speed-up) \|.*)\|$", text, re.MULTILINE):
        yield from (cell.strip() for cell in head.split("|"))


@pytest.mark.parametrize("page", PAGES)
def test_columns_of_tables(page):
    found = set(columns(page))
    assert found & NAMES
    assert {name for name in found - NAMES - OTHERS if not name.startswith("fastbp")} == set()


@pytest.mark.parametrize("bench", sorted(path.name for path in (ROOT / "benches").glob("bench_*.py")))
def test_benches_take_them_from_one_place(bench):
    text = (ROOT / "benches" / bench).read_text(encoding="utf-8")
    assert [name for name in re.findall(r'"([^"\n]*)"', text) if name in NAMES] == []


def test_ways_of_a_peer_begin_with_its_name():
    peers = {name for name in NAMES if "," not in name}
    assert {name.split(",")[0] for name in NAMES} == peers
    assert set(ways.APART) <= NAMES


def test_what_is_written_knows_no_other_names():
    for page in (*PAGES, "docs/performance.md", "benches/README.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert (
            re.findall(r"JAX (?:step|scan|loop)|Torch|Numpy\b|[Ss]cikit[Ll]earn|Backpack", text.replace("PyTorch", ""))
            == []
        )
