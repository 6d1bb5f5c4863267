"""What an inverse consists of, and where its scratch memory has what."""

from libc.math cimport sqrt

from fastbp_c.algebra.symmetric cimport block_rows, work_size

cdef enum:
    ADDED
    REMOVED


cdef struct InverseState:
    # (alpha I + sum b b^T)^-1 = H - Z^T Z (rows added) + Z^T Z (rows removed). Whoever makes one owns its memory.
    Py_ssize_t P, room      # room: of rows in each Z
    double alpha
    double logdet, rest     # their sum is log det (alpha I + sum b b^T)
    double *H               # P x P; the lower triangle counts
    double *work
    double *Z[2]
    Py_ssize_t waiting[2]   # rows in each Z
    double trace, taken     # of H, and of what the rows added have taken from it
    double *scale           # P: the diagonal of H, and what the rows removed have added to it since
    double *size            # P, behind it: the diagonal of alpha I + sum b b^T
    double *noise           # P, behind it: how far off that is, about, for rounding; all NULL if no rows will go
    bint fresh              # H is I / alpha and nothing else
    bint mirrored           # the upper triangle is a copy of the lower one


cdef inline size_t state_work(Py_ssize_t P, Py_ssize_t room) noexcept nogil:
    """Elements of work: what is kept for a failure, least pivots, S, scaled rows; then as in symmetric.pxd"""
    cdef size_t block = <size_t> block_rows(P)
    return 7 * <size_t> P + block + block * block + block * <size_t> P + work_size(P, room)


cdef inline double *kept_diagonal(InverseState *state) noexcept nogil:
    return state.work


cdef inline double *kept_noise(InverseState *state) noexcept nogil:
    """P each of scale, size and noise, where the triangle is kept, too"""
    return state.work + state.P


cdef inline double *largest_diagonal(InverseState *state) noexcept nogil:
    return state.work + 4 * state.P


cdef inline double *kept_sizes(InverseState *state) noexcept nogil:
    """P each of scale and size, for a call whose rows wait"""
    return state.work + 5 * state.P


cdef inline double *least_pivots(InverseState *state) noexcept nogil:
    return state.work + 7 * state.P


cdef inline double *small_matrix(InverseState *state) noexcept nogil:
    """S, and then R"""
    return least_pivots(state) + block_rows(state.P)


cdef inline double *room_for_rows(InverseState *state) noexcept nogil:
    return small_matrix(state) + block_rows(state.P) * block_rows(state.P)


cdef inline double *inner_work(InverseState *state) noexcept nogil:
    """For the functions of symmetric.pxd"""
    return room_for_rows(state) + block_rows(state.P) * state.P


cdef inline const double *scaled_rows(
    InverseState *state, const double *B, const double *weights, Py_ssize_t start, Py_ssize_t rows,
) noexcept nogil:
    """Rows sqrt(w) b: those of B as they are if there are no weights"""
    cdef Py_ssize_t P = state.P, i, p
    cdef double *scaled = room_for_rows(state)
    cdef double factor
    if weights == NULL:
        return B + start * P
    for i in range(rows):
        factor = sqrt(weights[start + i])
        for p in range(P):
            scaled[i * P + p] = factor * B[(start + i) * P + p]
    return scaled
