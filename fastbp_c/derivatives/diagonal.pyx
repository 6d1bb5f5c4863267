"""Diagonals of the Hessian and of the Gauss-Newton matrix, without the matrix.

Design:
a) At layer l the second derivatives with respect to a^l are carried as D^ll = sum_r c_r v_r v_r^T + diag t: rows v, a
   coefficient for each, and a diagonal. The rows are stepped back like those of a Jacobian.
b) A diagonal is no longer one after a step. Exactly, it becomes rows: row j is column j of W^l, with coefficient t_j.
   Becker and LeCun's approximation keeps only its diagonal, (W o W) t   (PRML 5.81). Where nothing but the diagonal is
   asked for after the step, which is so at the lowest layer, the two are the same.
c) Every activation adds h'' (delta W^T) to the diagonal. Without that it is the Gauss-Newton matrix.
d) The error function starts it: elementwise output units with a diagonal, softmax with rows (output_factor).
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_vector
from fastbp_c.derivatives.jacobian cimport identity_rows, widest
from fastbp_c.networks.linear cimport push_back, slot_gradient
from fastbp_c.networks.plan cimport Plan, check_output
from fastbp_c.derivatives.outer_product cimport coefficients
from fastbp_c.networks.passes cimport chosen, deltas, forward, layer_input, output_delta, part, step_back, strip
from fastbp_c.networks.records cimport MAXIMUM, PRODUCT, Layer, Net, pitch, work_size
from fastbp_c.algebra.simd cimport FBP_IDENTITY, FBP_SOFTMAX
from fastbp_c.boundary.workspace cimport Workspace, carve, padded

import numpy as np

cnp.import_array()

cdef enum:
    # Elements of the rows of a chunk, or as many as there are sums to add to (benches/bench_diagonal.py).
    CHUNK = 1 << 16


cdef struct Wanted:
    int error
    bint gauss_newton
    bint approximate
    double scale


cdef struct Sizes:
    Py_ssize_t rows         # samples of a chunk
    Py_ssize_t R            # rows a sample, at most
    Py_ssize_t lowest       # the lowest layer with parameters


cdef struct Groups:
    Py_ssize_t count
    Py_ssize_t *sizes       # rows a sample; a group's rows lie together, (N, its size, width)


cdef inline bint lone(const Layer *layer) noexcept nogil:
    """Whether the layer takes a sample as one row"""
    return layer.kind == PRODUCT and layer.groups == 1 and layer.taps == NULL


cdef Sizes sizes_of(const Net *net, const Wanted *wanted) noexcept nogil:
    cdef Sizes sizes
    cdef Py_ssize_t l, width = 1
    sizes.lowest = 0
    while sizes.lowest < net.n_layers - 1 and net.layers[sizes.lowest].kind != PRODUCT:
        sizes.lowest += 1
    sizes.R = net.n_outputs
    if wanted.approximate:
        sizes.R = 0
    elif not wanted.gauss_newton:
        # The second layer adds none where only the squares of the first one's are asked for: see `chunk`.
        for l in range(sizes.lowest + (2 if lone(&net.layers[sizes.lowest]) else 1), net.n_layers - 1):
            if net.layers[l].activation != FBP_IDENTITY:
                sizes.R += net.layers[l].n_out
    for l in range(net.n_layers):   # no row gets as far as the inputs
        width = max(width, net.layers[l].n_out)
    sizes.rows = max(1, min(net.rows, max(CHUNK, net.n_parameters) // (max(1, sizes.R) * width)))
    return sizes


cdef size_t scratch(const Net *net, const Sizes *sizes) noexcept nogil:
    """Elements beside the workspace: what `chunk` carves"""
    cdef size_t width = widest(net), N = sizes.rows, whole = 1
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        if net.layers[l].kind == MAXIMUM:
            whole = N
    return (2 * padded(N * sizes.R * width) + padded(N * max(1, sizes.R)) + 4 * padded(N * width)
            + padded(whole * width * width))


cdef void new_rows(
    const Net *net, Py_ssize_t l, Py_ssize_t N, const floating *p, floating *rows, floating *unit,
    const floating *work,
) noexcept nogil:
    """rows[n, j, i] = h'(a^(l-1)_ni) W^l_ij: unit rows at a^l, stepped back"""
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *below = &net.layers[l - 1]
    cdef Py_ssize_t R = layer.n_out, n
    if layer.kind == MAXIMUM:
        identity_rows(N, R, unit)
        step_back(net, l, N, R, p, unit, rows, work)
        return
    identity_rows(1, R, unit)
    push_back(layer, 1, R, p, unit, False, rows, chosen(layer, pitch(N), work), strip(net, pitch(N), work))
    for n in range(1, N):
        memcpy(rows + n * R * below.n_out, rows, R * below.n_out * sizeof(floating))
    if below.activation != FBP_IDENTITY:
        simd.multiply(N, R, below.n_out, work + below.h1 * pitch(N), rows)


cdef void add_rows(
    const Net *net, Py_ssize_t l, Py_ssize_t N, Py_ssize_t R, const floating *x, const floating *c,
    const floating *rows, floating *g, floating *d, const floating *work,
) noexcept nogil:
    """d += sum_nr c[n, r] g^2, g being what the layer's parameters get from row (n, r)"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t n, r
    for n in range(N):
        for r in range(R):
            slot_gradient(layer, 1, x + n * layer.n_in, rows + (n * R + r) * layer.n_out, False, False, g,
                          strip(net, pitch(N), work))
            simd.sum_squares(1, 1, layer.rows * layer.columns, c + n * R + r, g + layer.W, True, d + layer.W)
            if layer.b >= 0:
                simd.sum_squares(1, 1, layer.n_b, c + n * R + r, g + layer.b, True, d + layer.b)


cdef void visit(
    const Net *net, Py_ssize_t l, Py_ssize_t N, const Groups *groups, const floating *x, const floating *c,
    const floating *rows, const floating *t, floating *q, floating *x2, floating *g, floating *d,
    const floating *work,
) noexcept nogil:
    """d += the layer's part of the diagonal: (z o z)^T (sum_r c_r v_r o v_r + t)   (5.79)"""
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t k, R, done = 0
    if layer.kind != PRODUCT:
        return
    memcpy(q, t, N * layer.n_out * sizeof(floating))
    for k in range(groups.count):
        R = groups.sizes[k]
        if lone(layer):
            simd.sum_squares(N, R, layer.n_out, c + N * done, rows + N * done * layer.n_out, True, q)
        else:
            add_rows(net, l, N, R, x, c + N * done, rows + N * done * layer.n_out, g, d, work)
        done += R
    simd.square(N * layer.n_in, x, x2)
    slot_gradient(layer, N, x2, q, True, True, d, strip(net, pitch(N), work))


cdef void step_diagonal(
    const Net *net, Py_ssize_t l, Py_ssize_t N, const floating *p2, const floating *t, floating *back,
    const floating *work,
) noexcept nogil:
    """back = h' o h' * (t (W o W)^T), p2 being p o p   (the first term of 5.81)"""
    cdef const Layer *below = &net.layers[l - 1]
    cdef Layer layer = net.layers[l]
    layer.scale *= layer.scale
    push_back(&layer, N, 1, p2, t, False, back, chosen(&layer, pitch(N), work), strip(net, pitch(N), work))
    if below.activation != FBP_IDENTITY:
        for _ in range(2):
            simd.multiply(N, 1, below.n_out, work + below.h1 * pitch(N), back)


cdef void step_rows(
    const Net *net, Py_ssize_t l, Py_ssize_t N, const Groups *groups, const floating *p, const floating *rows,
    floating *back, const floating *work,
) noexcept nogil:
    cdef Py_ssize_t k, done = 0
    for k in range(groups.count):
        step_back(net, l, N, groups.sizes[k], p, rows + N * done * net.layers[l].n_out,
                  back + N * done * net.layers[l].n_in, work)
        done += groups.sizes[k]


cdef void chunk(
    const Net *net, const Wanted *wanted, const Sizes *sizes, Groups *groups, Py_ssize_t N, const floating *p,
    const floating *p2, const floating *X, const floating *T, const floating *weight, floating *d, floating *g,
    floating *work, floating *rest,
) noexcept nogil:
    """d += the diagonal's terms of N samples"""
    cdef Py_ssize_t last = net.n_layers - 1, width = widest(net), block = pitch(N), K = net.n_outputs, R = 0, l
    cdef bint bent = not wanted.gauss_newton, dense, squares
    cdef const Layer *below
    cdef floating *a = work + net.layers[last].z * block
    cdef floating *rows = carve(&rest, sizes.rows * sizes.R * width)
    cdef floating *back = carve(&rest, sizes.rows * sizes.R * width)
    cdef floating *c = carve(&rest, sizes.rows * max(1, sizes.R))
    cdef floating *t = carve(&rest, sizes.rows * width)
    cdef floating *t_back = carve(&rest, sizes.rows * width)
    cdef floating *q = carve(&rest, sizes.rows * width)
    cdef floating *x2 = carve(&rest, sizes.rows * width)
    cdef floating *unit = rest
    groups.count = 0
    if bent:
        output_delta(net, wanted.error, N, p, X, T, weight, <floating> wanted.scale, work, 2)
        deltas(net, N, p, work, True)
    else:
        forward(net, N, p, X, a, work, 1)
    if net.layers[last].activation == FBP_SOFTMAX and not wanted.approximate:
        coefficients(wanted.error, wanted.scale, N, K, T, weight, c)
        simd.output_factor(FBP_SOFTMAX, wanted.error, N, K, a, rows)
        groups.sizes[0], groups.count, R = K, 1, K
        memset(t, 0, N * K * sizeof(floating))
    else:
        simd.error_diagonal(net.layers[last].activation, wanted.error, N, K, a, T, weight, <floating> wanted.scale,
                            wanted.gauss_newton, t)
    dense = groups.count == 0       # t is not 0
    for l in range(last, sizes.lowest - 1, -1):
        visit(net, l, N, groups, layer_input(net, l, block, X, work), c, rows, t, q, x2, g, d, work)
        if l == sizes.lowest:
            return
        below = &net.layers[l - 1]
        step_rows(net, l, N, groups, p, rows, back, work)
        squares = wanted.approximate or (l - 1 == sizes.lowest and lone(below))
        if dense and squares:
            step_diagonal(net, l, N, p2, t, t_back, work)
        else:
            memset(t_back, 0, N * below.n_out * sizeof(floating))
        if dense and not squares:
            memcpy(c + N * R, t, N * net.layers[l].n_out * sizeof(floating))
            new_rows(net, l, N, p, back + N * R * below.n_out, unit, work)
            groups.sizes[groups.count] = net.layers[l].n_out
            groups.count += 1
            R += net.layers[l].n_out
        rows, back, t, t_back, dense = back, rows, t_back, t, dense and squares
        if bent and below.activation != FBP_IDENTITY:
            simd.add(N * below.n_out, work + below.h2 * block, t)
            dense = True


cdef void factored(
    const Net *net, const Wanted *wanted, const Sizes *sizes, Groups *groups, Py_ssize_t N, const floating *p,
    const floating *X, const floating *T, const floating *weight, floating *d, floating *work,
) noexcept nogil:
    """d = the diagonal, every slot being used once, or its approximation"""
    cdef Py_ssize_t start = 0, n, K = net.n_outputs
    cdef floating *rest = work + work_size(net, sizes.rows)
    cdef floating *p2 = carve(&rest, net.n_parameters)
    cdef floating *g = carve(&rest, net.n_parameters)
    simd.square(net.n_parameters, p, p2)
    memset(d, 0, net.n_parameters * sizeof(floating))
    while start < N:
        n = min(sizes.rows, N - start)
        chunk(net, wanted, sizes, groups, n, p, p2, X + start * net.n_inputs, T + start * K, part(weight, start), d,
              g, work, rest)
        start += n


def diagonal(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
             cnp.ndarray weight, loss, double scale, bint gauss_newton, bint approximate, cnp.ndarray d not None):
    """d = the diagonal of scale sum_n weight_n d2E_n/dw dw, or of the Gauss-Newton matrix, or (5.81); overwritten

    But for the approximation, no slot may be used twice; for the Hessian, `plan.factors` must hold.
    """
    cdef const Net *net = &plan.net
    cdef Wanted wanted = Wanted(plan.loss_number(loss), gauss_newton, approximate, scale)
    plan.check_parameters(p)
    plan.check_batch(X, T, weight)
    check_vector("out", d, plan.typenum, net.n_parameters, "the network's parameters", True)
    check_output(d, p, X, T, weight)
    if not approximate and (plan.repeats if gauss_newton else not plan.factors(loss)):
        raise ValueError("plan: expected slots that are used once and a curvature known by factors, got another")
    cdef Py_ssize_t N = X.shape[0]
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    cdef Sizes sizes = sizes_of(net, &wanted)
    cdef cnp.ndarray room = np.empty(net.n_layers + 1, np.intp)
    cdef Groups groups = Groups(0, <Py_ssize_t *> cnp.PyArray_DATA(room))
    cdef Workspace work = plan.take(sizes.rows, 2 * padded(net.n_parameters) + scratch(net, &sizes))
    with nogil:
        if plan.typenum == cnp.NPY_FLOAT:
            factored(net, &wanted, &sizes, &groups, N, <const float *> cnp.PyArray_DATA(p),
                     <const float *> cnp.PyArray_DATA(X), <const float *> cnp.PyArray_DATA(T), <const float *> w,
                     <float *> cnp.PyArray_DATA(d), <float *> work.memory)
        else:
            factored(net, &wanted, &sizes, &groups, N, <const double *> cnp.PyArray_DATA(p),
                     <const double *> cnp.PyArray_DATA(X), <const double *> cnp.PyArray_DATA(T), <const double *> w,
                     <double *> cnp.PyArray_DATA(d), <double *> work.memory)
    plan.give(work)
