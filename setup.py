"""Builds the Cython modules of fastbp_c; everything else is in pyproject.toml.

FASTBP_SANITIZE=1       AddressSanitizer and UndefinedBehaviorSanitizer (see `make test-sanitize`)
FASTBP_SANITIZE=thread  ThreadSanitizer (see `make test-sanitize-threads`)
"""

import os
import sys
from pathlib import Path

import numpy
import scipy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "build_tools"))
import kernel_interface

PACKAGE = Path("fastbp_c")
SANITIZERS = {"1": "address,undefined", "thread": "thread"}.get(os.environ.get("FASTBP_SANITIZE", ""))


def blas_int_definition(cython_blas):
    """BLAS's integer, given SciPy's cython_blas.pxd: SciPy names it from 1.18 on and means int before."""
    if "blas_int" in cython_blas:
        return "from scipy.linalg.cython_blas cimport blas_int\n"
    return "ctypedef int blas_int\n"


def write_includes():
    """Write what Cython modules include beside what lies in the tree; returns whether anything is new."""
    is_new = False
    cython_blas = (Path(scipy.__file__).parent / "linalg" / "cython_blas.pxd").read_text(encoding="utf-8")
    listed = (PACKAGE / "src" / "kernel_list.inc.h").read_text(encoding="utf-8")
    for name, text in (
        ("_blas_int.pxi", blas_int_definition(cython_blas)),
        ("_kernels.pxi", kernel_interface.cython_interface(listed)),
    ):
        target = PACKAGE / "algebra" / name
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            is_new = True
    return is_new


def compile_flags():
    if sys.platform == "win32":
        return ["/O2"], []
    if SANITIZERS:
        link = [f"-fsanitize={SANITIZERS}", "-fno-omit-frame-pointer"]
        flags = ["-O1", "-g", "-fno-wrapv", *link]
        if "undefined" in SANITIZERS:
            flags.append("-fno-sanitize-recover=undefined")
    else:
        link = []
        flags = ["-O3", "-g0"]
    # Loops may be vectorized across comparisons and square roots: no result changes, only errno and FP flags.
    return [*flags, "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"], link


def extensions():
    flags, link = compile_flags()
    headers = sorted(str(path) for path in PACKAGE.glob("src/*.h"))
    for path in sorted(PACKAGE.rglob("*.pyx")):
        in_c = {"simd": "kernels.c", "team": "team.c"}.get(path.stem)
        yield Extension(
            ".".join(path.with_suffix("").parts),
            [str(path), *([str(PACKAGE / "src" / in_c)] if in_c else [])],
            include_dirs=[numpy.get_include(), str(PACKAGE / "src")],
            depends=headers,
            define_macros=[
                ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
                ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            ],
            extra_compile_args=flags,
            extra_link_args=link,
        )


class BuildModules(build_ext):
    """Translates the Cython modules, into build/, when and only when they are to be built."""

    def run(self):
        from Cython.Build import cythonize

        translated = cythonize(
            self.extensions,
            include_path=["."],
            build_dir="build/cython",
            force=includes_are_new,  # which Cython does not see
            compiler_directives={
                "language_level": 3,
                "boundscheck": False,
                "initializedcheck": False,
                "wraparound": False,
                "cdivision": True,
                "freethreading_compatible": True,
            },
        )
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        super().run()


if __name__ == "__main__":
    includes_are_new = write_includes()
    setup(
        ext_modules=list(extensions()),
        cmdclass={"build_ext": BuildModules},
        options={"build_ext": {"parallel": os.cpu_count()}},
    )
