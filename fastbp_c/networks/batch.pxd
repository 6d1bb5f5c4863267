"""A batch, what may be wanted of it, and the one walk that cuts it into chunks.

A quantity (a gradient, a Jacobian, a matrix, ...) is a function that does one chunk of samples, in either type, and
what it needs to know. The walk moves the batch's pointers to one chunk after another, switches on the type, makes long
sums in float64 and looks for signals. A team of threads would take its pieces here: chunks, each with a workspace.
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
    Py_ssize_t N
    const void *p
    const void *X
    const void *T
    const void *weight          # NULL: 1 for every sample
    const Py_ssize_t *order     # the rows of X and T that are meant; NULL: the first N
    # Of a chunk, which is a batch itself:
    Py_ssize_t start            # its first sample in the whole batch
    bint add                    # whether the sum of a quantity is to be added to, not overwritten
    bint last                   # whether it completes the sum


cdef struct Quantity:
    double (*of_float)(const Batch *chunk, void *wanted, float *work) noexcept nogil
    double (*of_double)(const Batch *chunk, void *wanted, double *work) noexcept nogil
    void *wanted                # what these two are handed
    Py_ssize_t longest          # samples of a chunk
    double multiply_adds        # for a sample, or what takes as long
    void *sum                   # what all chunks add to; NULL if each has a result of its own
    Py_ssize_t n_sum            # its elements
    size_t size                 # bytes of workspace


cdef inline size_t itemsize(const Batch *batch) noexcept nogil:
    return sizeof(float) if batch.single else sizeof(double)


cdef inline Quantity new_quantity(const Batch *batch, double passes, void *wanted) noexcept nogil:
    """One that takes so many passes in the network's own workspace; its two functions are still to be set"""
    cdef const Net *net = batch.net
    return Quantity(NULL, NULL, wanted, net.longest, passes * net.multiply_adds, NULL, 0,
                    times(work_size(net, batch.N), itemsize(batch)))


cdef Batch chunk_of(const Batch *batch, Py_ssize_t start, Py_ssize_t N) noexcept nogil
cdef bint is_long(const Batch *batch, const Quantity *quantity) noexcept nogil
cdef size_t walk_size(const Batch *batch, const Quantity *quantity) noexcept nogil
cdef double walk(const Batch *batch, const Quantity *quantity, void *work) noexcept nogil
