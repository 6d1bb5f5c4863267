"""A batch, what may be wanted of it, and the one walk that cuts it into parts and chunks.

A quantity (a gradient, a Jacobian, a matrix, ...) is a function that does one chunk of samples, in either type, and
what it needs to know. The walk moves the batch's pointers to one chunk after another, switches on the type, shares
parts with a team of threads, makes long sums in float64 and looks for signals.

Where the batch is cut follows from shapes alone (`parts_of`), not from the number of threads, and so do the bits. A sum
that is small beside the work is made for many parts at once, each in a room of its own, and these are added in their
order. If it is large there is but one, and the chunks, one after another, share their products instead.
"""

from fastbp_c.boundary.workspace cimport times
from fastbp_c.networks.records cimport Net, work_size


cdef enum:
    WRITING = 16        # multiply-adds that take as long as to write an element of a large result


cdef struct Batch:
    const Net *net
    bint single                 # float32, else float64
    int error                   # the error function
    double scale                # of everything but the value of the error
    int workers                 # threads that may be at work, each in a workspace of its own
    Py_ssize_t N
    const void *p
    const void *X
    const void *T
    const void *weight          # NULL: 1 for every sample
    const Py_ssize_t *order     # the rows of X and T that are meant; NULL: the first N
    # Of a chunk, which is a batch itself:
    Py_ssize_t start            # its first sample in the whole batch
    void *sum                   # what its terms are summed up in, if they are
    bint add                    # whether that is to be added to, not overwritten
    bint last                   # whether it completes the sum


cdef struct Quantity:
    double (*of_float)(const Batch *chunk, void *wanted, float *work) noexcept nogil
    double (*of_double)(const Batch *chunk, void *wanted, double *work) noexcept nogil
    void *wanted                # what these two are handed
    Py_ssize_t longest          # samples of a chunk
    double multiply_adds        # for a sample, or what takes as long
    void *sum                   # what all terms are summed up in; NULL if each sample has a result of its own
    Py_ssize_t n_sum            # its elements
    size_t size                 # bytes of workspace for a chunk
    Py_ssize_t grid             # samples that are not parted
    bint in_order               # whether chunks are done one after another, since each shares its own work


cdef struct Parts:
    Py_ssize_t samples          # of each but the last
    Py_ssize_t at_once          # how many are done before their sums are added up
    bint added                  # whether they are: in float64, in room beside the result


cdef inline size_t itemsize(const Batch *batch) noexcept nogil:
    return sizeof(float) if batch.single else sizeof(double)


cdef inline Quantity new_quantity(const Batch *batch, double passes, void *wanted) noexcept nogil:
    """One that takes so many passes in the network's own workspace; its two functions are still to be set"""
    cdef const Net *net = batch.net
    return Quantity(NULL, NULL, wanted, net.longest, passes * net.multiply_adds, NULL, 0,
                    times(work_size(net, batch.N), itemsize(batch)), 1, False)


cdef Batch chunk_of(const Batch *batch, Py_ssize_t start, Py_ssize_t N) noexcept nogil
cdef Parts parts_of(const Batch *batch, const Quantity *quantity) noexcept nogil
cdef size_t walk_size(const Batch *batch, const Quantity *quantity) noexcept nogil
cdef double walk(const Batch *batch, const Quantity *quantity, void *work) noexcept nogil
