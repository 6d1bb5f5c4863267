"""Products with a symmetric matrix, its updates and its inverse, on pointers: float64, no allocation, no exceptions.

The matrix is P x P and row-major, and its lower triangle is all that counts: no function but `mirror` and `restore`
reads or writes what is above the diagonal. Rows (V, U, Z) are k x P and dense.

All but `restore` look for signals (interrupt.pxd). Of what was stopped the result is of no meaning. Work that repays it
is shared with as many helpers as were enlisted last (team.pxd); the result has the same bits with any number of them.
"""

cdef enum:
    PASS = 16               # multiply-adds in the time of moving a number of a matrix that is in no cache

cdef enum Status:
    DONE
    INDEFINITE
    OVERFLOWN
    STOPPED

cdef Py_ssize_t block_rows(Py_ssize_t P) noexcept nogil

cdef size_t work_size(Py_ssize_t P, Py_ssize_t m) noexcept nogil

cdef void symmetric_rows(
    const double *V, const double *H, double *U, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil

cdef void inner_products(
    const double *U, const double *V, double *S, double *work, Py_ssize_t k, Py_ssize_t P,
) noexcept nogil

cdef void subtract_rows(
    const double *V, const double *Z, double *U, double *work, Py_ssize_t k, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil

cdef void rank_update(
    const double *Z, double *H, double *work, Py_ssize_t m, Py_ssize_t P, double sign,
) noexcept nogil

cdef Status factor_rows(
    double *S, double *Z, const double *least, double *log_determinant, double *squares, double *work, Py_ssize_t k,
    Py_ssize_t P,
) noexcept nogil

cdef Status invert(
    double *H, double *log_determinant, double *work, Py_ssize_t P, double floor,
) noexcept nogil

cdef void mirror(double *H, Py_ssize_t P) noexcept nogil

cdef void restore(double *H, const double *diagonal, Py_ssize_t P) noexcept nogil

cdef bint symmetric_to(double tolerance, const double *H, Py_ssize_t P, bint *exactly) noexcept nogil
