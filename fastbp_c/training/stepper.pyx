"""Training steps and whole epochs over a plan, in one nogil call each."""

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.pythread cimport (
    NOWAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
)
from cython cimport floating
from libc.stdint cimport uint32_t, uint64_t

from fastbp_c.boundary.check cimport check_vector
from fastbp_c.networks.plan cimport Plan
from fastbp_c.training.optimizer cimport Optimizer, Rule, Step, n_states
from fastbp_c.networks.passes cimport batch_gradient
from fastbp_c.networks.records cimport PRODUCT, Layer, Net, work_size
from fastbp_c.boundary.workspace cimport Workspace

import numpy as np

cnp.import_array()

cdef extern from "numpy/random/bitgen.h":
    ctypedef struct bitgen_t:
        void *state
        uint32_t (*next_uint32)(void *) noexcept nogil

# Multiply-adds between two looks for Ctrl-C: some tens of milliseconds.
cdef double SIGNAL_WORK = 2.0 ** 31


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


cdef double train(
    const Net *net, int error, const Rule *rule, Py_ssize_t N, Py_ssize_t batch_size, const Py_ssize_t *order,
    const floating *X, const floating *T, floating *p, floating *g, floating *first, floating *second,
    double *powers, floating *work,
) noexcept nogil:
    """One step for every batch_size rows of N, the last batch being what is left; returns sum_n E_n

    The rows are those that `order` names, or the first N. powers holds beta1^t and beta2^t.
    """
    cdef Py_ssize_t start = 0, rows
    cdef Step step
    cdef double value = 0
    step.rule, step.p, step.first, step.second = rule, p, first, second
    while start < N:
        rows = min(batch_size, N - start)
        powers[0] *= rule.beta1
        powers[1] *= rule.beta2
        step.beta1_power, step.beta2_power = powers[0], powers[1]
        if order == NULL:
            value += batch_gradient(net, error, rows, NULL, p, X + start * net.n_inputs, T + start * net.n_outputs,
                                    NULL, <floating> (1.0 / rows), g, work, &step)
        else:
            value += batch_gradient(net, error, rows, order + start, p, X, T, NULL, <floating> (1.0 / rows), g, work,
                                    &step)
        start += rows
    return value


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
        self.in_use = PyThread_allocate_lock()
        if self.in_use == NULL:
            raise MemoryError("trainer: expected room for a lock, got none")

    def __dealloc__(self):
        if self.in_use != NULL:
            PyThread_free_lock(self.in_use)

    cdef cnp.ndarray new_vector(self):
        cdef cnp.npy_intp size = self.plan.net.n_parameters
        return cnp.PyArray_ZEROS(1, &size, self.plan.typenum, 0)

    cdef int enter(self, const Rule *rule, Py_ssize_t batch_size) except -1:
        """Take the stepper, with everything that steps of that size and by that rule need; `leave` gives it back."""
        if not PyThread_acquire_lock(self.in_use, NOWAIT_LOCK):
            raise RuntimeError("trainer: expected one call at a time, got a second one during the first")
        try:
            self.prepare(rule, batch_size)
        except BaseException:
            self.leave()
            raise
        return 0

    cdef void leave(self) noexcept:
        PyThread_release_lock(self.in_use)

    cdef int prepare(self, const Rule *rule, Py_ssize_t batch_size) except -1:
        check_vector("parameters", self.parameters, self.plan.typenum, self.plan.net.n_parameters,
                     "the network's parameters", True)
        cdef size_t size = work_size(&self.plan.net, batch_size)
        self.work.reserve(size * (4 if self.plan.typenum == cnp.NPY_FLOAT else 8))
        if n_states(rule) == 0:
            self.states.clear()  # a momentum that comes back starts from rest
        while len(self.states) < n_states(rule):
            self.states.append(self.new_vector())
        return 0

    cdef double run(
        self, const Rule *rule, Py_ssize_t N, Py_ssize_t batch_size, const Py_ssize_t *order, const void *X,
        const void *T,
    ) noexcept:
        cdef void *p = cnp.PyArray_DATA(self.parameters)
        cdef void *g = cnp.PyArray_DATA(self.gradient)
        cdef void *first = NULL
        cdef void *second = NULL
        cdef const Net *net = &self.plan.net
        cdef double value
        if len(self.states) > 0:
            first = cnp.PyArray_DATA(self.states[0])
        if len(self.states) > 1:
            second = cnp.PyArray_DATA(self.states[1])
        with nogil:
            if self.plan.typenum == cnp.NPY_FLOAT:
                value = train(net, self.error, rule, N, batch_size, order, <const float *> X, <const float *> T,
                              <float *> p, <float *> g, <float *> first, <float *> second, self.powers,
                              <float *> self.work.memory)
            else:
                value = train(net, self.error, rule, N, batch_size, order, <const double *> X, <const double *> T,
                              <double *> p, <double *> g, <double *> first, <double *> second, self.powers,
                              <double *> self.work.memory)
        return value

    def step(self, Optimizer optimizer not None, cnp.ndarray X not None, cnp.ndarray T not None):
        """One step on all rows of X as one batch; returns the mean of E_n before it (0 for no rows)."""
        self.plan.check_batch(X, T, None)
        cdef Py_ssize_t N = X.shape[0]
        cdef Rule rule = optimizer.rule
        self.enter(&rule, N)
        cdef double value = self.run(&rule, N, N, NULL, cnp.PyArray_DATA(X), cnp.PyArray_DATA(T))
        self.leave()
        return value / max(1, N)

    def epoch(self, Optimizer optimizer not None, cnp.ndarray X not None, cnp.ndarray T not None,
              Py_ssize_t batch_size, bit_generator=None):
        """One pass over X in minibatches; returns the mean of E_n, each taken before its batch's step.

        The rows are taken in an order drawn from the numpy BitGenerator, or as they come if there is none. An
        exception of a signal handler (Ctrl-C) leaves parameters and optimizer as they were before the epoch.
        """
        self.plan.check_batch(X, T, None)
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        if bit_generator is not None and not isinstance(bit_generator, np.random.BitGenerator):
            raise TypeError(f"bit_generator: expected a BitGenerator, got {type(bit_generator).__name__}")
        cdef Py_ssize_t N = X.shape[0]
        cdef Rule rule = optimizer.rule
        batch_size = min(batch_size, max(1, N))
        self.enter(&rule, batch_size)
        cdef double value
        try:
            value = self.run_epoch(&rule, N, batch_size, X, T, bit_generator)
            self.epochs += 1
        finally:
            self.leave()
        return value / max(1, N)

    def undo(self):
        """Take back the epoch that was the last thing done: parameters and optimizer as they were before it."""
        self.restore()
        self.epochs -= 1

    cdef double run_epoch(
        self, const Rule *rule, Py_ssize_t N, Py_ssize_t batch_size, cnp.ndarray X, cnp.ndarray T, bit_generator
    ) except? -1:
        cdef Py_ssize_t start = 0, rows, stretch
        cdef Py_ssize_t *order = NULL
        cdef double value = 0
        cdef bitgen_t *generator
        if bit_generator is not None:
            generator = <bitgen_t *> PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
            order = self.order_of(N)
            with bit_generator.lock, nogil:
                shuffle(generator, N, order)
        self.save()
        stretch = batch_size * max(1, <Py_ssize_t> (SIGNAL_WORK / self.step_work(batch_size)))
        try:
            while start < N:
                rows = min(stretch, N - start)
                if order == NULL:
                    value += self.run(rule, rows, batch_size, NULL,
                                      cnp.PyArray_BYTES(X) + start * cnp.PyArray_STRIDE(X, 0),
                                      cnp.PyArray_BYTES(T) + start * cnp.PyArray_STRIDE(T, 0))
                else:
                    value += self.run(rule, rows, batch_size, order + start, cnp.PyArray_DATA(X),
                                      cnp.PyArray_DATA(T))
                start += rows
                PyErr_CheckSignals()
        except BaseException:
            self.restore()
            raise
        return value

    cdef double step_work(self, Py_ssize_t batch_size) noexcept:
        """Multiply-adds of a step, or what takes as long."""
        cdef double work = 0
        cdef Py_ssize_t l
        cdef const Layer *layer
        for l in range(self.plan.net.n_layers):
            layer = &self.plan.net.layers[l]
            if layer.kind == PRODUCT:
                work += 3.0 * batch_size * layer.groups * layer.rows * layer.columns
            work += 50.0 * batch_size * layer.n_out
        return work

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
