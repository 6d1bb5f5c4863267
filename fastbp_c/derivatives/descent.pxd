"""The descent through the layers that makes second derivatives: what it holds, and where."""

from fastbp_c.boundary.workspace cimport Arena, times
from fastbp_c.networks.batch cimport Batch
from fastbp_c.networks.records cimport Layer, Net


cdef enum:
    TILE = 1 << 16          # elements of an operand of one piece: they stay in the second-level cache
    ADDING = 30             # multiply-adds that take as long as adding a number to H, after every chunk


cdef struct Descent:
    void *H                 # the result: (P, P), or (P,) for the diagonal
    bint exact              # the Hessian, not the Gauss-Newton matrix
    bint full               # the matrix, not its diagonal
    bint both               # B is collected, H = B + B^T
    Py_ssize_t N            # samples of the longest chunk
    int workers             # at most as many are at work at once
    char *needed            # whether layer m is visited with lower layers


cdef struct Room:
    void *work              # the network's own workspace
    void **D                # for every m, D^lm (N, outputs of m, outputs of l)
    void **G                # for every q, G^lq (N, outputs of q, outputs of l)
    void *spare
    void *D_turned          # one of them (N, outputs of l, outputs of m)
    void *G_turned
    void *left              # left rows of l, or inputs and a 1
    void *right             # inputs of m and a 1
    void *triangles         # upper triangles of D^ll
    char *own               # rooms of the workers, one after another
    size_t pitch            # bytes from one to the next
    Py_ssize_t Q_size, C_size, pairs_size, tile_size


cdef struct Own:
    # What a worker has for itself.
    void *Q                 # gradients of m along an output of l
    void *C                 # rows of a block; of a diagonal one, sums in float64
    void *pairs             # products of pairs of inputs, or of inputs and deltas
    void *tile              # their sums over the samples, with pairs of outputs
    void *strip


cdef struct Pair:
    # Layers l <= m, whose block is made piece by piece.
    const Batch *chunk
    const Descent *descent
    const Room *room
    Py_ssize_t l, m
    Py_ssize_t width, other     # of their rows
    const void *left            # the rows of l
    bint add
    const void *work


cdef inline Py_ssize_t triangle(Py_ssize_t n) noexcept nogil:
    return n * (n + 1) // 2


cdef inline Py_ssize_t evenly(Py_ssize_t size, Py_ssize_t largest) noexcept nogil:
    """Of tiles of about the same size, that of the first"""
    cdef Py_ssize_t tiles = (size + largest - 1) // largest
    return (size + tiles - 1) // tiles


cdef inline Py_ssize_t tile_pairs(const Layer *layer, Py_ssize_t N) noexcept nogil:
    """Pairs of inputs, with that of the bias, that are multiplied at once"""
    return evenly(triangle(layer.n_in + 1), max(8, TILE // max(N, triangle(layer.n_out))))


cdef inline Py_ssize_t tile_inputs(const Layer *layer, const Layer *use, Py_ssize_t N) noexcept nogil:
    """Inputs of a lower layer that are paired with all of a higher one's at once"""
    cdef size_t size = times(use.n_in + 1, max(<size_t> N, times(layer.n_out, use.n_out)))
    return evenly(layer.n_in + 1, max(1, min(layer.n_in + 1, <Py_ssize_t> (TILE // size))))


cdef void find_needed(const Net *net, Descent *descent) noexcept nogil
cdef bint keeps_slopes(const Net *net, const Descent *descent, Py_ssize_t q) noexcept nogil
cdef Room lay_out(const Net *net, const Descent *descent, Arena *arena) noexcept nogil
cdef Own room_of(const Room *room, const Net *net, int worker, size_t itemsize) noexcept nogil
