"""The layer records: what every pass over a network walks.

A network is an array of records over one flat parameter vector. The vector is cut into slots, each a matrix; a layer
uses one for its weights, as it is or transposed, and one, of a single row, for its bias. Several layers may use the
same slot, and then every use adds its own term to the slot's gradient.

The workspace holds, for a chunk of N samples, one array per place named below. An array starts at (its place) * pitch,
where pitch is N rounded up so that every array starts on a cache line; inside it is dense, (N, its width). Behind them
lies the strip, whose size does not depend on N.
"""
from cython cimport floating

from fastbp_c.algebra.simd cimport fbp_span


cdef enum:
    # Rows whose terms are added in float32. A float32 chain of 2^24 equal terms stops; one of this length, made of
    # blocks, has lost the last digit at most, and adding its result to a float64 sum costs little beside it.
    FLOAT_CHAIN = 1 << 12


cdef enum Kind:
    PRODUCT     # a matrix of weights, applied to every group of the input or patch of the image
    AVERAGE     # the mean of every patch
    MAXIMUM     # the largest of every patch


cdef struct Layer:
    Kind kind                   # known to records.pyx, which fills it in, and to linear.pyx alone
    int activation
    bint transposed
    Py_ssize_t n_in, n_out      # of a sample
    Py_ssize_t groups           # G: rows of the product, or patches, of a sample
    Py_ssize_t W_rows, W_columns    # I, O: the weight slot's shape
    Py_ssize_t W, b             # the slots' places in the parameter vector; b is -1 without a bias
    Py_ssize_t n_b              # length of the bias; it is added to every n_b outputs
    bint opens_W, opens_b       # of all uses of the slot, the one that the gradient pass meets first
    Py_ssize_t settled          # place from which on no layer below this one has anything to add to the gradient
    int *taps                   # (G, n_taps): the pixels of every patch, -1 outside the image; NULL without patches
    fbp_span *spans             # (G, n_spans): the same by taps that lie side by side
    Py_ssize_t n_taps, n_spans, channels
    double scale                # of an average: 1 / n_taps
    Py_ssize_t z, h1, delta     # places in the workspace; z of the last layer is the pre-activation a^L
    Py_ssize_t h2               # place of h''(a^l), or of h''(a^l) * (delta^(l+1) W^(l+1)^T)
    Py_ssize_t chosen           # place of the pixels that a maximum took


cdef struct Net:
    Layer *layers
    Py_ssize_t n_layers, n_inputs, n_outputs, n_parameters
    Py_ssize_t lowest           # the lowest layer with parameters
    Py_ssize_t widest           # the most elements a sample has anywhere, the inputs included
    Py_ssize_t scratch          # place of 2 n_outputs for the error function
    Py_ssize_t X, T             # places of a gathered minibatch
    Py_ssize_t width            # elements of workspace per sample, all arrays together
    Py_ssize_t strip            # elements of workspace for patches
    Py_ssize_t longest          # samples of a chunk: longer batches are walked in several
    double multiply_adds        # of a sample in one pass, or what takes as long


cdef inline Py_ssize_t pitch(Py_ssize_t N) noexcept nogil:
    return (N + 15) // 16 * 16


cdef inline size_t work_size(const Net *net, Py_ssize_t N) noexcept nogil:
    """Elements of workspace for chunks of N samples."""
    return <size_t> (net.width * pitch(min(N, net.longest)) + net.strip)


cdef inline floating *array_at(const floating *work, Py_ssize_t place, Py_ssize_t N) noexcept nogil:
    """The array of that place in the workspace of N samples"""
    return <floating *> work + place * pitch(N)


cdef inline floating *strip_of(const Net *net, Py_ssize_t N, const floating *work) noexcept nogil:
    return array_at(work, net.width, N)


cdef inline int *chosen_of(const Layer *layer, Py_ssize_t N, const floating *work) noexcept nogil:
    """The pixels that a maximum took"""
    return <int *> array_at(work, layer.chosen, N)


cdef tuple plain_slots(slots)
cdef tuple plain_layer(layer)
cdef int fill_layer(
    Layer *layer, tuple specification, tuple slots, list places, list spans, Py_ssize_t number
) except -1
