"""Scratch memory that outlives a call."""

cimport cython
from cython cimport floating


@cython.final
cdef class Workspace:
    cdef void *slab
    cdef char *memory
    cdef size_t size
    cdef int reserve(self, size_t size) except -1


cdef inline size_t padded(size_t n) noexcept nogil:
    """Elements that an array of n takes, so that the next begins on a cache line."""
    return (n + 15) // 16 * 16


cdef inline floating *carve(floating **rest, size_t n) noexcept nogil:
    """The next n elements of scratch memory."""
    cdef floating *here = rest[0]
    rest[0] += padded(n)
    return here
