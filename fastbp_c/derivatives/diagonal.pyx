"""Diagonals of the Hessian and of the Gauss-Newton matrix, without the matrix.

Design:
a) At layer l the second derivatives with respect to a^l are carried as D^ll = sum_r c_r v_r v_r^T + diag t: rows v, a
   coefficient for each, and a diagonal. The rows are taken back like those of a Jacobian.
b) A diagonal is no longer one below the layer. Exactly, it becomes rows: row j is column j of W^l, its coefficient t_j.
   Becker and LeCun's approximation keeps only its diagonal, (W o W) t   (PRML 5.81). Where nothing but the diagonal is
   asked for below, which is so at the lowest layer, the two are the same.
c) Every activation adds h'' (delta W^T) to the diagonal. Without that it is the Gauss-Newton matrix.
d) The error function starts it: elementwise output units with a diagonal, softmax with rows (output_factors).
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_vector
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times
from fastbp_c.networks.batch cimport Batch, Quantity, itemsize, new_quantity
from fastbp_c.networks.linear cimport (
    has_weights, is_dense, n_own, slot, slot_gradient, squared_adjoint,
)
from fastbp_c.networks.nonlinear cimport add_curvature, adds_curvature, times_slope_squared
from fastbp_c.networks.output cimport has_diagonal, output_diagonal, output_factors
from fastbp_c.networks.passes cimport (
    last_a, layer_input, linearize, most_outputs, rows_back, unit_rows_back, unit_size,
)
from fastbp_c.networks.plan cimport Plan, check_output
from fastbp_c.networks.records cimport Layer, Net, chosen_of, strip_of, work_size

cnp.import_array()

cdef enum:
    # Elements of the rows of a chunk, or as many as there are sums to add to (benches/bench_diagonal.py).
    CHUNK = 1 << 16


cdef struct Wanted:
    bint exact              # of the Hessian, not the Gauss-Newton matrix
    bint approximate        # (5.81)
    Py_ssize_t N            # samples of the longest chunk
    Py_ssize_t R            # rows a sample, at most


cdef struct Room:
    void *work
    void *p2                # p o p
    void *rows              # (N, R, the most outputs of a layer)
    void *back
    void *c                 # (N, R)
    void *t                 # (N, the most outputs of a layer)
    void *t_back
    void *q
    void *x2                # (N, the widest)
    void *sets
    void *own               # twice the parameters of a layer
    void *unit


cdef struct Curvature:
    # D at a layer: sets of rows, and a diagonal. The rows of a set lie together: (N, its size, width).
    Py_ssize_t n_sets, R
    Py_ssize_t *sets        # their sizes; NULL: only their number is of interest
    bint dense              # whether t is not 0


cdef Room lay_out(const Net *net, const Wanted *wanted, Arena *arena) noexcept nogil:
    cdef Room room
    cdef Py_ssize_t l, own = 0
    cdef size_t vector = times(wanted.N, most_outputs(net))
    for l in range(net.n_layers):
        if not is_dense(&net.layers[l]):
            own = max(own, n_own(&net.layers[l]))
    room.work = take(arena, work_size(net, wanted.N))
    room.p2 = take(arena, net.n_parameters)
    room.rows = take(arena, times(wanted.R, vector))
    room.back = take(arena, times(wanted.R, vector))
    room.c = take(arena, times(wanted.N, wanted.R))
    room.t = take(arena, vector)
    room.t_back = take(arena, vector)
    room.q = take(arena, vector)
    room.x2 = take(arena, times(wanted.N, net.widest))
    room.sets = take(arena, (net.n_layers + 1) * sizeof(Py_ssize_t) // sizeof(float))
    room.own = take(arena, times(2, own))
    room.unit = take(arena, unit_size(net, wanted.N) if wanted.R > 0 else 0)
    return room


cdef inline bint asks_for_squares(const Net *net, const Wanted *wanted, Py_ssize_t l) noexcept nogil:
    """Whether of D at layer l nothing but the diagonal is asked for"""
    return wanted.approximate or l == net.lowest and has_weights(&net.layers[l]) and is_dense(&net.layers[l])


cdef inline void add_set(Curvature *D, Py_ssize_t size) noexcept nogil:
    if D.sets != NULL:
        D.sets[D.n_sets] = size
    D.n_sets += 1
    D.R += size


cdef void start_curvature(const Net *net, const Wanted *wanted, Curvature *D) noexcept nogil:
    """At the output"""
    D.n_sets, D.R, D.dense = 0, 0, has_diagonal(net) or wanted.approximate
    if not D.dense:
        add_set(D, net.n_outputs)


cdef void next_curvature(const Net *net, const Wanted *wanted, Py_ssize_t l, Curvature *D) noexcept nogil:
    """From layer l to the one below"""
    if D.dense and not asks_for_squares(net, wanted, l - 1):
        add_set(D, net.layers[l].n_out)
        D.dense = False
    D.dense = D.dense or wanted.exact and adds_curvature(&net.layers[l - 1])


cdef Py_ssize_t most_rows(const Net *net, const Wanted *wanted) noexcept nogil:
    """Rows a sample at the lowest layer"""
    cdef Curvature D
    cdef Py_ssize_t l
    D.sets = NULL
    start_curvature(net, wanted, &D)
    for l in range(net.n_layers - 1, net.lowest, -1):
        next_curvature(net, wanted, l, &D)
    return D.R


cdef void add_squares(
    const Batch *chunk, Py_ssize_t l, const Curvature *D, const Room *room, floating *d
) noexcept nogil:
    """d += sum_nr c[n, r] g^2, g being what the layer's parameters get from row (n, r)"""
    cdef const Net *net = chunk.net
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t size = layer.W_rows * layer.W_columns, n_b = layer.n_b if layer.b >= 0 else 0, s, n
    cdef const floating *work = <const floating *> room.work
    cdef const floating *x = layer_input(chunk, l, work)
    cdef const floating *row = <const floating *> room.rows
    cdef const floating *c = <const floating *> room.c
    cdef floating *own = <floating *> room.own
    cdef floating *squares = own + size + n_b   # a sum of the chunk's own
    memset(squares, 0, (size + n_b) * sizeof(floating))
    for s in range(D.n_sets):
        for n in range(chunk.N):
            for _ in range(D.sets[s]):
                slot_gradient(layer, 1, x + n * layer.n_in, row, False, False, own, own + size if n_b > 0 else NULL,
                              strip_of(net, chunk.N, work))
                simd.sum_squares(1, 1, size + n_b, c, own, True, squares)
                row += layer.n_out
                c += 1
    simd.add(size, squares, d + layer.W)
    if n_b > 0:
        simd.add(n_b, squares + size, d + layer.b)


cdef void visit(
    const Batch *chunk, Py_ssize_t l, const Curvature *D, const Room *room, floating *d
) noexcept nogil:
    """d += the layer's part of the diagonal: (z o z)^T (sum_r c_r v_r o v_r + t)   (5.79)"""
    cdef const Layer *layer = &chunk.net.layers[l]
    cdef Py_ssize_t N = chunk.N, R, s, done = 0
    cdef const floating *work = <const floating *> room.work
    cdef const floating *rows = <const floating *> room.rows
    cdef const floating *c = <const floating *> room.c
    cdef floating *q = <floating *> room.q
    if not has_weights(layer):
        return
    if D.dense:
        memcpy(q, room.t, N * layer.n_out * sizeof(floating))
    else:
        memset(q, 0, N * layer.n_out * sizeof(floating))
    if not is_dense(layer):
        add_squares(chunk, l, D, room, d)
    for s in range(D.n_sets if is_dense(layer) else 0):
        R = D.sets[s]
        simd.sum_squares(N, R, layer.n_out, c + N * done, rows + N * done * layer.n_out, True, q)
        done += R
    simd.square(N * layer.n_in, layer_input(chunk, l, work), <floating *> room.x2)
    slot_gradient(layer, N, <const floating *> room.x2, q, True, True, slot(d, layer.W), slot(d, layer.b),
                  strip_of(chunk.net, N, work))


cdef void take_below(
    const Batch *chunk, const Wanted *wanted, Py_ssize_t l, Curvature *D, Room *room, const floating *work
) noexcept nogil:
    """From D at layer l to that at the layer below"""
    cdef const Net *net = chunk.net
    cdef const Layer *layer = &net.layers[l]
    cdef const Layer *below = &net.layers[l - 1]
    cdef Py_ssize_t N = chunk.N, done = 0, s
    cdef floating *rows = <floating *> room.rows
    cdef floating *back = <floating *> room.back
    cdef floating *t = <floating *> room.t
    cdef floating *t_back = <floating *> room.t_back
    for s in range(D.n_sets):
        rows_back(chunk, l, D.sets[s], rows + N * done * layer.n_out, back + N * done * layer.n_in, work)
        done += D.sets[s]
    if D.dense and asks_for_squares(net, wanted, l - 1):
        # t (W o W)^T h' o h'   (the first term of 5.81)
        squared_adjoint(layer, N, <const floating *> room.p2, t, t_back, chosen_of(layer, N, work),
                        strip_of(net, N, work))
        times_slope_squared(below, N, work, t_back)
    else:
        memset(t_back, 0, N * below.n_out * sizeof(floating))
        if D.dense:
            memcpy(<floating *> room.c + N * D.R, t, N * layer.n_out * sizeof(floating))
            unit_rows_back(chunk, l, back + N * D.R * below.n_out, <floating *> room.unit, work)
    room.rows, room.back, room.t, room.t_back = room.back, room.rows, room.t_back, room.t
    if wanted.exact:
        add_curvature(below, N, work, t_back)
    next_curvature(net, wanted, l, D)


cdef double diagonal_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """d (+)= the diagonal's terms of the chunk"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef const Net *net = chunk.net
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Room room = lay_out(net, wanted, &arena)
    cdef floating *work = <floating *> room.work
    cdef floating *d = <floating *> chunk.sum
    cdef Curvature D
    cdef Py_ssize_t l
    if not chunk.add:
        memset(d, 0, net.n_parameters * sizeof(floating))
    simd.square(net.n_parameters, <const floating *> chunk.p, <floating *> room.p2)
    linearize(chunk, work, wanted.exact)
    D.sets = <Py_ssize_t *> room.sets
    start_curvature(net, wanted, &D)
    if D.dense:
        output_diagonal(chunk, wanted.exact, last_a(chunk, work), <floating *> room.t)
    else:
        output_factors(chunk, last_a(chunk, work), <floating *> room.rows, <floating *> room.c)
    for l in range(net.n_layers - 1, net.lowest - 1, -1):
        visit(chunk, l, &D, &room, d)
        if l > net.lowest:
            take_below(chunk, wanted, l, &D, &room, work)
    return 0


def diagonal(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
             cnp.ndarray weight, loss, double scale, bint gauss_newton, bint approximate, cnp.ndarray d not None):
    """d = the diagonal of scale sum_n weight_n d2E_n/dw dw, or of the Gauss-Newton matrix, or (5.81); overwritten

    But for the approximation, no slot may be used twice; for the Hessian, `plan.factors` must hold.
    """
    cdef const Net *net = &plan.net
    cdef Batch batch = plan.batch(loss, p, X, T, weight, scale)
    check_vector("out", d, plan.typenum, net.n_parameters, "the network's parameters", True)
    check_output("out", d, p, X, T, weight)
    if not approximate and (plan.repeats if gauss_newton else not plan.factors(loss)):
        raise ValueError("plan: expected slots that are used once and a curvature known by factors, got another")
    cdef Wanted wanted = Wanted(not gauss_newton, approximate, 0, 0)
    wanted.R = most_rows(net, &wanted)
    wanted.N = max(CHUNK, net.n_parameters) // times(max(1, wanted.R), most_outputs(net))
    wanted.N = max(1, min(wanted.N, min(batch.N, net.longest)))
    cdef Arena arena = arena_over(NULL, itemsize(&batch))
    lay_out(net, &wanted, &arena)
    cdef Quantity quantity = new_quantity(&batch, 3 + wanted.R, &wanted)
    quantity.of_float, quantity.of_double = diagonal_chunk[float], diagonal_chunk[double]
    quantity.longest, quantity.size = wanted.N, arena.used
    quantity.sum, quantity.n_sum = cnp.PyArray_DATA(d), net.n_parameters
    plan.run(&batch, &quantity)
