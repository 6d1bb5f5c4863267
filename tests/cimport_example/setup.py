"""A project that calls fastbp's kernels from its own Cython: no header and no library of fastbp is named here."""

from Cython.Build import cythonize
from setuptools import setup

directives = {"language_level": 3, "boundscheck": False, "wraparound": False}
setup(name="cimport-example", ext_modules=cythonize("layer.pyx", compiler_directives=directives))
