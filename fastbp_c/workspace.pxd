"""Scratch memory that outlives a call."""

cimport cython


@cython.final
cdef class Workspace:
    cdef void *slab
    cdef char *memory
    cdef size_t size
    cdef int reserve(self, size_t size) except -1
