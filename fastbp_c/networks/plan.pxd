"""A network's records and its pool of workspaces."""

cimport cython
cimport numpy as cnp

from fastbp_c.boundary.workspace cimport Workspace
from fastbp_c.networks.batch cimport Batch, Quantity
from fastbp_c.networks.records cimport Net


cdef int check_output(str name, out, p, X, T, weight) except -1


@cython.final
cdef class Plan:
    cdef Net net
    cdef readonly int typenum
    cdef readonly tuple slots, specification
    cdef readonly bint repeats    # whether a slot has several uses
    cdef list pool, spans
    cdef int fill_records(self) except -1
    cdef int find_uses(self, list places) except -1
    cdef int place_arrays(self) except -1
    cdef Workspace take(self, size_t size)
    cdef int give(self, Workspace workspace) except -1
    cdef double run(self, Batch *batch, const Quantity *quantity) except? -1
    cdef Batch inputs(self, cnp.ndarray p, cnp.ndarray X) except *
    cdef Batch batch(
        self, loss, cnp.ndarray p, cnp.ndarray X, cnp.ndarray T, cnp.ndarray weight, double scale
    ) except *
    cdef int loss_number(self, name) except -1
    cdef int check_parameters(self, p) except -1
    cdef int check_inputs(self, X) except -1
    cdef int check_batch(self, X, T, weight) except -1
    cdef int check_curvature(self, H, p, X, T, weight) except -1
