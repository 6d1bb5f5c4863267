"""Jacobians: rows of derivatives, several a sample, taken through the layers (PRML 5.70 to 5.76).

Design:
a) Reverse mode starts from K rows a sample at a^L and goes back, layer by layer: what `deltas` of passes.pyx does with
   one row. The rows against z^(l-1) are the parameter Jacobian; taken back to X they are the input Jacobian.
b) Forward mode starts from D rows at X and goes forward. It is taken where its products have fewer multiply-adds.
"""

cimport numpy as cnp
from cython cimport floating

from fastbp_c.algebra.product cimport product
from fastbp_c.algebra.simd cimport FBP_ZERO
from fastbp_c.boundary.check cimport check_apart, check_shape
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times
from fastbp_c.networks.batch cimport WRITING, Batch, Quantity, itemsize, new_quantity
from fastbp_c.networks.linear cimport multiply_adds, slot, slot_gradient_rows
from fastbp_c.networks.output cimport output_jacobian
from fastbp_c.networks.passes cimport first_rows, forward, last_a, layer_input, rows_back, rows_forward
from fastbp_c.networks.plan cimport Plan
from fastbp_c.networks.records cimport Layer, Net, strip_of, work_size

cnp.import_array()

cdef enum:
    # Elements of the rows of a chunk: they should stay in the second-level cache.
    CHUNK = 1 << 17


cdef Rows lay_out_rows(const Net *net, Py_ssize_t N, Py_ssize_t R, Arena *arena) noexcept nogil:
    """The network's workspace for N samples, and two arrays (N, R, the widest)"""
    cdef Rows rows
    cdef size_t size = times(times(N, R), net.widest)
    rows.work = take(arena, work_size(net, N))
    rows.here = take(arena, size)
    rows.next = take(arena, size)
    return rows


cdef Py_ssize_t samples_for(const Batch *batch, Py_ssize_t R) noexcept nogil:
    """Samples of a chunk that has R rows each"""
    cdef const Net *net = batch.net
    return max(1, min(min(batch.N, net.longest), <Py_ssize_t> (CHUNK // times(R, net.widest))))


cdef struct Wanted:
    void *J
    bint by_forward             # mode
    bint preactivation          # da^L, not dy
    Py_ssize_t N, R             # samples of the longest chunk, rows of each


cdef Rows lay_out(const Net *net, const Wanted *wanted, Arena *arena, void **S) noexcept nogil:
    """Rows, and for forward mode dy/da^L"""
    cdef Rows rows = lay_out_rows(net, wanted.N, wanted.R, arena)
    S[0] = take(arena, times(wanted.N, times(net.n_outputs, net.n_outputs))) if wanted.by_forward else NULL
    return rows


cdef double reverse_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """J[n, k, i] = dy_k/dx_i by N K rows   (5.73, 5.74)"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef const Net *net = chunk.net
    cdef Py_ssize_t K = net.n_outputs, l
    cdef void *S
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Rows room = lay_out(net, wanted, &arena, &S)
    cdef floating *work = <floating *> room.work
    cdef floating *rows = <floating *> room.here
    cdef floating *back = <floating *> room.next
    forward(chunk, last_a(chunk, work), work, 1)
    output_jacobian(net, False, chunk.N, last_a(chunk, work), rows)
    for l in range(net.n_layers - 1, 0, -1):
        rows_back(chunk, l, K, rows, back, work)
        rows, back = back, rows
    rows_back(chunk, 0, K, rows, <floating *> wanted.J + chunk.start * K * net.n_inputs, work)
    return 0


cdef double forward_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """J[n, k, i] = dy_k/dx_i by N D rows"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef const Net *net = chunk.net
    cdef Py_ssize_t D = net.n_inputs, K = net.n_outputs, l, n
    cdef void *S_
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Rows room = lay_out(net, wanted, &arena, &S_)
    cdef floating *S = <floating *> S_
    cdef floating *work = <floating *> room.work
    cdef floating *rows = <floating *> room.here
    cdef floating *above = <floating *> room.next
    cdef floating *J = <floating *> wanted.J + chunk.start * K * D
    forward(chunk, last_a(chunk, work), work, 1)
    first_rows(chunk, rows, above, work)
    for l in range(1, net.n_layers):
        rows_forward(chunk, l, D, rows, above, work)
        rows, above = above, rows
    output_jacobian(net, False, chunk.N, last_a(chunk, work), S)
    for n in range(chunk.N):
        # J[k, i] = S[k, j] rows[i, j]^T
        product(False, True, K, D, K, S + n * K * K, rows + n * D * K, FBP_ZERO, <const floating *> NULL,
                J + n * K * D)
    return 0


cdef bint forward_is_cheaper(const Net *net) noexcept nogil:
    cdef double back = 0, forth = <double> net.n_inputs * net.n_outputs * net.n_outputs
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        back += net.n_outputs * multiply_adds(&net.layers[l])
        if l > 0:
            forth += net.n_inputs * multiply_adds(&net.layers[l])
    return forth < back


cdef void parameter_rows(
    const Batch *chunk, floating *rows, floating *back, floating *G, const floating *work,
) noexcept nogil:
    """G[n, r] = the parameters' derivatives that belong to `rows`, K rows a sample at a^L; rows and back are used up"""
    cdef const Net *net = chunk.net
    cdef Py_ssize_t K = net.n_outputs, N = chunk.N, l
    cdef const Layer *layer
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        slot_gradient_rows(layer, N, K, layer_input(chunk, l, work), layer.n_in, 0, rows, K * layer.n_out,
                           layer.n_out, not layer.opens_W, not layer.opens_b, slot(G, layer.W), slot(G, layer.b),
                           net.n_parameters, strip_of(net, N, work))
        if l > net.lowest:
            rows_back(chunk, l, K, rows, back, work)
            rows, back = back, rows


cdef double parameter_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """J[n, k] = dy_k/dw, or da^L_k/dw"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef const Net *net = chunk.net
    cdef void *S
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Rows room = lay_out(net, wanted, &arena, &S)
    cdef floating *work = <floating *> room.work
    cdef floating *J = <floating *> wanted.J + chunk.start * net.n_outputs * net.n_parameters
    forward(chunk, last_a(chunk, work), work, 1)
    output_jacobian(net, wanted.preactivation, chunk.N, last_a(chunk, work), <floating *> room.here)
    parameter_rows(chunk, <floating *> room.here, <floating *> room.next, J, work)
    return 0


cdef Quantity rows_quantity(const Batch *batch, Wanted *wanted, Py_ssize_t width) noexcept nogil:
    """A result of rows of that width, K for each sample"""
    cdef Quantity quantity
    cdef Arena arena = arena_over(NULL, itemsize(batch))
    cdef void *S
    wanted.N = samples_for(batch, wanted.R)
    lay_out(batch.net, wanted, &arena, &S)
    quantity = new_quantity(batch, 1 + wanted.R, wanted)
    quantity.longest, quantity.size = wanted.N, arena.used
    quantity.multiply_adds += <double> WRITING * batch.net.n_outputs * width
    return quantity


def jacobian(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray J not None):
    """J[n, k, i] = dy_k/dx_i for sample n; J (N, K, D) is overwritten"""
    cdef const Net *net = &plan.net
    cdef Batch batch = plan.inputs(p, X)
    check_shape("out", J, plan.typenum, (batch.N, net.n_outputs, net.n_inputs), "samples, outputs, inputs", True)
    check_apart("out", J, "parameters", p)
    check_apart("out", J, "X", X)
    cdef bint by_forward = forward_is_cheaper(net)
    cdef Wanted wanted = Wanted(cnp.PyArray_DATA(J), by_forward, False, 0,
                                net.n_inputs if by_forward else net.n_outputs)
    cdef Quantity quantity = rows_quantity(&batch, &wanted, net.n_inputs)
    if by_forward:
        quantity.of_float, quantity.of_double = forward_chunk[float], forward_chunk[double]
    else:
        quantity.of_float, quantity.of_double = reverse_chunk[float], reverse_chunk[double]
    plan.run(&batch, &quantity)


def parameter_jacobian(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, bint preactivation,
                       cnp.ndarray J not None):
    """J[n, k] = dy_k/dw for sample n, or da^L_k/dw; J (N, K, P) is overwritten"""
    cdef const Net *net = &plan.net
    cdef Batch batch = plan.inputs(p, X)
    check_shape("out", J, plan.typenum, (batch.N, net.n_outputs, net.n_parameters), "samples, outputs, parameters",
                True)
    check_apart("out", J, "parameters", p)
    check_apart("out", J, "X", X)
    cdef Wanted wanted = Wanted(cnp.PyArray_DATA(J), False, preactivation, 0, net.n_outputs)
    cdef Quantity quantity = rows_quantity(&batch, &wanted, net.n_parameters)
    quantity.of_float, quantity.of_double = parameter_chunk[float], parameter_chunk[double]
    plan.run(&batch, &quantity)
