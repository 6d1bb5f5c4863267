"""An epoch: for one batch after the other the sum of its gradient, and the step that this makes."""

from cython cimport floating

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.interrupt cimport hold, stopped
from fastbp_c.networks.batch cimport Batch, Quantity, chunk_of, is_long, new_quantity, walk, walk_size
from fastbp_c.networks.passes cimport deltas, gradient, output_delta
from fastbp_c.networks.records cimport Net, array_at
from fastbp_c.training.optimizer cimport Step, update


cdef struct Training:
    void *g
    const Step *step


cdef Batch with_rows(const Batch *chunk, floating *work) noexcept nogil:
    """The chunk, the rows that it names by `order` being brought into the workspace"""
    cdef Batch here = chunk[0]
    cdef const Net *net = chunk.net
    if chunk.order != NULL:
        here.X, here.T = array_at(work, net.X, chunk.N), array_at(work, net.T, chunk.N)
        simd.take_rows(chunk.N, net.n_inputs, chunk.order, <const floating *> chunk.X, <floating *> here.X)
        simd.take_rows(chunk.N, net.n_outputs, chunk.order, <const floating *> chunk.T, <floating *> here.T)
    return here


cdef double training_chunk(const Batch *chunk, void *wanted, floating *work) noexcept nogil:
    """g (+)= the gradient; the last chunk also makes the step, as a whole. Returns sum_n E_n"""
    cdef const Training *training = <const Training *> wanted
    cdef Batch here = with_rows(chunk, work)
    cdef double value = output_delta(&here, work, 1)
    deltas(&here, work, False)
    if stopped():
        return value
    hold(chunk.last)
    gradient(&here, <floating *> training.g, work, training.step if chunk.last else NULL)
    hold(False)
    return value


cdef Quantity training_step(const Batch *batch, Training *training) noexcept nogil:
    cdef Quantity quantity = new_quantity(batch, 3, training)
    quantity.of_float, quantity.of_double = training_chunk[float], training_chunk[double]
    quantity.sum, quantity.n_sum = training.g, batch.net.n_parameters
    return quantity


cdef size_t train_size(const Batch *batch, void *g) noexcept nogil:
    """Bytes of workspace for `train`"""
    cdef Training training = Training(g, NULL)
    cdef Quantity quantity = training_step(batch, &training)
    return walk_size(batch, &quantity)


cdef double train(const Batch *batch, const Step *step, void *g, void *work) noexcept nogil:
    """One step on the batch; g (P,) is work; returns sum_n E_n before it

    When a signal handler has raised, the step is not made.
    """
    cdef Training training = Training(g, step)
    cdef Quantity quantity = training_step(batch, &training)
    cdef double value = walk(batch, &quantity, work)
    if is_long(batch, &quantity) and not stopped():     # and float32 therefore
        update(step, 0, batch.net.n_parameters, <const float *> g)
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
        batch.scale = 1.0 / batch.N
        powers[0] *= step.rule.beta1
        powers[1] *= step.rule.beta2
        step.beta1_power, step.beta2_power = powers[0], powers[1]
        value += train(&batch, step, g, work)
        start += batch.N
    return value
