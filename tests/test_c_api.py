"""What other projects may cimport is a promise: additions pass, a change or a removal fails."""

import ctypes
import importlib
import json
from pathlib import Path

import pytest

PROMISED = json.loads((Path(__file__).parent / "c_api.json").read_text(encoding="utf-8"))


def signatures(module):
    """The C signature of every function a compiled module exports, by name."""
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return {name: name_of(capsule).decode() for name, capsule in module.__pyx_capi__.items()}


@pytest.mark.parametrize("module", PROMISED)
def test_exports_what_was_promised(module):
    exported = signatures(importlib.import_module(module))
    assert {name: exported.get(name) for name in PROMISED[module]} == PROMISED[module]


def test_promised_module_cimports_nothing_private():
    # Another project that cimports it then needs no header, no NumPy and no SciPy to compile.
    pxd = Path(importlib.import_module("fastbp_c.affine").__file__).parent / "affine.pxd"
    lines = [line for line in pxd.read_text(encoding="utf-8").splitlines() if "import" in line or "include" in line]
    assert lines == ["from cython cimport floating"]
