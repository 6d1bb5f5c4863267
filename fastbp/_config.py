"""What this installation computes with."""

from __future__ import annotations

import numpy as np

from fastbp._threads import get_num_threads, why
from fastbp._version import VERSION
from fastbp_c.algebra import simd


def show_config() -> None:
    """Print versions, how many threads a call may use and why, the BLAS, the vector instructions, the sizes of dtypes.

    Examples
    --------
    >>> show_config()  # doctest: +SKIP
    """
    import scipy
    from threadpoolctl import threadpool_info

    import fastbp_c.affine  # noqa: F401  BLAS is loaded with the kernels

    print(f"fastbp        {VERSION} (NumPy {np.__version__}, SciPy {scipy.__version__})")
    print(f"threads       {get_num_threads()}: {why()}")
    for library in threadpool_info():
        if library["user_api"] == "blas":
            kernels = library.get("architecture", "unknown")
            name = f"{library['internal_api']} {library['version']} ({kernels} kernels)"
            print(f"BLAS          {name}, {library['num_threads']} threads: {library['filepath']}")
    name, size = simd.instruction_set()
    print(f"vectors       {name}, {8 * size} bits; this processor has {', '.join(simd.available())}")
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        print(f"{dtype.name:13} {dtype.itemsize} bytes, {size // dtype.itemsize} a vector")
