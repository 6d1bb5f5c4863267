"""Checks at the boundary between Python and the kernels: header-only, one error format.

    {argument}: expected {what}, got {actual}

TypeError is for the kind of thing (not an array, another dtype), ValueError for its shape and layout, OverflowError
for a dimension BLAS cannot count. All of them run before anything is written.
"""

cimport numpy as cnp

cdef enum:
    LARGEST_DIMENSION = 2147483647


cdef inline int check_dtype(str name, cnp.ndarray x, int typenum) except -1:
    if cnp.PyArray_TYPE(x) != typenum:
        raise TypeError(f"{name}: expected dtype {cnp.PyArray_DescrFromType(typenum)}, got {x.dtype}")
    return 0


cdef inline int check_layout(str name, cnp.ndarray x, bint writeable) except -1:
    if not cnp.PyArray_ISCARRAY_RO(x):
        raise ValueError(f"{name}: expected a C-contiguous, aligned array in native byte order, got strides "
                         f"{(<object> x).strides} for shape {tuple_of(x)} and dtype {x.dtype.str!r}")
    if writeable and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"{name}: expected a writeable array, got a read-only one")
    return 0


cdef inline tuple tuple_of(cnp.ndarray x):
    return tuple([x.shape[i] for i in range(cnp.PyArray_NDIM(x))])


cdef inline int check_dimension(str name, Py_ssize_t size) except -1:
    if size > LARGEST_DIMENSION:
        raise OverflowError(f"{name}: expected dimensions of at most {LARGEST_DIMENSION} (BLAS counts in 32 bits), "
                            f"got {size}")
    return 0


cdef inline int check_vector(str name, cnp.ndarray x, int typenum, Py_ssize_t size, str what, bint writeable) except -1:
    check_dtype(name, x, typenum)
    if cnp.PyArray_NDIM(x) != 1 or cnp.PyArray_DIM(x, 0) != size:
        raise ValueError(f"{name}: expected shape ({size},) ({what}), got shape {tuple_of(x)}")
    return check_layout(name, x, writeable)


cdef inline int check_matrix(
    str name, cnp.ndarray x, int typenum, Py_ssize_t rows, str of_rows, Py_ssize_t columns, str of_columns,
    bint writeable,
) except -1:
    """A matrix of that many rows and columns; -1 leaves one of them free."""
    check_dtype(name, x, typenum)
    if cnp.PyArray_NDIM(x) != 2:
        raise ValueError(f"{name}: expected a matrix (2 dimensions), got shape {tuple_of(x)}")
    if rows >= 0 and cnp.PyArray_DIM(x, 0) != rows:
        raise ValueError(f"{name}: expected {rows} rows ({of_rows}), got shape {tuple_of(x)}")
    if columns >= 0 and cnp.PyArray_DIM(x, 1) != columns:
        raise ValueError(f"{name}: expected {columns} columns ({of_columns}), got shape {tuple_of(x)}")
    check_dimension(name, cnp.PyArray_DIM(x, 0))
    check_dimension(name, cnp.PyArray_DIM(x, 1))
    return check_layout(name, x, writeable)


cdef inline int check_shape(str name, cnp.ndarray x, int typenum, tuple shape, str what, bint writeable) except -1:
    """An array of that shape and of any number of dimensions."""
    check_dtype(name, x, typenum)
    if tuple_of(x) != shape:
        raise ValueError(f"{name}: expected shape {shape} ({what}), got shape {tuple_of(x)}")
    return check_layout(name, x, writeable)


cdef inline int check_floating(str name, cnp.ndarray x) except -1:
    """Its type number: float32 or float64."""
    cdef int typenum = cnp.PyArray_TYPE(x)
    if typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE:
        raise TypeError(f"{name}: expected dtype float32 or float64, got {x.dtype}")
    return typenum


cdef struct Memory:
    char *start
    char *end


cdef inline Memory memory_of(cnp.ndarray x) noexcept:
    """From where to where a contiguous array reaches; an empty one is nowhere."""
    cdef Memory memory
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(x)
    cdef int i
    for i in range(cnp.PyArray_NDIM(x)):
        size *= cnp.PyArray_DIM(x, i)
    memory.start = <char *> cnp.PyArray_DATA(x) if size > 0 else NULL
    memory.end = memory.start + size
    return memory


cdef inline int check_memory(str name, Memory x, str other_name, Memory other) except -1:
    if x.start < other.end and other.start < x.end:
        raise ValueError(f"{name}: expected memory of its own, got an array that overlaps {other_name}")
    return 0


cdef inline int check_apart(str name, cnp.ndarray x, str other_name, cnp.ndarray other) except -1:
    """Two contiguous arrays must not share memory: one is written while the other is read."""
    return check_memory(name, memory_of(x), other_name, memory_of(other))
