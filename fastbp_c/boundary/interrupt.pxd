"""Long work that Ctrl-C can end: kernels tell how much they have done, and now and then a look is taken for signals.

    begin()                     at the entry point, before the GIL is released
    if not go_on(work): break   in loops, without the GIL; `work` multiply-adds, or what takes as long, come next
    hold(True) … hold(False)    around what has to be done as a whole
    end()                       at the entry point, with the GIL: raises what a signal handler raised

What a stopped kernel leaves in its results is of no meaning; whoever owns state restores it before `end`. The state is
one of the thread, so that nothing has to be handed down, and a handler may itself call the library. Kernels that are
called without `begin`, as those of affine.pxd may be, take no looks and do all their work.
"""


cdef void begin() noexcept nogil
cdef void hold(bint held) noexcept nogil
cdef void follow(const int *leader) noexcept nogil
cdef bint go_on(double work) noexcept nogil
cdef bint stopped() noexcept nogil
cdef int end() except -1
