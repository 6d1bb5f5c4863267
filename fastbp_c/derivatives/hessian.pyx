"""The walk that assembles the exact Hessian and the Gauss-Newton matrix of any network.

Design:
a) For layer l, going down, the walk holds for every layer m >= l the second derivatives D^lm = d2E_n/da^l da^m, as rows
   (n, m's outputs) of l's outputs, and the first derivatives G^lq = dz^q/da^l of every layer q >= l in the same way. A
   step down is `step_back` on all of these rows, as for a delta or a Jacobian. D^ll is stepped back from both sides and
   gets h'' (delta W^T) added. For the Gauss-Newton matrix that term is left out, and all of G.
b) At every layer the blocks with itself and with all layers above are added: assembly.pyx.
c) In the end the upper triangle is mirrored or, where slots are used several times, H = B + B^T: it is symmetric to the
   bit either way.
d) The exact diagonal is the same walk with another visitor, where slots are used several times.
e) For shared layers of many groups the walk may take more memory or time than another way: `route` compares.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_floating, check_matrix
from fastbp_c.derivatives.assembly cimport (
    TILE, Room, Walk, block, diagonal_block, lone, n_own, own_block, own_diagonal, pair_block, tile_inputs, tile_pairs,
    triangle,
)
from fastbp_c.derivatives.jacobian cimport identity_rows, layer_work
from fastbp_c.networks.plan cimport Plan
from fastbp_c.networks.passes cimport deltas, forward, output_delta, part, step_back
from fastbp_c.networks.records cimport PRODUCT, Layer, Net, pitch, work_size
from fastbp_c.algebra.simd cimport FBP_IDENTITY
from fastbp_c.boundary.workspace cimport Workspace, padded

import numpy as np

cnp.import_array()

cdef enum:
    LONGEST_CHUNK = 512     # samples: a product's inner dimension, after which the result is added to H
    SHORTEST_ROWS = 64
    SMALLEST_BUDGET = 1 << 25       # bytes for the walk, whatever the size of H
    ADDING = 30             # multiply-adds that take as long as adding a number to H, after every chunk


cdef struct Place:
    Py_ssize_t spare, TD, TG, left, triangles


cdef inline Py_ssize_t place_of(Py_ssize_t *total, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t here = total[0]
    total[0] += padded(n)
    return here


cdef inline bint same_slot(const Layer *one, const Layer *other) noexcept nogil:
    return one.kind == PRODUCT and other.kind == PRODUCT and (one.W == other.W or 0 <= one.b == other.b)


cdef inline bint keeps_slopes(const Net *net, const Walk *walk, Py_ssize_t q) noexcept nogil:
    """Whether G^lq is held from l = q on; a pair of neighbors alone has no need of a matrix that is diagonal"""
    if not walk.bent or q + 1 == net.n_layers or not walk.needed[q + 1]:
        return False
    return q > walk.lowest or not walk.full or not lone(&net.layers[q]) or not lone(&net.layers[q + 1])


cdef Place places_of(const Net *net, const Walk *walk) noexcept nogil:
    """Elements that every array of the walk takes for a sample"""
    cdef Place place
    cdef Py_ssize_t l, m, A, B
    cdef const Layer *layer
    memset(&place, 0, sizeof(Place))
    place.spare = place.TD = net.n_outputs
    for l in range(walk.lowest, net.n_layers):
        layer = &net.layers[l]
        A = layer.n_out
        place.spare = max(place.spare, A)
        if l > walk.lowest:
            place.TD = max(place.TD, A * net.layers[l - 1].n_out)
        if layer.kind == PRODUCT:
            place.left = max(place.left, max(layer.groups * layer.rows, layer.n_in + 1))
            if lone(layer) and walk.full:
                place.triangles = max(place.triangles, triangle(A))
        for m in range(l, net.n_layers):
            B = net.layers[m].n_out
            if l > walk.lowest:
                place.spare = max(place.spare, B * net.layers[l - 1].n_out)
            if m == l + 1:
                place.TG = max(place.TG, A * B)
            if not lone(layer) or not lone(&net.layers[m]) or not walk.full:
                place.TD = max(place.TD, A * B)
                place.TG = max(place.TG, A * net.layers[m].n_in if m > l else 0)
    return place


cdef Py_ssize_t held_width(const Net *net, const Walk *walk, Py_ssize_t m) noexcept nogil:
    """The most outputs of a layer for which rows of layer m are held"""
    cdef Py_ssize_t l, width = net.layers[m].n_out
    for l in range(walk.lowest, m if walk.needed[m] or keeps_slopes(net, walk, m) else 0):
        width = max(width, net.layers[l].n_out)
    return width


cdef Py_ssize_t per_sample(const Net *net, const Walk *walk) noexcept nogil:
    """Elements of scratch memory per sample"""
    cdef Place place = places_of(net, walk)
    cdef Py_ssize_t m, total = place.spare + place.TD + place.TG + 2 * place.left + place.triangles
    for m in range(walk.lowest, net.n_layers):
        total += net.layers[m].n_out * held_width(net, walk, m) * (2 if keeps_slopes(net, walk, m) else 1)
    return total


cdef Room arrange(const Net *net, Walk *walk) noexcept nogil:
    """Give everything of a chunk its room"""
    cdef Room room
    cdef Place place = places_of(net, walk)
    cdef Py_ssize_t N = walk.N, total = 0, widest = 0, C = 0, pairs = 0, tile = 0, count, held, l, m, A, other
    cdef const Layer *layer
    memset(&room, 0, sizeof(Room))
    for l in range(walk.lowest, net.n_layers):
        layer = &net.layers[l]
        held = layer.n_out * held_width(net, walk, l)
        walk.D[l] = place_of(&total, N * held)
        walk.G[l] = place_of(&total, N * held if keeps_slopes(net, walk, l) else 0)
        widest = max(widest, n_own(layer))
        if layer.kind != PRODUCT:
            continue
        C = max(C, max(layer.rows, layer.columns) + 1)
        room.Q_size = max(room.Q_size, layer.groups)
        if lone(layer):
            count = tile_pairs(layer, N)
            pairs, tile = max(pairs, count * N), max(tile, count * triangle(layer.n_out) + layer.n_out * layer.n_out)
            for m in range(l + 1, net.n_layers):
                if net.layers[m].kind == PRODUCT and lone(&net.layers[m]):
                    A, other = layer.n_out * net.layers[m].n_out, net.layers[m].n_in + 1
                    count = tile_inputs(layer, &net.layers[m], N)
                    pairs = max(pairs, N * count * max(other, net.layers[m].n_out))
                    tile = max(tile, max(count * other, layer.n_in + 1) * A)
    room.spare = place_of(&total, N * place.spare)
    room.TD = place_of(&total, N * place.TD)
    room.TG = place_of(&total, N * place.TG)
    room.left = place_of(&total, N * place.left)
    room.right = place_of(&total, N * place.left if walk.full else 0)
    room.Q_size = max(max(TILE, SHORTEST_ROWS * widest), room.Q_size * widest)  # at least the rows of a sample
    room.Q = place_of(&total, room.Q_size)
    room.C = place_of(&total, C * widest if walk.full else 0)
    room.triangles = place_of(&total, N * place.triangles)
    room.pairs = place_of(&total, pairs if walk.full else 0)
    room.tile = place_of(&total, tile if walk.full else 0)
    room.total = total
    return room


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
        if m == l and lone(layer) or m > l and not walk.needed[m] or not walk.full and not same_slot(layer, use):
            continue
        if walk.full and lone(layer) and lone(use):
            pair_block(net, walk, room, l, m, add, X, rest + walk.D[m], rest + walk.G[m - 1], H, work, rest)
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
        if keeps_slopes(net, walk, m):
            step_back(net, l, N, net.layers[m].n_out, p, rest + walk.G[m], spare, work)
            memcpy(rest + walk.G[m], spare, N * net.layers[m].n_out * below.n_out * sizeof(floating))
    step_back(net, l, N, A, p, rest + walk.D[l], spare, work)
    if walk.needed[l]:
        memcpy(rest + walk.D[l], spare, N * A * below.n_out * sizeof(floating))
    simd.transpose(N, A, below.n_out, spare, rest + room.TD)
    step_back(net, l, N, below.n_out, p, rest + room.TD, rest + walk.D[l - 1], work)
    if walk.bent and below.activation != FBP_IDENTITY:
        simd.diagonal(N, below.n_out, work + below.h2 * pitch(N), True, rest + walk.D[l - 1])
    if keeps_slopes(net, walk, l - 1):
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
    cdef Py_ssize_t l, m
    walk.lowest = 0
    while walk.lowest < net.n_layers - 1 and net.layers[walk.lowest].kind != PRODUCT:
        walk.lowest += 1
    for m in range(net.n_layers):
        walk.needed[m] = walk.full and net.layers[m].kind == PRODUCT
        for l in range(m):
            if same_slot(&net.layers[l], &net.layers[m]):
                walk.needed[m] = True
    walk.N = max(1, min(min(N, net.rows), min(LONGEST_CHUNK, budget(plan, walk.full) // per_sample(net, walk))))
    return 0


cdef Py_ssize_t budget(Plan plan, bint full) noexcept:
    """Elements that the walk may take: 32 MiB, and an eighth of the result"""
    cdef Py_ssize_t P = plan.net.n_parameters, itemsize = 4 if plan.typenum == cnp.NPY_FLOAT else 8
    return SMALLEST_BUDGET // itemsize + (P * P // 8 if full else 0)


cdef int empty_walk(Walk *walk, cnp.ndarray places, bint gauss_newton, bint full, bint both) except -1:
    """A walk whose lists lie in `places` (3, layers)"""
    walk.bent, walk.full, walk.both = not gauss_newton, full, both
    walk.D = <Py_ssize_t *> cnp.PyArray_DATA(places)
    walk.G = walk.D + places.shape[1]
    walk.needed = <char *> (walk.G + places.shape[1])
    return 0


def route(Plan plan not None, bint gauss_newton, bint full):
    """The cheapest way to the matrix, or to its diagonal, that has the memory: "pairs", "rows" or "products"

    Pairs of layers (this module), rows of the Gauss-Newton matrix (outer_product.pyx), products with all unit vectors
    (operator.pyx); by their multiply-adds for a sample.
    """
    cdef const Net *net = &plan.net
    cdef const Layer *layer
    cdef Walk walk
    cdef double pairs = 0, once = 0, P = net.n_parameters, rows, products, forming
    cdef Py_ssize_t l, m, held
    cdef cnp.ndarray places = np.zeros((3, net.n_layers), np.intp)
    empty_walk(&walk, places, gauss_newton, full, plan.repeats)
    fill_walk(&walk, plan, LONGEST_CHUNK)
    if full:
        pairs = ADDING * P * P / walk.N
    for l in range(net.n_layers):
        layer = &net.layers[l]
        once += layer_work(layer)
        held = 0
        for m in range(l, net.n_layers):
            held += net.layers[m].n_out * (1 + walk.bent)
            if lone(layer) and lone(&net.layers[m]):
                pairs += <double> n_own(layer) * n_own(&net.layers[m])
            elif layer.kind == PRODUCT:
                forming = <double> layer.n_out * layer_work(&net.layers[m]) * (1 + walk.bent)
                pairs += forming + <double> layer.groups * n_own(layer) * n_own(&net.layers[m])
        pairs += held * layer_work(layer)
    rows = net.n_outputs * (P * (P if full else 1) + 3 * once)
    products = P * once * (6 if walk.bent else 4)
    if per_sample(net, &walk) > budget(plan, full):
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
    cdef Py_ssize_t N
    cdef Walk walk
    walk.error = plan.loss_number(loss)
    cdef cnp.ndarray places = np.zeros((3, net.n_layers), np.intp)
    empty_walk(&walk, places, gauss_newton, H.ndim == 2, plan.repeats)
    walk.scale = scale
    plan.check_parameters(p)
    plan.check_batch(X, T, weight)
    plan.check_curvature(H, p, X, T, weight)
    N = X.shape[0]
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


def symmetrize(cnp.ndarray H not None):
    """H (P, P) = its upper triangle, mirrored"""
    check_matrix("H", H, H.dtype.num, -1, "", H.shape[0] if H.ndim == 2 else -1, "as many as rows", True)
    cdef Py_ssize_t P = H.shape[0]
    cdef bint single = check_floating("H", H) == cnp.NPY_FLOAT
    with nogil:
        if single:
            simd.symmetrize(P, False, <float *> cnp.PyArray_DATA(H))
        else:
            simd.symmetrize(P, False, <double *> cnp.PyArray_DATA(H))
