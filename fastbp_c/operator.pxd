"""Products with second derivatives."""

cimport cython
cimport numpy as cnp

from fastbp_c.network cimport Plan
from fastbp_c.workspace cimport Workspace


@cython.final
cdef class Products:
    cdef Plan plan
    cdef cnp.ndarray p, X, T, weight
    cdef Workspace kept
    cdef int error
    cdef bint bent, is_kept
    cdef double scale
