"""The affine layer, batched: Y = X W + b and its backward pass (theory: PRML 5.48 to 5.56)."""

cimport numpy as cnp
from cython cimport floating
from libc.stdlib cimport free, malloc

from fastbp_c.algebra cimport simd, stretches
from fastbp_c.boundary.check cimport (
    Memory, check_apart, check_floating, check_matrix, check_memory, check_vector, memory_of,
)
from fastbp_c.boundary.interrupt cimport begin, end, go_on
from fastbp_c.boundary.team cimport enlist
from fastbp_c.networks.activation cimport activation_id
from fastbp_c.algebra.product cimport product
from fastbp_c.algebra.simd cimport FBP_ADD, FBP_BIAS, FBP_SOFTMAX, FBP_ZERO

cnp.import_array()

cdef enum:
    SUM_ROWS = 4096     # so many rows are summed in float32 (the kernel and BLAS cut them again), more in float64
    LEAST_ROWS = 256    # of a part: what it costs to add its results is little beside the products
    PART = 1 << 29      # multiply-adds between two looks for signals


cdef void affine_forward(
    const floating *X, const floating *W, const floating *b, floating *Y, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out,
) noexcept nogil:
    """Y = X W + b; b may be NULL"""
    # Y[n, o] = b[o] + X[n, i] W[i, o]
    product(False, False, N, n_out, n_in, X, W, FBP_ZERO if b == NULL else FBP_BIAS, b, Y)


cdef void affine_gradient(
    const floating *dY, const floating *X, floating *dW, floating *db, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out, bint accumulate,
) noexcept nogil:
    """dW (+)= X^T dY, db (+)= sum_n dY_n; db may be NULL"""
    cdef double *sums
    if not needs_sums(dW, N):
        short_gradient(dY, X, dW, db, N, n_in, n_out, accumulate)
        return
    sums = <double *> malloc((n_in + 1) * n_out * sizeof(double))
    gradient(dY, X, dW, db, N, n_in, n_out, accumulate, sums, False)
    free(sums)


cdef inline void short_gradient(
    const floating *dY, const floating *X, floating *dW, floating *db, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out, bint add,
) noexcept nogil:
    # dW[i, o] (+)= X[n, i]^T dY[n, o]
    product(True, False, n_in, n_out, N, X, dY, FBP_ADD if add else FBP_ZERO, NULL, dW)
    if db != NULL:
        simd.column_sums(N, n_out, dY, add, db)


cdef void affine_delta(
    const floating *dY, const floating *W, floating *dX, Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out,
) noexcept nogil:
    """dX = dY W^T"""
    # dX[n, i] = dY[n, o] W[i, o]^T
    product(False, True, N, n_in, n_out, dY, W, FBP_ZERO, NULL, dX)


cdef inline bint needs_sums(const floating *dW, Py_ssize_t N) noexcept nogil:
    """Whether a sum over N rows is too long for the digits of its dtype"""
    return floating is float and N > SUM_ROWS


cdef void gradient(
    const floating *dY, const floating *X, floating *dW, floating *db, Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out,
    bint accumulate, double *sums, bint watched,
) noexcept nogil:
    """affine_gradient by parts of the rows; long sums of float32 are added up in `sums`, n_in n_out and n_out of them

    If there are none, they are added in float32. Nothing of use is left if a signal handler has raised (if watched).
    """
    cdef Py_ssize_t n = 0, count, rows = N, n_W = n_in * n_out, i
    cdef bint add = accumulate
    if watched:
        rows = part_rows(N, n_in, n_out)
    if needs_sums(dW, N):
        rows = min(rows, SUM_ROWS)
    if sums != NULL:
        for i in range(n_W):
            sums[i] = dW[i] if accumulate else 0
        for i in range(0 if db == NULL else n_out):
            sums[n_W + i] = db[i] if accumulate else 0
        add = False
    while True:
        count = min(rows, N - n)
        if watched and not go_on(<double> count * n_W):
            return
        short_gradient(dY + n * n_out, X + n * n_in, dW, db, count, n_in, n_out, add)
        if sums != NULL:
            for i in range(n_W):
                sums[i] += dW[i]
            for i in range(0 if db == NULL else n_out):
                sums[n_W + i] += db[i]
        else:
            add = True
        n += count
        if n >= N:
            break
    if sums != NULL:
        for i in range(n_W):
            dW[i] = <floating> sums[i]
        for i in range(0 if db == NULL else n_out):
            db[i] = <floating> sums[n_W + i]


cdef inline bint is_long(Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out) noexcept nogil:
    """Whether a product takes so long that it is computed by parts, with looks for signals between them"""
    return <double> N * n_in * n_out > PART and N > LEAST_ROWS


cdef inline Py_ssize_t part_rows(Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out) noexcept nogil:
    """How many rows are a part"""
    return max(LEAST_ROWS, PART // (n_in * n_out)) if is_long(N, n_in, n_out) else N


cdef void forward(
    const floating *X, const floating *W, const floating *b, floating *Y, Py_ssize_t N, Py_ssize_t n_in,
    Py_ssize_t n_out,
) noexcept nogil:
    """affine_forward, looking for signals"""
    cdef Py_ssize_t n = 0, rows = part_rows(N, n_in, n_out), count
    while n < N:
        count = min(rows, N - n)
        if rows < N and not go_on(<double> count * n_in * n_out):
            return
        affine_forward(X + n * n_in, W, b, Y + n * n_out, count, n_in, n_out)
        n += count


cdef void backward(
    const floating *dY, const floating *X, const floating *W, floating *dX, floating *dW, floating *db,
    Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out, bint accumulate, double *sums,
) noexcept nogil:
    """affine_gradient and affine_delta, looking for signals"""
    cdef Py_ssize_t n = 0, rows = part_rows(N, n_in, n_out), count
    if rows == N and sums == NULL:
        short_gradient(dY, X, dW, db, N, n_in, n_out, accumulate)
    else:
        gradient(dY, X, dW, db, N, n_in, n_out, accumulate, sums, rows < N)
    while dX != NULL and n < N:
        count = min(rows, N - n)
        if rows < N and not go_on(<double> count * n_in * n_out):
            return
        affine_delta(dY + n * n_out, W, dX + n * n_in, count, n_in, n_out)
        n += count


def affine(cnp.ndarray X not None, cnp.ndarray W not None, cnp.ndarray b, cnp.ndarray Y not None):
    """Y[n, o] = b[o] + X[n, i] W[i, o]   Y is overwritten and must not overlap X or W; b may be None"""
    cdef int typenum = check_floating("X", X)
    check_matrix("W", W, typenum, -1, "", -1, "", False)
    check_matrix("X", X, typenum, -1, "", W.shape[0], "the rows of W", False)
    cdef Py_ssize_t N = X.shape[0], n_in = W.shape[0], n_out = W.shape[1]
    if b is not None:
        check_vector("b", b, typenum, n_out, "the columns of W", False)
    check_matrix("out", Y, typenum, N, "the rows of X", n_out, "the columns of W", True)
    check_apart("out", Y, "X", X)
    check_apart("out", Y, "W", W)
    if b is not None:
        check_apart("out", Y, "b", b)
    cdef const void *bias = NULL if b is None else cnp.PyArray_DATA(b)
    enlist(<double> N * n_in * n_out)
    begin()
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            forward(<const float *> cnp.PyArray_DATA(X), <const float *> cnp.PyArray_DATA(W),
                    <const float *> bias, <float *> cnp.PyArray_DATA(Y), N, n_in, n_out)
        else:
            forward(<const double *> cnp.PyArray_DATA(X), <const double *> cnp.PyArray_DATA(W),
                    <const double *> bias, <double *> cnp.PyArray_DATA(Y), N, n_in, n_out)
    end()


def affine_backward(
    cnp.ndarray dY not None, cnp.ndarray X not None, cnp.ndarray W not None, cnp.ndarray dX, cnp.ndarray dW not None,
    cnp.ndarray db not None, bint accumulate=False,
):
    """dX = dY W^T, dW (+)= X^T dY, db (+)= sum_n dY_n   dX may be None; accumulate concerns dW and db only"""
    cdef int typenum = check_floating("dY", dY)
    check_matrix("W", W, typenum, -1, "", -1, "", False)
    cdef Py_ssize_t n_in = W.shape[0], n_out = W.shape[1]
    check_matrix("dY", dY, typenum, -1, "", n_out, "the columns of W", False)
    cdef Py_ssize_t N = dY.shape[0]
    check_matrix("X", X, typenum, N, "the rows of dY", n_in, "the rows of W", False)
    if dX is not None:
        check_matrix("dX", dX, typenum, N, "the rows of X", n_in, "the columns of X", True)
    check_matrix("dW", dW, typenum, n_in, "the rows of W", n_out, "the columns of W", True)
    check_vector("db", db, typenum, n_out, "the columns of W", True)
    cdef Memory dy_memory = memory_of(dY), x_memory = memory_of(X), w_memory = memory_of(W), dw_memory = memory_of(dW)
    cdef Memory db_memory = memory_of(db), dx_memory
    check_memory("dW", dw_memory, "dY", dy_memory)
    check_memory("dW", dw_memory, "X", x_memory)
    check_memory("dW", dw_memory, "W", w_memory)
    check_memory("db", db_memory, "dY", dy_memory)
    check_memory("db", db_memory, "X", x_memory)
    check_memory("db", db_memory, "W", w_memory)
    check_memory("db", db_memory, "dW", dw_memory)
    if dX is not None:
        dx_memory = memory_of(dX)
        check_memory("dX", dx_memory, "dY", dy_memory)
        check_memory("dX", dx_memory, "X", x_memory)
        check_memory("dX", dx_memory, "W", w_memory)
        check_memory("dX", dx_memory, "dW", dw_memory)
        check_memory("dX", dx_memory, "db", db_memory)
    cdef void *dx = NULL if dX is None else cnp.PyArray_DATA(dX)
    cdef cnp.npy_intp n_sums = (n_in + 1) * n_out
    cdef cnp.ndarray room = None
    cdef double *sums = NULL
    if typenum == cnp.NPY_FLOAT and needs_sums(<const float *> NULL, N):
        room = cnp.PyArray_EMPTY(1, &n_sums, cnp.NPY_DOUBLE, False)
        sums = <double *> cnp.PyArray_DATA(room)
    enlist(<double> N * n_in * n_out)
    begin()
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            backward(<const float *> cnp.PyArray_DATA(dY), <const float *> cnp.PyArray_DATA(X),
                     <const float *> cnp.PyArray_DATA(W), <float *> dx, <float *> cnp.PyArray_DATA(dW),
                     <float *> cnp.PyArray_DATA(db), N, n_in, n_out, accumulate, sums)
        else:
            backward(<const double *> cnp.PyArray_DATA(dY), <const double *> cnp.PyArray_DATA(X),
                     <const double *> cnp.PyArray_DATA(W), <double *> dx, <double *> cnp.PyArray_DATA(dW),
                     <double *> cnp.PyArray_DATA(db), N, n_in, n_out, accumulate, sums)
    end()


cdef void delta(
    const floating *delta_next, const floating *W, const floating *a, floating *result, floating *h1, int activation,
    Py_ssize_t N, Py_ssize_t n_in, Py_ssize_t n_out,
) noexcept nogil:
    """result = h'(a) * (delta_next W^T), looking for signals; h1: N n_in elements of work"""
    cdef Py_ssize_t n = 0, rows = part_rows(N, n_in, n_out), count
    while n < N:
        count = min(rows, N - n)
        if rows < N and not go_on(<double> count * n_in * n_out):
            return
        stretches.activate(activation, count * n_in, a + n * n_in, result + n * n_in, h1 + n * n_in, <floating *> NULL)
        affine_delta(delta_next + n * n_out, W, result + n * n_in, count, n_in, n_out)
        stretches.multiply(count, 1, n_in, h1 + n * n_in, result + n * n_in)
        n += count


def delta_backward(
    cnp.ndarray delta_next not None, cnp.ndarray W_next not None, cnp.ndarray a not None, activation,
    cnp.ndarray out not None, cnp.ndarray work not None,
):
    """out[n, i] = h'(a[n, i]) sum_o delta_next[n, o] W_next[i, o]   out and work are overwritten, both of a's shape"""
    cdef int typenum = check_floating("delta_next", delta_next)
    cdef int h = activation_id("activation", activation)
    if h == FBP_SOFTMAX:
        raise ValueError("activation: expected an elementwise activation, got 'softmax'")
    check_matrix("W_next", W_next, typenum, -1, "", -1, "", False)
    cdef Py_ssize_t n_in = W_next.shape[0], n_out = W_next.shape[1]
    check_matrix("delta_next", delta_next, typenum, -1, "", n_out, "the columns of W_next", False)
    cdef Py_ssize_t N = delta_next.shape[0]
    check_matrix("a", a, typenum, N, "the rows of delta_next", n_in, "the rows of W_next", False)
    check_matrix("out", out, typenum, N, "the rows of a", n_in, "the columns of a", True)
    check_matrix("work", work, typenum, N, "the rows of a", n_in, "the columns of a", True)
    cdef Memory next_memory = memory_of(delta_next), w_memory = memory_of(W_next), a_memory = memory_of(a)
    cdef Memory out_memory = memory_of(out), work_memory = memory_of(work)
    check_memory("out", out_memory, "delta_next", next_memory)
    check_memory("out", out_memory, "W_next", w_memory)
    check_memory("out", out_memory, "a", a_memory)
    check_memory("work", work_memory, "delta_next", next_memory)
    check_memory("work", work_memory, "W_next", w_memory)
    check_memory("work", work_memory, "a", a_memory)
    check_memory("work", work_memory, "out", out_memory)
    enlist(<double> N * n_in * n_out)
    begin()
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            delta(<const float *> cnp.PyArray_DATA(delta_next), <const float *> cnp.PyArray_DATA(W_next),
                  <const float *> cnp.PyArray_DATA(a), <float *> cnp.PyArray_DATA(out),
                  <float *> cnp.PyArray_DATA(work), h, N, n_in, n_out)
        else:
            delta(<const double *> cnp.PyArray_DATA(delta_next), <const double *> cnp.PyArray_DATA(W_next),
                  <const double *> cnp.PyArray_DATA(a), <double *> cnp.PyArray_DATA(out),
                  <double *> cnp.PyArray_DATA(work), h, N, n_in, n_out)
    end()
