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


cdef void take_errors(InverseState *state, double *errors) noexcept nogil:
    """b^T E b is about sum b_p^2 errors_p"""
    cdef Py_ssize_t p
    for p in range(state.P):
        errors[p] = state.noise[p] / (state.size[p] * state.size[p]) + EPSILON * state.scale[p]


cdef double weighted_square(const double *b, const double *errors, Py_ssize_t P) noexcept nogil:
    cdef Py_ssize_t p
    cdef double sum = 0
    for p in range(P):
        sum += b[p] * b[p] * errors[p]
    return sum


cdef Status check_loss(InverseState *state, const double *V, const double *Z, Py_ssize_t k) noexcept nogil:
    """INDEFINITE if removing the rows V would leave no digit; else scale has what they add to the diagonal

    R is what `factor_rows` has made of S. The errors of S are about n_i = V_i E V_i^T on the diagonal, and relative to
    S itself sum n_i (S^-1)_ii, the squared norm of R^-T diag(sqrt(n)).
    """
    cdef const double *R = small_matrix(state)
    cdef double *N = inner_work(state)
    cdef double *errors = N + k * k
    cdef Py_ssize_t P = state.P, i
    take_errors(state, errors)
    memset(N, 0, k * k * sizeof(double))
    for i in range(k):
        N[i * k + i] = sqrt(weighted_square(V + i * P, errors, P))
    kernels_d.solve(k, k, R, k, N, k)
    if not kernels_d.dot(k * k, N, N) < LARGEST_LOSS:
        return INDEFINITE
    add_squares(state, Z, k, 1, state.scale)
    return DONE


cdef double *errors_before(InverseState *state) noexcept nogil:
    """A row of Z behind the block that `check_loss_of_all` needs there; no row waits"""
    return state.Z[REMOVED] + block_rows(state.P) * state.P


cdef void keep_errors(InverseState *state) noexcept nogil:
    """For `check_loss_of_all`, before the rows go"""
    take_errors(state, errors_before(state))


cdef Status check_loss_of_all(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n,
) noexcept nogil:
    """`check_loss` for any number of rows that are gone: (S^-1)_ii = 1 + V_i H V_i^T"""
    cdef double *U = state.Z[REMOVED]
    cdef const double *V
    cdef double loss = 0
    cdef Py_ssize_t P = state.P, start = 0, rows, i
    if state.noise == NULL:
        return DONE
    while start < n:
        rows = min(block_rows(P), n - start)
        V = scaled_rows(state, B, weights, start, rows)
        symmetric_rows(V, state.H, U, inner_work(state), rows, P)
        for i in range(rows):
            loss += weighted_square(V + i * P, errors_before(state), P) * (1 + kernels_d.dot(P, V + i * P, U + i * P))
        start += rows
    return DONE if loss < LARGEST_LOSS else INDEFINITE
