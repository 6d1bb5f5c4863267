"""Products with the Hessian or the Gauss-Newton matrix, neither being formed: the R-operator (PRML 5.4.6).

Design:
a) The forward pass and the deltas do not depend on the vector. They are computed once for the whole batch and kept, a
   workspace for every chunk of samples, as long as they fit CACHE_BYTES; beyond that, once for every call.
b) A product is one pass forward and one pass back along a vector v, by the functions of linear.pyx with the parameters
   and with v in their place. R{z}, R{a} and R{delta} lie in a second workspace, where z, h' and delta lie in the first.
c) For the Gauss-Newton matrix, h'' and all terms with v against delta are left out.
"""

cimport cython
cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy, memset

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_apart, check_matrix
from fastbp_c.networks.linear cimport linear_forward, push_back, push_forward, slot_gradient
from fastbp_c.networks.plan cimport Plan
from fastbp_c.networks.passes cimport chosen, deltas, forward, layer_input, output_delta, part, strip
from fastbp_c.networks.records cimport PRODUCT, Layer, Net, pitch, work_size
from fastbp_c.algebra.simd cimport FBP_IDENTITY, FBP_SOFTMAX
from fastbp_c.boundary.workspace cimport Workspace

cnp.import_array()

cdef enum:
    CACHE_BYTES = 1 << 28


cdef void linearize(
    const Net *net, int error, bint bent, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *work,
) noexcept nogil:
    """Fill the workspace with z, h' and a^L, for the Hessian also with delta and h'' * (delta W^T)

    In the place of the last h' comes what M is made of: its diagonal, or the outputs of a softmax.
    """
    cdef const Layer *last = &net.layers[net.n_layers - 1]
    cdef floating *a = work + last.z * pitch(N)
    cdef floating *m = work + last.h1 * pitch(N)
    if bent:
        output_delta(net, error, N, p, X, T, weight, scale, work, 2)
        deltas(net, N, p, work, True)
    else:
        forward(net, N, p, X, a, work, 1)
    if last.activation == FBP_SOFTMAX:
        simd.softmax(N, net.n_outputs, a, m)
    else:
        simd.error_diagonal(last.activation, error, N, net.n_outputs, a, T, weight, scale, not bent, m)


cdef void output_along(
    const Net *net, int error, bint bent, Py_ssize_t N, const floating *T, const floating *weight, floating scale,
    const floating *work, floating *tangent,
) noexcept nogil:
    """R{delta^L} = M R{a^L}"""
    cdef const Layer *last = &net.layers[net.n_layers - 1]
    cdef Py_ssize_t block = pitch(N), K = net.n_outputs
    cdef const floating *m = work + last.h1 * block
    cdef floating *Ra = tangent + last.h1 * block
    cdef floating *Rd = tangent + last.delta * block
    if last.activation == FBP_SOFTMAX:
        simd.softmax_tangent(error, N, K, m, T, weight, scale, not bent, Ra, Rd, tangent + net.scratch * block)
    else:
        memcpy(Rd, Ra, N * K * sizeof(floating))
        simd.multiply(N, 1, K, m, Rd)


cdef void forward_along(
    const Net *net, Py_ssize_t N, const floating *p, const floating *v, const floating *X, const floating *work,
    floating *tangent,
) noexcept nogil:
    """R{a^l} = R{z^(l-1)} W^l + z^(l-1) V^l + v^l, R{z^l} = h' * R{a^l}; R{a} lies at h1, R{z} at z"""
    cdef Py_ssize_t block = pitch(N), l
    cdef const Layer *layer
    cdef floating *Ra
    for l in range(net.n_layers):
        layer = &net.layers[l]
        Ra = tangent + layer.h1 * block
        if layer.kind == PRODUCT:
            linear_forward(layer, N, v, layer_input(net, l, block, X, work), Ra, <int *> NULL,
                           strip(net, block, tangent))
        elif l == 0:
            memset(Ra, 0, N * layer.n_out * sizeof(floating))
        if l > 0:
            push_forward(layer, N, 1, p, tangent + net.layers[l - 1].z * block, True, Ra, chosen(layer, block, work),
                         strip(net, block, tangent))
        if l < net.n_layers - 1 and layer.activation != FBP_IDENTITY:
            simd.scaled_sum(N * layer.n_out, work + layer.h1 * block, Ra, <const floating *> NULL,
                            <const floating *> NULL, tangent + layer.z * block)
        elif l < net.n_layers - 1:
            memcpy(tangent + layer.z * block, Ra, N * layer.n_out * sizeof(floating))


cdef void back_along(
    const Net *net, bint bent, Py_ssize_t N, const floating *p, const floating *v, const floating *work,
    floating *tangent,
) noexcept nogil:
    """R{delta^l} = h'' R{a^l} (delta^(l+1) W^T) + h' (R{delta^(l+1)} W^T + delta^(l+1) V^T), from R{delta^L}"""
    cdef Py_ssize_t block = pitch(N), l
    cdef const Layer *layer
    cdef const Layer *below
    cdef floating *Rd
    for l in range(net.n_layers - 1, 0, -1):
        layer = &net.layers[l]
        below = &net.layers[l - 1]
        Rd = tangent + below.delta * block
        push_back(layer, N, 1, p, tangent + layer.delta * block, False, Rd, chosen(layer, block, work),
                  strip(net, block, tangent))
        if bent and layer.kind == PRODUCT:
            push_back(layer, N, 1, v, work + layer.delta * block, True, Rd, <const int *> NULL,
                      strip(net, block, tangent))
        if below.activation != FBP_IDENTITY:
            simd.scaled_sum(N * below.n_out, work + below.h1 * block, Rd,
                            work + below.h2 * block if bent else NULL, tangent + below.h1 * block, Rd)


cdef void gradient_along(
    const Net *net, bint bent, Py_ssize_t N, const floating *X, bint add, floating *out, const floating *work,
    floating *tangent,
) noexcept nogil:
    """R{dE/dW^l} = z^(l-1)^T R{delta^l} + R{z^(l-1)}^T delta^l"""
    cdef Py_ssize_t block = pitch(N), l
    cdef Layer layer
    for l in range(net.n_layers - 1, -1, -1):
        layer = net.layers[l]
        slot_gradient(&layer, N, layer_input(net, l, block, X, work), tangent + layer.delta * block,
                      add or not layer.opens_W, add or not layer.opens_b, out, strip(net, block, tangent))
        if bent and l > 0:
            layer.b = -1    # whose input does not change
            slot_gradient(&layer, N, tangent + net.layers[l - 1].z * block, work + layer.delta * block, True, True,
                          out, strip(net, block, tangent))


cdef void products_of_chunk(
    const Net *net, int error, bint bent, Py_ssize_t N, Py_ssize_t k, const floating *p, const floating *V,
    const floating *X, const floating *T, const floating *weight, floating scale, bint add, floating *out,
    const floating *work, floating *tangent,
) noexcept nogil:
    """out[j] (+)= the matrix of N samples times V[j], for k vectors"""
    cdef Py_ssize_t P = net.n_parameters, j
    for j in range(k):
        forward_along(net, N, p, V + j * P, X, work, tangent)
        output_along(net, error, bent, N, T, weight, scale, work, tangent)
        back_along(net, bent, N, p, V + j * P, work, tangent)
        gradient_along(net, bent, N, X, add, out + j * P, work, tangent)


cdef void products(
    const Net *net, int error, bint bent, Py_ssize_t N, Py_ssize_t k, const floating *p, const floating *V,
    const floating *X, const floating *T, const floating *weight, floating scale, floating *out, const floating *kept,
    floating *tangent,
) noexcept nogil:
    """out[j] = the matrix times V[j]; `kept` holds the chunks' workspaces or is NULL"""
    cdef Py_ssize_t start = 0, n
    cdef size_t size = work_size(net, min(N, net.rows))
    cdef floating *work = tangent + size
    if N == 0:
        memset(out, 0, k * net.n_parameters * sizeof(floating))
    while start < N:
        n = min(net.rows, N - start)
        if kept != NULL:
            work = <floating *> kept + start // net.rows * size
        else:
            linearize(net, error, bent, n, p, X + start * net.n_inputs, T + start * net.n_outputs,
                      part(weight, start), scale, work)
        products_of_chunk(net, error, bent, n, k, p, V, X + start * net.n_inputs, T + start * net.n_outputs,
                          part(weight, start), scale, start > 0, out, work, tangent)
        start += n


cdef void keep(
    const Net *net, int error, bint bent, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating scale, floating *kept,
) noexcept nogil:
    cdef Py_ssize_t start = 0, n
    while start < N:
        n = min(net.rows, N - start)
        linearize(net, error, bent, n, p, X + start * net.n_inputs, T + start * net.n_outputs, part(weight, start),
                  scale, kept)
        kept += work_size(net, n)
        start += n


@cython.final
cdef class Products:
    """The Hessian of a batch, or its Gauss-Newton matrix, as something to multiply by.

    Parameters
    ----------
    plan : Plan
    p, X, T, weight, loss, scale
        As for `Plan.loss_and_gradient`. The arrays are kept and must not change.
    gauss_newton : bool

    Notes
    -----
    Several threads may call it at once.
    """

    def __cinit__(self, Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                  cnp.ndarray weight, loss, double scale, bint gauss_newton):
        self.error = plan.loss_number(loss)
        plan.check_parameters(p)
        plan.check_batch(X, T, weight)
        self.plan, self.p, self.X, self.T, self.weight = plan, p, X, T, weight
        self.scale, self.bent = scale, not gauss_newton
        self.kept = Workspace()
        cdef const Net *net = &plan.net
        cdef Py_ssize_t N = X.shape[0], chunks = N // net.rows, itemsize = 4 if plan.typenum == cnp.NPY_FLOAT else 8
        cdef double size = <double> itemsize * (chunks * <double> work_size(net, net.rows)
                                                + work_size(net, N - chunks * net.rows))
        self.is_kept = N > 0 and size <= CACHE_BYTES
        if not self.is_kept:
            return
        self.kept.reserve(<size_t> size)
        cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
        with nogil:
            if plan.typenum == cnp.NPY_FLOAT:
                keep(net, self.error, self.bent, N, <const float *> cnp.PyArray_DATA(p),
                     <const float *> cnp.PyArray_DATA(X), <const float *> cnp.PyArray_DATA(T), <const float *> w,
                     <float> scale, <float *> self.kept.memory)
            else:
                keep(net, self.error, self.bent, N, <const double *> cnp.PyArray_DATA(p),
                     <const double *> cnp.PyArray_DATA(X), <const double *> cnp.PyArray_DATA(T), <const double *> w,
                     scale, <double *> self.kept.memory)

    @property
    def cached(self):
        """Whether the forward pass is kept."""
        return self.is_kept

    def multiply(self, cnp.ndarray V not None, cnp.ndarray out not None):
        """out[j] = the matrix times V[j]; V and out are (k, P), out is overwritten"""
        cdef Plan plan = self.plan
        cdef const Net *net = &plan.net
        check_matrix("V", V, plan.typenum, -1, "", net.n_parameters, "the network's parameters", False)
        cdef Py_ssize_t k = V.shape[0], N = self.X.shape[0]
        check_matrix("out", out, plan.typenum, k, "the rows of V", net.n_parameters, "the network's parameters", True)
        check_apart("out", out, "V", V)
        cdef const void *w = NULL if self.weight is None else cnp.PyArray_DATA(self.weight)
        cdef const void *kept = self.kept.memory if self.is_kept else NULL
        cdef Workspace work = plan.take(N, 0 if self.is_kept else work_size(net, N))
        with nogil:
            if plan.typenum == cnp.NPY_FLOAT:
                products(net, self.error, self.bent, N, k, <const float *> cnp.PyArray_DATA(self.p),
                         <const float *> cnp.PyArray_DATA(V), <const float *> cnp.PyArray_DATA(self.X),
                         <const float *> cnp.PyArray_DATA(self.T), <const float *> w, <float> self.scale,
                         <float *> cnp.PyArray_DATA(out), <const float *> kept, <float *> work.memory)
            else:
                products(net, self.error, self.bent, N, k, <const double *> cnp.PyArray_DATA(self.p),
                         <const double *> cnp.PyArray_DATA(V), <const double *> cnp.PyArray_DATA(self.X),
                         <const double *> cnp.PyArray_DATA(self.T), <const double *> w, self.scale,
                         <double *> cnp.PyArray_DATA(out), <const double *> kept, <double *> work.memory)
        plan.give(work)
