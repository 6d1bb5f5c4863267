"""Training steps and whole epochs over a plan, in one nogil call each."""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint32_t, uint64_t

from fastbp_c.boundary.check cimport check_apart, check_vector
from fastbp_c.boundary.interrupt cimport begin, end
from fastbp_c.boundary.lock cimport Lock
from fastbp_c.boundary.team cimport enlist, expect
from fastbp_c.boundary.workspace cimport Workspace
from fastbp_c.networks.batch cimport Batch, chunk_of
from fastbp_c.networks.plan cimport Plan
from fastbp_c.training.epoch cimport PASSES, train_epoch, train_size
from fastbp_c.training.optimizer cimport Optimizer, Rule, Step, n_states

import numpy as np

cnp.import_array()

cdef extern from "numpy/random/bitgen.h":
    ctypedef struct bitgen_t:
        void *state
        uint32_t (*next_uint32)(void *) noexcept nogil


cdef void shuffle(bitgen_t *generator, Py_ssize_t N, Py_ssize_t *order) noexcept nogil:
    """A random order of 0 to N - 1: Fisher and Yates, unbiased by Lemire's multiplication (N fits 32 bits)"""
    cdef Py_ssize_t i, j
    cdef uint32_t bound
    cdef uint64_t m
    for i in range(N):
        order[i] = i
    for i in range(N - 1, 0, -1):
        bound = <uint32_t> (i + 1)
        m = <uint64_t> generator.next_uint32(generator.state) * bound
        while <uint32_t> m < (<uint32_t> -bound) % bound:
            m = <uint64_t> generator.next_uint32(generator.state) * bound
        j = <Py_ssize_t> (m >> 32)
        order[i], order[j] = order[j], order[i]


@cython.final
cdef class Stepper:
    """What a Trainer keeps between steps: gradient, the optimizer's memory, a workspace of its own.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray of shape (P,)
        Updated in place by every step.
    loss : str or None
        None is the error function that belongs to the output unit.
    """

    def __cinit__(self, Plan plan not None, cnp.ndarray parameters not None, loss):
        check_vector("parameters", parameters, plan.typenum, plan.net.n_parameters, "the network's parameters", True)
        self.error = plan.loss_number(loss)
        self.plan = plan
        self.parameters = parameters
        self.gradient = self.new_vector()
        self.states = []
        self.saved = []
        self.work = Workspace()
        self.powers[0] = self.powers[1] = 1
        self.lock = Lock(False)

    cdef cnp.ndarray new_vector(self):
        cdef cnp.npy_intp size = self.plan.net.n_parameters
        return cnp.PyArray_ZEROS(1, &size, self.plan.typenum, 0)

    cdef int enter(self, const Rule *rule, const Batch *batch) except -1:
        """Take the stepper, with everything that steps on such batches by that rule need; `leave` gives it back."""
        self.lock.take_now("trainer")
        try:
            self.prepare(rule, batch)
        except BaseException:
            self.leave()
            raise
        return 0

    cdef void leave(self) noexcept:
        self.lock.give()

    cdef int prepare(self, const Rule *rule, const Batch *batch) except -1:
        check_vector("parameters", self.parameters, self.plan.typenum, self.plan.net.n_parameters,
                     "the network's parameters", True)
        self.work.reserve(train_size(batch, cnp.PyArray_DATA(self.gradient)))
        while len(self.states) < n_states(rule):
            self.states.append(self.new_vector())
        return 0

    cdef double run(self, const Rule *rule, const Batch *data, Py_ssize_t batch_size) except? -1:
        """The steps of an epoch; when a signal handler has raised, of a part of it."""
        cdef Step step
        cdef double value
        step.rule, step.p, step.first, step.second = rule, cnp.PyArray_DATA(self.parameters), NULL, NULL
        if n_states(rule) > 0:
            step.first = cnp.PyArray_DATA(self.states[0])
        if n_states(rule) > 1:
            step.second = cnp.PyArray_DATA(self.states[1])
        begin()
        with nogil:
            expect(PASSES * self.plan.net.multiply_adds * data.N)
            value = train_epoch(data, batch_size, &step, self.powers, cnp.PyArray_DATA(self.gradient),
                                self.work.memory)
            expect(0)
        end()
        if n_states(rule) == 0:
            self.states.clear()  # a momentum that comes back starts from rest
        return value

    cdef Batch data(self, cnp.ndarray X, cnp.ndarray T) except *:
        """All rows of X and T, checked."""
        self.plan.check_batch(X, T, None)
        check_apart("X", X, "parameters", self.parameters)
        check_apart("T", T, "parameters", self.parameters)
        cdef int workers = enlist(PASSES * self.plan.net.multiply_adds * X.shape[0])
        return Batch(&self.plan.net, self.plan.typenum == cnp.NPY_FLOAT, self.error, 1, workers, X.shape[0],
                     cnp.PyArray_DATA(self.parameters), cnp.PyArray_DATA(X), cnp.PyArray_DATA(T), NULL, NULL, 0,
                     NULL, False, True)

    def step(self, Optimizer optimizer not None, cnp.ndarray X not None, cnp.ndarray T not None):
        """One step on all rows of X as one batch; returns the mean of E_n before it (0 for no rows).

        An exception of a signal handler (Ctrl-C) leaves parameters and optimizer as they were.
        """
        cdef Batch data = self.data(X, T)
        cdef Rule rule = optimizer.rule
        cdef double[2] powers
        self.enter(&rule, &data)
        powers = self.powers
        try:
            return self.run(&rule, &data, data.N) / max(1, data.N)
        except BaseException:
            self.powers = powers
            raise
        finally:
            self.leave()

    def epoch(self, Optimizer optimizer not None, cnp.ndarray X not None, cnp.ndarray T not None,
              Py_ssize_t batch_size, bit_generator=None):
        """One pass over X in minibatches; returns the mean of E_n, each taken before its batch's step.

        The rows are taken in an order drawn from the numpy BitGenerator, or as they come if there is none. An
        exception of a signal handler (Ctrl-C) leaves parameters and optimizer as they were before the epoch.
        """
        cdef Batch data = self.data(X, T), batch
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if bit_generator is not None and not isinstance(bit_generator, np.random.BitGenerator):
            raise TypeError(f"bit_generator: expected a BitGenerator, got {type(bit_generator).__name__}")
        cdef Rule rule = optimizer.rule
        batch_size = min(batch_size, max(1, data.N))
        batch = chunk_of(&data, 0, min(batch_size, data.N))
        cdef double value
        self.enter(&rule, &batch)
        try:
            if bit_generator is not None:
                data.order = self.shuffled(data.N, bit_generator)
            self.save()
            try:
                value = self.run(&rule, &data, batch_size)
            except BaseException:
                self.restore()
                raise
            self.epochs += 1
        finally:
            self.leave()
        return value / max(1, data.N)

    def undo(self):
        """Take back the epoch that was the last thing done: parameters and optimizer as they were before it."""
        self.lock.take_now("trainer")
        try:
            self.restore()
            self.epochs -= 1
        finally:
            self.leave()

    cdef const Py_ssize_t *shuffled(self, Py_ssize_t N, bit_generator) except NULL:
        """A random order of N rows."""
        cdef bitgen_t *generator = <bitgen_t *> PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
        cdef Py_ssize_t *order = self.order_of(N)
        with bit_generator.lock, nogil:
            shuffle(generator, N, order)
        return order

    cdef Py_ssize_t *order_of(self, Py_ssize_t N) except NULL:
        """Room for the order of N rows, kept for the next epoch."""
        cdef cnp.npy_intp size = max(1, N)
        if self.order is None or self.order.shape[0] < N:
            self.order = cnp.PyArray_EMPTY(1, &size, cnp.NPY_INTP, 0)
        return <Py_ssize_t *> cnp.PyArray_DATA(self.order)

    cdef int save(self) except -1:
        """Remember parameters and the optimizer's memory, in arrays that are kept for the next time."""
        cdef list live = [self.parameters, *self.states]
        while len(self.saved) < len(live):
            self.saved.append(self.new_vector())
        for kept, x in zip(self.saved, live):
            kept[...] = x
        self.saved_powers = self.powers
        return 0

    cdef int restore(self) except -1:
        for kept, x in zip(self.saved, [self.parameters, *self.states]):
            x[...] = kept
        self.powers = self.saved_powers
        return 0
