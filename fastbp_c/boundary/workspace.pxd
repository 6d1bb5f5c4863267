"""Scratch memory: a slab that outlives a call, and how its places are dealt out.

A layout is a function that takes one array after another from an arena and notes where they are. Run on no memory it
counts what they need, run on a slab it gives their places: size and places cannot disagree.
"""

cimport cython

cdef extern from *:
    size_t SIZE_MAX

cdef enum:
    CACHE_LINE = 64


cdef struct Arena:
    char *memory        # NULL: what is taken is only counted
    size_t itemsize
    size_t used         # bytes; SIZE_MAX when there are more than can be counted


cdef inline size_t times(size_t a, size_t b) noexcept nogil:
    """a b, or the largest number there is"""
    return SIZE_MAX if b != 0 and a > SIZE_MAX // b else a * b


cdef inline void *take(Arena *arena, size_t n) noexcept nogil:
    """The next n elements, from a cache line on"""
    cdef size_t start = arena.used, size = times(n, arena.itemsize)
    if size > SIZE_MAX - CACHE_LINE or start > SIZE_MAX - CACHE_LINE - size:
        arena.used = SIZE_MAX
        return NULL
    arena.used = (start + size + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE
    return arena.memory + start if arena.memory != NULL else NULL


cdef inline Arena arena_over(void *memory, size_t itemsize) noexcept nogil:
    """All of a slab, or of none to count"""
    return Arena(<char *> memory, itemsize, 0)


@cython.final
cdef class Workspace:
    cdef void *slab
    cdef char *memory
    cdef size_t size
    cdef int reserve(self, size_t size) except -1
