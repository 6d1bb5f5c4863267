"""What rounding has taken from an inverse, and which removals that forbids."""

from fastbp_c.algebra.symmetric cimport Status
from fastbp_c.inverses.state cimport InverseState

cdef double EPSILON

cdef void add_size(InverseState *state, const double *V, Py_ssize_t k, int kind) noexcept nogil
cdef Status check_loss(InverseState *state, const double *V, const double *Z, Py_ssize_t k) noexcept nogil
cdef void add_noise(InverseState *state) noexcept nogil
cdef Status check_digits(const InverseState *state) noexcept nogil
