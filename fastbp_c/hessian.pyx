"""The exact Hessian and the Gauss-Newton matrix of any network, assembled from pairs of layers.

Design (theory: PRML 5.93 to 5.95 for two layers; here for any number of them and any sharing):
a) For layer l, going down, the walk holds for every layer m >= l the second derivatives D^lm = d2E_n/da^l da^m, as rows
   (n, m's outputs) of l's outputs, and the first derivatives G^lq = dz^q/da^l of every layer q >= l in the same way. A
   step down is `step_back` on all of these rows, as for a delta or a Jacobian. D^ll is stepped back from both sides and
   gets h'' (delta W^T) added. For the Gauss-Newton matrix that term is left out, and all of G.
b) The block of a pair of uses (l, m) needs, for every output e of l, the rows
       Q_e[n] = z^(m-1)_n D_e + G_e delta^m_n
   which are the gradient of layer m along e: `slot_gradient_rows` makes them, of whatever kind the layer is. Then the
   block's rows are one product, z^(l-1)^T Q_e, l's own gradient.
c) For l = m both factors are symmetric. If a sample is one row to the layer, only pairs of inputs i <= j and of outputs
   a <= b are formed and multiplied, a quarter of the work.
d) A slot that is used several times gets the blocks of all pairs of its uses. Then B is collected such that H = B + B^T;
   otherwise the upper triangle of H is written, and mirrored at the end. H is symmetric to the bit in both cases.
e) The exact diagonal is the same walk with another visitor, where slots are used several times.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c cimport simd
from fastbp_c._check cimport check_matrix, check_vector
from fastbp_c.jacobian cimport identity_rows
from fastbp_c.linear cimport gather, slot_gradient, slot_gradient_rows
from fastbp_c.network cimport Plan, check_output
from fastbp_c.passes cimport deltas, forward, layer_input, output_delta, part, step_back, strip
from fastbp_c.product cimport product
from fastbp_c.records cimport PRODUCT, Layer, Net, pitch, work_size
from fastbp_c.simd cimport FBP_ADD, FBP_IDENTITY, FBP_ZERO
from fastbp_c.workspace cimport Workspace, carve, padded

import numpy as np

cnp.import_array()

cdef enum:
    LONGEST_CHUNK = 512     # samples: a product's inner dimension, after which the result is added to H
    TILE = 1 << 17          # elements of an operand that should stay in the second-level cache
    SHORTEST_ROWS = 64
    SMALLEST_BUDGET = 1 << 25       # bytes for the walk, whatever the size of H


cdef struct Walk:
    int error
    bint bent               # the Hessian, not the Gauss-Newton matrix
    bint full               # the matrix, not its diagonal
    bint both               # B is collected, H = B + B^T
    double scale
    Py_ssize_t N            # samples of a chunk
    Py_ssize_t lowest       # the lowest layer with parameters
    Py_ssize_t width        # of the widest layer
    Py_ssize_t *D           # where D^lm is, for every m, in the scratch memory
    Py_ssize_t *G           # where G^lq is, for every q
    char *needed            # whether layer m is visited with lower layers


cdef struct Room:
    # Places in the scratch memory.
    Py_ssize_t spare, TD, TG, left, Q, C, triangles, pairs, tile, total
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


cdef inline Py_ssize_t place_of(Py_ssize_t *total, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t here = total[0]
    total[0] += padded(n)
    return here


cdef inline bint same_slot(const Layer *one, const Layer *other) noexcept nogil:
    return one.kind == PRODUCT and other.kind == PRODUCT and (one.W == other.W or 0 <= one.b == other.b)


cdef Py_ssize_t per_sample(const Net *net, const Walk *walk) noexcept nogil:
    """Elements of scratch memory per sample"""
    cdef Py_ssize_t l, total = 3 * walk.width * walk.width, left = 0
    cdef const Layer *layer
    for l in range(net.n_layers):
        layer = &net.layers[l]
        total += walk.width * layer.n_out * (2 if walk.bent else 1)
        if layer.kind == PRODUCT:
            left = max(left, layer.groups * layer.rows + triangle(layer.n_out) * lone(layer))
    return total + left


cdef Room arrange(const Net *net, Walk *walk) noexcept nogil:
    """Give everything of a chunk its place"""
    cdef Room room
    cdef Py_ssize_t N = walk.N, W = walk.width, l, total = 0, widest = 0, left = 0, C = 0, pairs = 0, tile = 0, input = 0
    cdef Py_ssize_t triangles = 0, count
    cdef const Layer *layer
    for l in range(net.n_layers):
        layer = &net.layers[l]
        walk.D[l] = place_of(&total, N * layer.n_out * W)
        walk.G[l] = place_of(&total, N * layer.n_out * W if walk.bent else 0)
        widest = max(widest, n_own(layer))
        if layer.kind != PRODUCT:
            continue
        left = max(left, layer.groups * layer.rows)
        C = max(C, max(layer.rows, layer.columns) + 1)
        input = max(input, layer.n_in)
        if lone(layer):
            count = tile_pairs(layer, N)
            triangles = max(triangles, triangle(layer.n_out))
            pairs, tile = max(pairs, count * N), max(tile, count * triangle(layer.n_out) + layer.n_out * layer.n_out)
    room.spare = place_of(&total, N * W * W)
    room.TD = place_of(&total, N * W * W)
    room.TG = place_of(&total, N * W * W)
    room.left = place_of(&total, max(N * left, N * (input + 1)))
    room.Q_size = max(TILE, SHORTEST_ROWS * widest)
    for l in range(net.n_layers):   # at least the rows of a sample
        room.Q_size = max(room.Q_size, net.layers[l].groups * widest)
    room.Q = place_of(&total, room.Q_size)
    room.C = place_of(&total, C * widest if walk.full else 0)
    room.triangles = place_of(&total, N * triangles if walk.full else 0)
    room.pairs = place_of(&total, pairs if walk.full else 0)
    room.tile = place_of(&total, tile if walk.full else 0)
    room.total = total
    return room


cdef Py_ssize_t tile_pairs(const Layer *layer, Py_ssize_t N) noexcept nogil:
    """Pairs of inputs that are multiplied at once"""
    return max(8, TILE // max(N, triangle(layer.n_out)))


cdef inline Py_ssize_t along(const Layer *layer, Py_ssize_t g, Py_ssize_t e) noexcept nogil:
    """Of row g's output e, the place in a^l; -1 outside the image. (Transposed: of row g's number e.)"""
    cdef Py_ssize_t tap
    if not layer.transposed:
        return g * layer.columns + e
    if layer.taps == NULL:
        return g * layer.rows + e
    tap = layer.taps[g * layer.n_taps + e // layer.channels]
    return -1 if tap < 0 else tap * layer.channels + e % layer.channels


cdef void gradients_along(
    const Net *net, const Walk *walk, Py_ssize_t l, Py_ssize_t m, Py_ssize_t first, Py_ssize_t count,
    Py_ssize_t alpha, const floating *X, const floating *D, const floating *G, floating *Q, Py_ssize_t Q_row,
    const floating *work,
) noexcept nogil:
    """Q[n] = z^(m-1)_n D^lm_n[alpha] + G^l,(m-1)_n[alpha] delta^m_n for samples first, ..., at the slots of layer m

    D (n, l's outputs, m's outputs) and G (n, l's outputs, m's inputs) begin at sample 0. Rows of Q hold W, then b.
    """
    cdef Layer use = net.layers[m]
    cdef Py_ssize_t A = net.layers[l].n_out, block = pitch(walk.N), n
    use.W = 0
    if use.b >= 0:
        use.b = use.rows * use.columns
    if alpha < 0:
        for n in range(count):
            memset(Q + n * Q_row, 0, n_own(&use) * sizeof(floating))
        return
    slot_gradient_rows(&use, count, 1, layer_input(net, m, block, X, work) + first * use.n_in, use.n_in, 0,
                       D + (first * A + alpha) * use.n_out, A * use.n_out, 0, False, False, Q, Q_row,
                       strip(net, block, work))
    if walk.bent and m > l:
        use.b = -1
        slot_gradient_rows(&use, count, 1, G + (first * A + alpha) * use.n_in, A * use.n_in, 0,
                           work + use.delta * block + first * use.n_out, use.n_out, 0, True, True, Q, Q_row,
                           strip(net, block, work))


cdef void add_row(
    const Walk *walk, const Layer *use, bint same, bint add, const floating *c, Py_ssize_t row, Py_ssize_t P,
    floating *H,
) noexcept nogil:
    """H[row, :] (+)= c at the slots that `use` has; of a block on the diagonal, from the diagonal on"""
    cdef Py_ssize_t size = use.rows * use.columns, start = 0, i
    cdef floating *to = H + row * P + use.W
    if same and row >= use.W:
        start = min(size, row - use.W)
    if same and walk.both and start < size and row == use.W + start:
        to[start] += c[start] / 2
        start += 1
    if add:
        simd.add(size - start, c + start, to + start)
    else:
        memcpy(to + start, c + start, (size - start) * sizeof(floating))
    if use.b < 0:
        return
    to = H + row * P + use.b
    start = 0
    if same and row >= use.b:
        start = min(use.n_b, row - use.b)
    for i in range(start, use.n_b):
        if same and walk.both and row == use.b + i:
            to[i] += c[size + i] / 2
        else:
            to[i] = (to[i] if add else 0) + c[size + i]


cdef const floating *left_rows(
    const Net *net, Py_ssize_t l, Py_ssize_t N, const floating *X, floating *patches, const floating *work,
) noexcept nogil:
    """What layer l's rows are multiplied by from the left: rows of its input, or the patches of it"""
    cdef const Layer *layer = &net.layers[l]
    cdef const floating *x = layer_input(net, l, pitch(N), X, work)
    if layer.taps == NULL or layer.transposed:
        return x
    gather(layer, 0, N * layer.groups, x, patches)
    return patches


cdef void block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add, const floating *X,
    const floating *D, const floating *G, floating *H, const floating *work, floating *rest,
) noexcept nogil:
    """The block of uses l <= m: for every output e of l, H[W^l[:, e], W^m] (+)= z^(l-1)^T Q_e"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use = &net.layers[m]
    cdef Py_ssize_t P = net.n_parameters, width = n_own(use), first, count, e, g, k, row
    cdef Py_ssize_t outputs = layer.rows if layer.transposed else layer.columns
    cdef Py_ssize_t inputs = layer.columns if layer.transposed else layer.rows
    cdef Py_ssize_t samples = max(1, room.Q_size // (layer.groups * width))
    cdef bint with_bias = layer.b >= 0 and not (layer.transposed and layer.taps != NULL)
    cdef const floating *left = left_rows(net, l, walk.N, X, rest + room.left, work)
    cdef floating *Q = rest + room.Q
    cdef floating *C = rest + room.C
    for e in range(outputs):
        first = 0
        while first < walk.N:
            count = min(samples, walk.N - first)
            for g in range(layer.groups):
                gradients_along(net, walk, l, m, first, count, along(layer, g, e), X, D, G, Q + g * width,
                                layer.groups * width, work)
            # C[k, c] (+)= left[r, k]^T Q[r, c]
            product(True, False, inputs, width, count * layer.groups, left + first * layer.groups * inputs, Q,
                    FBP_ADD if first > 0 else FBP_ZERO, <const floating *> NULL, C)
            if with_bias:
                simd.column_sums(count * layer.groups, width, Q, first > 0, C + inputs * width)
            first += count
        for k in range(inputs):
            row = layer.W + (e * layer.columns + k if layer.transposed else k * layer.columns + e)
            add_row(walk, use, l == m, add, C + k * width, row, P, H)
        if with_bias:
            add_row(walk, use, l == m, add, C + inputs * width, layer.b + e, P, H)
    if layer.b >= 0 and not with_bias:
        image_bias(net, walk, room, l, m, add, X, D, G, H, work, rest)


cdef void image_bias(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add, const floating *X,
    const floating *D, const floating *G, floating *H, const floating *work, floating *rest,
) noexcept nogil:
    """The bias's rows where the output is an image that patches were added up to: sums over its pixels"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use = &net.layers[m]
    cdef Py_ssize_t width = n_own(use), c, pixel, first, count
    cdef Py_ssize_t samples = max(1, room.Q_size // width)
    cdef bint more
    for c in range(layer.n_b):
        more = False
        for pixel in range(layer.n_out // layer.n_b):
            first = 0
            while first < walk.N:
                count = min(samples, walk.N - first)
                gradients_along(net, walk, l, m, first, count, pixel * layer.n_b + c, X, D, G, rest + room.Q, width,
                                work)
                simd.column_sums(count, width, rest + room.Q, more, rest + room.C)
                more = True
                first += count
        add_row(walk, use, l == m, add, rest + room.C, layer.b + c, net.n_parameters, H)


cdef inline Py_ssize_t row_of(const Layer *layer, Py_ssize_t i, Py_ssize_t a, bint bias) noexcept nogil:
    """The parameter between input i and output a; the input after the last is the bias's"""
    if bias:
        return layer.b + a
    return layer.W + (a * layer.columns + i if layer.transposed else i * layer.columns + a)


cdef void add_pair(
    const Walk *walk, const Layer *layer, Py_ssize_t i, Py_ssize_t j, bint bias_i, bint bias_j, bint add,
    const floating *packed, floating *block, Py_ssize_t P, floating *H,
) noexcept nogil:
    """H[(i, a), (j, b)] (+)= packed[a, b], a symmetric matrix of l's outputs; for i = j its upper triangle only"""
    cdef Py_ssize_t A = layer.n_out, a, b, stride = 1 if not layer.transposed or bias_j else layer.columns
    cdef floating *to
    for a in range(A):
        block[a * A + a] = packed[0] / 2 if i == j and walk.both else packed[0]
        for b in range(a + 1, A):
            block[a * A + b] = block[b * A + a] = packed[b - a]
        packed += A - a
    for a in range(A):
        to = H + row_of(layer, i, a, bias_i) * P + row_of(layer, j, 0, bias_j)
        for b in range(a if i == j else 0, A):
            to[b * stride] = (to[b * stride] if add else 0) + block[a * A + b]


cdef void own_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, bint add, const floating *X, const floating *D,
    floating *H, const floating *work, floating *rest,
) noexcept nogil:
    """The block of a use with itself, a sample being one row: sum_n (z_i z_j) D_ab over pairs i <= j, a <= b"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t A = layer.n_out, n_in = layer.n_in, width = n_in + (layer.b >= 0), i = 0, j = 0, k, n, count
    cdef Py_ssize_t packed = triangle(A), left = triangle(width), tile = tile_pairs(layer, walk.N)
    cdef const floating *x = layer_input(net, l, pitch(walk.N), X, work)
    cdef floating *z = rest + room.left
    cdef floating *T = rest + room.tile
    for n in range(walk.N):
        memcpy(z + n * width, x + n * n_in, n_in * sizeof(floating))
        if width > n_in:
            z[n * width + n_in] = 1
    simd.triangles(walk.N, A, D, rest + room.triangles)
    while left > 0:
        count = min(tile, left)
        simd.pair_products(walk.N, width, i, j, count, z, rest + room.pairs)
        # T[ij, ab] = (z_i z_j)[n, ij]^T D[n, ab]
        product(True, False, count, packed, walk.N, rest + room.pairs, rest + room.triangles, FBP_ZERO,
                <const floating *> NULL, T)
        for k in range(count):
            add_pair(walk, layer, i, j, i == n_in, j == n_in, add, T + k * packed, T + count * packed,
                     net.n_parameters, H)
            j += 1
            if j == width:
                i += 1
                j = i
        left -= count


cdef void diagonal_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, const floating *X,
    const floating *D, const floating *G, floating *d, const floating *work, floating *rest,
) noexcept nogil:
    """d += the diagonal of the block of uses l <= m of the same slot, twice if they are two"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use = &net.layers[m]
    cdef Py_ssize_t outputs = layer.rows if layer.transposed else layer.columns
    cdef Py_ssize_t inputs = layer.columns if layer.transposed else layer.rows
    cdef Py_ssize_t e, g, n, k, s, size = use.rows * use.columns
    cdef const floating *left = left_rows(net, l, walk.N, X, rest + room.left, work)
    cdef floating *Q = rest + room.Q
    cdef floating twice = 1 if l == m else 2
    if same_matrix(layer, use):
        for e in range(outputs):
            for g in range(layer.groups):
                for n in range(walk.N):
                    gradients_along(net, walk, l, m, n, 1, along(layer, g, e), X, D, G, Q, n_own(use), work)
                    for k in range(inputs):
                        s = e * layer.columns + k if layer.transposed else k * layer.columns + e
                        d[layer.W + s] += twice * left[(n * layer.groups + g) * inputs + k] * Q[s]
    if 0 <= layer.b == use.b:
        for k in range(layer.n_out):
            for n in range(walk.N):
                gradients_along(net, walk, l, m, n, 1, k, X, D, G, Q, n_own(use), work)
                d[layer.b + k % layer.n_b] += twice * Q[size + k % layer.n_b]


cdef inline bint same_matrix(const Layer *one, const Layer *other) noexcept nogil:
    return one.kind == PRODUCT and other.kind == PRODUCT and one.W == other.W


cdef void own_diagonal(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, const floating *X, const floating *D,
    floating *d, const floating *work, floating *rest,
) noexcept nogil:
    """d += (z o z)^T diag D^ll, a sample being one row   (5.79)"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t A = layer.n_out, n, a
    cdef floating *x2 = rest + room.left
    cdef floating *c = rest + room.spare
    for n in range(walk.N):
        for a in range(A):
            c[n * A + a] = D[(n * A + a) * A + a]
    simd.square(walk.N * layer.n_in, layer_input(net, l, pitch(walk.N), X, work), x2)
    slot_gradient(layer, walk.N, x2, c, True, True, d, strip(net, pitch(walk.N), work))


cdef void visit(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, bint add, const floating *X, floating *H,
    const floating *work, floating *rest,
) noexcept nogil:
    """All pairs of layer l with itself and the layers above"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use
    cdef Py_ssize_t m
    cdef floating *TD = rest + room.TD
    cdef floating *TG = rest + room.TG
    if layer.kind != PRODUCT:
        return
    if lone(layer):
        if walk.full:
            own_block(net, walk, room, l, add, X, rest + walk.D[l], H, work, rest)
        else:
            own_diagonal(net, walk, room, l, X, rest + walk.D[l], H, work, rest)
    for m in range(l, net.n_layers):
        use = &net.layers[m]
        if m == l and lone(layer) or m > l and not walk.needed[m]:
            continue
        if not walk.full and not same_slot(layer, use):
            continue
        simd.transpose(walk.N, use.n_out, layer.n_out, rest + walk.D[m], TD)
        if walk.bent and m > l:
            simd.transpose(walk.N, use.n_in, layer.n_out, rest + walk.G[m - 1], TG)
        if walk.full:
            block(net, walk, room, l, m, add, X, TD, TG, H, work, rest)
        else:
            diagonal_block(net, walk, room, l, m, X, TD, TG, H, work, rest)


cdef void step(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, const floating *p, const floating *work,
    floating *rest,
) noexcept nogil:
    """From D^lm and G^lq to D^(l-1)m and G^(l-1)q"""
    cdef Py_ssize_t N = walk.N, A = net.layers[l].n_out, m
    cdef const Layer *below = &net.layers[l - 1]
    cdef floating *spare = rest + room.spare
    for m in range(l, net.n_layers):
        if m > l and walk.needed[m]:
            step_back(net, l, N, net.layers[m].n_out, p, rest + walk.D[m], spare, work)
            memcpy(rest + walk.D[m], spare, N * net.layers[m].n_out * below.n_out * sizeof(floating))
        if walk.bent and m < net.n_layers - 1 and walk.needed[m + 1]:
            step_back(net, l, N, net.layers[m].n_out, p, rest + walk.G[m], spare, work)
            memcpy(rest + walk.G[m], spare, N * net.layers[m].n_out * below.n_out * sizeof(floating))
    step_back(net, l, N, A, p, rest + walk.D[l], spare, work)
    if walk.needed[l]:
        memcpy(rest + walk.D[l], spare, N * A * below.n_out * sizeof(floating))
    simd.transpose(N, A, below.n_out, spare, rest + room.TD)
    step_back(net, l, N, below.n_out, p, rest + room.TD, rest + walk.D[l - 1], work)
    if walk.bent and below.activation != FBP_IDENTITY:
        simd.diagonal(N, below.n_out, work + below.h2 * pitch(N), True, rest + walk.D[l - 1])
    if walk.bent and walk.needed[l]:
        if below.activation == FBP_IDENTITY:
            identity_rows(N, below.n_out, rest + walk.G[l - 1])
        else:
            simd.diagonal(N, below.n_out, work + below.h1 * pitch(N), False, rest + walk.G[l - 1])


cdef void chunk(
    const Net *net, const Walk *walk, const Room *room, bint add, const floating *p, const floating *X,
    const floating *T, const floating *weight, floating *H, floating *work, floating *rest,
) noexcept nogil:
    """H (+)= the terms of N samples"""
    cdef Py_ssize_t N = walk.N, last = net.n_layers - 1, l
    cdef const Layer *output = &net.layers[last]
    cdef floating *a = work + output.z * pitch(N)
    if walk.bent:
        output_delta(net, walk.error, N, p, X, T, weight, <floating> walk.scale, work, 2)
        deltas(net, N, p, work, True)
    else:
        forward(net, N, p, X, a, work, 1)
    simd.error_curvature(output.activation, walk.error, N, net.n_outputs, a, T, weight, <floating> walk.scale,
                         not walk.bent, rest + walk.D[last], rest + room.spare)
    for l in range(last, walk.lowest - 1, -1):
        visit(net, walk, room, l, add, X, H, work, rest)
        if l > walk.lowest:
            step(net, walk, room, l, p, work, rest)


cdef void chunks(
    const Net *net, Walk *walk, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating *H, floating *work,
) noexcept nogil:
    """H = the matrix, or the diagonal, of N samples"""
    cdef Py_ssize_t start = 0, longest = walk.N, P = net.n_parameters
    cdef Room room
    cdef floating *rest = work + work_size(net, longest)
    if walk.both or not walk.full or N == 0:
        memset(H, 0, (P * P if walk.full else P) * sizeof(floating))
    while start < N:
        walk.N = min(longest, N - start)
        room = arrange(net, walk)
        chunk(net, walk, &room, start > 0 or walk.both, p, X + start * net.n_inputs, T + start * net.n_outputs,
              part(weight, start), H, work, rest)
        start += walk.N
    if walk.full:
        simd.symmetrize(P, walk.both, H)


cdef int fill_walk(Walk *walk, Plan plan, Py_ssize_t N) except -1:
    """What of the walk depends on the network; walk.D, walk.G and walk.needed point to room for every layer"""
    cdef const Net *net = &plan.net
    cdef Py_ssize_t l, m, budget = SMALLEST_BUDGET
    walk.lowest, walk.width = 0, 1
    while walk.lowest < net.n_layers - 1 and net.layers[walk.lowest].kind != PRODUCT:
        walk.lowest += 1
    for m in range(net.n_layers):
        walk.width = max(walk.width, net.layers[m].n_out)
        walk.needed[m] = walk.full and net.layers[m].kind == PRODUCT
        for l in range(m):
            if same_slot(&net.layers[l], &net.layers[m]):
                walk.needed[m] = True
    if walk.full:
        budget += net.n_parameters * net.n_parameters
    budget //= 4 if plan.typenum == cnp.NPY_FLOAT else 8
    walk.N = max(1, min(min(N, net.rows), min(LONGEST_CHUNK, budget // per_sample(net, walk))))
    return 0


def curvature(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
              cnp.ndarray weight, loss, double scale, bint gauss_newton, cnp.ndarray H not None):
    """H = scale sum_n weight_n d2E_n/dw dw, or the Gauss-Newton matrix; overwritten

    H is (P, P), or (P,) for the diagonal alone.
    """
    cdef const Net *net = &plan.net
    cdef Py_ssize_t P = net.n_parameters, N
    cdef Walk walk
    walk.error = plan.loss_number(loss)
    walk.bent, walk.full, walk.both, walk.scale = not gauss_newton, H.ndim == 2, plan.repeats, scale
    plan.check_parameters(p)
    plan.check_batch(X, T, weight)
    if walk.full:
        check_matrix("out", H, plan.typenum, P, "the network's parameters", P, "the network's parameters", True)
    else:
        check_vector("out", H, plan.typenum, P, "the network's parameters", True)
    check_output(H, p, X, T, weight)
    N = X.shape[0]
    cdef cnp.ndarray places = np.zeros((3, net.n_layers), np.intp)
    walk.D = <Py_ssize_t *> cnp.PyArray_DATA(places)
    walk.G = walk.D + net.n_layers
    walk.needed = <char *> (walk.G + net.n_layers)
    fill_walk(&walk, plan, N)
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    cdef Workspace work = plan.take(walk.N, arrange(net, &walk).total)
    with nogil:
        if plan.typenum == cnp.NPY_FLOAT:
            chunks(net, &walk, N, <const float *> cnp.PyArray_DATA(p), <const float *> cnp.PyArray_DATA(X),
                   <const float *> cnp.PyArray_DATA(T), <const float *> w, <float *> cnp.PyArray_DATA(H),
                   <float *> work.memory)
        else:
            chunks(net, &walk, N, <const double *> cnp.PyArray_DATA(p), <const double *> cnp.PyArray_DATA(X),
                   <const double *> cnp.PyArray_DATA(T), <const double *> w, <double *> cnp.PyArray_DATA(H),
                   <double *> work.memory)
    plan.give(work)
