"""The package as it is shipped: its version, the files beside its modules, and what importing it costs."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import fastbp
import fastbp_c

CORE = Path(fastbp_c.__file__).parent
COMPILED = sorted(
    path.parent / path.name.split(".")[0] for path in CORE.rglob("*") if path.name.endswith(tuple(EXTENSION_SUFFIXES))
)
SETUP = Path(__file__).parents[1] / "setup.py"

# In a fresh process: what `import fastbp` loads beyond what NumPy and SciPy's BLAS load for themselves.
LOADED = """
import json, sys
import numpy, scipy.linalg.cython_blas
before = set(sys.modules)
import fastbp
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(scope="module")
def loaded():
    """Names of the modules that `import fastbp` adds."""
    environment = {**os.environ, "PYTHONPATH": str(CORE.parent)}
    output = subprocess.run([sys.executable, "-c", LOADED], env=environment, capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


def test_version_is_one_and_well_formed():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", fastbp.__version__)
    installed = [d for d in importlib.metadata.distributions(name="fastbp") if d.read_text("RECORD") is not None]
    assert {d.version for d in installed} <= {fastbp.__version__}


def test_all_names_exist_and_are_sorted():
    assert sorted(fastbp.__all__) == sorted(set(fastbp.__all__))
    assert [name for name in fastbp.__all__ if not hasattr(fastbp, name)] == []


def test_dir_shows_public_names_only():
    assert [name for name in dir(fastbp) if name not in fastbp.__all__ and not name.startswith("__")] == []
    assert set(fastbp.__all__) <= set(dir(fastbp))


def test_the_overview_has_all_names():
    """What `help(fastbp)` begins with."""
    names = re.findall(r"\w+", fastbp.__doc__)
    assert [name for name in fastbp.__all__ if name not in names and name != "__version__"] == []


def test_dir_stays_as_it_is_when_more_is_imported():
    program = """
import fastbp
before = dir(fastbp)
fastbp.HessianOperator, fastbp.load, fastbp.check_gradient
import fastbp._derivatives.operators, fastbp._storage, fastbp._networks.images
from fastbp import *
assert dir(fastbp) == before
assert {name for name in vars() if name[0] != "_"} - {"before", "fastbp"} == {*fastbp.__all__} - {"__version__"}
"""
    environment = {**os.environ, "PYTHONPATH": str(CORE.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_type_information_is_shipped():
    assert (Path(fastbp.__file__).parent / "py.typed").is_file()
    assert (CORE / "py.typed").is_file()
    assert len(COMPILED) > 10
    assert [module for module in COMPILED if not module.with_suffix(".pyi").is_file()] == []


def test_headers_are_shipped():
    assert (CORE / "__init__.pxd").is_file()
    assert (CORE / "affine.pxd").is_file()


@pytest.mark.parametrize(
    "module",
    [
        "numpy.random",
        "scipy.optimize",
        "scipy.sparse",
        "scipy.special",
        "scipy.stats",
        "jax",
        "matplotlib",
        "pandas",
        "safetensors",
        "sklearn",
        "torch",
        "tqdm",
        "multiprocessing",
        "unittest",
    ],
)
def test_import_leaves_alone(loaded, module):
    assert [name for name in loaded if name == module or name.startswith(module + ".")] == []


def test_import_loads_few_packages(loaded):
    outside = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {name for name in outside if not name.startswith("_cython")} == {"fastbp", "fastbp_c", "threadpoolctl"}


def test_operators_load_scipy_sparse_when_they_are_asked_for():
    program = """
import sys
import scipy.linalg.cython_blas
before = set(sys.modules)  # before SciPy 1.17 with scipy.sparse
import fastbp
def added():
    return [name for name in set(sys.modules) - before if name.startswith("scipy") or name.endswith(".operators")]
assert added() == []
assert {"HessianOperator", "GaussNewtonOperator"} <= set(dir(fastbp)) & set(fastbp.__all__)
assert not hasattr(fastbp, "JacobianOperator") and added() == []
fastbp.hessian(fastbp.mlp([2, 3, 1], seed=0), [[1.0, 2.0]], [0.0])
assert added() == []
from fastbp import HessianOperator
assert issubclass(HessianOperator, sys.modules["scipy.sparse.linalg"].LinearOperator)
assert added() != []
"""
    environment = {**os.environ, "PYTHONPATH": str(CORE.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_import_changes_nothing_global():
    program = """
import locale, os, random, signal, sys, warnings
import numpy, scipy.linalg.cython_blas
def state():
    return (list(warnings.filters), numpy.geterr(), numpy.get_printoptions(), random.getstate(), dict(os.environ),
            locale.setlocale(locale.LC_ALL), signal.getsignal(signal.SIGINT), sys.getrecursionlimit(), list(sys.path))
before = state()
import fastbp
assert state() == before
"""
    environment = {**os.environ, "PYTHONPATH": str(CORE.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not SETUP.is_file(), reason="needs setup.py, which only the source tree has")
@pytest.mark.parametrize(
    ("cython_blas", "definition"),
    [
        ("ctypedef float s\nctypedef double d\n", "ctypedef int blas_int\n"),
        ("ctypedef double d\nctypedef int blas_int\n", "from scipy.linalg.cython_blas cimport blas_int\n"),
    ],
    ids=["without a name", "named"],
)
def test_blas_integer_is_that_of_scipy(cython_blas, definition):
    pytest.importorskip("Cython", reason="setup.py imports it")
    spec = importlib.util.spec_from_file_location("fastbp_setup", SETUP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.blas_int_definition(cython_blas) == definition
