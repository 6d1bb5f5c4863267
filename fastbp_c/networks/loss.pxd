"""Error functions by name and number."""


cdef int loss_id(int output, name) except -1
