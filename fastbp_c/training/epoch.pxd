"""Steps of training over the batches of an epoch."""

from fastbp_c.networks.batch cimport Batch
from fastbp_c.training.optimizer cimport Step


cdef enum:
    PASSES = 3      # forward, back, and the gradient


cdef size_t train_size(const Batch *batch, void *g) noexcept nogil
cdef double train_epoch(
    const Batch *data, Py_ssize_t batch_size, Step *step, double *powers, void *g, void *work
) noexcept nogil
