"""The Gauss-Newton matrix as what it is: a sum of outer products, G = sum_nr c_nr g_nr g_nr^T   (PRML 5.84)

M' of a sample is a sum of outer products of rows (`output_factor`), each of which is stepped back like a row of a
Jacobian and gives a row g of derivatives with respect to the parameters, whatever slots are shared. That is the cheaper
way to the matrix where samples have many groups and few outputs, and to its diagonal where slots are used twice.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memset

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_matrix, check_vector
from fastbp_c.derivatives.jacobian cimport chunk_rows, parameter_rows, widest
from fastbp_c.networks.plan cimport Plan
from fastbp_c.networks.passes cimport forward, part
from fastbp_c.algebra.product cimport product
from fastbp_c.networks.records cimport Layer, Net, pitch, work_size
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_CROSS_ENTROPY
from fastbp_c.boundary.workspace cimport Workspace, carve, padded

cnp.import_array()

cdef enum:
    # Elements of a chunk of rows, and the fewest rows that a product is made for.
    CHUNK = 1 << 19
    FEWEST_ROWS = 32


cdef void coefficients(
    int error, double scale, Py_ssize_t N, Py_ssize_t K, const floating *T, const floating *weight, floating *c,
) noexcept nogil:
    """c[n, r] = scale weight_n, for the cross-entropy times sum_k t_nk: what K rows of M' a sample are multiplied by"""
    cdef Py_ssize_t n, k
    cdef double total
    for n in range(N):
        total = 1
        if error == FBP_CROSS_ENTROPY:
            total = 0
            for k in range(K):
                total += T[n * K + k]
        total *= scale * (1 if weight == NULL else weight[n])
        for k in range(K):
            c[n * K + k] = <floating> total


cdef void scale_rows(
    Py_ssize_t rows, Py_ssize_t P, const floating *c, const floating *G, floating *scaled
) noexcept nogil:
    """scaled[r] = c[r] G[r]"""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(P):
            scaled[r * P + i] = c[r] * G[r * P + i]


cdef void rows_of(
    const Net *net, int error, double scale, Py_ssize_t N, const floating *p, const floating *X, const floating *T,
    const floating *weight, floating *G, floating *c, floating *work, floating *rest,
) noexcept nogil:
    """G[n, r] and c[n, r] for a chunk of N samples; of `rest` it takes two carvings of N K widest(net)"""
    cdef Py_ssize_t K = net.n_outputs
    cdef const Layer *last = &net.layers[net.n_layers - 1]
    cdef floating *v = carve(&rest, N * K * widest(net))
    cdef floating *back = carve(&rest, N * K * widest(net))
    forward(net, N, p, X, work + last.z * pitch(N), work, 1)
    simd.output_factor(last.activation, error, N, K, work + last.z * pitch(N), v)
    coefficients(error, scale, N, K, T, weight, c)
    parameter_rows(net, N, p, X, v, back, G, work)


cdef void all_rows(
    const Net *net, int error, Py_ssize_t longest, Py_ssize_t N, const floating *p, const floating *X,
    const floating *T, const floating *weight, floating *G, floating *c, floating *work,
) noexcept nogil:
    cdef Py_ssize_t start = 0, n, K = net.n_outputs
    while start < N:
        n = min(longest, N - start)
        rows_of(net, error, 1, n, p, X + start * net.n_inputs, T + start * K, part(weight, start),
                G + start * K * net.n_parameters, c + start * K, work, work + work_size(net, longest))
        start += n


cdef void sum_rows(
    const Net *net, int error, double scale, bint full, Py_ssize_t longest, Py_ssize_t N, const floating *p,
    const floating *X, const floating *T, const floating *weight, floating *H, floating *work,
) noexcept nogil:
    cdef Py_ssize_t start = 0, n, K = net.n_outputs, P = net.n_parameters
    cdef floating *rest = work + work_size(net, longest)
    cdef floating *G = carve(&rest, longest * K * P)
    cdef floating *scaled = carve(&rest, longest * K * P if full else 0)
    cdef floating *c = carve(&rest, longest * K)
    memset(H, 0, (P * P if full else P) * sizeof(floating))
    while start < N:
        n = min(longest, N - start)
        rows_of(net, error, scale, n, p, X + start * net.n_inputs, T + start * K, part(weight, start), G, c, work,
                rest)
        if full:
            scale_rows(n * K, P, c, G, scaled)
            # H[i, j] += (c g)[r, i]^T g[r, j]
            product(True, False, P, P, n * K, scaled, G, FBP_ADD, <const floating *> NULL, H)
        else:
            simd.sum_squares(1, n * K, P, c, G, True, H)
        start += n
    if full:
        simd.symmetrize(P, False, H)


def outer_product(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                  cnp.ndarray weight, loss, double scale, cnp.ndarray H not None):
    """H = the Gauss-Newton matrix (P, P) of scale sum_n weight_n E_n, or its diagonal (P,); overwritten"""
    cdef const Net *net = &plan.net
    cdef int error = plan.loss_number(loss)
    cdef bint full = H.ndim == 2
    cdef Py_ssize_t P = net.n_parameters, K = net.n_outputs, N, rows
    plan.check_parameters(p)
    plan.check_batch(X, T, weight)
    plan.check_curvature(H, p, X, T, weight)
    N = X.shape[0]
    rows = max(CHUNK // (K * max(1, P)), FEWEST_ROWS // K if full else 1)
    rows = max(1, min(min(N, chunk_rows(net, K)), rows))
    cdef size_t elements = padded(rows * K * P)
    cdef Workspace work = plan.take(rows, elements * (2 if full else 1) + 2 * padded(rows * K * widest(net))
                                    + padded(rows * K))
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    with nogil:
        if plan.typenum == cnp.NPY_FLOAT:
            sum_rows(net, error, scale, full, rows, N, <const float *> cnp.PyArray_DATA(p),
                     <const float *> cnp.PyArray_DATA(X), <const float *> cnp.PyArray_DATA(T), <const float *> w,
                     <float *> cnp.PyArray_DATA(H), <float *> work.memory)
        else:
            sum_rows(net, error, scale, full, rows, N, <const double *> cnp.PyArray_DATA(p),
                     <const double *> cnp.PyArray_DATA(X), <const double *> cnp.PyArray_DATA(T), <const double *> w,
                     <double *> cnp.PyArray_DATA(H), <double *> work.memory)
    plan.give(work)


def outer_product_rows(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                       cnp.ndarray weight, loss, cnp.ndarray G not None, cnp.ndarray c not None):
    """G[r] and c[r] such that the Gauss-Newton matrix of sum_n weight_n E_n is sum_r c_r G_r G_r^T, K rows a sample

    G (N K, P) and c (N K,) are overwritten.
    """
    cdef const Net *net = &plan.net
    cdef int error = plan.loss_number(loss)
    cdef Py_ssize_t K = net.n_outputs, N, rows
    plan.check_parameters(p)
    plan.check_batch(X, T, weight)
    N = X.shape[0]
    check_matrix("G", G, plan.typenum, N * K, "outputs of all samples", net.n_parameters, "the network's parameters",
                 True)
    check_vector("c", c, plan.typenum, N * K, "outputs of all samples", True)
    rows = max(1, min(N, chunk_rows(net, K)))
    cdef Workspace work = plan.take(rows, 2 * padded(rows * K * widest(net)))
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    with nogil:
        if plan.typenum == cnp.NPY_FLOAT:
            all_rows(net, error, rows, N, <const float *> cnp.PyArray_DATA(p), <const float *> cnp.PyArray_DATA(X),
                     <const float *> cnp.PyArray_DATA(T), <const float *> w, <float *> cnp.PyArray_DATA(G),
                     <float *> cnp.PyArray_DATA(c), <float *> work.memory)
        else:
            all_rows(net, error, rows, N, <const double *> cnp.PyArray_DATA(p),
                     <const double *> cnp.PyArray_DATA(X), <const double *> cnp.PyArray_DATA(T), <const double *> w,
                     <double *> cnp.PyArray_DATA(G), <double *> cnp.PyArray_DATA(c), <double *> work.memory)
    plan.give(work)
