"""The passes over the layer records, and the quantities of first order that are made of them.

Design:
a) A pass is one loop over the records of records.pxd, in one direction, for one chunk of samples: `forward` fills z
   and h', `deltas` fills delta, and what is wanted of them (a gradient, per-sample gradients) is collected by a third.
b) Rows are derivatives of several outputs, or along several inputs, that go through a layer at once: R for each sample.
c) Nothing here allocates, and nothing can fail: shapes, types and the workspace's size were checked by the caller.
"""

from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.boundary.workspace cimport times
from fastbp_c.networks.batch cimport WRITING, Batch, Quantity, new_quantity
from fastbp_c.networks.linear cimport (
    is_one_map, linear_adjoint, linear_forward, linear_map, slot, slot_gradient, slot_gradient_rows, slot_step,
    steps_in_strips,
)
from fastbp_c.networks.nonlinear cimport activate, delta_below, identity_rows, times_slope
from fastbp_c.networks.output cimport output_error, output_values
from fastbp_c.networks.records cimport Layer, Net, array_at, chosen_of, strip_of
from fastbp_c.training.optimizer cimport Step, long_update

cdef enum:
    LONG_STEP = 1 << 12     # parameters: from here on a step of them is not made longer by being made in pieces


cdef void forward(const Batch *chunk, floating *a_last, floating *work, int order) noexcept nogil:
    """a^l = z^(l-1) W^l + b^l, z^l = h_l(a^l), with h' and h'' up to that order; a^L goes to a_last and stays a^L"""
    cdef const Net *net = chunk.net
    cdef const floating *z = <const floating *> chunk.X
    cdef Py_ssize_t N = chunk.N, last = net.n_layers - 1, l
    cdef floating *a
    cdef const Layer *layer
    for l in range(net.n_layers):
        layer = &net.layers[l]
        a = a_last if l == last else array_at(work, layer.z, N)
        linear_forward(layer, N, <const floating *> chunk.p, z, a, chosen_of(layer, N, work), strip_of(net, N, work))
        if l < last:
            activate(layer, N, a, work, order)
        z = a


cdef double output_delta(const Batch *chunk, floating *work, int order) noexcept nogil:
    """Forward pass, then delta^L = scale weight_n dE_n/da^L; returns sum_n weight_n E_n"""
    cdef floating *a = last_a(chunk, work)
    forward(chunk, a, work, order)
    return output_error(chunk, a, array_at(work, chunk.net.layers[chunk.net.n_layers - 1].delta, chunk.N),
                        array_at(work, chunk.net.scratch, chunk.N))


cdef void deltas(const Batch *chunk, floating *work, bint exact) noexcept nogil:
    """delta^l = h'_l(a^l) * (delta^(l+1) W^(l+1)^T) for l < L, from delta^L   (PRML 5.56)

    If exact, h''_l(a^l) * (delta^(l+1) W^(l+1)^T) takes the place of h''.
    """
    cdef const Net *net = chunk.net
    cdef Py_ssize_t N = chunk.N, l
    cdef const Layer *layer
    cdef const Layer *below
    for l in range(net.n_layers - 1, 0, -1):
        layer, below = &net.layers[l], &net.layers[l - 1]
        linear_adjoint(layer, N, 1, <const floating *> chunk.p, array_at(work, layer.delta, N),
                       array_at(work, below.delta, N), chosen_of(layer, N, work), strip_of(net, N, work))
        delta_below(below, N, exact, work)


cdef void linearize(const Batch *chunk, floating *work, bint exact) noexcept nogil:
    """z, h' and a^L in the workspace; if exact, also delta and h'' * (delta W^T)"""
    if exact:
        output_delta(chunk, work, 2)
        deltas(chunk, work, True)
    else:
        forward(chunk, last_a(chunk, work), work, 1)


cdef void rows_back(
    const Batch *chunk, Py_ssize_t l, Py_ssize_t R, const floating *d, floating *back, const floating *work,
) noexcept nogil:
    """back[n, r] = h'(a^(l-1)_n) * (d[n, r] W^l^T): R rows a sample from a^l to a^(l-1), or from a^0 to X"""
    cdef const Layer *layer = &chunk.net.layers[l]
    linear_adjoint(layer, chunk.N, R, <const floating *> chunk.p, d, back, chosen_of(layer, chunk.N, work),
                   strip_of(chunk.net, chunk.N, work))
    if l > 0:
        times_slope(&chunk.net.layers[l - 1], chunk.N, R, work, back)


cdef void rows_forward(
    const Batch *chunk, Py_ssize_t l, Py_ssize_t R, const floating *v, floating *above, const floating *work,
) noexcept nogil:
    """above[n, r] = h'(a^l_n) * (v[n, r] W^l): R rows a sample from z^(l-1) to z^l, or to a^L"""
    cdef const Layer *layer = &chunk.net.layers[l]
    linear_map(layer, chunk.N, R, <const floating *> chunk.p, v, above, chosen_of(layer, chunk.N, work),
               strip_of(chunk.net, chunk.N, work))
    if l < chunk.net.n_layers - 1:
        times_slope(layer, chunk.N, R, work, above)


cdef Py_ssize_t most_outputs(const Net *net) noexcept nogil:
    """The most outputs a layer has"""
    cdef Py_ssize_t l, width = 1
    for l in range(net.n_layers):
        width = max(width, net.layers[l].n_out)
    return width


cdef size_t unit_size(const Net *net, Py_ssize_t N) noexcept nogil:
    """Elements that the unit rows of any layer's outputs take"""
    cdef Py_ssize_t l, samples = 1, width = most_outputs(net)
    for l in range(net.n_layers):
        if not is_one_map(&net.layers[l]):
            samples = N
    return times(samples, times(width, width))


cdef void repeat(Py_ssize_t N, Py_ssize_t n, floating *rows) noexcept nogil:
    """The first n numbers N times"""
    cdef Py_ssize_t i
    for i in range(1, N):
        memcpy(rows + i * n, rows, n * sizeof(floating))


cdef void unit_rows_back(
    const Batch *chunk, Py_ssize_t l, floating *rows, floating *unit, const floating *work,
) noexcept nogil:
    """rows[n, j, i] = h'(a^(l-1)_ni) W^l_ij: unit rows at a^l taken back, the same for all samples but for h'"""
    cdef const Net *net = chunk.net
    cdef const Layer *layer = &net.layers[l]
    cdef Py_ssize_t R = layer.n_out, N = chunk.N
    if not is_one_map(layer):
        identity_rows(N, R, unit)
        rows_back(chunk, l, R, unit, rows, work)
        return
    identity_rows(1, R, unit)
    linear_adjoint(layer, 1, R, <const floating *> chunk.p, unit, rows, chosen_of(layer, N, work),
                   strip_of(net, N, work))
    repeat(N, R * layer.n_in, rows)
    times_slope(&net.layers[l - 1], N, R, work, rows)


cdef void first_rows(const Batch *chunk, floating *rows, floating *unit, const floating *work) noexcept nogil:
    """rows[n, i, j] = dz^1_j/dx_i (of a single layer: da^1_j/dx_i): the same for all samples but for h'"""
    cdef const Net *net = chunk.net
    cdef const Layer *layer = &net.layers[0]
    cdef Py_ssize_t R = net.n_inputs, N = chunk.N
    if not is_one_map(layer):
        identity_rows(N, R, unit)
        rows_forward(chunk, 0, R, unit, rows, work)
        return
    identity_rows(1, R, unit)
    linear_map(layer, 1, R, <const floating *> chunk.p, unit, rows, chosen_of(layer, N, work), strip_of(net, N, work))
    repeat(N, R * layer.n_out, rows)
    if net.n_layers > 1:
        times_slope(layer, N, R, work, rows)


cdef void gradient(const Batch *chunk, floating *g, floating *work, const Step *step) noexcept nogil:
    """dE/dW^l = z^(l-1)^T delta^l, dE/db^l = sum_n delta^l_n, every use of a slot adding its term   (PRML 5.53)

    If there is a step, it is made as soon as enough of the gradient is complete, and g is only work.
    """
    cdef const Net *net = chunk.net
    cdef Py_ssize_t N = chunk.N, l, size, pending = net.n_parameters
    cdef bint add = chunk.add
    cdef const Layer *layer
    cdef const floating *x
    cdef const floating *delta
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        x = layer_input(chunk, l, work)
        delta = array_at(work, layer.delta, N)
        if step != NULL and steps_in_strips(layer, N):
            size = layer.W_rows * layer.W_columns
            slot_step(layer, N, x, delta, add, add or not layer.opens_b, g, step)
            long_update(step, layer.W + size, pending - layer.W - size, g + layer.W + size)
            pending = layer.W
            continue
        slot_gradient(layer, N, x, delta, add or not layer.opens_W, add or not layer.opens_b, slot(g, layer.W),
                      slot(g, layer.b), strip_of(net, N, work))
        if step != NULL and (l == 0 or pending - layer.settled >= LONG_STEP):
            long_update(step, layer.settled, pending - layer.settled, g + layer.settled)
            pending = layer.settled


cdef void gradient_rows(const Batch *chunk, floating *G, floating *work) noexcept nogil:
    """G[n] = dE_n/dw: the same for every sample by itself"""
    cdef const Net *net = chunk.net
    cdef Py_ssize_t N = chunk.N, l
    cdef const Layer *layer
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        slot_gradient_rows(layer, N, 1, layer_input(chunk, l, work), layer.n_in, 0, array_at(work, layer.delta, N),
                           layer.n_out, 0, not layer.opens_W, not layer.opens_b, slot(G, layer.W), slot(G, layer.b),
                           net.n_parameters, strip_of(net, N, work))


# The quantities of first order.


cdef double predict_chunk(const Batch *chunk, void *Y, floating *work) noexcept nogil:
    """Y[n, k] = y_k(x_n)"""
    cdef floating *y = <floating *> Y + chunk.start * chunk.net.n_outputs
    forward(chunk, y, work, 0)
    output_values(chunk.net, chunk.N, y)
    return 0


cdef Quantity prediction(const Batch *batch, void *Y) noexcept nogil:
    """Y (N, K) = y"""
    cdef Quantity quantity = new_quantity(batch, 1, Y)
    quantity.of_float, quantity.of_double = predict_chunk[float], predict_chunk[double]
    return quantity


cdef double loss_chunk(const Batch *chunk, void *_, floating *work) noexcept nogil:
    """returns sum_n weight_n E_n"""
    cdef floating *a = last_a(chunk, work)
    forward(chunk, a, work, 0)
    return output_error(chunk, a, <floating *> NULL, array_at(work, chunk.net.scratch, chunk.N))


cdef Quantity loss_value(const Batch *batch) noexcept nogil:
    """sum_n weight_n E_n, as the value of the walk"""
    cdef Quantity quantity = new_quantity(batch, 1, NULL)
    quantity.of_float, quantity.of_double = loss_chunk[float], loss_chunk[double]
    return quantity


cdef double gradient_chunk(const Batch *chunk, void *_, floating *work) noexcept nogil:
    """g (+)= scale sum_n weight_n dE_n/dw; returns sum_n weight_n E_n"""
    cdef double value = output_delta(chunk, work, 1)
    deltas(chunk, work, False)
    gradient(chunk, <floating *> chunk.sum, work, NULL)
    return value


cdef Quantity gradient_sum(const Batch *batch, void *g) noexcept nogil:
    """g (P,) = scale sum_n weight_n dE_n/dw; the walk's value is sum_n weight_n E_n"""
    cdef Quantity quantity = new_quantity(batch, 3, NULL)
    quantity.of_float, quantity.of_double = gradient_chunk[float], gradient_chunk[double]
    quantity.sum, quantity.n_sum = g, batch.net.n_parameters
    return quantity


cdef double rows_chunk(const Batch *chunk, void *G, floating *work) noexcept nogil:
    """G[n] = scale weight_n dE_n/dw"""
    output_delta(chunk, work, 1)
    deltas(chunk, work, False)
    gradient_rows(chunk, <floating *> G + chunk.start * chunk.net.n_parameters, work)
    return 0


cdef Quantity sample_gradients(const Batch *batch, void *G) noexcept nogil:
    """G (N, P) = scale weight_n dE_n/dw"""
    cdef Quantity quantity = new_quantity(batch, 3, G)
    quantity.of_float, quantity.of_double = rows_chunk[float], rows_chunk[double]
    quantity.multiply_adds += <double> WRITING * batch.net.n_parameters
    return quantity
