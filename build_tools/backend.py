"""The build backend: setuptools, which builds a wheel in a copy of its sources and so leaves nothing in the tree."""

import os
import shutil
import tempfile
from contextlib import contextmanager

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

SOURCES = "pyproject.toml", "setup.py", "README.md", "LICENSE", "build_tools", "fastbp", "fastbp_c"
MADE = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "_*.pxi")


@contextmanager
def copy_of_tree():
    tree = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="fastbp-build-", ignore_cleanup_errors=True) as copy:
        for name in SOURCES:
            if os.path.isdir(name):
                shutil.copytree(name, os.path.join(copy, name), ignore=MADE)
            else:
                shutil.copy2(name, copy)
        os.chdir(copy)
        try:
            yield
        finally:
            os.chdir(tree)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    metadata_directory = os.path.abspath(metadata_directory)
    with copy_of_tree():
        return build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    wheel_directory = os.path.abspath(wheel_directory)
    if metadata_directory is not None:
        metadata_directory = os.path.abspath(metadata_directory)
    with copy_of_tree():
        return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
