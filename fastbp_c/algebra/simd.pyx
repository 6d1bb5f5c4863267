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


def limit_products(multiply_adds=None):
    """Up to how many multiply-adds the own kernels compute a product, and BLAS beyond; None is the usual number.

    For tests and benches: it concerns the whole process.
    """
    global own_limit
    if multiply_adds is None:
        multiply_adds = 2**26 if cores() > 1 else 2**28
    own_limit = multiply_adds


def cores():
    """How many cores this process may use, as far as the system tells."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


use(os.environ.get("FASTBP_INSTRUCTION_SET") or None)
limit_products()
