"""The blocks of the exact Hessian and the Gauss-Newton matrix, one for every pair of uses of slots.

Design (theory: PRML 5.93 to 5.95 for two layers; here for any number of them and any sharing):
a) Given D^lm = d2E_n/da^l da^m and G^l,(m-1) = dz^(m-1)/da^l, the block of uses (l, m) needs, for every output e of
   l, rows
       Q_e[n] = z^(m-1)_n D_e + G_e delta^m_n
   which are the gradient of layer m along e: `slot_gradient_rows` makes them, of whatever kind the layer is. Then the
   block's rows are one product, z^(l-1)^T Q_e, l's own gradient.
b) If a sample is one row to both layers, z_i z_j D_ab and z_i delta_b G_aj are products of pairs: of inputs with
   inputs, and of outputs with outputs. These pairs are few, so that forming them costs next to nothing, and one product
   sums them over the samples. For l = m both factors are symmetric, and only pairs i <= j and a <= b are formed and
   multiplied, a quarter of the work. For neighbors, m = l + 1, G is diagonal and its term small.
c) A slot that is used several times gets the blocks of all pairs of its uses, collected in B such that H = B + B^T;
   otherwise the upper triangle of H is written.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.networks.linear cimport gather, slot_gradient, slot_gradient_rows
from fastbp_c.networks.passes cimport layer_input, strip
from fastbp_c.algebra.product cimport product
from fastbp_c.networks.records cimport PRODUCT, Layer, Net, pitch
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_IDENTITY, FBP_ZERO


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


cdef Py_ssize_t with_one(
    const Net *net, Py_ssize_t l, Py_ssize_t N, const floating *X, floating *z, const floating *work,
) noexcept nogil:
    """z[n] = (z^(l-1)_n, 1), the bias's input last, if there is one; returns its width"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t n_in = layer.n_in, width = n_in + (layer.b >= 0), n
    cdef const floating *x = layer_input(net, l, pitch(N), X, work)
    for n in range(N):
        memcpy(z + n * width, x + n * n_in, n_in * sizeof(floating))
        if width > n_in:
            z[n * width + n_in] = 1
    return width


cdef void own_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, bint add, const floating *X, const floating *D,
    floating *H, const floating *work, floating *rest,
) noexcept nogil:
    """The block of a use with itself, a sample being one row: sum_n (z_i z_j) D_ab over pairs i <= j, a <= b"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t n_in = layer.n_in, i = 0, j = 0, k, count
    cdef Py_ssize_t width = with_one(net, l, walk.N, X, rest + room.left, work)
    cdef Py_ssize_t packed = triangle(layer.n_out), left = triangle(width), tile = tile_pairs(layer, walk.N)
    cdef floating *T = rest + room.tile
    simd.triangles(walk.N, layer.n_out, D, rest + room.triangles)
    while left > 0:
        count = min(tile, left)
        simd.pair_products(walk.N, width, i, j, count, rest + room.left, rest + room.pairs)
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


cdef void pair_block(
    const Net *net, const Walk *walk, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add, const floating *X,
    const floating *D, const floating *G, floating *H, const floating *work, floating *rest,
) noexcept nogil:
    """The block of two uses, a sample being one row to both: sum_n (z_i z_j) D_ab + (z_i delta_b) G_aj

    D (n, b, a) and G (n, j, a) are as the walk holds them.
    """
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use = &net.layers[m]
    cdef Py_ssize_t N = walk.N, A = layer.n_out, B = use.n_out, P = net.n_parameters, i = 0, j, k, count
    cdef floating *z = rest + room.left
    cdef floating *u = rest + room.right
    cdef floating *pairs = rest + room.pairs
    cdef floating *T = rest + room.tile
    cdef const floating *delta = work + use.delta * pitch(N)
    cdef Py_ssize_t width = with_one(net, l, N, X, z, work), other = with_one(net, m, N, X, u, work)
    while i < width:
        count = min(tile_inputs(layer, use, N), width - i)
        simd.outer(N, count, other, z + i, width, u, other, False, pairs, count * other)
        # T[ij, ba] = (z_i z_j)[n, ij]^T D[n, ba]
        product(True, False, count * other, A * B, N, pairs, D, FBP_ZERO, <const floating *> NULL, T)
        for k in range(count):
            for j in range(other):
                add_block(layer, use, i + k, j, i + k == layer.n_in, j == use.n_in, add, T + (k * other + j) * A * B,
                          A, P, H)
        if walk.bent and m > l + 1:
            simd.outer(N, count, B, z + i, width, delta, B, False, pairs, count * B)
            # T[ib, ja] = (z_i delta_b)[n, ib]^T G[n, ja]
            product(True, False, count * B, A * use.n_in, N, pairs, G, FBP_ZERO, <const floating *> NULL, T)
            for k in range(count):
                for j in range(use.n_in):
                    add_block(layer, use, i + k, j, i + k == layer.n_in, False, True,
                              T + (k * B * use.n_in + j) * A, A * use.n_in, P, H)
        i += count
    if walk.bent and m == l + 1:
        neighbors(net, walk, l, width, z, delta, rest + room.spare, rest + room.TG, T, H, work)


cdef void neighbors(
    const Net *net, const Walk *walk, Py_ssize_t l, Py_ssize_t width, const floating *z, const floating *delta,
    floating *slope, floating *E, floating *T, floating *H, const floating *work,
) noexcept nogil:
    """The second term of `pair_block` for m = l + 1, where G = diag h': H[(i, a), (a, b)] += sum_n z_i h'_a delta_b"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use = &net.layers[l + 1]
    cdef Py_ssize_t N = walk.N, A = layer.n_out, B = use.n_out, n, i, a, b
    cdef Py_ssize_t stride = use.columns if use.transposed else 1
    cdef floating *to
    if layer.activation == FBP_IDENTITY:
        for n in range(A):
            slope[n] = 1
        simd.outer(N, A, B, slope, 0, delta, B, False, E, A * B)
    else:
        simd.outer(N, A, B, work + layer.h1 * pitch(N), A, delta, B, False, E, A * B)
    # T[i, ab] = z[n, i]^T (h'_a delta_b)[n, ab]
    product(True, False, width, A * B, N, z, E, FBP_ZERO, <const floating *> NULL, T)
    for i in range(width):
        for a in range(A):
            to = H + row_of(layer, i, a, i == layer.n_in) * net.n_parameters + row_of(use, a, 0, False)
            for b in range(B):
                to[b * stride] += T[(i * A + a) * B + b]


cdef void add_block(
    const Layer *layer, const Layer *use, Py_ssize_t i, Py_ssize_t j, bint bias_i, bint bias_j, bint add,
    const floating *block, Py_ssize_t column, Py_ssize_t P, floating *H,
) noexcept nogil:
    """H[(i, a), (j, b)] (+)= block[a + b column]"""
    cdef Py_ssize_t a, b, stride = use.columns if use.transposed and not bias_j else 1
    cdef floating *to
    for a in range(layer.n_out):
        to = H + row_of(layer, i, a, bias_i) * P + row_of(use, j, 0, bias_j)
        for b in range(use.n_out):
            to[b * stride] = (to[b * stride] if add else 0) + block[a + b * column]


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
