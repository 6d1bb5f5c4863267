"""Blocks of the exact Hessian and the Gauss-Newton matrix where a sample is one row to both layers, by pairs.

z_i z_j D_ab and z_i delta_b G_aj are products of pairs: of inputs with inputs, and of outputs with outputs. These pairs
are few, so that forming them costs next to nothing, and one product sums them over the samples. For l = m both factors
are symmetric, and only pairs i <= j and a <= b are formed and multiplied, a quarter of the work. For neighbors,
m = l + 1, G is diagonal and its term small.
"""

from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.algebra cimport simd, stretches
from fastbp_c.algebra.product cimport product
from fastbp_c.algebra.simd cimport FBP_ZERO
from fastbp_c.boundary.interrupt cimport go_on
from fastbp_c.boundary.team cimport share
from fastbp_c.derivatives.descent cimport ADDING, Descent, Own, Pair, Room, room_of, tile_inputs, tile_pairs, triangle
from fastbp_c.networks.batch cimport Batch, itemsize
from fastbp_c.networks.linear cimport parameter, right_stride, slot, slot_gradient
from fastbp_c.networks.nonlinear cimport slope_outer
from fastbp_c.networks.passes cimport layer_input
from fastbp_c.networks.records cimport Layer, Net, array_at, strip_of


cdef inline Py_ssize_t place_of(const Layer *layer, Py_ssize_t i, Py_ssize_t a) noexcept nogil:
    """The parameter between input i and output a; the input after the last is the bias's"""
    return layer.b + a if i == layer.n_in else parameter(layer, i, a)


cdef inline Py_ssize_t stride_of(const Layer *layer, Py_ssize_t i) noexcept nogil:
    """From the parameter of input i and an output to that of the next output"""
    return 1 if i == layer.n_in else right_stride(layer)


cdef Py_ssize_t with_one(const Batch *chunk, Py_ssize_t l, floating *z, const floating *work) noexcept nogil:
    """z[n] = (z^(l-1)_n, 1), the bias's input last, if there is one; returns its width"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef Py_ssize_t n_in = layer.n_in, width = n_in + (layer.b >= 0), n
    cdef const floating *x = layer_input(chunk, l, work)
    for n in range(chunk.N):
        memcpy(z + n * width, x + n * n_in, n_in * sizeof(floating))
        if width > n_in:
            z[n * width + n_in] = 1
    return width


cdef void add_own(
    const Descent *descent, const Layer *layer, Py_ssize_t i, Py_ssize_t j, bint add, const floating *packed,
    floating *square, Py_ssize_t P,
) noexcept nogil:
    """H[(i, a), (j, b)] (+)= packed[a, b], a symmetric matrix of l's outputs; for i = j its upper triangle only"""
    cdef Py_ssize_t A = layer.n_out, stride = stride_of(layer, j), a, b
    cdef floating *to
    for a in range(A):
        square[a * A + a] = packed[0] / 2 if i == j and descent.both else packed[0]
        for b in range(a + 1, A):
            square[a * A + b] = square[b * A + a] = packed[b - a]
        packed += A - a
    for a in range(A):
        to = <floating *> descent.H + place_of(layer, i, a) * P + place_of(layer, j, 0)
        for b in range(a if i == j else 0, A):
            to[b * stride] = (to[b * stride] if add else 0) + square[a * A + b]


cdef void own_tile(const Pair *pair, Py_ssize_t first, const Own *own, const floating *work) noexcept nogil:
    """Pairs of inputs from that one on, in the order of an upper triangle's rows"""
    cdef const Layer *layer = &pair.chunk.net.layers[pair.l]
    cdef Py_ssize_t N = pair.chunk.N, packed = triangle(layer.n_out), i = 0, j, k
    cdef Py_ssize_t count = min(tile_pairs(layer, pair.descent.N), triangle(pair.width) - first)
    cdef floating *pairs = <floating *> own.pairs
    cdef floating *T = <floating *> own.tile
    while first >= pair.width - i:
        first -= pair.width - i
        i += 1
    j = i + first
    simd.pair_products(N, pair.width, i, j, count, <const floating *> pair.left, pairs)
    # T[ij, ab] = (z_i z_j)[n, ij]^T D[n, ab]
    product(True, False, count, packed, N, pairs, <const floating *> pair.room.triangles, FBP_ZERO,
            <const floating *> NULL, T)
    for k in range(count):
        add_own(pair.descent, layer, i, j, pair.add, T + k * packed, T + count * packed, pair.chunk.net.n_parameters)
        j += 1
        if j == pair.width:
            i += 1
            j = i


cdef void own_piece(void *pair_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Pair *pair = <const Pair *> pair_
    cdef const Net *net = pair.chunk.net
    cdef const Layer *layer = &net.layers[pair.l]
    cdef Py_ssize_t tile = tile_pairs(layer, pair.descent.N)
    cdef Own own = room_of(pair.room, net, worker, itemsize(pair.chunk))
    if not go_on(<double> tile * triangle(layer.n_out) * (pair.chunk.N + ADDING)):
        return
    if pair.chunk.single:
        own_tile(pair, number * tile, &own, <const float *> pair.work)
    else:
        own_tile(pair, number * tile, &own, <const double *> pair.work)


cdef void own_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, bint add, const floating *work
) noexcept nogil:
    """The block of a use with itself: sum_n (z_i z_j) D_ab over pairs i <= j, a <= b"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef Py_ssize_t tile = tile_pairs(layer, descent.N), packed = triangle(layer.n_out), pairs
    cdef Pair pair = Pair(chunk, descent, room, l, l, with_one(chunk, l, <floating *> room.left, work), 0, room.left,
                          add, work)
    pairs = triangle(pair.width)
    stretches.triangles(chunk.N, layer.n_out, <const floating *> room.D[l], <floating *> room.triangles)
    share((pairs + tile - 1) // tile, <double> pairs * packed * (chunk.N + ADDING), descent.workers, own_piece, &pair)


cdef void add_block(
    const Layer *layer, const Layer *use, Py_ssize_t i, Py_ssize_t j, bint add, const floating *sums,
    Py_ssize_t column, Py_ssize_t P, floating *H,
) noexcept nogil:
    """H[(i, a), (j, b)] (+)= sums[a + b column]"""
    cdef Py_ssize_t stride = stride_of(use, j), a, b
    cdef floating *to
    for a in range(layer.n_out):
        to = H + place_of(layer, i, a) * P + place_of(use, j, 0)
        for b in range(use.n_out):
            to[b * stride] = (to[b * stride] if add else 0) + sums[a + b * column]


cdef void pair_tile(const Pair *pair, Py_ssize_t i, const Own *own, const floating *work) noexcept nogil:
    """The tile of some inputs of the lower layer, from i on, with all of the higher one's"""
    cdef const Layer *layer = &pair.chunk.net.layers[pair.l]
    cdef const Layer *use = &pair.chunk.net.layers[pair.m]
    cdef Py_ssize_t N = pair.chunk.N, A = layer.n_out, B = use.n_out, P = pair.chunk.net.n_parameters, j, k
    cdef Py_ssize_t width = pair.width, other = pair.other
    cdef Py_ssize_t count = min(tile_inputs(layer, use, pair.descent.N), width - i)
    cdef const floating *z = <const floating *> pair.left
    cdef const floating *delta = array_at(work, use.delta, N)
    cdef floating *pairs = <floating *> own.pairs
    cdef floating *T = <floating *> own.tile
    cdef floating *H = <floating *> pair.descent.H
    simd.outer(N, count, other, z + i, width, <const floating *> pair.room.right, other, False, pairs, count * other)
    # T[ij, ba] = (z_i z_j)[n, ij]^T D[n, ba]
    product(True, False, count * other, A * B, N, pairs, <const floating *> pair.room.D[pair.m], FBP_ZERO,
            <const floating *> NULL, T)
    for k in range(count):
        for j in range(other):
            add_block(layer, use, i + k, j, pair.add, T + (k * other + j) * A * B, A, P, H)
    if not pair.descent.exact or pair.m <= pair.l + 1:
        return
    simd.outer(N, count, B, z + i, width, delta, B, False, pairs, count * B)
    # T[ib, ja] = (z_i delta_b)[n, ib]^T G[n, ja]
    product(True, False, count * B, A * use.n_in, N, pairs, <const floating *> pair.room.G[pair.m - 1], FBP_ZERO,
            <const floating *> NULL, T)
    for k in range(count):
        for j in range(use.n_in):
            add_block(layer, use, i + k, j, True, T + (k * B * use.n_in + j) * A, A * use.n_in, P, H)


cdef inline double pair_work(const Pair *pair, Py_ssize_t inputs) noexcept nogil:
    """Multiply-adds of so many inputs of the lower layer"""
    cdef const Layer *layer = &pair.chunk.net.layers[pair.l]
    cdef const Layer *use = &pair.chunk.net.layers[pair.m]
    cdef double pairs = <double> inputs * pair.other * layer.n_out * use.n_out
    if pair.descent.exact and pair.m > pair.l + 1:
        pairs += <double> inputs * use.n_out * layer.n_out * use.n_in
    return pairs * (pair.chunk.N + ADDING)


cdef void pair_piece(void *pair_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Pair *pair = <const Pair *> pair_
    cdef const Net *net = pair.chunk.net
    cdef Py_ssize_t tile = tile_inputs(&net.layers[pair.l], &net.layers[pair.m], pair.descent.N)
    cdef Own own = room_of(pair.room, net, worker, itemsize(pair.chunk))
    if not go_on(pair_work(pair, tile)):
        return
    if pair.chunk.single:
        pair_tile(pair, number * tile, &own, <const float *> pair.work)
    else:
        pair_tile(pair, number * tile, &own, <const double *> pair.work)


cdef void pair_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add,
    const floating *work,
) noexcept nogil:
    """The block of two uses: sum_n (z_i z_j) D_ab + (z_i delta_b) G_aj; D (n, b, a) and G (n, j, a) as they are held"""
    cdef Py_ssize_t tile = tile_inputs(&chunk.net.layers[l], &chunk.net.layers[m], descent.N)
    cdef Pair pair = Pair(chunk, descent, room, l, m, with_one(chunk, l, <floating *> room.left, work),
                          with_one(chunk, m, <floating *> room.right, work), room.left, add, work)
    share((pair.width + tile - 1) // tile, pair_work(&pair, pair.width), descent.workers, pair_piece, &pair)
    if descent.exact and m == l + 1:
        neighbors(chunk, room, l, pair.width, <floating *> descent.H, work)


cdef void neighbors(
    const Batch *chunk, const Room *room, Py_ssize_t l, Py_ssize_t width, floating *H, const floating *work
) noexcept nogil:
    """The second term of `pair_block` for m = l + 1, where G = diag h': H[(i, a), (a, b)] += sum_n z_i h'_a delta_b"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef const Layer *use = &chunk.net.layers[l + 1]
    cdef Py_ssize_t N = chunk.N, A = layer.n_out, B = use.n_out, stride = right_stride(use), i, a, b
    cdef floating *E = <floating *> room.G_turned
    cdef Own own = room_of(room, chunk.net, 0, sizeof(floating))
    cdef floating *T = <floating *> own.tile
    cdef floating *to
    slope_outer(layer, N, work, B, array_at(work, use.delta, N), <floating *> room.spare, E)
    # T[i, ab] = z[n, i]^T (h'_a delta_b)[n, ab]
    product(True, False, width, A * B, N, <const floating *> room.left, E, FBP_ZERO, <const floating *> NULL, T)
    for i in range(width):
        for a in range(A):
            to = H + place_of(layer, i, a) * chunk.net.n_parameters + place_of(use, a, 0)
            for b in range(B):
                to[b * stride] += T[(i * A + a) * B + b]


cdef void own_diagonal(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, const floating *work
) noexcept nogil:
    """d += (z o z)^T diag D^ll   (5.79)"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef Py_ssize_t A = layer.n_out, n, a
    cdef const floating *D = <const floating *> room.D[l]
    cdef floating *x2 = <floating *> room.left
    cdef floating *c = <floating *> room.spare
    cdef floating *d = <floating *> descent.H
    for n in range(chunk.N):
        for a in range(A):
            c[n * A + a] = D[(n * A + a) * A + a]
    simd.square(chunk.N * layer.n_in, layer_input(chunk, l, work), x2)
    slot_gradient(layer, chunk.N, x2, c, True, True, slot(d, layer.W), slot(d, layer.b),
                  strip_of(chunk.net, chunk.N, work))
