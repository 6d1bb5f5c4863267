"""The machine, the libraries and the build: what a number is worth nothing without."""

import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path

import threadpoolctl

LIBRARIES = ("fastbp", "numpy", "scipy", "torch", "backpack-for-pytorch", "jax", "scikit-learn", "pytest-benchmark")


def fingerprint():
    """Of the compiled modules: numbers of different builds must not pass for one library's."""
    digest = hashlib.sha256()
    for folder in importlib.util.find_spec("fastbp_c").submodule_search_locations:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix in (".so", ".pyd"):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def installed(library):
    """The version, or None: every peer is optional."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "working tree" if library in sys.modules else None


def describe():
    """Versions and BLAS."""
    return {
        "libraries": {library: installed(library) for library in LIBRARIES},
        "thread_pools": [
            " ".join(str(pool[key]) for key in ("internal_api", "version", "architecture") if pool.get(key))
            + f" ({pool['num_threads']} thread{'s' if pool['num_threads'] > 1 else ''})"
            for pool in threadpoolctl.threadpool_info()
        ],
        "processor": processor(),
    }


def processor():
    """The processor's name as its maker prints it, if the system knows."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
