"""Blocks of a curvature matrix, of uses of slots of any kind."""

from cython cimport floating

from fastbp_c.derivatives.descent cimport Descent, Room
from fastbp_c.networks.batch cimport Batch


cdef void block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add,
    const floating *work,
) noexcept nogil

cdef void diagonal_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, const floating *work,
) noexcept nogil
