"""Products with second derivatives."""

cimport cython
cimport numpy as cnp

from fastbp_c.networks.plan cimport Plan
from fastbp_c.boundary.workspace cimport Workspace


@cython.final
cdef class Products:
    cdef Plan plan
    cdef cnp.ndarray p, X, T, weight
    cdef Workspace kept
    cdef int error
    cdef bint bent, is_kept
    cdef double scale
