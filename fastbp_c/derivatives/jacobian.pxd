"""What other derivatives take from the Jacobians: rows of derivatives, and how many fit a chunk."""

from cython cimport floating

from fastbp_c.boundary.workspace cimport Arena
from fastbp_c.networks.batch cimport Batch
from fastbp_c.networks.records cimport Net


cdef struct Rows:
    # Room for R rows a sample: where they are, and where they are taken next.
    void *work
    void *here
    void *next


cdef Rows lay_out_rows(const Net *net, Py_ssize_t N, Py_ssize_t R, Arena *arena) noexcept nogil

cdef Py_ssize_t samples_for(const Batch *batch, Py_ssize_t R) noexcept nogil

cdef void parameter_rows(
    const Batch *chunk, floating *rows, floating *back, floating *G, const floating *work,
) noexcept nogil
