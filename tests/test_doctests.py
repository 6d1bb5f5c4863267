"""The examples in the docstrings, as users would type them."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import fastbp

MODULES = sorted(["fastbp"] + [module.name for module in pkgutil.walk_packages(fastbp.__path__, "fastbp.")])
NAMES = {"np": np, "fastbp": fastbp, **{name: getattr(fastbp, name) for name in fastbp.__all__}}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name), extraglobs=NAMES)
    assert failed == 0  # what went wrong is printed


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 6
