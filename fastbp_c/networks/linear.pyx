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
e) All passes, of whatever order of derivative, call these functions and ask the questions of linear.pxd. They know
   nothing of kinds of layers.

Several directions a sample (R) are rows (n, r): derivatives of several outputs, or along several inputs.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.algebra.product cimport is_own, own_block, product
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_BIAS, FBP_ZERO
from fastbp_c.boundary.interrupt cimport go_on
from fastbp_c.boundary.team cimport Piece, enlisted, share
from fastbp_c.boundary.workspace cimport times
from fastbp_c.networks.records cimport AVERAGE, FLOAT_CHAIN, MAXIMUM, Layer
from fastbp_c.training.optimizer cimport Step, update

cdef enum:
    # Elements of a strip of patches: small enough for the first-level cache, many rows for the product.
    # benches/bench_sharing.py
    STRIP = 1 << 13
    SHORTEST_STRIP = 16
    # Elements of a matrix that a step takes at once: what it reads and writes fits the second-level cache; and rows, as
    # many as repay packing what they are multiplied by.
    # benches/bench_training.py
    STEP_STRIP = 1 << 15
    STRIP_ROWS = 96
    SUM_ELEMENTS = 3        # float32 numbers for one of a sum in float64 and one of its part


cdef bint keeps_choice(const Layer *layer) noexcept nogil:
    """Whether the forward pass has to leave which pixels it chose"""
    return layer.kind == MAXIMUM


cdef bint is_one_map(const Layer *layer) noexcept nogil:
    """Whether it is the same map for all samples"""
    return layer.kind != MAXIMUM


cdef double multiply_adds(const Layer *layer) noexcept nogil:
    """Multiply-adds of the map for one row of inputs"""
    if has_weights(layer):
        return <double> layer.groups * layer.W_rows * layer.W_columns
    return <double> layer.n_out * layer.n_taps


cdef inline Py_ssize_t strip_rows(const Layer *layer) noexcept nogil:
    return max(SHORTEST_STRIP, STRIP // layer.W_rows)


cdef size_t strip_size(const Layer *layer) noexcept nogil:
    """Elements of workspace that the layer needs for patches, and for its matrix, transposed or summed up"""
    if layer.groups == 1 and layer.taps == NULL or not has_weights(layer):
        return 0
    return patches_size(layer) + times(SUM_ELEMENTS, times(layer.W_rows, layer.W_columns))


cdef inline size_t patches_size(const Layer *layer) noexcept nogil:
    """Elements of a strip, so many that what comes after them is on a cache line, too"""
    return (times(layer.W_rows, strip_rows(layer)) + 15) // 16 * 16 if layer.taps != NULL else 0


cdef inline Py_ssize_t image(const Layer *layer) noexcept nogil:
    """Elements of the image whose patches the layer takes, or, transposed, adds up."""
    return layer.n_out if layer.transposed else layer.n_in


cdef void take_patches(
    const Layer *layer, Py_ssize_t first, Py_ssize_t count, const floating *x, floating *strip,
) noexcept nogil:
    simd.gather_patches(first, count, layer.groups, layer.n_spans, layer.n_taps // layer.n_spans, layer.channels,
                        image(layer), layer.spans, x, strip)


cdef void add_patches(
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


cdef void apply_matrix(
    const Layer *layer, Py_ssize_t N, bint transposed, const floating *W, const floating *b, bint add,
    const floating *x, floating *y, floating *strip,
) noexcept nogil:
    """y = x W + b, or x W^T + b, over the rows of N samples; b may be NULL, and then y += will do"""
    cdef Py_ssize_t rows = N * layer.groups, I = layer.W_rows, O = layer.W_columns, start = 0, count
    cdef int begin = FBP_ADD if add else FBP_ZERO if b == NULL else FBP_BIAS
    cdef floating *W_transposed = strip + patches_size(layer)
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
    while start < rows and go_on(<double> strip_rows(layer) * I * O):
        count = min(strip_rows(layer), rows - start)
        if transposed:
            # patch[r, i] = x[r, o] W^T[o, i]
            product(False, False, count, I, O, x + start * O, W_transposed, FBP_ZERO, <const floating *> NULL, strip)
            add_patches(layer, start, count, strip, y)
        else:
            take_patches(layer, start, count, x, strip)
            # y[r, o] = b[o] + patch[r, i] W[i, o]
            product(False, False, count, O, I, strip, W, begin, b, y + start * O)
        start += count


cdef inline const floating *bias_of(const Layer *layer, const floating *p) noexcept nogil:
    return <const floating *> slot(p, layer.b)


cdef void linear_forward(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *x, floating *y, int *chosen, floating *strip,
) noexcept nogil:
    """y[n] = A(x[n]) + b; a maximum leaves in `chosen` where it came from"""
    if has_weights(layer):
        apply_matrix(layer, N, layer.transposed, p + layer.W, bias_of(layer, p), False, x, y, strip)
    elif layer.kind == AVERAGE:
        simd.average(N, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, layer.scale, x, y)
    else:
        simd.maximum(N, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, x, y, chosen)


cdef void linear_map(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *x, floating *y,
    const int *chosen, floating *strip,
) noexcept nogil:
    """y[n, r] = A(x[n, r]), a maximum taking the pixels it took for sample n"""
    if has_weights(layer):
        apply_matrix(layer, N * R, layer.transposed, p + layer.W, <const floating *> NULL, False, x, y, strip)
    elif layer.kind == AVERAGE:
        simd.average(N * R, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, layer.scale, x, y)
    else:
        simd.pick(N, R, layer.groups, layer.channels, layer.n_in, chosen, x, y)


cdef inline void adjoint(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, double scale, const floating *dy, floating *dx,
    const int *chosen, floating *strip,
) noexcept nogil:
    """dx[n, r] = A^T(dy[n, r]), the scale of an average being that one"""
    if has_weights(layer):
        apply_matrix(layer, N * R, not layer.transposed, p + layer.W, <const floating *> NULL, False, dy, dx, strip)
        return
    memset(dx, 0, N * R * layer.n_in * sizeof(floating))
    if layer.kind == AVERAGE:
        simd.spread_average(N * R, layer.groups, layer.n_taps, layer.channels, layer.n_in, layer.taps, scale, dy, dx)
    else:
        simd.unpick(N, R, layer.groups, layer.channels, layer.n_in, chosen, dy, dx)


cdef void linear_adjoint(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *dy, floating *dx,
    const int *chosen, floating *strip,
) noexcept nogil:
    """dx[n, r] = A^T(dy[n, r])"""
    adjoint(layer, N, R, p, layer.scale, dy, dx, chosen, strip)


cdef void squared_adjoint(
    const Layer *layer, Py_ssize_t N, const floating *p2, const floating *t, floating *back, const int *chosen,
    floating *strip,
) noexcept nogil:
    """back = (A o A)^T(t), every element of the map squared; p2: p o p"""
    adjoint(layer, N, 1, p2, layer.scale * layer.scale, t, back, chosen, strip)


cdef void tangent_map(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *v, const floating *x, const floating *Rx,
    floating *Ry, const int *chosen, floating *strip,
) noexcept nogil:
    """R{y} = A_v(x) + b_v + A(R{x}) along v; R{x} is NULL for an input that does not change"""
    if not has_weights(layer):
        if Rx == NULL:
            memset(Ry, 0, N * layer.n_out * sizeof(floating))
        else:
            linear_map(layer, N, 1, p, Rx, Ry, chosen, strip)
        return
    apply_matrix(layer, N, layer.transposed, v + layer.W, bias_of(layer, v), False, x, Ry, strip)
    if Rx != NULL:
        apply_matrix(layer, N, layer.transposed, p + layer.W, <const floating *> NULL, True, Rx, Ry, strip)


cdef void tangent_adjoint(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *v, const floating *dy, const floating *Rdy,
    floating *Rdx, const int *chosen, floating *strip,
) noexcept nogil:
    """R{dx} = A^T(R{dy}) + A_v^T(dy) along v; the second term is left out if v is NULL"""
    linear_adjoint(layer, N, 1, p, Rdy, Rdx, chosen, strip)
    if v != NULL and has_weights(layer):
        apply_matrix(layer, N, not layer.transposed, v + layer.W, <const floating *> NULL, True, dy, Rdx, strip)


cdef void rows_gradient(
    const Layer *layer, Py_ssize_t first, Py_ssize_t count, const floating *inner, const floating *outer, bint add,
    floating *dW, floating *strip,
) noexcept nogil:
    """dW[i, o] (+)= inner[r, i]^T outer[r, o] over so many rows from the first on, those of patches by strips"""
    cdef Py_ssize_t I = layer.W_rows, O = layer.W_columns, start = first, end = first + count, rows
    if layer.taps == NULL or count == 0:
        # dW[i, o] = inner[r, i]^T outer[r, o]
        product(True, False, I, O, count, inner + first * I, outer + first * O, FBP_ADD if add else FBP_ZERO,
                <const floating *> NULL, dW)
        return
    while start < end and go_on(<double> strip_rows(layer) * I * O):
        rows = min(strip_rows(layer), end - start)
        take_patches(layer, start, rows, inner, strip)
        # dW[i, o] = patch[r, i]^T outer[r, o]
        product(True, False, I, O, rows, strip, outer + start * O, FBP_ADD if add or start > first else FBP_ZERO,
                <const floating *> NULL, dW)
        start += rows


cdef void matrix_gradient(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add, floating *dW, floating *strip,
) noexcept nogil:
    """dW (+)= sum over all rows of (row of x)^T (row of dy), the other way round for a transposed use

    Of a float32 sum over many rows, as samples of many groups have them, parts are added in float64.
    """
    cdef Py_ssize_t rows = N * layer.groups, size = layer.W_rows * layer.W_columns, start = 0, i
    cdef const floating *inner = dy if layer.transposed else x
    cdef const floating *outer = x if layer.transposed else dy
    cdef double *total = <double *> (strip + patches_size(layer))
    cdef floating *part = <floating *> (total + size)
    if rows <= FLOAT_CHAIN or layer.groups == 1 or sizeof(floating) == sizeof(double):
        rows_gradient(layer, 0, rows, inner, outer, add, dW, strip)
        return
    for i in range(size):
        total[i] = dW[i] if add else 0
    while start < rows:
        rows_gradient(layer, start, min(FLOAT_CHAIN, rows - start), inner, outer, False, part, strip)
        for i in range(size):
            total[i] += part[i]
        start += FLOAT_CHAIN
    for i in range(size):
        dW[i] = <floating> total[i]


cdef inline void bias_gradient(
    const Layer *layer, Py_ssize_t N, const floating *dy, bint add, floating *db
) noexcept nogil:
    if db != NULL:
        simd.column_sums(N * layer.n_out // layer.n_b, layer.n_b, dy, add, db)


cdef void slot_gradient(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *dW,
    floating *db, floating *strip,
) noexcept nogil:
    """dW, db (+)= the gradient of sum(dy * y) at the layer's slots; db may be NULL"""
    if has_weights(layer):
        matrix_gradient(layer, N, x, dy, add_W, dW, strip)
        bias_gradient(layer, N, dy, add_b, db)


cdef bint steps_in_strips(const Layer *layer, Py_ssize_t N) noexcept nogil:
    """Whether the layer is one for slot_step: its matrix its own, and large"""
    return (has_weights(layer) and layer.taps == NULL and layer.settled == layer.W and layer.opens_W
            and layer.W_rows * layer.W_columns >= 4 * STEP_STRIP
            and is_own())


cdef struct Strips:
    const Layer *layer
    Py_ssize_t N, rows      # of samples, and of the matrix in a strip
    const void *inner
    const void *outer
    void *g
    bint add, own_places
    const Step *step


cdef void step_strip(const Strips *strips, Py_ssize_t first, Py_ssize_t place, const floating *of_type) noexcept nogil:
    """The step of the rows from the first on, their gradient lying at that row"""
    cdef Py_ssize_t I = strips.layer.W_rows, O = strips.layer.W_columns, count = min(strips.rows, I - first)
    cdef floating *dW = <floating *> strips.g + strips.layer.W + place * O
    # dW[i, o] (+)= inner[r, first + i]^T outer[r, o]
    own_block(count, O, strips.N * strips.layer.groups, <const floating *> strips.inner + first, 1, I,
              <const floating *> strips.outer, O, 1, FBP_ADD if strips.add else FBP_ZERO, <const floating *> NULL, dW,
              O)
    update(strips.step, strips.layer.W + first * O, count * O, dW)


cdef void strip_of_floats(void *strips_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Strips *strips = <const Strips *> strips_
    cdef Py_ssize_t first = number * strips.rows
    step_strip(strips, first, first if strips.own_places else worker * strips.rows, <const float *> NULL)


cdef void strip_of_doubles(void *strips_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Strips *strips = <const Strips *> strips_
    cdef Py_ssize_t first = number * strips.rows
    step_strip(strips, first, first if strips.own_places else worker * strips.rows, <const double *> NULL)


cdef void slot_step(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *g,
    const Step *step,
) noexcept nogil:
    """slot_gradient, and the step of the matrix, by strips of its rows

    What has been added up is used while it is in cache, and each strip's gradient is written over the one before.
    """
    cdef Py_ssize_t I = layer.W_rows, O = layer.W_columns, rows = max(<Py_ssize_t> STRIP_ROWS, STEP_STRIP // O)
    cdef int workers = enlisted()
    cdef const floating *inner = dy if layer.transposed else x
    cdef const floating *outer = x if layer.transposed else dy
    cdef Strips strips = Strips(layer, N, rows, inner, outer, g, add_W, add_W or workers * rows > I, step)
    cdef Piece piece = strip_of_floats if floating is float else strip_of_doubles
    share((I + rows - 1) // rows, <double> I * O * N * layer.groups, workers, piece, &strips)
    bias_gradient(layer, N, dy, add_b, slot(g, layer.b))


cdef void slot_gradient_rows(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *x, Py_ssize_t x_n, Py_ssize_t x_r,
    const floating *dy, Py_ssize_t dy_n, Py_ssize_t dy_r, bint add_W, bint add_b, floating *dW, floating *db,
    Py_ssize_t G_row, floating *strip,
) noexcept nogil:
    """slot_gradient for every (n, r) by itself: dW and db for the first, G_row apart for each next one

    Row (n, r) is made of x + n x_n + r x_r and dy + n dy_n + r dy_r.
    """
    cdef Py_ssize_t I = layer.W_rows, O = layer.W_columns, n, r, place
    cdef floating one = 1
    if not has_weights(layer):
        return
    for r in range(R if is_dense(layer) else 0):
        place = r * G_row
        # Of one row a sample the gradient is an outer product.
        if layer.transposed:
            simd.outer(N, I, O, dy + r * dy_r, dy_n, x + r * x_r, x_n, add_W, dW + place, R * G_row)
        else:
            simd.outer(N, I, O, x + r * x_r, x_n, dy + r * dy_r, dy_n, add_W, dW + place, R * G_row)
        if db != NULL:
            simd.outer(N, 1, layer.n_out, &one, 0, dy + r * dy_r, dy_n, add_b, db + place, R * G_row)
    for n in range(0 if is_dense(layer) else N):
        for r in range(R):
            place = (n * R + r) * G_row
            slot_gradient(layer, 1, x + n * x_n + r * x_r, dy + n * dy_n + r * dy_r, add_W, add_b, dW + place,
                          db + place if db != NULL else NULL, strip)


cdef size_t left_size(const Layer *layer) noexcept nogil:
    """Elements of a sample's left rows"""
    return times(layer.groups, left_width(layer))


cdef const floating *left_rows(
    const Layer *layer, Py_ssize_t N, const floating *x, floating *patches
) noexcept nogil:
    """The left rows of N samples: rows of their inputs, or patches of them; patches: room for those"""
    if layer.taps == NULL or layer.transposed:
        return x
    take_patches(layer, 0, N * layer.groups, x, patches)
    return patches


cdef Py_ssize_t right_place(const Layer *layer, Py_ssize_t g, Py_ssize_t e) noexcept nogil:
    """The output that number e on the right of row g of a sample is, or goes to; -1 outside the image"""
    cdef Py_ssize_t tap
    if layer.taps == NULL or not layer.transposed:
        return g * right_width(layer) + e
    tap = layer.taps[g * layer.n_taps + e // layer.channels]
    return -1 if tap < 0 else tap * layer.channels + e % layer.channels


cdef bint has_bias_rows(const Layer *layer) noexcept nogil:
    """Whether the bias is added on the right, row by row; if not, it is added to the pixels of an image"""
    return not layer.transposed or layer.taps == NULL
