"""The linear part of one layer: y = A(x) + b, its adjoint, and the gradient of the slots it uses.

Design:
a) A layer with weights takes rows of its input, multiplies them by its matrix W (I, O), and puts rows of its output
   down: G rows a sample, x (N G, I) -> y (N G, O). An affine layer has one, a shared layer one for every group.
b) A convolution's rows are patches of an image. They are gathered into a strip that stays in cache, as many as it
   holds, and multiplied there; there is never an array of all patches. The gradient gathers them again: that costs
   less than keeping them.
c) A transposed use takes the same steps backwards: y = x W^T, whose rows, if they are patches, are added up into the
   image. So it is the adjoint of the plain use, and the plain one its adjoint.
d) A pool is linear too, given which pixels a maximum took; that is kept from the forward pass.
e) All passes, of whatever order of derivative, call these functions and know nothing of kinds of layers.

Several directions a sample (R) are rows (n, r): derivatives of several outputs, or along several inputs.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.training.optimizer cimport Step, update
from fastbp_c.algebra.product cimport is_own, own_product, product
from fastbp_c.networks.records cimport AVERAGE, PRODUCT, Layer
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_BIAS, FBP_ZERO

cdef enum:
    # Elements of a strip of patches: small enough for the first-level cache, many rows for the product.
    # benches/bench_sharing.py
    STRIP = 1 << 13
    SHORTEST_STRIP = 16
    # Elements of a matrix that a step takes at once: what it reads and writes fits the second-level cache.
    # benches/bench_training.py
    STEP_STRIP = 1 << 16


cdef inline Py_ssize_t strip_rows(const Layer *layer) noexcept nogil:
    return max(SHORTEST_STRIP, STRIP // layer.rows)


cdef Py_ssize_t strip_size(const Layer *layer) noexcept nogil:
    """Elements of workspace that the layer needs for patches, and for its matrix, transposed."""
    if layer.taps == NULL or layer.kind != PRODUCT:
        return 0
    return layer.rows * (strip_rows(layer) + layer.columns)


cdef inline Py_ssize_t image(const Layer *layer) noexcept nogil:
    """Elements of the image whose patches the layer takes, or, transposed, adds up."""
    return layer.n_out if layer.transposed else layer.n_in


cdef void gather(
    const Layer *layer, Py_ssize_t first, Py_ssize_t count, const floating *x, floating *strip,
) noexcept nogil:
    simd.gather_patches(first, count, layer.groups, layer.n_spans, layer.n_taps // layer.n_spans, layer.channels,
                        image(layer), layer.spans, x, strip)


cdef void scatter(
    const Layer *layer, Py_ssize_t first, Py_ssize_t count, const floating *strip, floating *y,
) noexcept nogil:
    simd.scatter_patches(first, count, layer.groups, layer.n_spans, layer.n_taps // layer.n_spans, layer.channels,
                         image(layer), layer.spans, strip, y)


cdef void fill(Py_ssize_t N, Py_ssize_t n, const floating *row, floating *y) noexcept nogil:
    """y[i, :] = row, or 0 if there is none"""
    cdef Py_ssize_t i
    if row == NULL:
        memset(y, 0, N * n * sizeof(floating))
        return
    for i in range(N):
        memcpy(y + i * n, row, n * sizeof(floating))


cdef void weigh(
    const Layer *layer, Py_ssize_t N, bint transposed, const floating *W, const floating *b, bint add,
    const floating *x, floating *y, floating *strip,
) noexcept nogil:
    """y = x W + b, or x W^T + b, over the rows of N samples; b may be NULL, and then y += will do"""
    cdef Py_ssize_t rows = N * layer.groups, I = layer.rows, O = layer.columns, start = 0, count
    cdef int begin = FBP_ADD if add else FBP_ZERO if b == NULL else FBP_BIAS
    cdef floating *W_transposed = strip + I * strip_rows(layer)
    if layer.taps == NULL:
        if transposed:
            # y[n, i] = b[i] + x[n, o] W[i, o]^T
            product(False, True, rows, I, O, x, W, begin, b, y)
        else:
            # y[n, o] = b[o] + x[n, i] W[i, o]
            product(False, False, rows, O, I, x, W, begin, b, y)
        return
    if transposed:
        simd.transpose(1, I, O, W, W_transposed)
        if not add:
            fill(N * image(layer) // layer.channels, layer.channels, b, y)
    while start < rows:
        count = min(strip_rows(layer), rows - start)
        if transposed:
            # patch[r, i] = x[r, o] W^T[o, i]
            product(False, False, count, I, O, x + start * O, W_transposed, FBP_ZERO, <const floating *> NULL, strip)
            scatter(layer, start, count, strip, y)
        else:
            gather(layer, start, count, x, strip)
            # y[r, o] = b[o] + patch[r, i] W[i, o]
            product(False, False, count, O, I, strip, W, begin, b, y + start * O)
        start += count


cdef void linear_forward(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *x, floating *y, int *chosen, floating *strip,
) noexcept nogil:
    """y[n] = A(x[n]) + b; a maximum leaves in `chosen` where it came from"""
    cdef const floating *b = NULL
    if layer.b >= 0:
        b = p + layer.b
    if layer.kind == PRODUCT:
        weigh(layer, N, layer.transposed, p + layer.W, b, False, x, y, strip)
    elif layer.kind == AVERAGE:
        simd.average(N, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, layer.scale, x, y)
    else:
        simd.maximum(N, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, x, y, chosen)


cdef void push_forward(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *x, bint add, floating *y,
    const int *chosen, floating *strip,
) noexcept nogil:
    """y[n, r] = A(x[n, r]), a maximum taking the pixels it took for sample n; with weights also y[n, r] +="""
    if layer.kind == PRODUCT:
        weigh(layer, N * R, layer.transposed, p + layer.W, <const floating *> NULL, add, x, y, strip)
    elif layer.kind == AVERAGE:
        simd.average(N * R, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, layer.scale, x, y)
    else:
        simd.pick(N, R, layer.groups, layer.channels, layer.n_in, chosen, x, y)


cdef void push_back(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *dy, bint add, floating *dx,
    const int *chosen, floating *strip,
) noexcept nogil:
    """dx[n, r] = A^T(dy[n, r]); with weights also dx[n, r] +="""
    if layer.kind == PRODUCT:
        weigh(layer, N * R, not layer.transposed, p + layer.W, <const floating *> NULL, add, dy, dx, strip)
        return
    memset(dx, 0, N * R * layer.n_in * sizeof(floating))
    if layer.kind == AVERAGE:
        simd.spread_average(N * R, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, layer.scale,
                            dy, dx)
    else:
        simd.unpick(N, R, layer.groups, layer.channels, layer.n_in, chosen, dy, dx)


cdef void matrix_gradient(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add, floating *dW, floating *strip,
) noexcept nogil:
    """dW (+)= sum over all rows of (row of x)^T (row of dy), the other way round for a transposed use"""
    cdef Py_ssize_t rows = N * layer.groups, I = layer.rows, O = layer.columns, start = 0, count
    cdef const floating *inner = x
    cdef const floating *outer = dy
    if layer.transposed:
        inner = dy
        outer = x
    if layer.taps == NULL or rows == 0:
        # dW[i, o] = inner[r, i]^T outer[r, o]
        product(True, False, I, O, rows, inner, outer, FBP_ADD if add else FBP_ZERO, <const floating *> NULL, dW)
        return
    while start < rows:
        count = min(strip_rows(layer), rows - start)
        gather(layer, start, count, inner, strip)
        # dW[i, o] = patch[r, i]^T outer[r, o]
        product(True, False, I, O, count, strip, outer + start * O, FBP_ADD if add or start > 0 else FBP_ZERO,
                <const floating *> NULL, dW)
        start += count


cdef void slot_gradient(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *g,
    floating *strip,
) noexcept nogil:
    """g at the slots that the layer uses (+)= sum_n of the gradient of sum(dy * y)"""
    if layer.kind != PRODUCT:
        return
    matrix_gradient(layer, N, x, dy, add_W, g + layer.W, strip)
    if layer.b >= 0:
        simd.column_sums(N * layer.n_out // layer.n_b, layer.n_b, dy, add_b, g + layer.b)


cdef bint steps_in_strips(const Layer *layer, Py_ssize_t N) noexcept nogil:
    """Whether the layer is one for slot_step: its matrix its own, and large"""
    return (layer.kind == PRODUCT and layer.taps == NULL and layer.settled == layer.W and layer.opens_W
            and layer.rows * layer.columns >= 2 * STEP_STRIP
            and is_own(layer.rows, layer.columns, N * layer.groups))


cdef void slot_step(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *g,
    const Step *step,
) noexcept nogil:
    """slot_gradient, and the step of the matrix, by strips of its rows

    What has been added up is used while it is in cache, and each strip's gradient is written over the one before.
    """
    cdef Py_ssize_t I = layer.rows, O = layer.columns, first = 0, rows = max(1, STEP_STRIP // layer.columns), count
    cdef const floating *inner = dy if layer.transposed else x
    cdef const floating *outer = x if layer.transposed else dy
    cdef floating *dW = g + layer.W
    while first < I:
        count = min(rows, I - first)
        # dW[i, o] (+)= inner[r, first + i]^T outer[r, o]
        own_product(count, O, N * layer.groups, inner + first, 1, I, outer, O, 1, FBP_ADD if add_W else FBP_ZERO,
                    <const floating *> NULL, dW)
        update(step, layer.W + first * O, count * O, dW)
        if add_W:
            dW += count * O
        first += count
    if layer.b >= 0:
        simd.column_sums(N * layer.n_out // layer.n_b, layer.n_b, dy, add_b, g + layer.b)


cdef void slot_gradient_rows(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *x, Py_ssize_t x_n, Py_ssize_t x_r,
    const floating *dy, Py_ssize_t dy_n, Py_ssize_t dy_r, bint add_W, bint add_b, floating *G, Py_ssize_t G_row,
    floating *strip,
) noexcept nogil:
    """The same for every (n, r) by itself, in rows of G that are G_row apart

    Row (n, r) is made of x + n x_n + r x_r and dy + n dy_n + r dy_r.
    """
    cdef Py_ssize_t n, r
    if layer.kind != PRODUCT:
        return
    if layer.groups == 1 and layer.taps == NULL:
        for r in range(R):
            outer_rows(layer, N, x + r * x_r, x_n, dy + r * dy_r, dy_n, add_W, add_b, G + r * G_row, R * G_row)
        return
    for n in range(N):
        for r in range(R):
            slot_gradient(layer, 1, x + n * x_n + r * x_r, dy + n * dy_n + r * dy_r, add_W, add_b,
                          G + (n * R + r) * G_row, strip)


cdef void outer_rows(
    const Layer *layer, Py_ssize_t N, const floating *x, Py_ssize_t x_n, const floating *dy, Py_ssize_t dy_n,
    bint add_W, bint add_b, floating *G, Py_ssize_t G_row,
) noexcept nogil:
    """Of one row a sample the gradient is an outer product"""
    cdef floating one = 1
    if layer.transposed:
        simd.outer(N, layer.rows, layer.columns, dy, dy_n, x, x_n, add_W, G + layer.W, G_row)
    else:
        simd.outer(N, layer.rows, layer.columns, x, x_n, dy, dy_n, add_W, G + layer.W, G_row)
    if layer.b >= 0:
        simd.outer(N, 1, layer.n_out, &one, 0, dy, dy_n, add_b, G + layer.b, G_row)
