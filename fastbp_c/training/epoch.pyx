"""An epoch: for one batch after the other the sum of its gradient, and the step that this makes."""

from cython cimport floating

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.interrupt cimport hold, stopped
from fastbp_c.networks.batch cimport Batch, Quantity, chunk_of, new_quantity, parts_of, walk, walk_size
from fastbp_c.networks.passes cimport deltas, gradient, output_delta
from fastbp_c.networks.records cimport Net, array_at
from fastbp_c.training.optimizer cimport Step, long_update


cdef Batch with_rows(const Batch *chunk, floating *work) noexcept nogil:
    """The chunk, the rows that it names by `order` being brought into the workspace"""
    cdef Batch here = chunk[0]
    cdef const Net *net = chunk.net
    if chunk.order != NULL:
        here.X, here.T, here.order = array_at(work, net.X, chunk.N), array_at(work, net.T, chunk.N), NULL
        simd.take_rows(chunk.N, net.n_inputs, chunk.order, <const floating *> chunk.X, <floating *> here.X)
        simd.take_rows(chunk.N, net.n_outputs, chunk.order, <const floating *> chunk.T, <floating *> here.T)
    return here


cdef double training_chunk(const Batch *chunk, void *step, floating *work) noexcept nogil:
    """g (+)= the gradient; the last chunk also makes the step, as a whole. Returns sum_n E_n"""
    cdef Batch here = with_rows(chunk, work)
    cdef double value = output_delta(&here, work, 1)
    deltas(&here, work, False)
    if stopped():
        return value
    hold(chunk.last)
    gradient(&here, <floating *> chunk.sum, work, <const Step *> step if chunk.last else NULL)
    hold(False)
    return value


cdef Quantity training_step(const Batch *batch, const Step *step, void *g) noexcept nogil:
    cdef Quantity quantity = new_quantity(batch, PASSES, <void *> step)
    quantity.of_float, quantity.of_double = training_chunk[float], training_chunk[double]
    quantity.sum, quantity.n_sum = g, batch.net.n_parameters
    return quantity


cdef size_t train_size(const Batch *batch, void *g) noexcept nogil:
    """Bytes of workspace for `train`"""
    cdef Quantity quantity = training_step(batch, NULL, g)
    return walk_size(batch, &quantity)


cdef double train(const Batch *batch, const Step *step, void *g, void *work) noexcept nogil:
    """One step on the batch; g (P,) is work; returns sum_n E_n before it

    When a signal handler has raised, the step is not made.
    """
    cdef Quantity quantity = training_step(batch, step, g)
    cdef double value = walk(batch, &quantity, work)
    if not parts_of(batch, &quantity).added or stopped():
        return value
    if batch.single:
        long_update(step, 0, batch.net.n_parameters, <const float *> g)
    else:
        long_update(step, 0, batch.net.n_parameters, <const double *> g)
    return value


cdef double train_epoch(
    const Batch *data, Py_ssize_t batch_size, Step *step, double *powers, void *g, void *work
) noexcept nogil:
    """A step for every batch_size rows, the last batch being what is left; returns sum_n E_n

    powers holds beta1^t and beta2^t. When a signal handler has raised, the other steps are not made.
    """
    cdef Batch batch
    cdef Py_ssize_t start = 0
    cdef double value = 0
    while start < data.N and not stopped():
        batch = chunk_of(data, start, min(batch_size, data.N - start))
        batch.scale, batch.last = 1.0 / batch.N, True
        powers[0] *= step.rule.beta1
        powers[1] *= step.rule.beta2
        step.beta1_power, step.beta2_power = powers[0], powers[1]
        value += train(&batch, step, g, work)
        start += batch.N
    return value
