"""Long work that Ctrl-C can end; interrupt.pxd says how it is used."""

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #define FBP_THREAD_LOCAL __declspec(thread)
    #else
    #define FBP_THREAD_LOCAL __thread
    #endif
    static FBP_THREAD_LOCAL struct { double left; int held, stopped; const int *leader; } fbp_watch = {0, 1, 0, 0};
    #ifdef __GNUC__
    static int fbp_is_set(const int *flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }
    #else
    static int fbp_is_set(const int *flag) { return *(const volatile int *)flag; }
    #endif
    /* The error that a handler raised is the thread's current one already. */
    static int fbp_raise(int stopped) { return stopped ? -1 : 0; }
    """
    struct Watch:
        double left         # multiply-adds until the next look
        bint held           # whether no look is to be taken; none is outside of `begin` and `end`
        bint stopped        # whether a handler has raised
        const int *leader   # of a helper: whether the thread it works for has been stopped; else NULL
    Watch fbp_watch
    bint fbp_is_set(const int *flag) noexcept nogil
    int fbp_raise(int stopped) except -1

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept

# Multiply-adds between two looks: 0.01 s with wide vectors, 0.1 s with the narrowest.
cdef double INTERVAL = 2.0 ** 28


cdef void begin() noexcept nogil:
    """From here on `go_on` looks for signals."""
    fbp_watch.left, fbp_watch.held, fbp_watch.stopped = INTERVAL, False, False


cdef void hold(bint held) noexcept nogil:
    """No look is taken from `hold(True)` to `hold(False)`."""
    fbp_watch.held = held


cdef bint go_on(double work) noexcept nogil:
    """Whether to do that much work, no signal handler having raised an exception."""
    fbp_watch.left -= work
    if fbp_watch.left < 0 and not fbp_watch.held and not fbp_watch.stopped:
        look()
    return not fbp_watch.stopped


cdef void follow(const int *leader) noexcept nogil:
    """From here on this thread is stopped when that flag is set; NULL: no longer."""
    fbp_watch.left, fbp_watch.held, fbp_watch.stopped, fbp_watch.leader = INTERVAL, leader == NULL, False, leader


cdef void look() noexcept nogil:
    cdef bint raised
    if fbp_watch.leader != NULL:
        fbp_watch.left, fbp_watch.stopped = INTERVAL, fbp_is_set(fbp_watch.leader)
        return
    fbp_watch.held = True  # for what a handler calls
    with gil:
        raised = PyErr_CheckSignals() != 0
    fbp_watch.left, fbp_watch.held, fbp_watch.stopped = INTERVAL, False, raised


cdef bint stopped() noexcept nogil:
    """Whether a signal handler has raised an exception since `begin`."""
    return fbp_watch.stopped


cdef int end() except -1:
    """Raise what a signal handler raised."""
    cdef bint raised = fbp_watch.stopped
    fbp_watch.held, fbp_watch.stopped = True, False
    return fbp_raise(raised)
