"""Work that is shared with idle helpers: pieces with numbers, which whoever is free does next (src/team.h).

    workers = enlist(work)                          at the entry point of a call
    share(pieces, work, workers, piece, task)       wherever work can be divided

The caller does pieces, too, and goes on when all are done. What a piece is follows from shapes alone and is done in the
same way by whoever has it; so nothing depends on how many helpers there are. A piece gets a number below `workers`
and below `pieces`, that of the workspace it may use. Within a piece nothing is shared: there `share` does all by
itself, as number 0 of what the piece has for itself.

Long pieces look for signals (interrupt.pxd); when a handler has raised, what is left is not done.
"""

ctypedef void (*Piece)(void *task, Py_ssize_t piece, int worker) noexcept nogil

cdef int enlist(double work) noexcept nogil
cdef int enlisted() noexcept nogil
cdef void expect(double work) noexcept nogil
cdef void share(Py_ssize_t pieces, double work, int workers, Piece piece, void *task) noexcept nogil
