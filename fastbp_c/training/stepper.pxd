"""What a Trainer keeps between steps."""

cimport cython
cimport numpy as cnp

from fastbp_c.networks.batch cimport Batch
from fastbp_c.networks.plan cimport Plan
from fastbp_c.training.optimizer cimport Rule
from fastbp_c.boundary.lock cimport Lock
from fastbp_c.boundary.workspace cimport Workspace


@cython.final
cdef class Stepper:
    cdef Plan plan
    cdef cnp.ndarray parameters, gradient, order
    cdef list states, saved
    cdef Workspace work
    cdef int error
    cdef Lock lock
    cdef readonly Py_ssize_t epochs     # finished, and not taken back
    cdef double[2] powers, saved_powers
    cdef cnp.ndarray new_vector(self)
    cdef int enter(self, const Rule *rule, const Batch *batch) except -1
    cdef void leave(self) noexcept
    cdef int prepare(self, const Rule *rule, const Batch *batch) except -1
    cdef double run(self, const Rule *rule, const Batch *data, Py_ssize_t batch_size) except? -1
    cdef Batch data(self, cnp.ndarray X, cnp.ndarray T) except *
    cdef const Py_ssize_t *shuffled(self, Py_ssize_t N, bit_generator) except NULL
    cdef Py_ssize_t *order_of(self, Py_ssize_t N) except NULL
    cdef int save(self) except -1
    cdef int restore(self) except -1
