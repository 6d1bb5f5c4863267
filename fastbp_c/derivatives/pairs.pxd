"""Blocks of a curvature matrix, of layers whose matrices meet a sample as one row."""

from cython cimport floating

from fastbp_c.derivatives.descent cimport Descent, Room
from fastbp_c.networks.batch cimport Batch


cdef void own_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, bint add, const floating *work
) noexcept nogil

cdef void pair_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add,
    const floating *work,
) noexcept nogil

cdef void own_diagonal(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, const floating *work
) noexcept nogil
