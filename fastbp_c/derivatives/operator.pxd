"""Products with second derivatives."""

cimport cython
cimport numpy as cnp

from fastbp_c.boundary.workspace cimport Workspace
from fastbp_c.networks.batch cimport Batch
from fastbp_c.networks.plan cimport Plan


@cython.final
cdef class Products:
    cdef Plan plan
    cdef cnp.ndarray p, X, T, weight
    cdef Batch batch            # which points to them
    cdef Workspace kept
    cdef Py_ssize_t length      # samples of a chunk
    cdef bint exact, is_kept
