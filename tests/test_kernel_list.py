"""The list of kernels, of which the C tables and Cython's functions are made, and where the compiler finds the rest."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp_c

CORE = Path(fastbp_c.__file__).parent
TOOLS = Path(__file__).parents[1] / "build_tools"
LIST = (CORE / "src" / "kernel_list.inc.h").read_text(encoding="utf-8")

needs_tools = pytest.mark.skipif(not TOOLS.is_dir(), reason="needs build_tools, which only the source tree has")


@pytest.fixture(scope="module")
def tools():
    """The module build_tools/kernel_interface.py."""
    sys.path.insert(0, str(TOOLS))
    try:
        import kernel_interface
    finally:
        sys.path.remove(str(TOOLS))
    return kernel_interface


@needs_tools
def test_every_kernel_of_the_list_is_read(tools):
    names = [kernel[3] for kernel in tools.kernels(LIST)]
    assert len(names) == len(re.findall(r"^\w*KERNEL\(", LIST, re.MULTILINE)) > 30
    assert len(set(names)) == len(names)


@needs_tools
def test_cython_sees_what_the_list_says(tools):
    assert (CORE / "algebra" / "_kernels.pxi").read_text(encoding="utf-8") == tools.cython_interface(LIST)


@needs_tools
@pytest.mark.parametrize("kind", ["KERNEL", "VECTOR_KERNEL"])
def test_kernel_in_both_types(tools, kind):
    text = f"/* y = c x,\n * in two lines */\n{kind}(void, scale, (ptrdiff_t n, REAL c, const REAL *x,\n    REAL *y))\n"
    made = tools.cython_interface(text)
    assert "void (*scale)(Py_ssize_t, float, const float *, float *) noexcept nogil" in made
    assert "void (*scale)(Py_ssize_t, double, const double *, double *) noexcept nogil" in made
    assert made.endswith('''
cdef inline void scale(Py_ssize_t n, double c, const floating *x, floating *y) noexcept nogil:
    """y = c x, in two lines"""
    if floating is float:
        kernels_f.scale(n, <float> c, x, y)
    else:
        kernels_d.scale(n, c, x, y)
''')


@needs_tools
def test_kernel_in_double_only(tools):
    made = tools.cython_interface("/* x . x */\nDOUBLE_KERNEL(REAL, norm, (ptrdiff_t n, const REAL *x))\n")
    assert made.count("(*norm)") == 1
    assert made.endswith('''
cdef inline double norm(Py_ssize_t n, const double *x) noexcept nogil:
    """x . x"""
    return kernels_d.norm(n, x)
''')


@needs_tools
@pytest.mark.parametrize(
    "text", ["KERNEL(void, f, (int n))\n", "/* f */\n\nKERNEL(void, f, (int n))\n", "/* f */\nKERNEL(void, f)\n"]
)
def test_kernel_without_comment_or_parameters_is_refused(tools, text):
    with pytest.raises(ValueError, match=r"^kernel_list\.inc\.h: expected a comment before every kernel"):
        tools.cython_interface(text)


def test_what_declarations_include_is_beside_them():
    declarations = [*CORE.rglob("*.pxd"), *CORE.rglob("*.pxi")]
    assert len(declarations) > 10
    missing = []
    for path in declarations:
        text = path.read_text(encoding="utf-8")
        missing += [
            name for name in re.findall(r'^include "(.+)"', text, re.MULTILINE) if not (path.parent / name).exists()
        ]
        missing += [name for name in re.findall(r'extern from "(.+)"', text) if not (CORE / "src" / name).exists()]
    assert missing == []
    headers = list((CORE / "src").glob("*.h"))
    included = {name for path in headers for name in re.findall(r'#include "(.+)"', path.read_text(encoding="utf-8"))}
    assert included <= {path.name for path in headers}


def test_kernels_can_be_cimported(tmp_path):
    pytest.importorskip("Cython", reason="it translates")
    module = tmp_path / "caller.pyx"
    module.write_text(
        "from fastbp_c.algebra cimport simd\n"
        "def squares(double[::1] x, float[::1] y):\n"
        "    simd.square(x.shape[0], &x[0], &x[0])\n"
        "    simd.square(y.shape[0], &y[0], &y[0])\n"
        "    return simd.dot(x.shape[0], &x[0], &x[0])\n"
    )
    command = [sys.executable, "-m", "cython", "-3", "-Werror", "-I", str(CORE.parent), str(module)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert "kernels.h" in module.with_suffix(".c").read_text(encoding="utf-8")
