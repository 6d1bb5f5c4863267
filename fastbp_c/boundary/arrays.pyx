"""Quick questions at the door: what is this array, and may the kernels use it as it is?"""

cimport numpy as cnp

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.check cimport check_floating, check_layout

cnp.import_array()


def fits(x, int typenum, int ndim):
    """Whether x is a plain ndarray of that type and number of dimensions, C-contiguous, aligned, in native order."""
    return (
        cnp.PyArray_CheckExact(x)
        and cnp.PyArray_TYPE(<cnp.ndarray> x) == typenum
        and cnp.PyArray_NDIM(<cnp.ndarray> x) == ndim
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> x)
    )


def all_float32(*arrays):
    """Whether all arrays are float32, in whatever byte order; None is passed over, anything else is not."""
    for x in arrays:
        if x is not None and not (cnp.PyArray_Check(x) and cnp.PyArray_TYPE(<cnp.ndarray> x) == cnp.NPY_FLOAT):
            return False
    return True


def all_finite(cnp.ndarray x not None):
    """Whether no element of x, C-contiguous and float32 or float64, is NaN or infinite."""
    cdef int typenum = check_floating("x", x), finite
    check_layout("x", x, False)
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            finite = simd.all_finite(cnp.PyArray_SIZE(x), <const float *> cnp.PyArray_DATA(x))
        else:
            finite = simd.all_finite(cnp.PyArray_SIZE(x), <const double *> cnp.PyArray_DATA(x))
    return finite != 0
