"""Adding rows to an inverse and taking them out, on pointers."""

from fastbp_c.algebra.symmetric cimport Status
from fastbp_c.inverses.state cimport InverseState


cdef Py_ssize_t pending_room(Py_ssize_t P) noexcept nogil
cdef bint inverting_is_less(double P, double n, bint fresh, bint fits) noexcept nogil
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
