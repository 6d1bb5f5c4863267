"""What an inverse consists of, and where its scratch memory has what."""

from libc.math cimport sqrt

from fastbp_c.algebra.symmetric cimport block_rows, work_size
from fastbp_c.boundary.workspace cimport Arena, take, times

cdef enum:
    ADDED
    REMOVED


cdef struct InverseState:
    # (alpha I + sum b b^T)^-1 = H - Z^T Z (rows added) + Z^T Z (rows removed). Whoever makes one owns its memory.
    Py_ssize_t P, room      # room: of rows in each Z
    double alpha
    double logdet, rest     # their sum is log det (alpha I + sum b b^T)
    double *H               # P x P; the lower triangle counts
    double *Z[2]
    Py_ssize_t waiting[2]   # rows in each Z
    double trace, taken     # of H, and of what the rows added have taken from it
    double *scale           # P: the diagonal of H, and what the rows removed have added to it since
    double *size            # P, behind it: the diagonal of alpha I + sum b b^T
    double *noise           # P, behind it: how far off that is, about, for rounding; all NULL if no rows will go
    bint fresh              # H is I / alpha and nothing else
    bint mirrored           # the upper triangle is a copy of the lower one
    # Work:
    double *kept_diagonal       # P, of H, where its triangle is kept
    double *kept_noise          # P each of scale, size and noise, where the triangle is kept, too
    double *largest_diagonal    # P
    double *kept_sizes          # P each of scale and size, for a call whose rows wait
    double *least_pivots        # of a block
    double *small_matrix        # S, and then R, of a block
    double *losses              # of a block, too
    double *gains               # P: what rows removed add to the diagonal
    double *scaled              # rows of a block
    double *work                # for the functions of symmetric.pxd


cdef inline void lay_out_state(
    InverseState *state, Arena *arena, Py_ssize_t added, Py_ssize_t removed, bint keeps_noise,
) noexcept nogil:
    """P and room being known; of Z, so many rows are to be had here"""
    cdef size_t P = <size_t> state.P, block = <size_t> block_rows(state.P)
    state.scale = state.size = state.noise = NULL
    if keeps_noise:
        state.scale = <double *> take(arena, times(3, P))
    if state.scale != NULL:
        state.size = state.scale + P
        state.noise = state.size + P
    state.Z[ADDED] = <double *> take(arena, times(added, P))
    state.Z[REMOVED] = <double *> take(arena, times(removed, P))
    state.kept_diagonal = <double *> take(arena, P)
    state.kept_noise = <double *> take(arena, times(3, P))
    state.largest_diagonal = <double *> take(arena, P)
    state.kept_sizes = <double *> take(arena, times(2, P))
    state.least_pivots = <double *> take(arena, block)
    state.small_matrix = <double *> take(arena, times(block, block))
    state.losses = <double *> take(arena, times(block, block))
    state.gains = <double *> take(arena, P)
    state.scaled = <double *> take(arena, times(block, P))
    state.work = <double *> take(arena, work_size(state.P, max(state.room, block_rows(state.P))))


cdef inline const double *scaled_rows(
    InverseState *state, const double *B, const double *weights, Py_ssize_t start, Py_ssize_t rows,
) noexcept nogil:
    """Rows sqrt(w) b: those of B as they are if there are no weights"""
    cdef Py_ssize_t P = state.P, i, p
    cdef double factor
    if weights == NULL:
        return B + start * P
    for i in range(rows):
        factor = sqrt(weights[start + i])
        for p in range(P):
            state.scaled[i * P + p] = factor * B[(start + i) * P + p]
    return state.scaled
