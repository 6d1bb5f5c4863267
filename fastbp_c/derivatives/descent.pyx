"""The layout of the descent: arrays for every pair of layers that it holds, and room for the blocks they make."""

from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times
from fastbp_c.networks.linear cimport has_weights, is_dense, left_size, left_width, n_own, overlap
from fastbp_c.networks.records cimport Layer, Net, work_size

cdef enum:
    SHORTEST_ROWS = 64


cdef void find_needed(const Net *net, Descent *descent) noexcept nogil:
    """For a matrix all layers with weights are visited with lower ones, for a diagonal those that share a slot"""
    cdef Py_ssize_t l, m
    for m in range(net.n_layers):
        descent.needed[m] = descent.full and has_weights(&net.layers[m])
        for l in range(m):
            if overlap(&net.layers[l], &net.layers[m]):
                descent.needed[m] = True


cdef bint keeps_slopes(const Net *net, const Descent *descent, Py_ssize_t q) noexcept nogil:
    """Whether G^lq is held from l = q on; a pair of neighbors alone has no need of a matrix that is diagonal"""
    if not descent.exact or q + 1 == net.n_layers or not descent.needed[q + 1]:
        return False
    return q > net.lowest or not descent.full or not is_dense(&net.layers[q]) or not is_dense(&net.layers[q + 1])


cdef Py_ssize_t held_width(const Net *net, const Descent *descent, Py_ssize_t m) noexcept nogil:
    """The most outputs of a layer for which rows of layer m are held"""
    cdef Py_ssize_t l, width = net.layers[m].n_out
    for l in range(net.lowest, m if descent.needed[m] or keeps_slopes(net, descent, m) else 0):
        width = max(width, net.layers[l].n_out)
    return width


cdef struct Widths:
    # Elements that an array has for a sample, or of all samples together.
    size_t spare, turned_D, turned_G, left, triangles, pairs, tile, Q, C


cdef void widen_for_layer(
    const Net *net, const Descent *descent, Py_ssize_t l, Widths *widths
) noexcept nogil:
    """What layer l needs by itself"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t A = layer.n_out, pairs
    widths.spare = max(widths.spare, <size_t> A)
    if l > net.lowest:
        widths.turned_D = max(widths.turned_D, times(A, layer.n_in))
    if not has_weights(layer):
        return
    widths.left = max(widths.left, max(left_size(layer), <size_t> layer.n_in + 1))
    widths.Q = max(widths.Q, <size_t> layer.groups)
    if is_dense(layer) and descent.full:
        pairs = tile_pairs(layer, descent.N)
        widths.triangles = max(widths.triangles, <size_t> triangle(A))
        widths.pairs = max(widths.pairs, times(descent.N, pairs))
        widths.tile = max(widths.tile, times(pairs, triangle(A)) + times(A, A))


cdef void widen_for_pair(
    const Net *net, const Descent *descent, Py_ssize_t l, Py_ssize_t m, Widths *widths
) noexcept nogil:
    """What layers l <= m need together"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use = &net.layers[m]
    cdef Py_ssize_t A = layer.n_out, B = use.n_out, inputs
    if l > net.lowest:
        widths.spare = max(widths.spare, times(B, layer.n_in))
    if m == l + 1:
        widths.turned_G = max(widths.turned_G, times(A, B))
    if not is_dense(layer) or not is_dense(use) or not descent.full:
        widths.turned_D = max(widths.turned_D, times(A, B))
        widths.turned_G = max(widths.turned_G, times(A, use.n_in) if m > l else 0)
        if has_weights(layer) and has_weights(use):
            widths.C = max(widths.C, times(left_width(layer) + 1, n_own(use) if descent.full else 2))
    elif m > l and descent.full:
        inputs = tile_inputs(layer, use, descent.N)
        widths.pairs = max(widths.pairs, times(times(descent.N, inputs), max(use.n_in + 1, B)))
        widths.tile = max(widths.tile, times(max(inputs * (use.n_in + 1), layer.n_in + 1), times(A, B)))


cdef Room lay_out(const Net *net, const Descent *descent, Arena *arena) noexcept nogil:
    """Give everything of a chunk its room"""
    cdef Room room
    cdef Widths widths = Widths(net.n_outputs, net.n_outputs, 0, 0, 0, 0, 0, 0, 0)
    cdef Py_ssize_t N = descent.N, pointers = net.n_layers * sizeof(void *) // sizeof(float), widest = 1, l, m
    cdef size_t held
    cdef void *D
    cdef void *G
    room.work = take(arena, work_size(net, N))
    room.D, room.G = <void **> take(arena, pointers), <void **> take(arena, pointers)
    for l in range(net.lowest, net.n_layers):
        held = times(N, times(net.layers[l].n_out, held_width(net, descent, l)))
        D, G = take(arena, held), take(arena, held if keeps_slopes(net, descent, l) else 0)
        if arena.memory != NULL:
            room.D[l], room.G[l] = D, G
        widest = max(widest, n_own(&net.layers[l]))
        widen_for_layer(net, descent, l, &widths)
        for m in range(l, net.n_layers):
            widen_for_pair(net, descent, l, m, &widths)
    room.spare = take(arena, times(N, widths.spare))
    room.D_turned = take(arena, times(N, widths.turned_D))
    room.G_turned = take(arena, times(N, widths.turned_G))
    room.left = take(arena, times(N, widths.left))
    room.right = take(arena, times(N, widths.left if descent.full else 0))
    widths.Q = max(max(<size_t> TILE, times(SHORTEST_ROWS, widest)), times(widths.Q, widest))  # a sample's rows fit
    room.triangles = take(arena, times(N, widths.triangles))
    room.Q_size, room.C_size = <Py_ssize_t> widths.Q, <Py_ssize_t> widths.C
    room.pairs_size, room.tile_size = <Py_ssize_t> widths.pairs, <Py_ssize_t> widths.tile
    cdef Arena one = arena_over(NULL, arena.itemsize)
    lay_out_own(&room, net, &one)
    room.pitch = one.used
    room.own = <char *> take(arena, times(descent.workers, one.used // arena.itemsize))
    return room


cdef Own lay_out_own(const Room *room, const Net *net, Arena *arena) noexcept nogil:
    cdef Own own
    own.Q = take(arena, room.Q_size)
    own.C = take(arena, room.C_size)
    own.pairs = take(arena, room.pairs_size)
    own.tile = take(arena, room.tile_size)
    own.strip = take(arena, net.strip)
    return own


cdef Own room_of(const Room *room, const Net *net, int worker, size_t itemsize) noexcept nogil:
    """What that worker has for itself"""
    cdef Arena arena = arena_over(room.own + worker * room.pitch, itemsize)
    return lay_out_own(room, net, &arena)
