"""The output unit with its error function: E, delta^L and the curvature M = d2E_n/da^L da^L   (PRML 5.2, 5.4)

Everything that depends on which unit and which error they are stands here; the formulas are in src/error.inc.h. What
the passes ask for is a function of a chunk and of its a^L: an error of another kind would be another answer to these.
M' is M without the term of the residual, as the Gauss-Newton matrix has it; `exact` asks for M.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.algebra cimport simd, stretches
from fastbp_c.algebra.simd cimport (
    FBP_BINARY_CROSS_ENTROPY, FBP_CROSS_ENTROPY, FBP_IDENTITY, FBP_SIGMOID, FBP_SOFTMAX, FBP_SQUARED_ERROR,
)
from fastbp_c.boundary.check cimport check_floating, check_matrix, check_vector
from fastbp_c.boundary.team cimport enlisted, share
from fastbp_c.networks.activation cimport activation_id
from fastbp_c.networks.batch cimport Batch, chunk_of
from fastbp_c.networks.nonlinear cimport identity_rows
from fastbp_c.networks.records cimport Net

from fastbp_c.networks.activation import ACTIVATIONS

cnp.import_array()

cdef enum:
    # In multiply-adds, or what takes as long. benches/bench_threads.py
    ERROR = 32          # of an output
    LONG = 1 << 20      # worth cutting into pieces
    PIECE = 1 << 18
    PIECES = 64         # at most

# In the order of enum fbp_error.
LOSSES = ("squared_error", "binary_cross_entropy", "cross_entropy")


cdef inline int unit_of(const Net *net) noexcept nogil:
    return net.layers[net.n_layers - 1].activation


cdef int loss_id(const Net *net, name) except -1:
    """The error function of that name for the network's output unit; None is the canonical one."""
    return loss_for(unit_of(net), name)


cdef void output_values(const Net *net, Py_ssize_t N, floating *Y) noexcept nogil:
    """y in the place of a^L"""
    cdef int unit = unit_of(net)
    if unit == FBP_SOFTMAX:
        stretches.softmax(N, net.n_outputs, Y, Y)
    elif unit != FBP_IDENTITY:
        stretches.activate(unit, N * net.n_outputs, Y, Y, NULL, NULL)


cdef void output_jacobian(
    const Net *net, bint preactivation, Py_ssize_t N, const floating *a, floating *rows
) noexcept nogil:
    """rows[n, k, j] = dy_k/da^L_j, or 1 if k = j, else 0"""
    if preactivation:
        identity_rows(N, net.n_outputs, rows)
    else:
        simd.output_factor(unit_of(net), FBP_SQUARED_ERROR, N, net.n_outputs, a, rows)


cdef double output_error(const Batch *chunk, const floating *a, floating *delta, floating *work) noexcept nogil:
    """delta^L_n = scale weight_n dE_n/da^L, unless delta is NULL; returns sum_n weight_n E_n; work: 2 N K"""
    cdef Py_ssize_t K = chunk.net.n_outputs
    if chunk.N >= 2 and <double> chunk.N * K * ERROR >= LONG:
        return long_error(chunk, a, delta, work)
    return error_of(chunk, a, delta, work)


cdef struct Errors:
    const Batch *chunk
    const void *a
    void *delta
    void *work
    Py_ssize_t each         # samples of a piece
    double values[PIECES]


cdef double error_of(const Batch *chunk, const floating *a, floating *delta, floating *work) noexcept nogil:
    return simd.error(unit_of(chunk.net), chunk.error, chunk.N, chunk.net.n_outputs, a, <const floating *> chunk.T,
                      <const floating *> chunk.weight, <floating> chunk.scale, delta, work)


cdef void error_piece(void *errors_, Py_ssize_t number, int worker) noexcept nogil:
    cdef Errors *errors = <Errors *> errors_
    cdef Py_ssize_t first = number * errors.each, K = errors.chunk.net.n_outputs, place = first * K
    cdef Batch piece = chunk_of(errors.chunk, first, min(errors.each, errors.chunk.N - first))
    cdef float *deltas = <float *> errors.delta
    cdef double *wide_deltas = <double *> errors.delta
    if piece.single:
        errors.values[number] = error_of(&piece, <const float *> errors.a + place,
                                         deltas + place if deltas != NULL else NULL,
                                         <float *> errors.work + 2 * place)
    else:
        errors.values[number] = error_of(&piece, <const double *> errors.a + place,
                                         wide_deltas + place if wide_deltas != NULL else NULL,
                                         <double *> errors.work + 2 * place)


cdef double long_error(const Batch *chunk, const floating *a, floating *delta, floating *work) noexcept nogil:
    """The same by pieces of the samples"""
    cdef Errors errors
    cdef Py_ssize_t K = chunk.net.n_outputs, pieces, n
    cdef double value = 0
    errors.chunk, errors.a, errors.delta, errors.work = chunk, a, delta, work
    errors.each = max((chunk.N + PIECES - 1) // PIECES, max(1, PIECE // (ERROR * K)))
    pieces = (chunk.N + errors.each - 1) // errors.each
    share(pieces, <double> chunk.N * K * ERROR, enlisted(), error_piece, &errors)
    for n in range(pieces):
        value += errors.values[n]
    return value


cdef void output_curvature(
    const Batch *chunk, bint exact, const floating *a, floating *M, floating *work
) noexcept nogil:
    """M[n] = scale weight_n d2E_n/da^L da^L, or M'; work: K"""
    simd.error_curvature(unit_of(chunk.net), chunk.error, chunk.N, chunk.net.n_outputs, a,
                         <const floating *> chunk.T, <const floating *> chunk.weight, <floating> chunk.scale,
                         not exact, M, work)


cdef bint has_diagonal(const Net *net) noexcept nogil:
    """Whether M is diagonal, a unit's output depending on its own pre-activation only"""
    return unit_of(net) != FBP_SOFTMAX


cdef void output_diagonal(const Batch *chunk, bint exact, const floating *a, floating *m) noexcept nogil:
    """m[n] = scale weight_n diag M_n"""
    simd.error_diagonal(unit_of(chunk.net), chunk.error, chunk.N, chunk.net.n_outputs, a,
                        <const floating *> chunk.T, <const floating *> chunk.weight, <floating> chunk.scale,
                        not exact, m)


cdef bint has_factors(const Net *net, int error) noexcept nogil:
    """Whether M, not only M', is known by factors: as a diagonal, or as M' itself"""
    return has_diagonal(net) or error != FBP_SQUARED_ERROR


cdef void output_factors(const Batch *chunk, const floating *a, floating *F, floating *c) noexcept nogil:
    """scale weight_n M'_n = sum_r c[n, r] F[n, r]^T F[n, r], with K rows a sample"""
    cdef const floating *T = <const floating *> chunk.T
    cdef const floating *weight = <const floating *> chunk.weight
    cdef Py_ssize_t K = chunk.net.n_outputs, n, k
    cdef double total
    simd.output_factor(unit_of(chunk.net), chunk.error, chunk.N, K, a, F)
    for n in range(chunk.N):
        total = 1
        if chunk.error == FBP_CROSS_ENTROPY:    # the factor of M' is that of a single target
            total = 0
            for k in range(K):
                total += T[n * K + k]
        total *= chunk.scale * (1 if weight == NULL else weight[n])
        for k in range(K):
            c[n * K + k] = <floating> total


cdef void keep_curvature(const Batch *chunk, bint exact, const floating *a, floating *m) noexcept nogil:
    """m (N, K): what `curvature_times` has to know of a^L, its diagonal or the outputs of a softmax"""
    if has_diagonal(chunk.net):
        output_diagonal(chunk, exact, a, m)
    else:
        stretches.softmax(chunk.N, chunk.net.n_outputs, a, m)


cdef void curvature_times(
    const Batch *chunk, bint exact, const floating *m, const floating *v, floating *Mv, floating *work
) noexcept nogil:
    """Mv[n] = scale weight_n M_n v[n], given m; work: 3 K"""
    cdef Py_ssize_t N = chunk.N, K = chunk.net.n_outputs
    if has_diagonal(chunk.net):
        memcpy(Mv, v, N * K * sizeof(floating))
        stretches.multiply(N, 1, K, m, Mv)
    else:
        simd.softmax_tangent(chunk.error, N, K, m, <const floating *> chunk.T, <const floating *> chunk.weight,
                             <floating> chunk.scale, not exact, v, Mv, work)


cdef int loss_for(int output, name) except -1:
    cdef int canonical = FBP_SQUARED_ERROR
    if output == FBP_SIGMOID:
        canonical = FBP_BINARY_CROSS_ENTROPY
    elif output == FBP_SOFTMAX:
        canonical = FBP_CROSS_ENTROPY
    if name is None:
        return canonical
    if not isinstance(name, str):
        raise TypeError(f"loss: expected the name of an error function, got {type(name).__name__}")
    if name not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {name!r}")
    cdef int number = LOSSES.index(name)
    if number != FBP_SQUARED_ERROR and number != canonical:
        unit = "sigmoid" if number == FBP_BINARY_CROSS_ENTROPY else "softmax"
        actual = f"a network with {ACTIVATIONS[output]} output"
        raise ValueError(f"loss: expected a {unit} output for {name!r}, got {actual}")
    return number


cdef tuple checked(output, loss, cnp.ndarray a, cnp.ndarray t, weight):
    cdef int typenum = check_floating("a", a)
    check_matrix("a", a, typenum, -1, "", -1, "", False)
    check_matrix("t", t, typenum, a.shape[0], "those of a", a.shape[1], "those of a", False)
    if weight is not None:
        check_vector("weight", weight, typenum, a.shape[0], "one a row of a", False)
    h = activation_id("output", output)
    return h, loss_for(h, loss), typenum


def softmax(cnp.ndarray a not None):
    """z[n, k] = exp(a[n, k]) / sum_j exp(a[n, j]), a new (N, K) array."""
    cdef int typenum = check_floating("a", a)
    check_matrix("a", a, typenum, -1, "", -1, "", False)
    cdef Py_ssize_t N = a.shape[0], K = a.shape[1]
    cdef cnp.ndarray z = cnp.PyArray_EMPTY(2, cnp.PyArray_DIMS(a), typenum, 0)
    if typenum == cnp.NPY_FLOAT:
        simd.softmax(N, K, <const float *> cnp.PyArray_DATA(a), <float *> cnp.PyArray_DATA(z))
    else:
        simd.softmax(N, K, <const double *> cnp.PyArray_DATA(a), <double *> cnp.PyArray_DATA(z))
    return z


def error(output, loss, cnp.ndarray a not None, cnp.ndarray t not None, weight=None, double scale=1.0,
          bint need_delta=True):
    """(sum_n weight_n E_n, delta) with delta[n, k] = scale weight_n dE_n/da_nk, or None in its place."""
    cdef int h, e, typenum
    h, e, typenum = checked(output, loss, a, t, weight)
    cdef Py_ssize_t N = a.shape[0], K = a.shape[1]
    cdef cnp.ndarray delta = cnp.PyArray_EMPTY(2, cnp.PyArray_DIMS(a), typenum, 0) if need_delta else None
    cdef cnp.npy_intp size = 2 * N * K
    cdef cnp.ndarray work = cnp.PyArray_EMPTY(1, &size, typenum, 0)
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    cdef void *d = cnp.PyArray_DATA(delta) if need_delta else NULL
    if typenum == cnp.NPY_FLOAT:
        value = simd.error(h, e, N, K, <const float *> cnp.PyArray_DATA(a), <const float *> cnp.PyArray_DATA(t),
                           <const float *> w, <float> scale, <float *> d, <float *> cnp.PyArray_DATA(work))
    else:
        value = simd.error(h, e, N, K, <const double *> cnp.PyArray_DATA(a), <const double *> cnp.PyArray_DATA(t),
                           <const double *> w, scale, <double *> d, <double *> cnp.PyArray_DATA(work))
    return value, delta


def error_curvature(output, loss, cnp.ndarray a not None, cnp.ndarray t not None, weight=None, double scale=1.0,
                    bint gauss_newton=False):
    """M[n] = scale weight_n d2E_n/da da, a new (N, K, K) array; M' of the Gauss-Newton matrix if asked for."""
    cdef int h, e, typenum
    h, e, typenum = checked(output, loss, a, t, weight)
    cdef Py_ssize_t N = a.shape[0], K = a.shape[1]
    cdef cnp.npy_intp[3] shape = [N, K, K]
    cdef cnp.npy_intp size = K
    cdef cnp.ndarray M = cnp.PyArray_EMPTY(3, shape, typenum, 0)
    cdef cnp.ndarray work = cnp.PyArray_EMPTY(1, &size, typenum, 0)
    cdef const void *w = NULL if weight is None else cnp.PyArray_DATA(weight)
    if typenum == cnp.NPY_FLOAT:
        simd.error_curvature(h, e, N, K, <const float *> cnp.PyArray_DATA(a), <const float *> cnp.PyArray_DATA(t),
                             <const float *> w, <float> scale, gauss_newton, <float *> cnp.PyArray_DATA(M),
                             <float *> cnp.PyArray_DATA(work))
    else:
        simd.error_curvature(h, e, N, K, <const double *> cnp.PyArray_DATA(a), <const double *> cnp.PyArray_DATA(t),
                             <const double *> w, scale, gauss_newton, <double *> cnp.PyArray_DATA(M),
                             <double *> cnp.PyArray_DATA(work))
    return M
