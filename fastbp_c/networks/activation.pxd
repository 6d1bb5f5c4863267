"""Activation functions by name and number."""


cdef int activation_id(str argument, name) except -1
