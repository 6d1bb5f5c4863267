"""The build backend: a wheel is built in a copy of the sources, and nothing is left in their tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "fastbp_c").is_dir(), reason="needs the whole source tree")


@pytest.fixture
def backend(monkeypatch):
    pytest.importorskip("setuptools", minversion="77", reason="the backend is setuptools")
    monkeypatch.syspath_prepend(ROOT / "build_tools")
    monkeypatch.chdir(ROOT)
    import backend

    yield backend
    del sys.modules["backend"]


def tree():
    """The files and folders of the tree, as far as a build might add to them."""
    names = {
        path.relative_to(ROOT) for folder in ("build", "fastbp", "fastbp_c") for path in (ROOT / folder).rglob("*")
    }
    return {name for name in names if "__pycache__" not in name.parts} | {Path(name) for name in os.listdir(ROOT)}


def test_metadata(tmp_path):
    pytest.importorskip("setuptools", minversion="77", reason="the backend is setuptools")
    program = "import backend, sys; backend.prepare_metadata_for_build_wheel(sys.argv[1])"
    before = tree()
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "build_tools")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    assert "Name: fastbp\n" in metadata.read_text(encoding="utf-8")
    assert tree() == before


@pytest.mark.parametrize("fails", [False, True])
def test_wheel(backend, monkeypatch, tmp_path, fails):
    seen = {}

    def build(wheel_directory, config_settings, metadata_directory):
        seen["copy"], seen["arguments"] = Path.cwd(), (wheel_directory, config_settings, metadata_directory)
        seen["files"] = {str(path.relative_to(seen["copy"])) for path in seen["copy"].rglob("*") if path.is_file()}
        Path("build").mkdir()
        Path("fastbp_c/made.c").write_text("")
        if fails:
            raise SystemExit("error: no compiler")
        return "fastbp.whl"

    monkeypatch.setattr(backend.build_meta, "build_wheel", build)
    before = tree()
    if fails:
        with pytest.raises(SystemExit):
            backend.build_wheel("dist", None, str(tmp_path))
    else:
        assert backend.build_wheel("dist", {"a": "b"}, None) == "fastbp.whl"
        assert seen["arguments"] == (str(ROOT / "dist"), {"a": "b"}, None)
    assert tree() == before
    assert Path.cwd() == ROOT
    assert not seen["copy"].exists()
    wanted = {"pyproject.toml", "setup.py", "LICENSE", "README.md", "fastbp/py.typed", "fastbp_c/affine.pyx"}
    assert {Path(name) for name in wanted} <= {Path(name) for name in seen["files"]}
    assert [name for name in seen["files"] if name.endswith((".so", ".pyd", ".pyc", ".pxi"))] == []
