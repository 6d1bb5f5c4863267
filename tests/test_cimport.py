"""The kernels as another project calls them: tests/cimport_example is built against fastbp and run."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastbp_c

EXAMPLE = Path(__file__).parent / "cimport_example"


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """The module `layer` of the example, built in a directory of its own."""
    for tool in ("Cython", "setuptools"):
        pytest.importorskip(tool, reason=f"building needs {tool}")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cl")[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"building needs the C compiler {compiler}")
    project = tmp_path_factory.mktemp("cimport") / "example"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("build", "*.c", "*.so", "*.pyd"))
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(fastbp_c.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if "warning:" in line or "performance hint" in line] == []
    built = project / ("layer" + sysconfig.get_config_var("EXT_SUFFIX"))
    spec = importlib.util.spec_from_file_location("layer", built)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_of_another_project(layer, dtype):
    rng = np.random.default_rng(3)
    N, n_in, n_out = 7, 5, 3
    X, W, b, dY, dW, db = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((N, n_in), (n_in, n_out), (n_out,), (N, n_out), (n_in, n_out), (n_out,))
    )
    tolerance = 16 * np.finfo(dtype).eps
    Y, dX = np.full_like(dY, np.nan), np.full_like(X, np.nan)
    dW_before, db_before = dW.copy(), db.copy()

    layer.forward(X, W, b, Y)
    layer.backward(dY, X, W, dX, dW, db)

    X, W, b, dY, dW_before, db_before = (x.astype("float64") for x in (X, W, b, dY, dW_before, db_before))
    assert_allclose(Y, X @ W + b, rtol=0, atol=tolerance * 10)
    assert_allclose(dX, dY @ W.T, rtol=0, atol=tolerance * 10)
    assert_allclose(dW, dW_before + X.T @ dY, rtol=0, atol=tolerance * 10)
    assert_allclose(db, db_before + dY.sum(axis=0), rtol=0, atol=tolerance * 10)
