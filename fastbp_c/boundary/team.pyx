"""When work is shared, and with how many; team.pxd says how."""

import atexit
import os

from fastbp_c.boundary.interrupt cimport follow, go_on, stopped

cdef extern from "team.h":
    enum:
        FBP_MOST_WORKERS
    ctypedef struct fbp_worker:
        int number, inside
        const int *stop
        int workers
        double ahead
    fbp_worker *fbp_me() noexcept nogil
    int fbp_open(Py_ssize_t pieces, Piece function, void *task, int workers, int wanted, bint wake) noexcept nogil
    Py_ssize_t fbp_claim(int place) noexcept nogil
    void fbp_drop(int place) noexcept nogil
    bint fbp_finish(int place) noexcept nogil
    int fbp_usual_workers() noexcept nogil
    void fbp_expect(bint more) noexcept nogil
    int fbp_workers() noexcept nogil
    void fbp_set_workers(int n, int most) noexcept nogil
    int fbp_helpers() noexcept nogil
    int fbp_idle() noexcept nogil
    bint fbp_begin() noexcept nogil
    void fbp_before_fork() noexcept nogil
    void fbp_after_fork() noexcept nogil

cdef enum:
    # In multiply-adds, of which wide vectors do some 70000 in a microsecond. What one processor has just written takes
    # another some time to read, which is why it takes so many. benches/bench_threads.py
    WARM = 1 << 22      # of all pieces, that are shared with helpers which are awake
    COLD = 1 << 23      # for which helpers are woken up
    BETWEEN = 1 << 26   # from one time to the next, for less than that
    SHARE = 1 << 20     # for one of them
    LONG = 1 << 29      # as good as a hundredth of a second of waiting: a look for signals is due


cdef struct Shared:
    Piece piece
    void *task


cdef void of_helper(void *shared_, Py_ssize_t piece, int worker) noexcept nogil:
    """A piece, stopping when its caller is stopped"""
    cdef const Shared *shared = <const Shared *> shared_
    follow(fbp_me().stop)
    shared.piece(shared.task, piece, worker)
    follow(NULL)


cdef int enlist(double work) noexcept nogil:
    """How many workers a call may use that has so many multiply-adds to do"""
    cdef fbp_worker *me = fbp_me()
    me.workers = 1 if work < WARM or me.inside else fbp_workers()
    return me.workers


cdef int enlisted() noexcept nogil:
    """What `enlist` has said last: for offers whose pieces need no workspace"""
    return fbp_me().workers


cdef void expect(double work) noexcept nogil:
    """So much follows in offers too small for waking anybody"""
    fbp_me().ahead = work
    fbp_expect(work >= COLD)


cdef int offered(Py_ssize_t pieces, double work, int workers, Shared *shared) noexcept nogil:
    """The place of an offer that somebody may take, or -1"""
    cdef fbp_worker *me = fbp_me()
    cdef int most = <int> min(pieces, <Py_ssize_t> workers)
    cdef int wanted = <int> min(<double> most - 1, work / SHARE)
    cdef bint wake = work >= COLD
    if me.inside or wanted < 1:
        return -1
    if not wake and me.ahead >= BETWEEN and fbp_idle() < wanted:
        wake = True
        me.ahead -= BETWEEN
    return fbp_open(pieces, of_helper, shared, most, wanted, wake)


cdef void share(Py_ssize_t pieces, double work, int workers, Piece piece, void *task) noexcept nogil:
    """Have all pieces done, of so many multiply-adds together"""
    cdef fbp_worker *me
    cdef Shared shared = Shared(piece, task)
    cdef Py_ssize_t number
    cdef int place = offered(pieces, work, workers, &shared) if work >= WARM and workers > 1 and pieces > 1 else -1
    if place < 0:
        for number in range(pieces):
            if stopped():
                return
            piece(task, number, 0)
        return
    me = fbp_me()
    me.inside = True
    number = fbp_claim(place)
    while number >= 0:
        piece(task, number, 0)
        if stopped():
            fbp_drop(place)
        number = fbp_claim(place)
    me.inside = False
    while not fbp_finish(place):
        if not go_on(LONG):
            fbp_drop(place)


def set_threads(int n, int most=FBP_MOST_WORKERS):
    """How many threads a call may use, itself included; 0: as many as there are processors for it, up to `most`."""
    fbp_set_workers(n, most)


def usual_threads():
    """How many threads a call may use, but for the limits of this thread and of others."""
    return fbp_usual_workers()


def threads():
    """How many threads a call of this thread may use."""
    return fbp_workers()


def helpers():
    """How many helpers there are."""
    return fbp_helpers()


def end_helpers():
    """End the helpers, each after its piece; none is started until `let_helpers_start`, or in a child."""
    with nogil:
        fbp_before_fork()


def let_helpers_start():
    """From here on they may be started again."""
    fbp_after_fork()


if not fbp_begin():
    raise MemoryError("expected memory for a thread's own number of threads, got none")
atexit.register(end_helpers)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=end_helpers, after_in_parent=let_helpers_start)
