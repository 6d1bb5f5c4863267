"""A lock for one call at a time; lock.pxd says how it is used.

A fork copies the thread that calls it and no other. So the child gets new locks, and calls of other threads are lost
there. Where that would leave half of a change, the fork waits for the call first:

1. One thread forks at a time, and takes all locks that have to be whole before it does. It waits for one only while
   it has no other, since a call that has one may wait for another: a handler of signals may run in it.
2. Unless it has one of them itself: a handler of signals that forks, in the middle of a call. It waits for nobody, as
   somebody may be waiting for it. Its call goes on in both processes. In the child, what other threads were just
   changing is torn, and calls say so.
"""

cimport cython
from cpython.pythread cimport (
    NOWAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock, WAIT_LOCK,
)
from libc.stdlib cimport calloc, free

import os

cdef extern from "Python.h":
    ctypedef long long PY_TIMEOUT_T
    int PyErr_CheckSignals() except -1
    unsigned long PyThread_get_thread_ident() nogil
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, PY_TIMEOUT_T microseconds, int interrupted) nogil

cdef enum:
    LOOK = 50000  # microseconds between two looks for signals, which may have gone to another thread

cdef Place *places = NULL                   # all of them
cdef Place *unused[2]                       # by what `whole` is, which a place keeps
cdef PyThread_type_lock list_in_use = NULL  # for a few assignments to pointers
cdef PyThread_type_lock fork_in_use = NULL
cdef unsigned long forking = 0              # the thread that has taken the locks
cdef int depth = 0                          # a hook of somebody else's may fork, too


cdef bint acquired(PyThread_type_lock lock) noexcept nogil:
    """Wait for a lock, at most until it is time to look for signals."""
    return PyThread_acquire_lock_timed(lock, LOOK, 1) == 1


cdef Place *new_place(bint whole) except NULL:
    """A place that nobody uses: one that was given back, or a new one."""
    global places
    cdef Place *place
    PyThread_acquire_lock(list_in_use, WAIT_LOCK)
    place = unused[whole]
    if place != NULL:
        unused[whole] = place.next_unused
    PyThread_release_lock(list_in_use)
    if place != NULL:
        return place
    place = <Place *> calloc(1, sizeof(Place))
    if place != NULL:
        place.in_use = PyThread_allocate_lock()
    if place == NULL or place.in_use == NULL:
        free(place)
        raise MemoryError("lock: expected room for one, got none")
    place.whole = whole
    PyThread_acquire_lock(list_in_use, WAIT_LOCK)
    place.next = places
    places = place
    PyThread_release_lock(list_in_use)
    return place


@cython.final
cdef class Lock:
    """A lock for one call at a time.

    Parameters
    ----------
    whole : bool
        Whether a fork waits for the call that is on, so that the child finds what it changed whole.
    """

    def __cinit__(self, bint whole):
        self.place = new_place(whole)
        self.place.torn = False

    def __dealloc__(self):
        if self.place == NULL:
            return
        PyThread_acquire_lock(list_in_use, WAIT_LOCK)
        self.place.next_unused = unused[self.place.whole]
        unused[self.place.whole] = self.place
        PyThread_release_lock(list_in_use)

    cdef int take(self, str who) except -1:
        """Wait for the calls of other threads, without the GIL and with an ear for signals."""
        cdef Place *place = self.place
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef bint mine = PyThread_acquire_lock(place.in_use, NOWAIT_LOCK)
        while not mine:
            if place.owner == me:
                raise RuntimeError(f"{who}: expected one call at a time, got a call from within another")
            with nogil:
                mine = acquired(place.in_use)
            if not mine:
                PyErr_CheckSignals()
        return self.enter(who)

    cdef int take_now(self, str who) except -1:
        """Raise if there is a call on already."""
        if not PyThread_acquire_lock(self.place.in_use, NOWAIT_LOCK):
            raise RuntimeError(f"{who}: expected one call at a time, got a second one during the first")
        return self.enter(who)

    cdef int enter(self, str who) except -1:
        if self.place.torn:
            PyThread_release_lock(self.place.in_use)
            raise RuntimeError(f"{who}: expected it as one call had left it, got it from a fork during another")
        self.place.owner = PyThread_get_thread_ident()
        return 0

    cdef void give(self) noexcept:
        self.place.owner = 0
        PyThread_release_lock(self.place.in_use)


cdef bint has_one(unsigned long thread) noexcept:
    """Whether a call of that thread is on that forks wait for."""
    cdef Place *place = places
    while place != NULL:
        if place.whole and place.owner == thread:
            return True
        place = place.next
    return False


cdef void wait_for(PyThread_type_lock lock) noexcept:
    if not PyThread_acquire_lock(lock, NOWAIT_LOCK):
        with nogil:
            PyThread_acquire_lock(lock, WAIT_LOCK)


cdef bint take_all(unsigned long me) noexcept:
    """Take them without waiting; where that fails, with none of them in hand, wait for the one that is in use."""
    cdef Place *place = places
    while place != NULL:
        if place.whole and not place.at_rest:
            if not PyThread_acquire_lock(place.in_use, NOWAIT_LOCK):
                give_all()
                wait_for(place.in_use)
                place.at_rest, place.owner = True, me
                return False
            place.at_rest, place.owner = True, me
        place = place.next
    return True


cdef void give_all() noexcept:
    cdef Place *place = places
    while place != NULL:
        if place.at_rest:
            place.at_rest, place.owner = False, 0
            PyThread_release_lock(place.in_use)
        place = place.next


def before_fork():
    """Take all locks that have to be whole."""
    global forking, depth
    cdef unsigned long me = PyThread_get_thread_ident()
    if forking == me:
        depth += 1
        return
    if has_one(me):
        return
    # Signals wait until the fork is over: what a handler raised here would be lost.
    wait_for(fork_in_use)
    forking = me
    while not take_all(me):
        pass


def after_fork_in_parent():
    """Give them back."""
    global forking, depth
    if forking != PyThread_get_thread_ident():
        return
    if depth > 0:
        depth -= 1
        return
    give_all()
    forking = 0
    PyThread_release_lock(fork_in_use)


def after_fork_in_child():
    """New locks for old ones, which may have a thread waiting that is no more; they are left to themselves."""
    global forking, depth, list_in_use, fork_in_use
    cdef unsigned long me = PyThread_get_thread_ident()
    cdef Place *place = places
    list_in_use, fork_in_use = renewed(list_in_use), renewed(fork_in_use)
    while place != NULL:
        place.in_use = renewed(place.in_use)
        if place.owner == me and not place.at_rest:
            PyThread_acquire_lock(place.in_use, NOWAIT_LOCK)  # the call around this fork goes on
        else:
            place.torn = place.torn or place.whole and place.owner != 0 and not place.at_rest
            place.owner = 0
        place.at_rest = False
        place = place.next
    forking = depth = 0


cdef PyThread_type_lock renewed(PyThread_type_lock lock) noexcept:
    cdef PyThread_type_lock new = PyThread_allocate_lock()
    return lock if new == NULL else new


list_in_use, fork_in_use = PyThread_allocate_lock(), PyThread_allocate_lock()
if list_in_use == NULL or fork_in_use == NULL:
    raise MemoryError("lock: expected room for one, got none")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=before_fork, after_in_parent=after_fork_in_parent, after_in_child=after_fork_in_child
    )
