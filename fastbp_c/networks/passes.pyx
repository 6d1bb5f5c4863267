"""The passes over the layer records.

Design:
a) A pass is one loop over the records of records.pxd, in one direction, for one chunk of samples: `forward` fills z
   and h', `deltas` fills delta, and what is wanted of them (a gradient, per-sample gradients) is gathered by a third.
b) The functions at the end cut a batch into chunks, so that the workspace stays in cache however long the batch is.
c) Nothing here allocates, and nothing can fail: shapes, types and the workspace's size were checked by the caller.
"""

from cython cimport floating
from libc.string cimport memset

from fastbp_c.algebra cimport simd
from fastbp_c.networks.linear cimport (
    linear_forward, push_back, push_forward, slot_gradient, slot_gradient_rows, slot_step, steps_in_strips,
)
from fastbp_c.training.optimizer cimport Step, update
from fastbp_c.networks.records cimport Layer, Net, pitch
from fastbp_c.algebra.simd cimport FBP_IDENTITY, FBP_SOFTMAX

cdef enum:
    LONG_STEP = 1 << 12     # parameters: from here on a step of them is not made longer by being made in pieces


cdef void forward(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *a_last, floating *work, int order,
) noexcept nogil:
    """a^l = z^(l-1) W^l + b^l, z^l = h_l(a^l), with h' and h'' up to that order; a^L goes to a_last and stays a^L"""
    cdef Py_ssize_t block = pitch(N), l
    cdef const floating *z = X
    cdef floating *a
    cdef const Layer *layer
    for l in range(net.n_layers):
        layer = &net.layers[l]
        a = a_last if l == net.n_layers - 1 else work + layer.z * block
        linear_forward(layer, N, p, z, a, chosen(layer, block, work), strip(net, block, work))
        if l < net.n_layers - 1 and layer.activation != FBP_IDENTITY:
            simd.activate(layer.activation, N * layer.n_out, a, a, work + layer.h1 * block if order > 0 else NULL,
                          work + layer.h2 * block if order > 1 else NULL)
        z = a


cdef void step_back(
    const Net *net, Py_ssize_t l, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *d, floating *back,
    const floating *work,
) noexcept nogil:
    """back[n, r] = h'(a^(l-1)_n) * (d[n, r] W^l^T): R rows a sample from a^l to a^(l-1), or from a^0 to X"""
    cdef Py_ssize_t block = pitch(N)
    push_back(&net.layers[l], N, R, p, d, False, back, chosen(&net.layers[l], block, work), strip(net, block, work))
    if l > 0 and net.layers[l - 1].activation != FBP_IDENTITY:
        simd.multiply(N, R, net.layers[l - 1].n_out, work + net.layers[l - 1].h1 * block, back)


cdef void step_forward(
    const Net *net, Py_ssize_t l, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *v, floating *ahead,
    const floating *work,
) noexcept nogil:
    """ahead[n, r] = h'(a^l_n) * (v[n, r] W^l): R rows a sample from z^(l-1) to z^l, or to a^L"""
    cdef Py_ssize_t block = pitch(N)
    cdef const Layer *layer = &net.layers[l]
    push_forward(layer, N, R, p, v, False, ahead, chosen(layer, block, work), strip(net, block, work))
    if l < net.n_layers - 1 and layer.activation != FBP_IDENTITY:
        simd.multiply(N, R, layer.n_out, work + layer.h1 * block, ahead)


cdef void deltas(const Net *net, Py_ssize_t N, const floating *p, floating *work, bint bent) noexcept nogil:
    """delta^l = h'_l(a^l) * (delta^(l+1) W^(l+1)^T) for l < L, from delta^L   (PRML 5.56)

    If bent is set, h''_l(a^l) * (delta^(l+1) W^(l+1)^T) takes the place of h''.
    """
    cdef Py_ssize_t block = pitch(N), l
    cdef const Layer *layer
    cdef const Layer *below
    for l in range(net.n_layers - 1, 0, -1):
        layer = &net.layers[l]
        below = &net.layers[l - 1]
        push_back(layer, N, 1, p, work + layer.delta * block, False, work + below.delta * block,
                  chosen(layer, block, work), strip(net, block, work))
        if below.activation != FBP_IDENTITY:
            if bent:
                simd.multiply(N, 1, below.n_out, work + below.delta * block, work + below.h2 * block)
            simd.multiply(N, 1, below.n_out, work + below.h1 * block, work + below.delta * block)


cdef void gradient(
    const Net *net, Py_ssize_t N, const floating *X, bint accumulate, floating *g, floating *work, const Step *step,
) noexcept nogil:
    """dE/dW^l = z^(l-1)^T delta^l, dE/db^l = sum_n delta^l_n, every use of a slot adding its term   (PRML 5.53)

    If there is a step, it is made as soon as enough of the gradient is complete, and g is only work.
    """
    cdef Py_ssize_t block = pitch(N), l, size, todo = net.n_parameters
    cdef const Layer *layer
    cdef const floating *x
    cdef const floating *delta
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        x = layer_input(net, l, block, X, work)
        delta = work + layer.delta * block
        if step != NULL and steps_in_strips(layer, N):
            size = layer.rows * layer.columns
            slot_step(layer, N, x, delta, accumulate, accumulate or not layer.opens_b, g, step)
            update(step, layer.W + size, todo - layer.W - size, g + layer.W + size)
            todo = layer.W
            continue
        slot_gradient(layer, N, x, delta, accumulate or not layer.opens_W, accumulate or not layer.opens_b, g,
                      strip(net, block, work))
        if step != NULL and (l == 0 or todo - layer.settled >= LONG_STEP):
            update(step, layer.settled, todo - layer.settled, g + layer.settled)
            todo = layer.settled


cdef void gradient_rows(
    const Net *net, Py_ssize_t N, const floating *X, floating *G, floating *work,
) noexcept nogil:
    """G[n] = dE_n/dw: the same for every sample by itself"""
    cdef Py_ssize_t block = pitch(N), l
    cdef const Layer *layer
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        slot_gradient_rows(layer, N, 1, layer_input(net, l, block, X, work), layer.n_in, 0,
                           work + layer.delta * block, layer.n_out, 0, not layer.opens_W, not layer.opens_b, G,
                           net.n_parameters, strip(net, block, work))


cdef double output_delta(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *work, int order,
) noexcept nogil:
    """Forward pass, then delta^L = scale weight_n dE_n/da^L; returns sum_n weight_n E_n"""
    cdef Py_ssize_t block = pitch(N)
    cdef const Layer *last = &net.layers[net.n_layers - 1]
    forward(net, N, p, X, work + last.z * block, work, order)
    return simd.error(last.activation, error, N, net.n_outputs, work + last.z * block, T, weight, scale,
                      work + last.delta * block, work + net.scratch * block)


cdef void predict(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *Y, floating *work,
) noexcept nogil:
    """Y[n, k] = y_k(x_n)"""
    cdef Py_ssize_t start = 0, rows, D = net.n_inputs, K = net.n_outputs
    cdef const Layer *last = &net.layers[net.n_layers - 1]
    while start < N:
        rows = min(net.rows, N - start)
        forward(net, rows, p, X + start * D, Y + start * K, work, 0)
        if last.activation == FBP_SOFTMAX:
            simd.softmax(rows, K, Y + start * K, Y + start * K)
        elif last.activation != FBP_IDENTITY:
            simd.activate(last.activation, rows * K, Y + start * K, Y + start * K, NULL, NULL)
        start += rows


cdef double batch_loss(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating *work,
) noexcept nogil:
    """sum_n weight_n E_n; weight may be NULL"""
    cdef Py_ssize_t start = 0, rows, D = net.n_inputs, K = net.n_outputs
    cdef const Layer *last = &net.layers[net.n_layers - 1]
    cdef floating *a
    cdef double value = 0
    while start < N:
        rows = min(net.rows, N - start)
        a = work + last.z * pitch(rows)
        forward(net, rows, p, X + start * D, a, work, 0)
        value += simd.error(last.activation, error, rows, K, a, T + start * K,
                            part(weight, start), <floating> 1, <floating *> NULL,
                            work + net.scratch * pitch(rows))
        start += rows
    return value


cdef double batch_gradient(
    const Net *net, int error, Py_ssize_t N, const Py_ssize_t *order, const floating *p, const floating *X,
    const floating *T, const floating *weight, floating scale, floating *g, floating *work, const Step *step,
) noexcept nogil:
    """g = scale sum_n weight_n dE_n/dw, overwritten; returns sum_n weight_n E_n

    The batch is rows order[0] to order[N - 1] of X and T (weight goes with the batch's own numbers), or the first N.
    If there is a step, p is given it and g is only work; N is at least 1 then.
    """
    cdef Py_ssize_t start = 0, rows, block, D = net.n_inputs, K = net.n_outputs
    cdef const floating *x
    cdef const floating *t
    cdef double value = 0
    if N == 0:
        memset(g, 0, net.n_parameters * sizeof(floating))
    while start < N:
        rows = min(net.rows, N - start)
        block = pitch(rows)
        if order == NULL:
            x, t = X + start * D, T + start * K
        else:
            x, t = work + net.X * block, work + net.T * block
            simd.take_rows(rows, D, order + start, X, work + net.X * block)
            simd.take_rows(rows, K, order + start, T, work + net.T * block)
        value += output_delta(net, error, rows, p, x, t, part(weight, start), scale, work, 1)
        deltas(net, rows, p, work, False)
        gradient(net, rows, x, start > 0, g, work, step if start + rows == N else NULL)
        start += rows
    return value


cdef void sample_gradients(
    const Net *net, int error, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *G, floating *work,
) noexcept nogil:
    """G[n] = scale weight_n dE_n/dw, overwritten"""
    cdef Py_ssize_t start = 0, rows, D = net.n_inputs, K = net.n_outputs
    while start < N:
        rows = min(net.rows, N - start)
        output_delta(net, error, rows, p, X + start * D, T + start * K, part(weight, start),
                     scale, work, 1)
        deltas(net, rows, p, work, False)
        gradient_rows(net, rows, X + start * D, G + start * net.n_parameters, work)
        start += rows
