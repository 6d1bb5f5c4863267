"""Long work that Ctrl-C can end; interrupt.pxd says how it is used."""

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #define FBP_THREAD_LOCAL __declspec(thread)
    #else
    #define FBP_THREAD_LOCAL __thread
    #endif
    static FBP_THREAD_LOCAL struct { double left; int stopped; } fbp_watch;
    /* The error that a handler raised is the thread's current one already. */
    static int fbp_raise(int stopped) { return stopped ? -1 : 0; }
    """
    struct Watch:
        double left         # multiply-adds until the next look
        bint stopped        # whether a handler has raised
    Watch fbp_watch
    int fbp_raise(int stopped) except -1

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept

# Multiply-adds between two looks: 0.02 s with wide vectors, 0.2 s with the narrowest.
cdef double INTERVAL = 2.0 ** 29
cdef double NEVER = 1e300


cdef void begin() noexcept nogil:
    """From here on `go_on` looks for signals."""
    fbp_watch.left, fbp_watch.stopped = INTERVAL, False


cdef void hold() noexcept nogil:
    """Until the next `begin` no look is taken: what follows has to be done as a whole."""
    fbp_watch.left = NEVER


cdef bint go_on(double work) noexcept nogil:
    """Whether to do that much work, no signal handler having raised an exception."""
    fbp_watch.left -= work
    if fbp_watch.left < 0 and not fbp_watch.stopped:
        look()
    return not fbp_watch.stopped


cdef void look() noexcept nogil:
    cdef bint raised
    with gil:
        raised = PyErr_CheckSignals() != 0
    fbp_watch.left, fbp_watch.stopped = INTERVAL, raised  # a handler may have used them


cdef bint stopped() noexcept nogil:
    """Whether a signal handler has raised an exception since `begin`."""
    return fbp_watch.stopped


cdef int end() except -1:
    """Raise what a signal handler raised; from here on the thread's next call begins anew."""
    cdef bint raised = fbp_watch.stopped
    fbp_watch.left, fbp_watch.stopped = NEVER, False
    return fbp_raise(raised)
