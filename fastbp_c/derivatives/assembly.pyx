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
from fastbp_c.derivatives.descent cimport Descent, Room
from fastbp_c.networks.batch cimport Batch
from fastbp_c.networks.linear cimport (
    has_bias_rows, left_rows, left_width, n_own, parameter, right_place, right_width, same_matrix,
    slot_gradient_rows,
)
from fastbp_c.networks.passes cimport layer_input
from fastbp_c.networks.records cimport Layer, array_at, strip_of


cdef void gradients_along(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, Py_ssize_t first,
    Py_ssize_t count, Py_ssize_t alpha, floating *Q, Py_ssize_t Q_row, const floating *work,
) noexcept nogil:
    """Q[n] = z^(m-1)_n D^lm_n[alpha] + G^l,(m-1)_n[alpha] delta^m_n for samples first, ..., at the slots of layer m

    Rows of Q are Q_row apart and hold W, then b; those along an output that is none (alpha is -1) are 0.
    """
    cdef const Layer *use = &chunk.net.layers[m]
    cdef Py_ssize_t A = chunk.net.layers[l].n_out, N = chunk.N, n
    cdef const floating *D = <const floating *> room.D_turned
    cdef const floating *G = <const floating *> room.G_turned
    cdef floating *strip = strip_of(chunk.net, N, work)
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


cdef void block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add,
    const floating *work,
) noexcept nogil:
    """The block of uses l <= m: for every output e of l, H[W^l[:, e], W^m] (+)= z^(l-1)^T Q_e"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef const Layer *use = &chunk.net.layers[m]
    cdef Py_ssize_t P = chunk.net.n_parameters, width = n_own(use), inputs = left_width(layer), first, count, e, g, k
    cdef Py_ssize_t samples = max(1, room.Q_size // (layer.groups * width))
    cdef bint with_bias = layer.b >= 0 and has_bias_rows(layer)
    cdef const floating *left = left_rows(layer, chunk.N, layer_input(chunk, l, work), <floating *> room.left)
    cdef floating *Q = <floating *> room.Q
    cdef floating *C = <floating *> room.C
    cdef floating *H = <floating *> descent.H
    for e in range(right_width(layer)):
        first = 0
        while first < chunk.N:
            count = min(samples, chunk.N - first)
            if not go_on(<double> count * layer.groups * width * (inputs + 4)):
                return
            for g in range(layer.groups):
                gradients_along(chunk, descent, room, l, m, first, count, right_place(layer, g, e), Q + g * width,
                                layer.groups * width, work)
            # C[k, c] (+)= left[r, k]^T Q[r, c]
            product(True, False, inputs, width, count * layer.groups, left + first * layer.groups * inputs, Q,
                    FBP_ADD if first > 0 else FBP_ZERO, <const floating *> NULL, C)
            if with_bias:
                simd.column_sums(count * layer.groups, width, Q, first > 0, C + inputs * width)
            first += count
        for k in range(inputs):
            add_row(descent, use, l == m, add, C + k * width, parameter(layer, k, e), P, H)
        if with_bias:
            add_row(descent, use, l == m, add, C + inputs * width, layer.b + e, P, H)
    if layer.b >= 0 and not with_bias:
        image_bias(chunk, descent, room, l, m, add, work)


cdef void image_bias(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, bint add,
    const floating *work,
) noexcept nogil:
    """The bias's rows where the output is an image that patches were added up to: sums over its pixels"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef const Layer *use = &chunk.net.layers[m]
    cdef Py_ssize_t width = n_own(use), c, pixel, first, count
    cdef Py_ssize_t samples = max(1, room.Q_size // width)
    cdef floating *Q = <floating *> room.Q
    cdef floating *C = <floating *> room.C
    cdef bint more
    for c in range(layer.n_b):
        more = False
        for pixel in range(layer.n_out // layer.n_b):
            if not go_on(<double> chunk.N * width * 4):
                return
            first = 0
            while first < chunk.N:
                count = min(samples, chunk.N - first)
                gradients_along(chunk, descent, room, l, m, first, count, pixel * layer.n_b + c, Q, width, work)
                simd.column_sums(count, width, Q, more, C)
                more = True
                first += count
        add_row(descent, use, l == m, add, C, layer.b + c, chunk.net.n_parameters, <floating *> descent.H)


cdef void diagonal_block(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, Py_ssize_t m, const floating *work,
) noexcept nogil:
    """d += the diagonal of the block of uses l <= m of the same slot, twice if they are two"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef const Layer *use = &chunk.net.layers[m]
    cdef Py_ssize_t inputs = left_width(layer), size = use.W_rows * use.W_columns, e, g, n, k
    cdef const floating *left = left_rows(layer, chunk.N, layer_input(chunk, l, work), <floating *> room.left)
    cdef floating *Q = <floating *> room.Q
    cdef double *sums = <double *> room.C
    cdef floating *d = <floating *> descent.H
    cdef floating twice = 1 if l == m else 2
    for e in range(right_width(layer) if same_matrix(layer, use) else 0):
        for g in range(layer.groups):
            if not go_on(<double> chunk.N * (n_own(use) * 4 + inputs)):
                return
            memset(sums, 0, inputs * sizeof(double))
            for n in range(chunk.N):
                gradients_along(chunk, descent, room, l, m, n, 1, right_place(layer, g, e), Q, n_own(use), work)
                for k in range(inputs):
                    sums[k] += left[(n * layer.groups + g) * inputs + k] * Q[parameter(layer, k, e) - layer.W]
            for k in range(inputs):
                d[parameter(layer, k, e)] += <floating> (twice * sums[k])
    for k in range(layer.n_out if 0 <= layer.b == use.b else 0):
        if not go_on(<double> chunk.N * n_own(use) * 4):
            return
        sums[0] = 0
        for n in range(chunk.N):
            gradients_along(chunk, descent, room, l, m, n, 1, k, Q, n_own(use), work)
            sums[0] += Q[size + k % layer.n_b]
        d[layer.b + k % layer.n_b] += <floating> (twice * sums[0])
