"""What rounding has taken from an inverse, and which removals that forbids.

A removal divides by pivots, 1 - b^T H b for a single row. Their own error is b^T E b = u^T D u with u = H b, if H is
off by E, or the inverse of a matrix off by D. Changes leave D alone and add to it: H's elements are rounded at the
size they have before rows take from them, which is a D of A E A. Of all that the diagonals are kept, of A, D and H,
and for u^T D u is taken sum b_p^2 D_pp / A_pp^2. A removal that would leave no digit is refused. Only orders of
magnitude count here.
"""

from libc.math cimport sqrt
from libc.string cimport memset

from fastbp_c.algebra.simd cimport kernels_d
from fastbp_c.algebra.symmetric cimport DONE, INDEFINITE, block_rows, symmetric_rows
from fastbp_c.inverses.state cimport REMOVED, inner_work, least_pivots, scaled_rows, small_matrix

cdef double EPSILON = 2.0 ** -52
# Of a removal, the relative error of what is left, as estimated.
cdef double LARGEST_LOSS = 0.05


cdef void add_size(InverseState *state, const double *V, Py_ssize_t k, int kind) noexcept nogil:
    """The diagonal of the matrix, with the rows V or without them"""
    cdef Py_ssize_t p
    add_squares(state, V, k, -1 if kind == REMOVED else 1, state.size)
    if kind == REMOVED:
        for p in range(state.P):
            state.size[p] = max(state.size[p], state.alpha)


cdef void add_squares(InverseState *state, const double *V, Py_ssize_t k, double sign, double *x) noexcept nogil:
    """x[p] += sign sum_i V[i, p]^2"""
    cdef double *signs = least_pivots(state)  # whose time is over
    cdef Py_ssize_t i
    for i in range(k):
        signs[i] = sign
    kernels_d.sum_squares(1, k, state.P, signs, V, 1, x)


cdef double weighted_square(const double *b, const double *errors, Py_ssize_t P) noexcept nogil:
    cdef Py_ssize_t p
    cdef double sum = 0
    for p in range(P):
        sum += b[p] * b[p] * errors[p]
    return sum


cdef void add_noise(InverseState *state) noexcept nogil:
    """H has been rounded at the size of scale"""
    cdef double factor = EPSILON * kernels_d.dot(state.P, state.size, state.scale)
    cdef Py_ssize_t p
    for p in range(state.P):
        state.noise[p] += factor * state.size[p]


cdef Status check_loss(InverseState *state, const double *V, const double *Z, Py_ssize_t k) noexcept nogil:
    """INDEFINITE if removing the rows V would leave no digit; else scale has what they add to the diagonal

    R is what `factor_rows` has made of S.
    """
    cdef const double *R = small_matrix(state)
    cdef double *N = inner_work(state)
    cdef double *added = N + k * k
    cdef Py_ssize_t P = state.P, i
    memset(N, 0, k * k * sizeof(double))
    for i in range(k):
        N[i * k + i] = sqrt(EPSILON * weighted_square(V + i * P, state.scale, P))
    kernels_d.solve(k, k, R, k, N, k)
    memset(added, 0, P * sizeof(double))
    add_squares(state, Z, k, 1, added)
    if not kernels_d.dot(k * k, N, N) + kernels_d.dot(P, added, state.noise) < LARGEST_LOSS:
        return INDEFINITE
    for i in range(P):
        state.scale[i] += added[i]
    return DONE


cdef bint has_digits(const InverseState *state) noexcept nogil:
    return kernels_d.dot(state.P, state.scale, state.noise) < LARGEST_LOSS
