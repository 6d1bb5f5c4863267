"""Jacobians: rows of derivatives, several a sample, pushed through the layers (PRML 5.70 to 5.76).

Design:
a) Reverse mode starts from K rows a sample at a^L and steps back, layer by layer: what `deltas` of passes.pyx does with
   one row. The rows against z^(l-1) are the parameter Jacobian; stepped back to X they are the input Jacobian.
b) Forward mode starts from D rows at X and steps forward. It is taken where its products have fewer multiply-adds.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_apart, check_shape
from fastbp_c.networks.linear cimport push_forward, slot_gradient_rows
from fastbp_c.networks.plan cimport Plan
from fastbp_c.networks.passes cimport chosen, forward, layer_input, step_back, step_forward, strip
from fastbp_c.algebra.product cimport product
from fastbp_c.networks.records cimport MAXIMUM, PRODUCT, Layer, Net, pitch, work_size
from fastbp_c.algebra.simd cimport FBP_IDENTITY, FBP_SQUARED_ERROR, FBP_ZERO
from fastbp_c.boundary.workspace cimport Workspace, carve, padded

cnp.import_array()

cdef enum:
    # Elements of the rows of a chunk: they should stay in the second-level cache.
    CHUNK = 1 << 17


cdef Py_ssize_t widest(const Net *net) noexcept nogil:
    """The most elements a sample has anywhere, the inputs included"""
    cdef Py_ssize_t l, width = net.n_inputs
    for l in range(net.n_layers):
        width = max(width, net.layers[l].n_out)
    return width


cdef double layer_work(const Layer *layer) noexcept nogil:
    """Multiply-adds of the layer for one row"""
    if layer.kind == PRODUCT:
        return <double> layer.groups * layer.rows * layer.columns
    return <double> layer.n_out * layer.n_taps


cdef void identity_rows(Py_ssize_t N, Py_ssize_t width, floating *rows) noexcept nogil:
    """rows[n, r, i] = 1 if r = i, else 0"""
    cdef Py_ssize_t n, i
    cdef floating one = 1
    for n in range(N):
        for i in range(width * width):
            rows[(n * width) * width + i] = 0
        for i in range(width):
            rows[(n * width + i) * width + i] = one


cdef void output_rows(
    const Net *net, bint preactivation, Py_ssize_t N, const floating *a_last, floating *rows
) noexcept nogil:
    """rows[n, k, j] = dy_k/da^L_j, or 1 if k = j, else 0"""
    if preactivation:
        identity_rows(N, net.n_outputs, rows)
    else:
        simd.output_factor(net.layers[net.n_layers - 1].activation, FBP_SQUARED_ERROR, N, net.n_outputs, a_last, rows)


cdef void reverse(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *J, floating *work, floating *rest,
) noexcept nogil:
    """J[n, k, i] = dy_k/dx_i by N K rows   (5.73, 5.74)"""
    cdef Py_ssize_t K = net.n_outputs, l
    cdef floating *a_last = work + net.layers[net.n_layers - 1].z * pitch(N)
    cdef floating *rows = carve(&rest, N * K * widest(net))
    cdef floating *back = carve(&rest, N * K * widest(net))
    forward(net, N, p, X, a_last, work, 1)
    output_rows(net, False, N, a_last, rows)
    for l in range(net.n_layers - 1, 0, -1):
        step_back(net, l, N, K, p, rows, back, work)
        rows, back = back, rows
    step_back(net, 0, N, K, p, rows, J, work)


cdef void first_rows(
    const Net *net, Py_ssize_t N, const floating *p, floating *rows, floating *scratch, const floating *work,
) noexcept nogil:
    """rows[n, i, j] = dz^1_j/dx_i (of a single layer: da^1_j/dx_i): the same for all samples but for h'"""
    cdef Py_ssize_t D = net.n_inputs, block = pitch(N), n
    cdef const Layer *layer = &net.layers[0]
    if layer.kind == MAXIMUM:
        identity_rows(N, D, scratch)
        step_forward(net, 0, N, D, p, scratch, rows, work)
        return
    identity_rows(1, D, scratch)
    push_forward(layer, 1, D, p, scratch, False, rows, chosen(layer, block, work), strip(net, block, work))
    for n in range(1, N):
        memcpy(rows + n * D * layer.n_out, rows, D * layer.n_out * sizeof(floating))
    if net.n_layers > 1 and layer.activation != FBP_IDENTITY:
        simd.multiply(N, D, layer.n_out, work + layer.h1 * block, rows)


cdef void ahead(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *J, floating *work, floating *rest,
) noexcept nogil:
    """J[n, k, i] = dy_k/dx_i by N D rows"""
    cdef Py_ssize_t D = net.n_inputs, K = net.n_outputs, l, n
    cdef floating *a_last = work + net.layers[net.n_layers - 1].z * pitch(N)
    cdef floating *rows = carve(&rest, N * D * widest(net))
    cdef floating *other = carve(&rest, N * D * widest(net))
    cdef floating *S = carve(&rest, N * K * K)
    forward(net, N, p, X, a_last, work, 1)
    first_rows(net, N, p, rows, other, work)
    for l in range(1, net.n_layers):
        step_forward(net, l, N, D, p, rows, other, work)
        rows, other = other, rows
    output_rows(net, False, N, a_last, S)
    for n in range(N):
        # J[k, i] = S[k, j] rows[i, j]^T
        product(False, True, K, D, K, S + n * K * K, rows + n * D * K, FBP_ZERO, <const floating *> NULL,
                J + n * K * D)


cdef bint forward_is_cheaper(const Net *net) noexcept nogil:
    cdef double back = 0, forth = <double> net.n_inputs * net.n_outputs * net.n_outputs
    cdef Py_ssize_t l
    for l in range(net.n_layers):
        back += net.n_outputs * layer_work(&net.layers[l])
        if l > 0:
            forth += net.n_inputs * layer_work(&net.layers[l])
    return forth < back


cdef Py_ssize_t chunk_rows(const Net *net, Py_ssize_t R) noexcept nogil:
    """Samples of a chunk that has R rows each"""
    return max(1, min(net.rows, CHUNK // (R * widest(net))))


cdef void jacobian_chunks(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *J, bint by_forward,
    Py_ssize_t longest, floating *work,
) noexcept nogil:
    cdef Py_ssize_t start = 0, rows, D = net.n_inputs, K = net.n_outputs
    while start < N:
        rows = min(longest, N - start)
        if by_forward:
            ahead(net, rows, p, X + start * D, J + start * K * D, work, work + work_size(net, rows))
        else:
            reverse(net, rows, p, X + start * D, J + start * K * D, work, work + work_size(net, rows))
        start += rows


def jacobian(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray J not None):
    """J[n, k, i] = dy_k/dx_i for sample n; J (N, K, D) is overwritten"""
    cdef const Net *net = &plan.net
    plan.check_parameters(p)
    plan.check_inputs(X)
    cdef Py_ssize_t N = X.shape[0]
    check_shape("out", J, plan.typenum, (N, net.n_outputs, net.n_inputs), "samples, outputs, inputs", True)
    check_apart("out", J, "parameters", p)
    check_apart("out", J, "X", X)
    cdef bint by_forward = forward_is_cheaper(net)
    cdef Py_ssize_t R = net.n_inputs if by_forward else net.n_outputs
    cdef Py_ssize_t rows = chunk_rows(net, R)
    cdef Workspace work = plan.take(rows, 2 * padded(rows * R * widest(net)) + padded(rows * net.n_outputs ** 2))
    with nogil:
        if plan.typenum == cnp.NPY_FLOAT:
            jacobian_chunks(net, N, <const float *> cnp.PyArray_DATA(p), <const float *> cnp.PyArray_DATA(X),
                            <float *> cnp.PyArray_DATA(J), by_forward, rows, <float *> work.memory)
        else:
            jacobian_chunks(net, N, <const double *> cnp.PyArray_DATA(p), <const double *> cnp.PyArray_DATA(X),
                            <double *> cnp.PyArray_DATA(J), by_forward, rows, <double *> work.memory)
    plan.give(work)


cdef void parameter_rows(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *rows, floating *back, floating *G,
    floating *work,
) noexcept nogil:
    """G[n, r] = the parameters' derivatives that belong to `rows`, K rows a sample at a^L; rows and back are used up"""
    cdef Py_ssize_t K = net.n_outputs, l
    cdef const Layer *layer
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        slot_gradient_rows(layer, N, K, layer_input(net, l, pitch(N), X, work), layer.n_in, 0, rows,
                           K * layer.n_out, layer.n_out, not layer.opens_W, not layer.opens_b, G, net.n_parameters,
                           strip(net, pitch(N), work))
        if l > 0:
            step_back(net, l, N, K, p, rows, back, work)
            rows, back = back, rows


cdef void parameter_chunks(
    const Net *net, Py_ssize_t N, const floating *p, const floating *X, floating *J, bint preactivation,
    Py_ssize_t longest, floating *work,
) noexcept nogil:
    cdef Py_ssize_t start = 0, n, K = net.n_outputs
    cdef floating *a_last
    cdef floating *rows
    cdef floating *back
    cdef floating *rest
    while start < N:
        n = min(longest, N - start)
        rest = work + work_size(net, n)
        a_last = work + net.layers[net.n_layers - 1].z * pitch(n)
        rows, back = carve(&rest, n * K * widest(net)), carve(&rest, n * K * widest(net))
        forward(net, n, p, X + start * net.n_inputs, a_last, work, 1)
        output_rows(net, preactivation, n, a_last, rows)
        parameter_rows(net, n, p, X + start * net.n_inputs, rows, back, J + start * K * net.n_parameters, work)
        start += n


def parameter_jacobian(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, bint preactivation,
                       cnp.ndarray J not None):
    """J[n, k] = dy_k/dw for sample n, or da^L_k/dw; J (N, K, P) is overwritten"""
    cdef const Net *net = &plan.net
    plan.check_parameters(p)
    plan.check_inputs(X)
    cdef Py_ssize_t N = X.shape[0]
    check_shape("out", J, plan.typenum, (N, net.n_outputs, net.n_parameters), "samples, outputs, parameters", True)
    check_apart("out", J, "parameters", p)
    check_apart("out", J, "X", X)
    cdef Py_ssize_t rows = chunk_rows(net, net.n_outputs)
    cdef Workspace work = plan.take(rows, 2 * padded(rows * net.n_outputs * widest(net)))
    with nogil:
        if plan.typenum == cnp.NPY_FLOAT:
            parameter_chunks(net, N, <const float *> cnp.PyArray_DATA(p), <const float *> cnp.PyArray_DATA(X),
                             <float *> cnp.PyArray_DATA(J), preactivation, rows, <float *> work.memory)
        else:
            parameter_chunks(net, N, <const double *> cnp.PyArray_DATA(p), <const double *> cnp.PyArray_DATA(X),
                             <double *> cnp.PyArray_DATA(J), preactivation, rows, <double *> work.memory)
    plan.give(work)
