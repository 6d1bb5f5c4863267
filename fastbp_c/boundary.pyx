"""The quick question at the door: may the kernels use this array as it is?"""

cimport numpy as cnp

cnp.import_array()


def fits(x, int typenum, int ndim):
    """Whether x is a plain ndarray of that type and number of dimensions, C-contiguous, aligned, in native order."""
    return (
        cnp.PyArray_CheckExact(x)
        and cnp.PyArray_TYPE(<cnp.ndarray> x) == typenum
        and cnp.PyArray_NDIM(<cnp.ndarray> x) == ndim
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> x)
    )
