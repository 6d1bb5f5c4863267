"""The activation functions h with their first two derivatives; the formulas stand in src/activation.inc.h."""

cimport numpy as cnp

from fastbp_c.algebra cimport stretches
from fastbp_c.algebra.simd cimport FBP_SOFTMAX
from fastbp_c.algebra.stretches cimport ACTIVATING
from fastbp_c.boundary.check cimport check_floating, check_layout
from fastbp_c.boundary.team cimport enlist

cnp.import_array()

# In the order of enum fbp_activation.
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "silu", "softmax")

cdef dict NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}


cdef int activation_id(str argument, name) except -1:
    if not isinstance(name, str):
        raise TypeError(f"{argument}: expected the name of an activation, got {type(name).__name__}")
    number = NUMBERS.get(name)
    if number is None:
        raise ValueError(f"{argument}: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return number


def activate(name, cnp.ndarray a not None, int order=2):
    """z = h(a), and h'(a) and h''(a) if order is 1 or 2; a tuple of order + 1 new arrays of a's shape."""
    cdef int h = activation_id("name", name)
    cdef int typenum = check_floating("a", a)
    cdef Py_ssize_t n = cnp.PyArray_SIZE(a)
    if h == FBP_SOFTMAX:
        raise ValueError("name: expected an elementwise activation, got 'softmax'")
    if not 0 <= order <= 2:
        raise ValueError(f"order: expected 0, 1 or 2, got {order}")
    check_layout("a", a, False)
    cdef list results = [cnp.PyArray_EMPTY(cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), typenum, 0)
                         for _ in range(order + 1)]
    cdef void *z = cnp.PyArray_DATA(results[0])
    cdef void *h1 = cnp.PyArray_DATA(results[1]) if order > 0 else NULL
    cdef void *h2 = cnp.PyArray_DATA(results[2]) if order > 1 else NULL
    enlist(<double> ACTIVATING * n)
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            stretches.activate(h, n, <const float *> cnp.PyArray_DATA(a), <float *> z, <float *> h1, <float *> h2)
        else:
            stretches.activate(h, n, <const double *> cnp.PyArray_DATA(a), <double *> z, <double *> h1, <double *> h2)
    return tuple(results)
