"""What every way to a curvature matrix ends with."""


cdef int mirror(bint single, Py_ssize_t P, bint both, void *H) except -1
