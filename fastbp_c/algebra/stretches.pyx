"""Vector kernels over long arrays, by stretches of items (numbers, or the arrays of a sample) that are shared."""

from cython cimport floating
from libc.string cimport memcpy

from fastbp_c.algebra cimport simd
from fastbp_c.boundary.team cimport enlisted, share

cdef enum:
    # In multiply-adds, or what takes as long. benches/bench_threads.py
    STRETCH = 1 << 17       # a piece
    LONG = 1 << 19          # worth sharing
    MOVING = 8              # a number


cdef struct Items:
    void (*kernel)(const Items *items, Py_ssize_t n, void **x) noexcept nogil
    Py_ssize_t N, each              # how many there are, and in a stretch
    void *x[4]                      # arrays, NULL for none
    Py_ssize_t stride[4]            # bytes from an item to the next
    int number                      # what the kernel has to know
    Py_ssize_t rows, columns


cdef inline Items new_items(Py_ssize_t N, void *x0, void *x1, void *x2, void *x3) noexcept nogil:
    """Some of these arrays; how they are laid out is still to be set"""
    cdef Items items
    items.N, items.each = N, 1
    items.x[0], items.x[1], items.x[2], items.x[3] = x0, x1, x2, x3
    return items


cdef void stretch_piece(void *items_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Items *items = <const Items *> items_
    cdef Py_ssize_t first = number * items.each
    cdef void *x[4]
    cdef int i
    for i in range(4):
        x[i] = NULL if items.x[i] == NULL else <char *> items.x[i] + first * items.stride[i]
    items.kernel(items, min(items.each, items.N - first), x)


cdef void share_items(Items *items, double work_of_one) noexcept nogil:
    # As many as fill whole cache lines, whatever they are.
    items.each = max(<Py_ssize_t> 1, <Py_ssize_t> (STRETCH / work_of_one) // 16 * 16)
    share((items.N + items.each - 1) // items.each, items.N * work_of_one, enlisted(), stretch_piece, items)


cdef void activate_floats(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.activate(items.number, n, <const float *> x[0], <float *> x[1], <float *> x[2], <float *> x[3])


cdef void activate_doubles(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.activate(items.number, n, <const double *> x[0], <double *> x[1], <double *> x[2], <double *> x[3])


cdef void activate(
    int activation, Py_ssize_t n, const floating *a, floating *z, floating *h1, floating *h2
) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = sizeof(floating)
    if <double> ACTIVATING * n < LONG:
        simd.activate(activation, n, a, z, h1, h2)
        return
    items = new_items(n, <void *> a, <void *> z, <void *> h1, <void *> h2)
    items.kernel = activate_floats if floating is float else activate_doubles
    items.stride[0], items.stride[1], items.stride[2], items.stride[3] = size, size, size, size
    items.number, items.rows, items.columns = activation, 0, 0
    share_items(&items, ACTIVATING)


cdef void multiply_floats(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.multiply(n, items.rows, items.columns, <const float *> x[0], <float *> x[1])


cdef void multiply_doubles(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.multiply(n, items.rows, items.columns, <const double *> x[0], <double *> x[1])


cdef void multiply(Py_ssize_t N, Py_ssize_t R, Py_ssize_t width, const floating *x, floating *y) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = width * sizeof(floating)
    if <double> MOVING * N * R * width < LONG:
        simd.multiply(N, R, width, x, y)
        return
    items = new_items(N, <void *> x, <void *> y, NULL, NULL)
    items.kernel = multiply_floats if floating is float else multiply_doubles
    items.stride[0], items.stride[1], items.stride[2], items.stride[3] = size, R * size, 0, 0
    items.number, items.rows, items.columns = 0, R, width
    share_items(&items, <double> MOVING * R * width)


cdef void sum_floats(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    # h1 x lies in the place of h2 r, or of what is only read
    simd.scaled_sum(n, <const float *> x[0], <const float *> x[1], <const float *> x[2], <const float *> x[3],
                    <float *> x[1])


cdef void sum_doubles(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.scaled_sum(n, <const double *> x[0], <const double *> x[1], <const double *> x[2], <const double *> x[3],
                    <double *> x[1])


cdef void scaled_sum(
    Py_ssize_t n, const floating *h1, const floating *x, const floating *h2, const floating *r, floating *y
) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = sizeof(floating)
    if <double> MOVING * n < LONG or x != y:
        simd.scaled_sum(n, h1, x, h2, r, y)
        return
    items = new_items(n, <void *> h1, <void *> x, <void *> h2, <void *> r if h2 != NULL else NULL)
    items.kernel = sum_floats if floating is float else sum_doubles
    items.stride[0], items.stride[1], items.stride[2], items.stride[3] = size, size, size, size
    items.number, items.rows, items.columns = 0, 0, 0
    share_items(&items, MOVING)


cdef void transpose_floats(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.transpose(n, items.rows, items.columns, <const float *> x[0], <float *> x[1])


cdef void transpose_doubles(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.transpose(n, items.rows, items.columns, <const double *> x[0], <double *> x[1])


cdef void transpose(
    Py_ssize_t N, Py_ssize_t rows, Py_ssize_t columns, const floating *x, floating *y
) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = rows * columns * sizeof(floating)
    if <double> MOVING * N * rows * columns < LONG:
        simd.transpose(N, rows, columns, x, y)
        return
    items = new_items(N, <void *> x, <void *> y, NULL, NULL)
    items.kernel = transpose_floats if floating is float else transpose_doubles
    items.stride[0], items.stride[1], items.stride[2], items.stride[3] = size, size, 0, 0
    items.number, items.rows, items.columns = 0, rows, columns
    share_items(&items, <double> MOVING * rows * columns)


cdef void triangles_of_floats(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.triangles(n, items.columns, <const float *> x[0], <float *> x[1])


cdef void triangles_of_doubles(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.triangles(n, items.columns, <const double *> x[0], <double *> x[1])


cdef void triangles(Py_ssize_t N, Py_ssize_t width, const floating *x, floating *y) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = sizeof(floating)
    if <double> MOVING * N * width * width < LONG:
        simd.triangles(N, width, x, y)
        return
    items = new_items(N, <void *> x, <void *> y, NULL, NULL)
    items.kernel = triangles_of_floats if floating is float else triangles_of_doubles
    items.stride[0], items.stride[1], items.stride[2] = width * width * size, width * (width + 1) // 2 * size, 0
    items.stride[3], items.number, items.rows, items.columns = 0, 0, 0, width
    share_items(&items, <double> MOVING * width * width)


cdef void copy_bytes(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    memcpy(x[1], x[0], n * items.columns)


cdef void copy(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = sizeof(floating)
    if <double> MOVING * n < LONG:
        memcpy(y, x, n * size)
        return
    items = new_items(n, <void *> x, <void *> y, NULL, NULL)
    items.kernel = copy_bytes
    items.stride[0], items.stride[1], items.stride[2], items.stride[3] = size, size, 0, 0
    items.number, items.rows, items.columns = 0, 0, size
    share_items(&items, MOVING)


cdef void softmax_floats(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.softmax(n, items.columns, <const float *> x[0], <float *> x[1])


cdef void softmax_doubles(const Items *items, Py_ssize_t n, void **x) noexcept nogil:
    simd.softmax(n, items.columns, <const double *> x[0], <double *> x[1])


cdef void softmax(Py_ssize_t N, Py_ssize_t K, const floating *a, floating *z) noexcept nogil:
    cdef Items items
    cdef Py_ssize_t size = K * sizeof(floating)
    if <double> ACTIVATING * N * K < LONG:
        simd.softmax(N, K, a, z)
        return
    items = new_items(N, <void *> a, <void *> z, NULL, NULL)
    items.kernel = softmax_floats if floating is float else softmax_doubles
    items.stride[0], items.stride[1], items.stride[2], items.stride[3] = size, size, 0, 0
    items.number, items.rows, items.columns = 0, 0, K
    share_items(&items, <double> ACTIVATING * K)
