"""Fixtures for the whole suite, its short form, and repeatable hypothesis runs."""

from collections import defaultdict

import pytest
from hypothesis import settings

from fastbp_c.algebra import simd

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


SHORT = 3  # variations of a test in the short form


def pytest_addoption(parser):
    parser.addoption("--short", action="store_true", help=f"of every test at most {SHORT} variations, evenly chosen")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("short"):
        return
    tests = defaultdict(list)
    for item in items:
        tests[item.nodeid.split("[")[0]].append(item)
    kept = set()
    for variations in tests.values():
        last = len(variations) - 1
        kept.update(variations[last * k // (SHORT - 1)] for k in range(SHORT))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


@pytest.fixture(params=simd.available())
def instruction_set(request):
    """Every instruction set that this processor has, one after the other."""
    before = simd.instruction_set()[0]
    simd.use(request.param)
    yield request.param
    simd.use(before)


@pytest.fixture
def products_by_blas():
    """The function that leaves products to BLAS, or to the own kernels again."""
    yield simd.products_by_blas
    simd.products_by_blas(False)
