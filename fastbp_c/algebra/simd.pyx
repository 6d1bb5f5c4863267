"""Chooses the vector kernels once, at import, by what the processor has.

The environment variable FASTBP_INSTRUCTION_SET ("baseline", "avx2", "avx512") takes a lesser set than the best, for
results that are the same on different x86-64 machines.
"""

import os

cdef const char *chosen
cdef int vector_bytes


def use(name):
    """Switch the whole process to one instruction set; None takes the best. For tests: not while kernels run."""
    global kernels_f, kernels_d, chosen, vector_bytes
    cdef bytes text
    cdef const char *wanted = NULL
    if name is not None:
        text = name.encode()
        wanted = text
    if not fbp_select(wanted, &kernels_f, &kernels_d, &chosen, &vector_bytes):
        raise ValueError(f"instruction set: expected one of {', '.join(available())}, got {name!r}")


def available():
    """The instruction sets this processor and this build have, least first."""
    cdef const fbp_kernels_f *f
    cdef const fbp_kernels_d *d
    cdef const char *name
    cdef int size
    return [known for known in ("baseline", "avx2", "avx512") if fbp_select(known.encode(), &f, &d, &name, &size)]


def instruction_set():
    """The name of the instruction set in use and the width of its vectors in bytes."""
    return chosen.decode(), vector_bytes


def products_by_blas(bint yes):
    """Leave products to BLAS, as builds without vector kernels do; for tests. It concerns the whole process."""
    global by_blas
    by_blas = yes


use(os.environ.get("FASTBP_INSTRUCTION_SET") or None)
