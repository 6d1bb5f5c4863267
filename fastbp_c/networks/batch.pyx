"""The walk over a batch: the one loop over chunks, and the one switch on the type of the numbers."""

from libc.string cimport memset

from fastbp_c.boundary.interrupt cimport go_on
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times
from fastbp_c.networks.records cimport FLOAT_CHAIN


cdef inline Py_ssize_t chain(const Quantity *quantity) noexcept nogil:
    """Chunks whose sum is made in the batch's own type"""
    return max(1, FLOAT_CHAIN // quantity.longest)


cdef bint is_long(const Batch *batch, const Quantity *quantity) noexcept nogil:
    """Whether the sum is made in float64, of sums of shorter chains; then no chunk completes it"""
    return (batch.N > quantity.longest and batch.single and quantity.sum != NULL
            and batch.N > chain(quantity) * quantity.longest)


cdef double *lay_out(const Batch *batch, const Quantity *quantity, Arena *arena, void **work) noexcept nogil:
    """Room for the float64 sum, and for the chunks"""
    cdef double *total = NULL
    if is_long(batch, quantity):
        total = <double *> take(arena, times(quantity.n_sum, sizeof(double)))
    work[0] = take(arena, quantity.size if batch.N > 0 else 0)
    return total


cdef size_t walk_size(const Batch *batch, const Quantity *quantity) noexcept nogil:
    """Bytes of workspace for `walk`"""
    cdef Arena arena = arena_over(NULL, 1)
    cdef void *work
    lay_out(batch, quantity, &arena, &work)
    return arena.used


cdef Batch chunk_of(const Batch *batch, Py_ssize_t start, Py_ssize_t N) noexcept nogil:
    """N samples of the batch, from that one on"""
    cdef Batch chunk = batch[0]
    cdef size_t size = itemsize(batch)
    chunk.N, chunk.start, chunk.last = N, start, start + N == batch.N
    if batch.order != NULL:
        chunk.order += start
    else:
        chunk.X = <const char *> chunk.X + start * chunk.net.n_inputs * size
        if chunk.T != NULL:
            chunk.T = <const char *> chunk.T + start * chunk.net.n_outputs * size
    if chunk.weight != NULL:
        chunk.weight = <const char *> chunk.weight + start * size
    return chunk


cdef void add_up(Py_ssize_t n, const float *x, double *total) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        total[i] += x[i]


cdef void round_off(Py_ssize_t n, const double *total, float *x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = <float> total[i]


cdef double walk(const Batch *batch, const Quantity *quantity, void *work) noexcept nogil:
    """Have the quantity do all chunks; returns the sum of what it returns for them

    When a signal handler has raised, the rest is left undone.
    """
    cdef Batch chunk
    cdef Py_ssize_t start = 0, number = 0, chunks = batch.N     # of a sum in the batch's own type
    cdef double value = 0
    cdef Arena arena = arena_over(work, 1)
    cdef double *total = lay_out(batch, quantity, &arena, &work)
    if total != NULL:
        memset(total, 0, quantity.n_sum * sizeof(double))
        chunks = chain(quantity)
    if batch.N == 0 and quantity.sum != NULL:
        memset(quantity.sum, 0, quantity.n_sum * itemsize(batch))
    while start < batch.N:
        chunk = chunk_of(batch, start, min(quantity.longest, batch.N - start))
        chunk.add = number % chunks > 0
        chunk.last = chunk.last and total == NULL
        start += chunk.N
        number += 1
        if not go_on(chunk.N * quantity.multiply_adds):
            break
        if batch.single:
            value += quantity.of_float(&chunk, quantity.wanted, <float *> work)
        else:
            value += quantity.of_double(&chunk, quantity.wanted, <double *> work)
        if total != NULL and (number % chunks == 0 or start == batch.N):
            add_up(quantity.n_sum, <const float *> quantity.sum, total)
    if total != NULL:
        round_off(quantity.n_sum, total, <float *> quantity.sum)
    return value
