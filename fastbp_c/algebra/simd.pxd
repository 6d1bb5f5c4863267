"""The vector kernels of src/ in the instruction set in use: `simd.activate(...)`, float and double by the arguments.

They are listed, with what each computes, in src/kernel_list.inc.h. build_tools/kernel_interface.py makes _kernels.pxi
of it.
"""

from cython cimport floating


cdef extern from "kernels.h":
    enum:
        FBP_IDENTITY
        FBP_RELU
        FBP_LEAKY_RELU
        FBP_SIGMOID
        FBP_SOFTMAX
        FBP_SQUARED_ERROR
        FBP_BINARY_CROSS_ENTROPY
        FBP_CROSS_ENTROPY
        FBP_ZERO
        FBP_ADD
        FBP_BIAS

    ctypedef struct fbp_span:
        int pixel, first, last
        unsigned lanes

include "_kernels.pxi"

cdef extern from "kernels.h":
    int fbp_select(const char *, const fbp_kernels_f **, const fbp_kernels_d **, const char **, int *) noexcept nogil


cdef const fbp_kernels_f *kernels_f
cdef const fbp_kernels_d *kernels_d
cdef bint by_blas
