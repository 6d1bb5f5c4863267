"""The walk over a batch: where it is cut, the one loop over chunks, and the one switch on the type of the numbers."""

from libc.math cimport ceil
from libc.string cimport memset

from fastbp_c.boundary.interrupt cimport go_on, stopped
from fastbp_c.boundary.team cimport share
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times
from fastbp_c.networks.records cimport FLOAT_CHAIN

cdef enum:
    # benches/bench_threads.py
    PART = 1 << 21          # multiply-adds of a part at least: one thread does not feel the cut
    ADDING = 768            # multiply-adds of a part for every element of its sum
    FEW_SAMPLES = 32        # if those of a part without a sum are fewer, the network is a wide one: then parts have ...
    SAMPLES = 64            # ... so many, or its products would not run well ...
    FEWEST_PARTS = 8        # ... and if parts are fewer than this, the products themselves are shared
    MOST_SUMS = 32          # at once
    MOST_RESULTS = 1024
    SUM_BYTES = 1 << 27     # of all of them
    APART = 4               # how much sooner parts repay sharing: they read next to nothing that others have written
    STRETCH = 1 << 10       # elements of the sums that are added up as one piece


cdef inline Parts whole(const Batch *batch, const Quantity *quantity) noexcept nogil:
    """One part after another, and only one if the type has digits enough"""
    cdef Parts parts = Parts(max(<Py_ssize_t> 1, batch.N), 1, False)
    if batch.single and quantity.sum != NULL and batch.N > FLOAT_CHAIN and batch.N > quantity.longest:
        parts.samples = max(<Py_ssize_t> 1, FLOAT_CHAIN // quantity.longest) * quantity.longest
        parts.added = True
    return parts


cdef inline Py_ssize_t evenly(Py_ssize_t N, Py_ssize_t samples) noexcept nogil:
    """Samples of parts of about the same size, that many at least"""
    cdef Py_ssize_t n = max(<Py_ssize_t> 1, N // samples)
    return (N + n - 1) // n


cdef inline Py_ssize_t on_grid(const Quantity *quantity, Py_ssize_t samples) noexcept nogil:
    return (samples + quantity.grid - 1) // quantity.grid * quantity.grid


cdef Parts parts_of(const Batch *batch, const Quantity *quantity) noexcept nogil:
    """Where the batch is cut, and how"""
    cdef double least = PART, samples
    cdef Py_ssize_t N = batch.N, most
    cdef Parts parts
    if quantity.in_order or N < 2 or N * quantity.multiply_adds < 2 * PART:
        return whole(batch, quantity)
    if quantity.sum != NULL:
        least = max(least, <double> ADDING * quantity.n_sum)
    samples = ceil(least / quantity.multiply_adds)
    if quantity.sum == NULL and samples < FEW_SAMPLES:
        samples = max(samples, <double> min(quantity.longest, <Py_ssize_t> SAMPLES))
        if samples == SAMPLES and N < FEWEST_PARTS * samples:
            return whole(batch, quantity)
    if 2 * samples > N:
        return whole(batch, quantity)
    parts.samples = on_grid(quantity, evenly(N, <Py_ssize_t> samples))
    if quantity.sum == NULL:
        parts.at_once, parts.added = MOST_RESULTS, False
        return parts
    if batch.single:
        parts.samples = min(parts.samples, on_grid(quantity, FLOAT_CHAIN - quantity.grid + 1))
    most = <Py_ssize_t> (SUM_BYTES // times(max(<Py_ssize_t> 1, quantity.n_sum), sizeof(double)))
    # Not how many parts there are, which a smaller batch may have more of: the last of an epoch has the same workspace.
    parts.at_once, parts.added = min(min(<Py_ssize_t> MOST_SUMS, most), N // <Py_ssize_t> samples), True
    return parts if parts.at_once > 1 else whole(batch, quantity)


cdef struct Walk:
    const Batch *batch
    const Quantity *quantity
    Parts parts
    Py_ssize_t first        # sample of the parts that are done at once
    Py_ssize_t n            # how many they are
    double *total           # of all sums, if they are added
    char *sums              # of the parts; the first has the result itself
    size_t pitch            # bytes from one to the next
    double *values          # what the quantity returns for each
    int workers
    char *work              # a workspace for each of them
    size_t size             # bytes from one to the next


cdef Walk lay_out(const Batch *batch, const Quantity *quantity, Arena *arena) noexcept nogil:
    """Room for the sums, and for the chunks"""
    cdef Walk walk
    cdef Arena one = arena_over(NULL, 1)
    cdef Py_ssize_t n
    walk.batch, walk.quantity, walk.parts, walk.first = batch, quantity, parts_of(batch, quantity), 0
    n = walk.n = walk.parts.at_once
    take(&one, times(quantity.n_sum, itemsize(batch)) if walk.parts.added else 0)
    walk.pitch = one.used
    one.used = 0
    take(&one, quantity.size if batch.N > 0 else 0)
    walk.size = one.used
    walk.total = <double *> take(arena, times(quantity.n_sum, sizeof(double)) if walk.parts.added else 0)
    walk.sums = <char *> take(arena, times(n - 1, walk.pitch))
    walk.values = <double *> take(arena, times(n, sizeof(double)))
    walk.workers = <int> min(n, <Py_ssize_t> batch.workers)
    walk.work = <char *> take(arena, times(walk.workers, walk.size))
    return walk


cdef size_t walk_size(const Batch *batch, const Quantity *quantity) noexcept nogil:
    """Bytes of workspace for `walk`"""
    cdef Arena arena = arena_over(NULL, 1)
    lay_out(batch, quantity, &arena)
    return arena.used


cdef Batch chunk_of(const Batch *batch, Py_ssize_t start, Py_ssize_t N) noexcept nogil:
    """N samples of the batch, from that one on"""
    cdef Batch chunk = batch[0]
    cdef size_t size = itemsize(batch)
    chunk.N, chunk.start, chunk.last = N, batch.start + start, batch.last and start + N == batch.N
    if batch.order != NULL:
        chunk.order += start
    else:
        chunk.X = <const char *> chunk.X + start * chunk.net.n_inputs * size
        if chunk.T != NULL:
            chunk.T = <const char *> chunk.T + start * chunk.net.n_outputs * size
    if chunk.weight != NULL:
        chunk.weight = <const char *> chunk.weight + start * size
    return chunk


cdef double walk_part(const Batch *part, const Quantity *quantity, void *work) noexcept nogil:
    """One chunk after another; returns the sum of what the quantity returns for them"""
    cdef Batch chunk
    cdef Py_ssize_t start = 0
    cdef double value = 0
    while start < part.N:
        chunk = chunk_of(part, start, min(quantity.longest, part.N - start))
        chunk.add = start > 0
        start += chunk.N
        if not go_on(chunk.N * quantity.multiply_adds):
            break
        if part.single:
            value += quantity.of_float(&chunk, quantity.wanted, <float *> work)
        else:
            value += quantity.of_double(&chunk, quantity.wanted, <double *> work)
    return value


cdef inline void *sum_of(const Walk *walk, Py_ssize_t number) noexcept nogil:
    """Where the part with that number, of those done at once, has its sum"""
    return walk.quantity.sum if number == 0 else walk.sums + (number - 1) * walk.pitch


cdef void part_piece(void *walk_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Walk *walk = <const Walk *> walk_
    cdef Py_ssize_t start = walk.first + number * walk.parts.samples
    cdef Batch part = chunk_of(walk.batch, start, min(walk.parts.samples, walk.batch.N - start))
    part.last = part.last and not walk.parts.added
    part.sum = sum_of(walk, number)
    walk.values[number] = walk_part(&part, walk.quantity, walk.work + worker * walk.size)


cdef void add_stretch(void *walk_, Py_ssize_t stretch, int worker) noexcept nogil:
    """total[i] += the sums of the parts, in their order"""
    cdef const Walk *walk = <const Walk *> walk_
    cdef Py_ssize_t first = stretch * STRETCH, last = min(walk.quantity.n_sum, first + STRETCH), n, i
    cdef const float *x
    cdef const double *y
    for n in range(walk.n):
        if walk.batch.single:
            x = <const float *> sum_of(walk, n)
            for i in range(first, last):
                walk.total[i] += x[i]
        else:
            y = <const double *> sum_of(walk, n)
            for i in range(first, last):
                walk.total[i] += y[i]


cdef void round_off(const Walk *walk) noexcept nogil:
    """The result, of what has been added up"""
    cdef float *x = <float *> walk.quantity.sum
    cdef double *y = <double *> walk.quantity.sum
    cdef Py_ssize_t i
    for i in range(walk.quantity.n_sum):
        if walk.batch.single:
            x[i] = <float> walk.total[i]
        else:
            y[i] = walk.total[i]


cdef double walk(const Batch *batch, const Quantity *quantity, void *work) noexcept nogil:
    """Have the quantity do all chunks; returns the sum of what it returns for them

    When a signal handler has raised, the rest is left undone.
    """
    cdef Arena arena = arena_over(work, 1)
    cdef Walk walk = lay_out(batch, quantity, &arena)
    cdef double value = 0
    cdef Py_ssize_t n, left
    if batch.N == 0 and quantity.sum != NULL:
        memset(quantity.sum, 0, quantity.n_sum * itemsize(batch))
    if walk.parts.added:
        memset(walk.total, 0, quantity.n_sum * sizeof(double))
    while walk.first < batch.N and not stopped():
        left = batch.N - walk.first
        walk.n = min(walk.parts.at_once, (left + walk.parts.samples - 1) // walk.parts.samples)
        if walk.n == 1:
            part_piece(&walk, 0, 0)
        else:
            share(walk.n, APART * min(left, walk.n * walk.parts.samples) * quantity.multiply_adds, walk.workers,
                  part_piece, &walk)
        for n in range(walk.n):
            value += walk.values[n]
        if walk.parts.added:
            share((quantity.n_sum + STRETCH - 1) // STRETCH, <double> quantity.n_sum * walk.n, batch.workers,
                  add_stretch, &walk)
        walk.first += walk.n * walk.parts.samples
    if walk.parts.added:
        round_off(&walk)
    return value
