"""Builds the Cython modules of fastbp_c; everything else is in pyproject.toml.

FASTBP_DEBUG=1     array bounds are checked in the kernels' Python entry points
FASTBP_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (see `make test-sanitize`)
"""

import os
import sys
from pathlib import Path

import numpy
import scipy
from Cython.Build import cythonize
from setuptools import Extension, setup

PACKAGE = Path("fastbp_c")
DEBUG = os.environ.get("FASTBP_DEBUG") == "1"
SANITIZE = os.environ.get("FASTBP_SANITIZE") == "1"


def blas_int_definition(cython_blas):
    """BLAS's integer, given SciPy's cython_blas.pxd: SciPy names it from 1.18 on and means int before."""
    if "blas_int" in cython_blas:
        return "from scipy.linalg.cython_blas cimport blas_int\n"
    return "ctypedef int blas_int\n"


def write_blas_int():
    text = blas_int_definition((Path(scipy.__file__).parent / "linalg" / "cython_blas.pxd").read_text(encoding="utf-8"))
    target = PACKAGE / "algebra" / "_blas_int.pxi"
    if not target.exists() or target.read_text() != text:  # a fresh time stamp would rebuild everything
        target.write_text(text)


def compile_flags():
    if sys.platform == "win32":
        return ["/O2"], []
    # Loops may be vectorized across comparisons and square roots: no result changes, only errno and FP flags.
    flags = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"]
    link = []
    if SANITIZE:
        link = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
        flags = ["-O1", "-g", "-fno-wrapv", *flags[1:], "-fno-sanitize-recover=undefined", *link]
    return flags, link


def extensions():
    flags, link = compile_flags()
    headers = sorted(str(path) for path in PACKAGE.glob("src/*.h"))
    for path in sorted(PACKAGE.rglob("*.pyx")):
        sources = [str(path)]
        if path.stem == "simd":
            sources.append(str(PACKAGE / "src" / "kernels.c"))
        yield Extension(
            ".".join(path.with_suffix("").parts),
            sources,
            include_dirs=[numpy.get_include(), str(PACKAGE / "src")],
            depends=headers,
            define_macros=[
                ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
                ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            ],
            extra_compile_args=flags,
            extra_link_args=link,
        )


if __name__ == "__main__":
    write_blas_int()
    setup(
        ext_modules=cythonize(
            list(extensions()),
            include_path=["."],
            compiler_directives={
                "language_level": 3,
                "boundscheck": DEBUG,
                "initializedcheck": DEBUG,
                "wraparound": False,
                "cdivision": True,
                "freethreading_compatible": True,
            },
        ),
        options={"build_ext": {"parallel": os.cpu_count()}},
    )
