"""A lock for one call at a time: waiting can be interrupted, nested calls raise, and forks leave nobody waiting.

    self.lock = Lock(True)      True: a fork waits for the call that is on, and the child finds what it changed whole
    self.lock.take(who)         waits for the calls of other threads; take_now(who) raises instead
    self.lock.give()

Between the two no object is made: the collector might run, and a finalizer come back for the same lock.
"""

cimport cython
from cpython.pythread cimport PyThread_type_lock


cdef struct Place:
    # What there is of a lock. Places are never freed, only used again: a fork may be looking at any of them.
    PyThread_type_lock in_use
    unsigned long owner     # the thread whose call is on, 0 for none; only this thread itself relies on it
    bint whole              # a fork waits for the call that is on
    bint at_rest            # taken by a fork, not by a call
    bint torn               # the child of a fork: the call that was on is lost, with half of its work done
    Place *next
    Place *next_unused


@cython.final
cdef class Lock:
    cdef Place *place
    cdef int take(self, str who) except -1
    cdef int take_now(self, str who) except -1
    cdef void give(self) noexcept
    cdef int enter(self, str who) except -1
