"""A network's records and its pool of workspaces."""

cimport cython

from fastbp_c.networks.records cimport Net
from fastbp_c.boundary.workspace cimport Workspace


cdef int check_output(out, p, X, T, weight) except -1


@cython.final
cdef class Plan:
    cdef Net net
    cdef readonly int typenum
    cdef readonly tuple slots, specification
    cdef readonly bint repeats    # whether a slot has several uses
    cdef list pool, spans
    cdef int fill_records(self) except -1
    cdef int place_blocks(self) except -1
    cdef Workspace take(self, Py_ssize_t N, size_t extra)
    cdef int give(self, Workspace workspace) except -1
    cdef int loss_number(self, name) except -1
    cdef int check_parameters(self, p) except -1
    cdef int check_inputs(self, X) except -1
    cdef int check_batch(self, X, T, weight) except -1
    cdef int check_curvature(self, H, p, X, T, weight) except -1
