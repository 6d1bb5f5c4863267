"""Scratch memory that outlives a call."""

cimport cython
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc


@cython.final
cdef class Workspace:
    """One slab aligned to a cache line. It grows, never shrinks, and belongs to one call at a time."""

    def __dealloc__(self):
        free(self.slab)

    cdef int reserve(self, size_t size) except -1:
        """Make room for that many bytes; what the slab held is lost when it grows."""
        if size <= self.size:
            return 0
        cdef void *slab = malloc(size + CACHE_LINE) if size < SIZE_MAX - CACHE_LINE else NULL
        if slab == NULL:
            raise MemoryError(f"workspace: expected room for {size} bytes, got none")
        free(self.slab)
        self.slab = slab
        self.memory = <char *> ((<uintptr_t> slab + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
        self.size = size
        return 0
