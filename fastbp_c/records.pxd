"""The layer records: what every pass over a network walks.

A network is an array of records over one flat parameter vector. A layer uses a slot of the vector (a matrix and a
bias); several layers may use the same slot, and then every use adds its own term to the slot's gradient.

The workspace holds, for a chunk of N samples, one block per array named below. A block starts at (its place) * pitch,
where pitch is N rounded up so that every block starts on a cache line; inside it the array is dense, (N, its width).
"""


cdef struct Layer:
    int activation
    Py_ssize_t n_in, n_out
    Py_ssize_t W, b             # the slot's place in the parameter vector; b is -1 without a bias
    bint opens                  # of all uses of the slot, the one that the gradient pass meets first
    Py_ssize_t z, h1, delta     # places in the workspace; z of the last layer is the pre-activation a^L


cdef struct Net:
    Layer *layers
    Py_ssize_t n_layers, n_inputs, n_outputs, n_parameters
    Py_ssize_t scratch          # place of 2 n_outputs for the error function
    Py_ssize_t X, T             # places of a gathered minibatch
    Py_ssize_t width            # elements of workspace per sample, all blocks together
    Py_ssize_t rows             # samples of a chunk: longer batches are walked in several


cdef inline Py_ssize_t pitch(Py_ssize_t N) noexcept nogil:
    return (N + 15) // 16 * 16


cdef inline size_t work_size(const Net *net, Py_ssize_t N) noexcept nogil:
    """Elements of workspace for batches of N samples."""
    return <size_t> (net.width * pitch(min(N, net.rows)))
