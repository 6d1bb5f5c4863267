"""The nonlinearity behind a hidden layer: z = h(a), and what h' and h'' do to all that passes through it.

`activate` leaves h' and h'' in the workspace, and `delta_below` puts the curvature h'' * (delta W^T) in the place of
h''. The identity has h' = 1 and no curvature; that nothing need be done for it is known here and nowhere else.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd, stretches
from fastbp_c.algebra.simd cimport FBP_IDENTITY, FBP_LEAKY_RELU, FBP_RELU
from fastbp_c.networks.records cimport Layer, array_at


cdef inline bint is_linear(const Layer *layer) noexcept nogil:
    return layer.activation == FBP_IDENTITY


cdef void activate(const Layer *layer, Py_ssize_t N, floating *a, floating *work, int order) noexcept nogil:
    """z = h(a) in the place of a; from order 1 on h'(a), from 2 on h''(a), at their places"""
    if not is_linear(layer):
        stretches.activate(layer.activation, N * layer.n_out, a, a,
                           array_at(work, layer.h1, N) if order > 0 else NULL,
                           array_at(work, layer.h2, N) if order > 1 else NULL)


cdef void times_slope(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *work, floating *rows
) noexcept nogil:
    """rows[n, r] *= h'(a_n)"""
    if not is_linear(layer):
        stretches.multiply(N, R, layer.n_out, array_at(work, layer.h1, N), rows)


cdef void times_slope_squared(const Layer *layer, Py_ssize_t N, const floating *work, floating *t) noexcept nogil:
    """t[n] *= h'(a_n) * h'(a_n)"""
    times_slope(layer, N, 1, work, t)
    times_slope(layer, N, 1, work, t)


cdef void delta_below(const Layer *layer, Py_ssize_t N, bint exact, floating *work) noexcept nogil:
    """delta = h' * delta, of which only the factor delta W^T of the layer above is there; if exact, h'' *= that, too"""
    cdef floating *delta = array_at(work, layer.delta, N)
    if exact and not is_linear(layer):
        stretches.multiply(N, 1, layer.n_out, delta, array_at(work, layer.h2, N))
    times_slope(layer, N, 1, work, delta)


cdef bint adds_curvature(const Layer *layer) noexcept nogil:
    """Whether h'' is anything but 0: not for the identity, relu and leaky_relu"""
    return not (is_linear(layer) or layer.activation == FBP_RELU or layer.activation == FBP_LEAKY_RELU)


cdef void add_curvature(const Layer *layer, Py_ssize_t N, const floating *work, floating *t) noexcept nogil:
    """t[n] += h'' * (delta W^T)"""
    if adds_curvature(layer):
        simd.add(N * layer.n_out, array_at(work, layer.h2, N), t)


cdef void add_curvature_to_matrix(
    const Layer *layer, Py_ssize_t N, const floating *work, floating *D
) noexcept nogil:
    """D[n] += diag(h'' * (delta W^T))"""
    if adds_curvature(layer):
        simd.diagonal(N, layer.n_out, array_at(work, layer.h2, N), True, D)


cdef void slope_matrix(const Layer *layer, Py_ssize_t N, const floating *work, floating *G) noexcept nogil:
    """G[n] = diag h'(a_n)"""
    if is_linear(layer):
        identity_rows(N, layer.n_out, G)
    else:
        simd.diagonal(N, layer.n_out, array_at(work, layer.h1, N), False, G)


cdef void slope_outer(
    const Layer *layer, Py_ssize_t N, const floating *work, Py_ssize_t B, const floating *x, floating *one,
    floating *y,
) noexcept nogil:
    """y[n, a, b] = h'(a_na) x[n, b]; one: room for a row of the layer's outputs"""
    cdef Py_ssize_t A = layer.n_out, a
    if is_linear(layer):
        for a in range(A):
            one[a] = 1
        simd.outer(N, A, B, one, 0, x, B, False, y, A * B)
    else:
        simd.outer(N, A, B, array_at(work, layer.h1, N), A, x, B, False, y, A * B)


cdef void tangent_above(
    const Layer *layer, Py_ssize_t N, const floating *work, const floating *Ra, floating *Rz
) noexcept nogil:
    """R{z} = h' R{a}"""
    if is_linear(layer):
        memcpy(Rz, Ra, N * layer.n_out * sizeof(floating))
    else:
        simd.scaled_sum(N * layer.n_out, array_at(work, layer.h1, N), Ra, <const floating *> NULL,
                        <const floating *> NULL, Rz)


cdef void tangent_below(
    const Layer *layer, Py_ssize_t N, bint exact, const floating *work, const floating *Ra, floating *Rd
) noexcept nogil:
    """R{delta} = h' R{delta}, given R{delta W^T} of the layer above; if exact, + h'' (delta W^T) R{a}"""
    if not is_linear(layer):
        stretches.scaled_sum(N * layer.n_out, array_at(work, layer.h1, N), Rd,
                             array_at(work, layer.h2, N) if exact else NULL, Ra, Rd)


cdef void identity_rows(Py_ssize_t N, Py_ssize_t width, floating *rows) noexcept nogil:
    """rows[n, r, i] = 1 if r = i, else 0"""
    cdef Py_ssize_t n, i
    memset(rows, 0, N * width * width * sizeof(floating))
    for n in range(N):
        for i in range(width):
            rows[(n * width + i) * width + i] = 1
