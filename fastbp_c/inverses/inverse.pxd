"""An inverse that is kept up to date."""

cimport cython
cimport numpy as cnp
from cpython.pythread cimport PyThread_type_lock

from fastbp_c.inverses.woodbury cimport Job
from fastbp_c.boundary.workspace cimport Workspace


@cython.final
cdef class Lease:
    cdef cnp.ndarray memory


@cython.final
cdef class Inverse:
    cdef cnp.ndarray memory
    cdef object view
    cdef Workspace work, added, removed
    cdef Job job
    cdef PyThread_type_lock in_use
    cdef int enter(self) except -1
    cdef void leave(self) noexcept
    cdef int reserve(self, int kind) except -1
    cdef bint handed_out(self) except -1
