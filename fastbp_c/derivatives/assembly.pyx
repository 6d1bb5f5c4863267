"""Blocks of the exact Hessian and the Gauss-Newton matrix for uses of slots of any kind, by rows.

Given D^lm = d2E_n/da^l da^m and G^l,(m-1) = dz^(m-1)/da^l, the block of uses (l, m) needs for every output e of l rows

    Q_e[n] = z^(m-1)_n D_e + G_e delta^m_n

which are the gradient of layer m along e: `slot_gradient_rows` makes them, of whatever kind the layer is. Then the
block's rows are one product, z^(l-1)^T Q_e, l's own gradient. (Theory: PRML 5.93 to 5.95 for two layers; here for any
number of them and any sharing.) A slot that is used several times gets the blocks of all pairs of its uses, collected
in B such that H = B + B^T; otherwise the upper triangle of H is written.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.algebra.product cimport product
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_ZERO
from fastbp_c.boundary.interrupt cimport go_on
from fastbp_c.boundary.team cimport share
from fastbp_c.derivatives.descent cimport Descent, Own, Pair, Room, room_of
from fastbp_c.networks.batch cimport Batch, itemsize
from fastbp_c.networks.linear cimport (
    has_bias_rows, left_rows, left_width, n_own, parameter, right_place, right_width, same_matrix,
    slot_gradient_rows,
)
from fastbp_c.networks.passes cimport layer_input
from fastbp_c.networks.records cimport Layer, Net, array_at


cdef void gradients_along(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, Py_ssize_t first,
    Py_ssize_t count, Py_ssize_t alpha, floating *Q, Py_ssize_t Q_row, floating *strip, const floating *work,
) noexcept nogil:
    """Q[n] = z^(m-1)_n D^lm_n[alpha] + G^l,(m-1)_n[alpha] delta^m_n for samples first, ..., at the slots of layer m

    Rows of Q are Q_row apart and hold W, then b; those along an output that is none (alpha is -1) are 0.
    """
    cdef const Layer *use = &chunk.net.layers[m]
    cdef Py_ssize_t A = chunk.net.layers[l].n_out, N = chunk.N, n
    cdef const floating *D = <const floating *> room.D_turned
    cdef const floating *G = <const floating *> room.G_turned
    if alpha < 0:
        for n in range(count):
            memset(Q + n * Q_row, 0, n_own(use) * sizeof(floating))
        return
    slot_gradient_rows(use, count, 1, layer_input(chunk, m, work) + first * use.n_in, use.n_in, 0,
                       D + (first * A + alpha) * use.n_out, A * use.n_out, 0, False, False, Q,
                       Q + use.W_rows * use.W_columns if use.b >= 0 else NULL, Q_row, strip)
    if descent.exact and m > l:
        slot_gradient_rows(use, count, 1, G + (first * A + alpha) * use.n_in, A * use.n_in, 0,
                           array_at(work, use.delta, N) + first * use.n_out, use.n_out, 0, True, True, Q, NULL, Q_row,
                           strip)


cdef void add_row(
    const Descent *descent, const Layer *use, bint same, bint add, const floating *c, Py_ssize_t row, Py_ssize_t P,
    floating *H,
) noexcept nogil:
    """H[row, :] (+)= c at the slots that `use` has; of a block on the diagonal, from the diagonal on"""
    cdef Py_ssize_t size = use.W_rows * use.W_columns, start = 0, i
    cdef floating *to = H + row * P + use.W
    if same and row >= use.W:
        start = min(size, row - use.W)
    if same and descent.both and start < size and row == use.W + start:
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
        if same and descent.both and row == use.b + i:
            to[i] += c[size + i] / 2
        else:
            to[i] = (to[i] if add else 0) + c[size + i]


cdef void block_rows(const Pair *pair, Py_ssize_t e, const Own *own, const floating *work) noexcept nogil:
    """The rows of output e of the lower layer"""
    cdef const Batch *chunk = pair.chunk
    cdef const Layer *layer = &chunk.net.layers[pair.l]
    cdef const Layer *use = &chunk.net.layers[pair.m]
    cdef Py_ssize_t P = chunk.net.n_parameters, width = pair.width, inputs = left_width(layer), first = 0, count, g, k
    cdef Py_ssize_t samples = max(1, pair.room.Q_size // (layer.groups * width))
    cdef bint with_bias = layer.b >= 0 and has_bias_rows(layer)
    cdef const floating *left = <const floating *> pair.left
    cdef floating *Q = <floating *> own.Q
    cdef floating *C = <floating *> own.C
    cdef floating *H = <floating *> pair.descent.H
    while first < chunk.N:
        count = min(samples, chunk.N - first)
        if not go_on(<double> count * layer.groups * width * (inputs + 4)):
            return
        for g in range(layer.groups):
            gradients_along(chunk, pair.descent, pair.room, pair.l, pair.m, first, count, right_place(layer, g, e),
                            Q + g * width, layer.groups * width, <floating *> own.strip, work)
        # C[k, c] (+)= left[r, k]^T Q[r, c]
        product(True, False, inputs, width, count * layer.groups, left + first * layer.groups * inputs, Q,
                FBP_ADD if first > 0 else FBP_ZERO, <const floating *> NULL, C)
        if with_bias:
            simd.column_sums(count * layer.groups, width, Q, first > 0, C + inputs * width)
        first += count
    for k in range(inputs):
        add_row(pair.descent, use, pair.l == pair.m, pair.add, C + k * width, parameter(layer, k, e), P, H)
    if with_bias:
        add_row(pair.descent, use, pair.l == pair.m, pair.add, C + inputs * width, layer.b + e, P, H)


cdef void image_bias_row(const Pair *pair, Py_ssize_t c, const Own *own, const floating *work) noexcept nogil:
    """The bias's row where the output is an image that patches were added up to: a sum over its pixels"""
    cdef const Batch *chunk = pair.chunk
    cdef const Layer *layer = &chunk.net.layers[pair.l]
    cdef const Layer *use = &chunk.net.layers[pair.m]
    cdef Py_ssize_t width = pair.width, pixel, first, count, samples = max(1, pair.room.Q_size // width)
    cdef floating *Q = <floating *> own.Q
    cdef floating *C = <floating *> own.C
    cdef bint more = False
    for pixel in range(layer.n_out // layer.n_b):
        if not go_on(<double> chunk.N * width * 4):
            return
        first = 0
        while first < chunk.N:
            count = min(samples, chunk.N - first)
            gradients_along(chunk, pair.descent, pair.room, pair.l, pair.m, first, count, pixel * layer.n_b + c, Q,
                            width, <floating *> own.strip, work)
            simd.column_sums(count, width, Q, more, C)
            more = True
            first += count
    add_row(pair.descent, use, pair.l == pair.m, pair.add, C, layer.b + c, chunk.net.n_parameters,
            <floating *> pair.descent.H)


cdef void block_piece(void *pair_, Py_ssize_t e, int worker) noexcept nogil:
    """Rows of output e or, after the last of them, a row of the bias"""
    cdef const Pair *pair = <const Pair *> pair_
    cdef const Net *net = pair.chunk.net
    cdef Py_ssize_t outputs = right_width(&net.layers[pair.l])
    cdef Own own = room_of(pair.room, net, worker, itemsize(pair.chunk))
    if pair.chunk.single:
        if e < outputs:
            block_rows(pair, e, &own, <const float *> pair.work)
        else:
            image_bias_row(pair, e - outputs, &own, <const float *> pair.work)
    else:
        if e < outputs:
            block_rows(pair, e, &own, <const double *> pair.work)
        else:
            image_bias_row(pair, e - outputs, &own, <const double *> pair.work)


cdef void block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add,
    const floating *work,
) noexcept nogil:
    """The block of uses l <= m: for every output e of l, H[W^l[:, e], W^m] (+)= z^(l-1)^T Q_e"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef Py_ssize_t width = n_own(&chunk.net.layers[m]), rows = right_width(layer)
    cdef double work_of_row = <double> chunk.N * layer.groups * width * (left_width(layer) + 4)
    cdef Pair pair = Pair(chunk, descent, room, l, m, width, 0,
                          left_rows(layer, chunk.N, layer_input(chunk, l, work), <floating *> room.left), add, work)
    if layer.b >= 0 and not has_bias_rows(layer):
        rows += layer.n_b
    share(rows, rows * work_of_row, descent.workers, block_piece, &pair)


cdef void diagonal_of_output(const Pair *pair, Py_ssize_t e, const Own *own, const floating *work) noexcept nogil:
    """What the matrix has between all on the left and e on the right"""
    cdef const Batch *chunk = pair.chunk
    cdef const Layer *layer = &chunk.net.layers[pair.l]
    cdef Py_ssize_t inputs = left_width(layer), g, n, k
    cdef const floating *left = <const floating *> pair.left
    cdef floating *Q = <floating *> own.Q
    cdef double *sums = <double *> own.C
    cdef floating *d = <floating *> pair.descent.H
    cdef floating twice = 1 if pair.l == pair.m else 2
    for g in range(layer.groups):
        if not go_on(<double> chunk.N * (pair.width * 4 + inputs)):
            return
        memset(sums, 0, inputs * sizeof(double))
        for n in range(chunk.N):
            gradients_along(chunk, pair.descent, pair.room, pair.l, pair.m, n, 1, right_place(layer, g, e), Q,
                            pair.width, <floating *> own.strip, work)
            for k in range(inputs):
                sums[k] += left[(n * layer.groups + g) * inputs + k] * Q[parameter(layer, k, e) - layer.W]
        for k in range(inputs):
            d[parameter(layer, k, e)] += <floating> (twice * sums[k])


cdef void diagonal_of_bias(const Pair *pair, Py_ssize_t c, const Own *own, const floating *work) noexcept nogil:
    """What the bias's number c has: from all outputs that it is added to"""
    cdef const Batch *chunk = pair.chunk
    cdef const Layer *layer = &chunk.net.layers[pair.l]
    cdef const Layer *use = &chunk.net.layers[pair.m]
    cdef Py_ssize_t size = use.W_rows * use.W_columns, n, k = c
    cdef floating *Q = <floating *> own.Q
    cdef double sum
    cdef floating *d = <floating *> pair.descent.H
    cdef floating twice = 1 if pair.l == pair.m else 2
    while k < layer.n_out:
        if not go_on(<double> chunk.N * pair.width * 4):
            return
        sum = 0
        for n in range(chunk.N):
            gradients_along(chunk, pair.descent, pair.room, pair.l, pair.m, n, 1, k, Q, pair.width,
                            <floating *> own.strip, work)
            sum += Q[size + c]
        d[layer.b + c] += <floating> (twice * sum)
        k += layer.n_b


cdef inline Py_ssize_t diagonal_outputs(const Layer *layer, const Layer *use) noexcept nogil:
    return right_width(layer) if same_matrix(layer, use) else 0


cdef void diagonal_piece(void *pair_, Py_ssize_t e, int worker) noexcept nogil:
    """Output e or, after the last of them, a number of the bias"""
    cdef const Pair *pair = <const Pair *> pair_
    cdef const Net *net = pair.chunk.net
    cdef Py_ssize_t outputs = diagonal_outputs(&net.layers[pair.l], &net.layers[pair.m])
    cdef Own own = room_of(pair.room, net, worker, itemsize(pair.chunk))
    if pair.chunk.single:
        if e < outputs:
            diagonal_of_output(pair, e, &own, <const float *> pair.work)
        else:
            diagonal_of_bias(pair, e - outputs, &own, <const float *> pair.work)
    else:
        if e < outputs:
            diagonal_of_output(pair, e, &own, <const double *> pair.work)
        else:
            diagonal_of_bias(pair, e - outputs, &own, <const double *> pair.work)


cdef void diagonal_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, const floating *work,
) noexcept nogil:
    """d += the diagonal of the block of uses l <= m of the same slot, twice if they are two"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef const Layer *use = &chunk.net.layers[m]
    cdef Py_ssize_t width = n_own(use), rows = diagonal_outputs(layer, use)
    cdef Pair pair = Pair(chunk, descent, room, l, m, width, 0,
                          left_rows(layer, chunk.N, layer_input(chunk, l, work), <floating *> room.left), True, work)
    if 0 <= layer.b == use.b:
        rows += layer.n_b
    share(rows, <double> rows * chunk.N * layer.groups * width * 4, descent.workers, diagonal_piece, &pair)
