"""Adding rows to an inverse and taking them out, on pointers."""

from fastbp_c.algebra.symmetric cimport Status

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


cdef Py_ssize_t pending_room(Py_ssize_t P) noexcept nogil
cdef size_t state_work(Py_ssize_t P, Py_ssize_t room) noexcept nogil
cdef void begin_state(InverseState *state) noexcept nogil
cdef void adopt(InverseState *state, const double *history) noexcept nogil
cdef Status invert_state(InverseState *state) noexcept nogil
cdef Status settle(InverseState *state, bint whole) noexcept nogil
cdef Status finish(InverseState *state) noexcept nogil
cdef void multiply(InverseState *state, const double *V, double *U, Py_ssize_t k) noexcept nogil
cdef void residual(
    InverseState *state, const double *B, const double *weights, const double *X, double *U, double *R, Py_ssize_t n,
    Py_ssize_t k,
) noexcept nogil
cdef Status change(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil
cdef Status rebuild(InverseState *state, const double *B, const double *weights, Py_ssize_t n) noexcept nogil
