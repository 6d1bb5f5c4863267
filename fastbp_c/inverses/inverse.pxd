"""An inverse that is kept up to date."""

cimport cython
cimport numpy as cnp

from fastbp_c.boundary.lock cimport Lock
from fastbp_c.boundary.workspace cimport Workspace
from fastbp_c.inverses.state cimport InverseState


@cython.final
cdef class Lease:
    cdef object __weakref__
    cdef cnp.ndarray memory


@cython.final
cdef class Inverse:
    cdef cnp.ndarray memory
    cdef object lease       # a weak reference, or None
    cdef Workspace slab     # all else that the state has
    cdef InverseState state
    cdef Lock lock
    cdef int enter(self) except -1
    cdef int leave(self) except -1
    cdef bint handed_out(self) except -1
    cdef Lease whole(self, double *logdet, double *rest, double *history)
    cdef cnp.ndarray view(self, Lease lease)
