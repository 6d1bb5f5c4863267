"""The descent that assembles the exact Hessian and the Gauss-Newton matrix of any network.

Design:
a) For layer l, going down, it holds for every layer m >= l the second derivatives D^lm = d2E_n/da^l da^m, as rows
   (n, m's outputs) of l's outputs, and the first derivatives G^lq = dz^q/da^l of every layer q >= l in the same way. To
   go down is `rows_back` on all of these rows, as for a delta or a Jacobian. D^ll is taken back from both sides, and
   h'' (delta W^T) is added to it. For the Gauss-Newton matrix that term is left out, and all of G.
b) At every layer the blocks with itself and with all layers above are added: assembly.pyx, pairs.pyx.
c) In the end the upper triangle is mirrored or, where slots are used several times, H = B + B^T: it is symmetric to the
   bit either way.
d) The exact diagonal is the same descent with other blocks, where slots are used several times.
e) For shared layers of many groups this may take more memory or time than another way: `route` compares.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memset

from fastbp_c.algebra cimport simd, stretches
from fastbp_c.boundary.check cimport check_floating, check_matrix
from fastbp_c.boundary.interrupt cimport begin, end, go_on, stopped
from fastbp_c.boundary.team cimport enlist, share
from fastbp_c.boundary.workspace cimport Arena, arena_over, times
from fastbp_c.derivatives.assembly cimport block, diagonal_block
from fastbp_c.derivatives.descent cimport ADDING, Descent, Room, find_needed, keeps_slopes, lay_out
from fastbp_c.derivatives.pairs cimport own_block, own_diagonal, pair_block
from fastbp_c.networks.batch cimport WRITING, Batch, Quantity, itemsize, new_quantity
from fastbp_c.networks.linear cimport has_weights, is_dense, multiply_adds, n_own, overlap
from fastbp_c.networks.nonlinear cimport add_curvature_to_matrix, slope_matrix
from fastbp_c.networks.output cimport output_curvature
from fastbp_c.networks.passes cimport last_a, linearize, rows_back
from fastbp_c.networks.plan cimport Plan
from fastbp_c.networks.records cimport Layer, Net

import numpy as np

cnp.import_array()

cdef enum:
    LONGEST_CHUNK = 512     # samples: a product's inner dimension, after which the result is added to H
    SMALLEST_BUDGET = 1 << 25       # bytes for the descent, whatever the size of H
    STRIP = 1 << 16         # elements that are mirrored as one piece


cdef void add_blocks(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, bint add, const floating *work,
) noexcept nogil:
    """All pairs of layer l with itself and the layers above"""
    cdef const Net *net = chunk.net
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *use
    cdef Py_ssize_t N = chunk.N, m
    if not has_weights(layer):
        return
    if is_dense(layer) and descent.full:
        own_block(chunk, descent, room, l, add, work)
    elif is_dense(layer):
        own_diagonal(chunk, descent, room, l, work)
    for m in range(l + is_dense(layer), net.n_layers):
        use = &net.layers[m]
        if m > l and not descent.needed[m] or not descent.full and not overlap(layer, use) or stopped():
            continue
        if descent.full and is_dense(layer) and is_dense(use):
            pair_block(chunk, descent, room, l, m, add, work)
            continue
        stretches.transpose(N, use.n_out, layer.n_out, <const floating *> room.D[m], <floating *> room.D_turned)
        if descent.exact and m > l:
            stretches.transpose(N, use.n_in, layer.n_out, <const floating *> room.G[m - 1], <floating *> room.G_turned)
        if descent.full:
            block(chunk, descent, room, l, m, add, work)
        else:
            diagonal_block(chunk, descent, room, l, m, work)


cdef void take_back(
    const Batch *chunk, Py_ssize_t l, Py_ssize_t R, const Room *room, void *rows, const floating *work
) noexcept nogil:
    """R rows a sample from layer l to the one below, in their place"""
    cdef floating *spare = <floating *> room.spare
    rows_back(chunk, l, R, <const floating *> rows, spare, work)
    stretches.copy(chunk.N * R * chunk.net.layers[l].n_in, spare, <floating *> rows)


cdef void go_down(
    const Batch *chunk, const Descent *descent, const Room *room, Py_ssize_t l, const floating *work
) noexcept nogil:
    """From D^lm and G^lq to D^(l-1)m and G^(l-1)q"""
    cdef const Net *net = chunk.net
    cdef const Layer *below = &net.layers[l - 1]
    cdef Py_ssize_t N = chunk.N, A = net.layers[l].n_out, m
    cdef floating *spare = <floating *> room.spare
    cdef floating *turned = <floating *> room.D_turned
    cdef floating *D = <floating *> room.D[l - 1]
    for m in range(l, net.n_layers):
        if not go_on(2.0 * N * net.layers[m].n_out * multiply_adds(&net.layers[l])):
            return
        if m > l and descent.needed[m]:
            take_back(chunk, l, net.layers[m].n_out, room, room.D[m], work)
        if keeps_slopes(net, descent, m):
            take_back(chunk, l, net.layers[m].n_out, room, room.G[m], work)
    # D^ll from both sides
    rows_back(chunk, l, A, <const floating *> room.D[l], spare, work)
    if descent.needed[l]:
        stretches.copy(N * A * below.n_out, spare, <floating *> room.D[l])
    stretches.transpose(N, A, below.n_out, spare, turned)
    rows_back(chunk, l, below.n_out, turned, D, work)
    if descent.exact:
        add_curvature_to_matrix(below, N, work, D)
    if keeps_slopes(net, descent, l - 1):
        slope_matrix(below, N, work, <floating *> room.G[l - 1])


cdef double descend_chunk(const Batch *chunk, void *descent_, floating *memory) noexcept nogil:
    """H (+)= the terms of the chunk"""
    cdef const Descent *descent = <const Descent *> descent_
    cdef const Net *net = chunk.net
    cdef Py_ssize_t P = net.n_parameters, last = net.n_layers - 1, l
    cdef bint cleared = descent.both or not descent.full
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Room room = lay_out(net, descent, &arena)
    cdef floating *work = <floating *> room.work
    if cleared and not chunk.add:
        memset(descent.H, 0, (P * P if descent.full else P) * sizeof(floating))
    linearize(chunk, work, descent.exact)
    output_curvature(chunk, descent.exact, last_a(chunk, work), <floating *> room.D[last], <floating *> room.spare)
    for l in range(last, net.lowest - 1, -1):
        add_blocks(chunk, descent, &room, l, chunk.add or cleared, work)
        if l > net.lowest and not stopped():
            go_down(chunk, descent, &room, l, work)
    return 0


cdef size_t size_for(const Net *net, Descent *descent, Py_ssize_t N, size_t element) noexcept nogil:
    """Bytes of workspace for chunks of N samples"""
    cdef Arena arena = arena_over(NULL, element)
    descent.N = N
    lay_out(net, descent, &arena)
    return arena.used


cdef size_t per_sample(const Net *net, Descent *descent, size_t element) noexcept nogil:
    """Bytes of workspace that a sample more takes"""
    cdef size_t few = size_for(net, descent, 1, element), more = size_for(net, descent, 17, element)
    return more if few == more else (more - few) // 16


cdef size_t budget(const Net *net, bint full, size_t element) noexcept nogil:
    """Bytes that the samples of a chunk may take: 32 MiB, and an eighth of the result"""
    return SMALLEST_BUDGET + (times(times(net.n_parameters, net.n_parameters) // 8, element) if full else 0)


cdef Py_ssize_t chunk_length(const Net *net, Descent *descent, Py_ssize_t N, size_t element) noexcept nogil:
    cdef size_t fitting = budget(net, descent.full, element) // per_sample(net, descent, element)
    return max(1, min(min(N, net.longest), <Py_ssize_t> min(<size_t> LONGEST_CHUNK, fitting)))


def route(Plan plan not None, bint gauss_newton, bint full):
    """The cheapest way to the matrix, or to its diagonal, that has the memory: "pairs", "rows" or "products"

    Pairs of layers (this module), rows of the Gauss-Newton matrix (outer_product.pyx), products with all unit vectors
    (operator.pyx); by their multiply-adds for a sample.
    """
    cdef const Net *net = &plan.net
    cdef const Layer *layer
    cdef const Layer *use
    cdef size_t element = 4 if plan.typenum == cnp.NPY_FLOAT else 8
    cdef double pairs = 0, once = 0, P = net.n_parameters, rows, products, forming
    cdef Py_ssize_t terms = 1 if gauss_newton else 2, l, m, held
    cdef cnp.ndarray needed = np.zeros(net.n_layers, np.int8)
    cdef Descent descent = Descent(NULL, not gauss_newton, full, plan.repeats, 1, 1, <char *> cnp.PyArray_DATA(needed))
    find_needed(net, &descent)
    if full:
        pairs = ADDING * P * P / chunk_length(net, &descent, LONGEST_CHUNK, element)
    for l in range(net.n_layers):
        layer = &net.layers[l]
        once += multiply_adds(layer)
        held = 0
        for m in range(l, net.n_layers):
            use = &net.layers[m]
            held += use.n_out * terms
            if is_dense(layer) and is_dense(use):
                pairs += <double> n_own(layer) * n_own(use)
            elif has_weights(layer):
                forming = <double> layer.n_out * multiply_adds(use) * terms
                pairs += forming + <double> layer.groups * n_own(layer) * n_own(use)
        pairs += held * multiply_adds(layer)
    rows = net.n_outputs * (P * (P if full else 1) + 3 * once)
    products = P * once * (4 if gauss_newton else 6)
    if per_sample(net, &descent, element) > budget(net, full, element):
        pairs = products + 1
    if gauss_newton and rows < min(pairs, products):
        return "rows"
    return "pairs" if pairs <= products else "products"


def curvature(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
              cnp.ndarray weight, loss, double scale, bint gauss_newton, cnp.ndarray H not None):
    """H = scale sum_n weight_n d2E_n/dw dw, or the Gauss-Newton matrix; overwritten

    H is (P, P), or (P,) for the diagonal alone.
    """
    cdef const Net *net = &plan.net
    cdef Py_ssize_t P = net.n_parameters
    cdef Batch batch = plan.batch(loss, p, X, T, weight, scale)
    plan.check_curvature(H, p, X, T, weight)
    cdef bint full = H.ndim == 2
    cdef cnp.ndarray needed = np.zeros(net.n_layers, np.int8)
    cdef Descent descent = Descent(cnp.PyArray_DATA(H), not gauss_newton, full, plan.repeats, 1, 1,
                                   <char *> cnp.PyArray_DATA(needed))
    find_needed(net, &descent)
    cdef Quantity quantity = new_quantity(&batch, 3, &descent)
    quantity.of_float, quantity.of_double = descend_chunk[float], descend_chunk[double]
    quantity.longest = chunk_length(net, &descent, batch.N, itemsize(&batch))
    descent.workers = batch.workers = enlist(<double> batch.N * P * (P if full else 1))     # chunks are cut before
    quantity.size, quantity.in_order = size_for(net, &descent, quantity.longest, itemsize(&batch)), True
    quantity.sum, quantity.n_sum = descent.H, P * P if full else P
    plan.run(&batch, &quantity)
    if full:
        mirror(batch.single, P, descent.both, descent.H)


cdef struct Mirrored:
    bint single, both
    Py_ssize_t P, rows      # rows of a piece
    void *H


cdef void mirror_piece(void *mirrored_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Mirrored *mirrored = <const Mirrored *> mirrored_
    cdef Py_ssize_t P = mirrored.P, first = number * mirrored.rows, last = min(P, first + mirrored.rows)
    if not go_on(<double> WRITING * (last - first) * (P - first)):
        return
    if mirrored.single:
        simd.symmetrize(first, last, P, mirrored.both, <float *> mirrored.H)
    else:
        simd.symmetrize(first, last, P, mirrored.both, <double *> mirrored.H)


cdef int mirror(bint single, Py_ssize_t P, bint both, void *H) except -1:
    """H = its upper triangle, mirrored; or, if both are to count, H + H^T"""
    cdef double work = 0.5 * WRITING * P * P
    cdef int workers = enlist(work)
    # Whole blocks of the kernel, and few enough that nobody waits for the last piece, which is small.
    cdef Mirrored mirrored = Mirrored(single, both, P, max(32, STRIP // max(1, P) // 32 * 32), H)
    begin()
    with nogil:
        share((P + mirrored.rows - 1) // mirrored.rows, work, workers, mirror_piece, &mirrored)
    return end()


def symmetrize(cnp.ndarray H not None):
    """H (P, P) = its upper triangle, mirrored"""
    cdef int typenum = check_floating("H", H)
    check_matrix("H", H, typenum, -1, "", -1, "", True)
    check_matrix("H", H, typenum, -1, "", H.shape[0], "as many as rows", True)
    mirror(typenum == cnp.NPY_FLOAT, H.shape[0], False, cnp.PyArray_DATA(H))
