"""What every way to a curvature matrix ends with."""


cdef void mirror(bint single, Py_ssize_t P, bint both, void *H) noexcept nogil
