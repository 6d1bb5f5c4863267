"""The linear part of one layer, on pointers: everything that knows what kinds of layers there are."""

from cython cimport floating

from fastbp_c.training.optimizer cimport Step
from fastbp_c.networks.records cimport Layer


cdef Py_ssize_t strip_size(const Layer *layer) noexcept nogil

cdef void gather(
    const Layer *layer, Py_ssize_t first, Py_ssize_t count, const floating *x, floating *strip,
) noexcept nogil

cdef void linear_forward(
    const Layer *layer, Py_ssize_t N, const floating *p, const floating *x, floating *y, int *chosen, floating *strip,
) noexcept nogil

cdef void push_forward(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *x, bint add, floating *y,
    const int *chosen, floating *strip,
) noexcept nogil

cdef void push_back(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *p, const floating *dy, bint add, floating *dx,
    const int *chosen, floating *strip,
) noexcept nogil

cdef void slot_gradient(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *g,
    floating *strip,
) noexcept nogil

cdef bint steps_in_strips(const Layer *layer, Py_ssize_t N) noexcept nogil

cdef void slot_step(
    const Layer *layer, Py_ssize_t N, const floating *x, const floating *dy, bint add_W, bint add_b, floating *g,
    const Step *step,
) noexcept nogil

cdef void slot_gradient_rows(
    const Layer *layer, Py_ssize_t N, Py_ssize_t R, const floating *x, Py_ssize_t x_n, Py_ssize_t x_r,
    const floating *dy, Py_ssize_t dy_n, Py_ssize_t dy_r, bint add_W, bint add_b, floating *G, Py_ssize_t G_row,
    floating *strip,
) noexcept nogil
