"""What rounding has taken from an inverse, and which removals that forbids.

A removal divides by pivots, 1 - b^T H b for a single row. If H is the inverse of a matrix off by D, it adds Z^T Z to
H (woodbury.pyx), and tr Z D Z^T is its own relative error: what is left has no digit if that is near 1, and the
removal is refused. Changes leave D alone and add to it: a matrix A is rounded by eps A_pp when it is formed, and E, the
rounding of H, is a D of A E A. Of all that the diagonals are kept, of A, D and H. E_pp is eps H_pp at the larger size
of H before and after a change; then (A E A)_pp <= eps A_pp sum_q A_qq H_qq, which takes all columns for parallel, and
the mean over q is taken instead of the sum. What H loses while rows wait, b^T E b with E as it is now, needs no A.
Only orders of magnitude count here.
"""

from libc.math cimport sqrt
from libc.string cimport memset

from fastbp_c.algebra.simd cimport kernels_d
from fastbp_c.algebra.symmetric cimport DONE, INDEFINITE
from fastbp_c.inverses.state cimport REMOVED

cdef double EPSILON = 2.0 ** -52
# Of a removal, the relative error of what is left, as estimated.
cdef double LARGEST_LOSS = 0.02


cdef void add_size(InverseState *state, const double *V, Py_ssize_t k, int kind) noexcept nogil:
    """The diagonal of the matrix, with the rows V or without them"""
    cdef Py_ssize_t p
    add_squares(state, V, k, -1 if kind == REMOVED else 1, state.size)
    if kind == REMOVED:
        for p in range(state.P):
            state.size[p] = max(state.size[p], state.alpha)


cdef void add_squares(InverseState *state, const double *V, Py_ssize_t k, double sign, double *x) noexcept nogil:
    """x[p] += sign sum_i V[i, p]^2"""
    cdef double *signs = state.least_pivots  # whose time is over
    cdef Py_ssize_t i
    for i in range(k):
        signs[i] = sign
    kernels_d.sum_squares(1, k, state.P, signs, V, 1, x)


cdef void add_noise(InverseState *state) noexcept nogil:
    """That of an H whose elements have been rounded at the size of scale"""
    cdef double factor = EPSILON * kernels_d.dot(state.P, state.size, state.scale) / state.P
    cdef Py_ssize_t p
    for p in range(state.P):
        state.noise[p] += factor * state.size[p]


cdef Status check_loss(InverseState *state, const double *V, const double *Z, Py_ssize_t k) noexcept nogil:
    """INDEFINITE if removing the rows V would leave no digit; else scale has what they add to the diagonal

    R is what `factor_rows` has made of S. While rows wait, the errors of S are about n_i = V_i E V_i^T on the diagonal,
    and relative to S itself sum n_i (S^-1)_ii, the squared norm of R^-T diag(sqrt(n)).
    """
    cdef const double *R = state.small_matrix
    cdef double *N = state.losses
    cdef double *gains = state.gains
    cdef Py_ssize_t P = state.P, i
    memset(N, 0, k * k * sizeof(double))
    for i in range(k):
        kernels_d.scaled_sum(P, V + i * P, state.scale, NULL, NULL, gains)
        N[i * k + i] = sqrt(EPSILON * kernels_d.dot(P, V + i * P, gains))
    kernels_d.solve(k, k, R, k, N, k)
    memset(gains, 0, P * sizeof(double))
    add_squares(state, Z, k, 1, gains)
    if not kernels_d.dot(k * k, N, N) + kernels_d.dot(P, gains, state.noise) < LARGEST_LOSS:
        return INDEFINITE
    kernels_d.add(P, gains, state.scale)
    return DONE


cdef Status check_digits(const InverseState *state) noexcept nogil:
    """INDEFINITE if an H that has been computed anew has no digit, by tr H D"""
    if state.noise != NULL and not kernels_d.dot(state.P, state.scale, state.noise) < LARGEST_LOSS:
        return INDEFINITE
    return DONE
