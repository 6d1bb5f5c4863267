"""The linear part of one layer, on pointers: everything that knows what kinds of layers there are."""

from cython cimport floating

from fastbp_c.networks.records cimport PRODUCT, Layer
from fastbp_c.training.optimizer cimport Step


# What a layer is.

cdef inline bint has_weights(const Layer *layer) noexcept nogil:
    return layer.kind == PRODUCT


cdef inline bint is_dense(const Layer *layer) noexcept nogil:
    """Whether its matrix meets a sample as one row"""
    return layer.groups == 1 and layer.taps == NULL


cdef inline Py_ssize_t n_own(const Layer *layer) noexcept nogil:
    """Parameters that the layer uses"""
    if not has_weights(layer):
        return 0
    return layer.W_rows * layer.W_columns + (layer.n_b if layer.b >= 0 else 0)


cdef inline bint same_matrix(const Layer *one, const Layer *other) noexcept nogil:
    return has_weights(one) and has_weights(other) and one.W == other.W


cdef inline bint overlap(const Layer *one, const Layer *other) noexcept nogil:
    """Whether the two use a slot in common"""
    return has_weights(one) and has_weights(other) and (one.W == other.W or 0 <= one.b == other.b)


cdef bint keeps_choice(const Layer *layer) noexcept nogil
cdef bint is_one_map(const Layer *layer) noexcept nogil
cdef double multiply_adds(const Layer *layer) noexcept nogil
cdef size_t strip_size(const Layer *layer) noexcept nogil


# Its map, the adjoint, and both along a vector of parameters.

cdef void linear_forward(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *x, floating *y, int *chosen, floating *strip,
) noexcept nogil

cdef void linear_map(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *x, floating *y,
    const int *chosen, floating *strip,
) noexcept nogil

cdef void linear_adjoint(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *dy, floating *dx,
    const int *chosen, floating *strip,
) noexcept nogil

cdef void squared_adjoint(
    const Layer *layer, Py_ssize_t N, const floating *p2, const floating *t, floating *back, const int *chosen,
    floating *strip,
) noexcept nogil

cdef void tangent_map(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *v, const floating *x, const floating *Rx,
    floating *Ry, const int *chosen, floating *strip,
) noexcept nogil

cdef void tangent_adjoint(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *v, const floating *dy, const floating *Rdy,
    floating *Rdx, const int *chosen, floating *strip,
) noexcept nogil


# What its slots get.

cdef inline floating *slot(const floating *g, Py_ssize_t place) noexcept nogil:
    """The slot at that place of a vector of parameters; NULL if the place is that of none"""
    return <floating *> g + place if place >= 0 else NULL


cdef void slot_gradient(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *dW,
    floating *db, floating *strip,
) noexcept nogil

cdef void slot_gradient_rows(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *x, Py_ssize_t x_n, Py_ssize_t x_r,
    const floating *dy, Py_ssize_t dy_n, Py_ssize_t dy_r, bint add_W, bint add_b, floating *dW, floating *db,
    Py_ssize_t G_row, floating *strip,
) noexcept nogil

cdef bint steps_in_strips(const Layer *layer, Py_ssize_t N) noexcept nogil

cdef void slot_step(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *g,
    const Step *step,
) noexcept nogil


# Its matrix by elements: dW[i, e] = sum of left[r, i] dy[r, e], r being the rows of the samples.

cdef inline Py_ssize_t left_width(const Layer *layer) noexcept nogil:
    return layer.W_columns if layer.transposed else layer.W_rows


cdef inline Py_ssize_t right_width(const Layer *layer) noexcept nogil:
    return layer.W_rows if layer.transposed else layer.W_columns


cdef inline Py_ssize_t parameter(const Layer *layer, Py_ssize_t i, Py_ssize_t e) noexcept nogil:
    """The place of the parameter between number i on the left and e on the right"""
    return layer.W + (e * layer.W_columns + i if layer.transposed else i * layer.W_columns + e)


cdef inline Py_ssize_t right_stride(const Layer *layer) noexcept nogil:
    """From the parameter of e to that of e + 1"""
    return layer.W_columns if layer.transposed else 1


cdef size_t left_size(const Layer *layer) noexcept nogil
cdef const floating *left_rows(
    const Layer *layer, Py_ssize_t N, const floating *x, floating *patches
) noexcept nogil
cdef Py_ssize_t right_place(const Layer *layer, Py_ssize_t g, Py_ssize_t e) noexcept nogil
cdef bint has_bias_rows(const Layer *layer) noexcept nogil
