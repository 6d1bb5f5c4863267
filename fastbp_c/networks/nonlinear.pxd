"""The nonlinearity behind a hidden layer, on the arrays of the workspace."""

from cython cimport floating

from fastbp_c.networks.records cimport Layer


cdef void activate(const Layer *layer, Py_ssize_t N, floating *a, floating *work, int order) noexcept nogil
cdef void times_slope(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *work, floating *rows
) noexcept nogil
cdef void times_slope_squared(const Layer *layer, Py_ssize_t N, const floating *work, floating *t) noexcept nogil
cdef void delta_below(const Layer *layer, Py_ssize_t N, bint exact, floating *work) noexcept nogil
cdef bint adds_curvature(const Layer *layer) noexcept nogil
cdef void add_curvature(const Layer *layer, Py_ssize_t N, const floating *work, floating *t) noexcept nogil
cdef void add_curvature_to_matrix(
    const Layer *layer, Py_ssize_t N, const floating *work, floating *D
) noexcept nogil
cdef void slope_matrix(const Layer *layer, Py_ssize_t N, const floating *work, floating *G) noexcept nogil
cdef void slope_outer(
    const Layer *layer, Py_ssize_t N, const floating *work, Py_ssize_t B, const floating *x, floating *one,
    floating *y,
) noexcept nogil
cdef void tangent_above(
    const Layer *layer, Py_ssize_t N, const floating *work, const floating *Ra, floating *Rz
) noexcept nogil
cdef void tangent_below(
    const Layer *layer, Py_ssize_t N, bint exact, const floating *work, const floating *Ra, floating *Rd
) noexcept nogil
cdef void identity_rows(Py_ssize_t N, Py_ssize_t width, floating *rows) noexcept nogil
