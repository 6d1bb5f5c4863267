"""Adding rows to an inverse and taking them out, on pointers."""

from fastbp_c.algebra.symmetric cimport Status

cdef enum:
    ADDED
    REMOVED


cdef struct Job:
    # (alpha I + sum b b^T)^-1 = H - Z^T Z (rows added) + Z^T Z (rows removed). Whoever makes a job owns its memory.
    Py_ssize_t P, room      # room: of rows in each Z
    double alpha
    double logdet, rest     # their sum is log det (alpha I + sum b b^T)
    double *H               # P x P; the lower triangle counts
    double *work
    double *Z[2]
    Py_ssize_t count[2]     # rows in each Z
    double trace, taken     # of H, and of what the rows added have taken from it
    bint fresh              # H is I / alpha and nothing else
    bint mirrored           # the upper triangle is a copy of the lower one


cdef Py_ssize_t pending_room(Py_ssize_t P) noexcept nogil
cdef size_t job_work(Py_ssize_t P, Py_ssize_t room) noexcept nogil
cdef void begin(Job *job) noexcept nogil
cdef void settle(Job *job, bint whole) noexcept nogil
cdef void multiply(Job *job, const double *V, double *U, Py_ssize_t k) noexcept nogil
cdef void residual(
    Job *job, const double *B, const double *weights, const double *X, double *U, double *R, Py_ssize_t n,
    Py_ssize_t k,
) noexcept nogil
cdef Status change(Job *job, const double *B, const double *weights, Py_ssize_t n, int kind) noexcept nogil
cdef Status rebuild(Job *job, const double *B, const double *weights, Py_ssize_t n) noexcept nogil
