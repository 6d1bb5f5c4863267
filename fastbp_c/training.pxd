"""What a Trainer keeps between steps."""

cimport cython
cimport numpy as cnp

from fastbp_c.network cimport Plan
from fastbp_c.optimizer cimport Optimizer
from fastbp_c.workspace cimport Workspace


@cython.final
cdef class Stepper:
    cdef Plan plan
    cdef cnp.ndarray parameters, gradient, order
    cdef list states, saved
    cdef Workspace work
    cdef int error
    cdef double[2] powers, saved_powers
    cdef cnp.ndarray new_vector(self)
    cdef int prepare(self, Optimizer optimizer, Py_ssize_t batch_size) except -1
    cdef double run(
        self, Optimizer optimizer, Py_ssize_t N, Py_ssize_t batch_size, const Py_ssize_t *order, const void *X,
        const void *T,
    ) noexcept
    cdef Py_ssize_t *order_of(self, Py_ssize_t N) except NULL
    cdef int save(self) except -1
    cdef int restore(self) except -1
