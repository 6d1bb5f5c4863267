"""The blocks of a curvature matrix, and what the walk that assembles them holds."""

from cython cimport floating

from fastbp_c.networks.records cimport PRODUCT, Layer, Net

cdef enum:
    TILE = 1 << 17          # elements of an operand that should stay in the second-level cache


cdef struct Walk:
    int error
    bint bent               # the Hessian, not the Gauss-Newton matrix
    bint full               # the matrix, not its diagonal
    bint both               # B is collected, H = B + B^T
    double scale
    Py_ssize_t N            # samples of a chunk
    Py_ssize_t lowest       # the lowest layer with parameters
    Py_ssize_t *D           # where D^lm is, for every m, in the scratch memory
    Py_ssize_t *G           # where G^lq is, for every q
    char *needed            # whether layer m is visited with lower layers


cdef struct Room:
    # Places in the scratch memory.
    Py_ssize_t spare, TD, TG, left, right, Q, C, triangles, pairs, tile, total
    Py_ssize_t Q_size


cdef inline bint lone(const Layer *layer) noexcept nogil:
    """Whether the layer takes a sample as one row"""
    return layer.groups == 1 and layer.taps == NULL


cdef inline Py_ssize_t n_own(const Layer *layer) noexcept nogil:
    """Parameters that the layer uses"""
    if layer.kind != PRODUCT:
        return 0
    return layer.rows * layer.columns + (layer.n_b if layer.b >= 0 else 0)


cdef inline Py_ssize_t triangle(Py_ssize_t n) noexcept nogil:
    return n * (n + 1) // 2


cdef inline Py_ssize_t tile_pairs(const Layer *layer, Py_ssize_t N) noexcept nogil:
    """Pairs of inputs that are multiplied at once"""
    return max(8, TILE // max(N, triangle(layer.n_out)))


cdef inline Py_ssize_t tile_inputs(const Layer *layer, const Layer *use, Py_ssize_t N) noexcept nogil:
    """Inputs of a lower layer that are paired with all of a higher one's at once"""
    cdef Py_ssize_t size = (use.n_in + 1) * max(N, layer.n_out * use.n_out)
    return max(1, min(layer.n_in + 1, TILE // size))


cdef void block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add, const floating *X,
    const floating *D, const floating *G, floating *H, const floating *work, floating *rest,
) noexcept nogil

cdef void own_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, bint add, const floating *X, const floating *D,
    floating *H, const floating *work, floating *rest,
) noexcept nogil

cdef void pair_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add, const floating *X,
    const floating *D, const floating *G, floating *H, const floating *work, floating *rest,
) noexcept nogil

cdef void diagonal_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, const floating *X,
    const floating *D, const floating *G, floating *d, const floating *work, floating *rest,
) noexcept nogil

cdef void own_diagonal(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, const floating *X, const floating *D,
    floating *d, const floating *work, floating *rest,
) noexcept nogil
