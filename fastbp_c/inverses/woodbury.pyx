"""Adding rows to an inverse and taking them out (theory: PRML 5.87 to 5.89, k rows at once by Woodbury's identity).

For k rows V, added (+) or removed (-):

    U = V H,   S = I +- U V^T = R^T R,   Z = R^-T U,   H -+= Z^T Z,   log det += log det S

Design:
a) Few rows do not touch H: their Z is kept, as the last part of H - Z^T Z, until enough of them have come to make the
   update a product worth the name. A single row then reads the triangle once and writes nothing. They do not wait
   when they have taken half of H's trace: what is computed from H carries rounding errors of the size of H, and only
   when a smaller H has taken its place do later rows wear them down.
b) A call whose rows all find room beside those that wait changes H only after the last of them has been factored:
   there is nothing to undo. A longer call keeps the old lower triangle in the upper one, which nobody else needs,
   and puts it back if it fails.
c) When the rows are more than the columns, inverting twice and adding the rows between costs less than updating.
"""

from libc.math cimport fabs, log, sqrt
from libc.string cimport memset

from fastbp_c.algebra.symmetric cimport (
    DONE, block_rows, factor_rows, inner_products, invert, mirror, rank_update, restore, subtract_rows,
    symmetric_rows, work_size,
)

cdef enum:
    # benches/bench_inverse.py is behind them.
    PENDING = 48            # rows that wait at most, after a call
    WAITING_BLOCKS = 2      # blocks that one call may let wait

# A pivot 1 - b^T H b so close to 0 is rounding: of what would be left, no digit would be right.
cdef double LEAST_PIVOT = 2.0 ** -46


cdef Py_ssize_t pending_room(Py_ssize_t P) noexcept nogil:
    """Rows of Z to keep room for: those that wait, and a call of some blocks"""
    return PENDING + WAITING_BLOCKS * block_rows(P)


cdef size_t job_work(Py_ssize_t P, Py_ssize_t room) noexcept nogil:
    """Elements of work: diagonal, least, S, scaled rows, and what the functions of symmetric.pxd need"""
    cdef size_t block = <size_t> block_rows(P)
    return <size_t> P + block + block * block + block * <size_t> P + work_size(P, room)


cdef void begin(Job *job) noexcept nogil:
    """H = I / alpha, in the lower triangle"""
    diagonal_matrix(job, 1 / job.alpha)
    job.logdet = job.P * log(job.alpha)
    job.rest = job.trace = job.taken = 0
    job.count[ADDED] = job.count[REMOVED] = 0
    job.fresh = True
    job.mirrored = False


cdef void diagonal_matrix(Job *job, double x) noexcept nogil:
    """H = x I, in the lower triangle"""
    cdef Py_ssize_t i
    for i in range(job.P):
        memset(job.H + i * job.P, 0, i * sizeof(double))
        job.H[i * job.P + i] = x


cdef void apply(Job *job) noexcept nogil:
    """H takes the rows that wait; they are still counted"""
    cdef double *work = rest_of(job)
    if job.count[ADDED] + job.count[REMOVED] > 0:
        rank_update(job.Z[ADDED], job.H, work, job.count[ADDED], job.P, -1)
        rank_update(job.Z[REMOVED], job.H, work, job.count[REMOVED], job.P, 1)
        job.fresh = job.mirrored = False


cdef void settle(Job *job, bint whole) noexcept nogil:
    """H takes the rows that wait; if whole, in both triangles"""
    apply(job)
    job.count[ADDED] = job.count[REMOVED] = 0
    if whole:
        mirror_once(job)


cdef void mirror_once(Job *job) noexcept nogil:
    if not job.mirrored:
        mirror(job.H, job.P)
        job.mirrored = True


cdef double *rest_of(Job *job) noexcept nogil:
    """Work behind diagonal, least, S and scaled rows"""
    cdef Py_ssize_t block = block_rows(job.P)
    return job.work + job.P + block + block * block + block * job.P


cdef void add_log(Job *job, double x) noexcept nogil:
    """logdet + rest += x with the rounding error kept (Neumaier): a million small terms lose no digits"""
    cdef double total = job.logdet + x
    if fabs(job.logdet) >= fabs(x):
        job.rest += (job.logdet - total) + x
    else:
        job.rest += (x - total) + job.logdet
    job.logdet = total


cdef void product_rows(Job *job, const double *V, double *U, Py_ssize_t k) noexcept nogil:
    """U = V (H - Z^T Z + Z^T Z) for up to a block of rows"""
    cdef double *work = rest_of(job)
    cdef Py_ssize_t i
    if job.fresh:
        for i in range(k * job.P):
            U[i] = V[i] / job.alpha
    else:
        symmetric_rows(V, job.H, U, work, k, job.P)
    subtract_rows(V, job.Z[ADDED], U, work, k, job.count[ADDED], job.P, 1)
    subtract_rows(V, job.Z[REMOVED], U, work, k, job.count[REMOVED], job.P, -1)


cdef void multiply(Job *job, const double *V, double *U, Py_ssize_t k) noexcept nogil:
    """U = V (alpha I + sum b b^T)^-1 for k rows"""
    cdef Py_ssize_t start = 0, rows
    while start < k:
        rows = min(block_rows(job.P), k - start)
        product_rows(job, V + start * job.P, U + start * job.P, rows)
        start += rows


cdef const double *scaled_rows(
    Job *job, const double *B, const double *weights, Py_ssize_t start, Py_ssize_t rows,
) noexcept nogil:
    """Rows sqrt(w) b: those of B as they are if there are no weights"""
    cdef Py_ssize_t block = block_rows(job.P), P = job.P, i, p
    cdef double *scaled = job.work + P + block + block * block
    cdef double factor
    if weights == NULL:
        return B + start * P
    for i in range(rows):
        factor = sqrt(weights[start + i])
        for p in range(P):
            scaled[i * P + p] = factor * B[(start + i) * P + p]
    return scaled


cdef void residual(
    Job *job, const double *B, const double *weights, const double *X, double *U, double *R, Py_ssize_t n,
    Py_ssize_t k,
) noexcept nogil:
    """R = X (H^-1 H - I) for k rows, up to a block; U = X H^-1; n rows B"""
    cdef Py_ssize_t start = 0, rows, i
    product_rows(job, X, U, k)
    for i in range(k * job.P):
        R[i] = job.alpha * U[i] - X[i]
    while start < n:
        rows = min(block_rows(job.P), n - start)
        subtract_rows(U, scaled_rows(job, B, weights, start, rows), R, rest_of(job), k, rows, job.P, -1)
        start += rows


cdef Status next_rows(Job *job, const double *V, Py_ssize_t k, int kind) noexcept nogil:
    """Z for k rows V, up to a block, behind those that are there; the log determinant has them then, the counts not"""
    cdef Py_ssize_t block = block_rows(job.P), i
    cdef double *Z = job.Z[kind] + job.count[kind] * job.P
    cdef double *least = job.work + job.P
    cdef double *S = least + block
    cdef double part, squares
    cdef Status status
    product_rows(job, V, Z, k)
    inner_products(Z, V, S, k, job.P)
    for i in range(k * k):
        S[i] = -S[i] if kind == REMOVED else S[i]
    for i in range(k):
        S[i * k + i] += 1
        least[i] = LEAST_PIVOT
    status = factor_rows(S, Z, least, &part, &squares, rest_of(job), k, job.P)
    if status == DONE:
        add_log(job, part)
        if kind == ADDED:
            job.taken += squares
    return status


cdef bint inverting_is_less(const Job *job, Py_ssize_t n, bint fits) noexcept nogil:
    """Flops beyond the n P^2 that every way takes: of inverting, against those of updating by blocks"""
    cdef double P = job.P, of_updates = 2.0 * n * n * P if job.fresh and fits else 2.0 * n * P * P
    return of_updates > (P * P * P if job.fresh else 2 * P * P * P)


cdef bint may_wait(const Job *job, Py_ssize_t n, int kind) noexcept nogil:
    """Whether n rows can all be factored before H changes: there is room, and H will not shrink much meanwhile"""
    return (job.count[kind] + n <= job.room and (n <= block_rows(job.P) or 4 * n <= job.P or job.fresh)
            and not inverting_is_less(job, n, True))


cdef void measure(Job *job) noexcept nogil:
    cdef Py_ssize_t i
    job.trace = job.taken = 0
    for i in range(job.P):
        job.trace += job.H[i * job.P + i]


cdef Status change(Job *job, const double *B, const double *weights, Py_ssize_t n, int kind) noexcept nogil:
    """Add or remove n rows; if that fails the job is as it was"""
    cdef Job before
    cdef Status status
    if n == 0 or job.P == 0:
        return DONE
    if may_wait(job, n, kind):
        before = job[0]
        if job.count[ADDED] + job.count[REMOVED] == 0:
            measure(job)
        status = change_by_blocks(job, B, weights, n, kind, False)
        if status != DONE:
            job[0] = before
        elif job.count[ADDED] + job.count[REMOVED] >= PENDING or 2 * job.taken > job.trace:
            settle(job, False)
        return status
    mirror_once(job)
    before = job[0]
    keep_diagonal(job)
    apply(job)
    status = change_at_once(job, B, weights, n, kind)
    if status != DONE:
        restore(job.H, job.work, job.P)
        job[0] = before
    return status


cdef Status rebuild(Job *job, const double *B, const double *weights, Py_ssize_t n) noexcept nogil:
    """Begin anew with n rows; if that fails the job is as it was, but that no rows wait"""
    cdef Job before
    cdef Status status
    settle(job, True)
    before = job[0]
    keep_diagonal(job)
    begin(job)
    status = change_at_once(job, B, weights, n, ADDED)
    if status != DONE:
        restore(job.H, job.work, job.P)
        job[0] = before
    return status


cdef void keep_diagonal(Job *job) noexcept nogil:
    """For `restore`: the upper triangle holds the rest"""
    cdef Py_ssize_t i
    for i in range(job.P):
        job.work[i] = job.H[i * job.P + i]


cdef Status change_at_once(
    Job *job, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil:
    """Add or remove n rows in the lower triangle, which is lost if that fails; no row waits afterwards"""
    cdef bint inverting = inverting_is_less(job, n, False)
    cdef Status status
    if inverting:
        status = change_by_inverting(job, B, weights, n, kind)
    else:
        status = change_by_blocks(job, B, weights, n, kind, True)
    job.count[ADDED] = job.count[REMOVED] = 0
    job.fresh = job.mirrored = False
    return status


cdef Status change_by_blocks(
    Job *job, const double *B, const double *weights, Py_ssize_t n, int kind, bint at_once,
) noexcept nogil:
    """Let the rows wait, or only until there are enough; then those that waited before stay where they are"""
    cdef Py_ssize_t blocks = (n + block_rows(job.P) - 1) // block_rows(job.P), start = 0, rows
    cdef double *kept = job.Z[kind]
    cdef Status status = DONE
    if at_once:
        job.Z[kind] += job.count[kind] * job.P
        job.count[ADDED] = job.count[REMOVED] = 0
    for blocks in range(blocks, 0, -1):
        rows = (n - start + blocks - 1) // blocks
        status = next_rows(job, scaled_rows(job, B, weights, start, rows), rows, kind)
        if status != DONE:
            break
        job.count[kind] += rows
        start += rows
        if at_once and (job.count[kind] >= PENDING or blocks == 1):
            settle(job, False)
    job.Z[kind] = kept
    return status


cdef Status change_by_inverting(
    Job *job, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil:
    """Invert, add or subtract the rows, invert"""
    cdef Py_ssize_t start = 0, rows
    cdef double *work = rest_of(job)
    cdef Status status
    if job.fresh:
        diagonal_matrix(job, job.alpha)
    else:
        status = invert(job.H, &job.logdet, work, job.P, 0)
        if status != DONE:
            return status
    while start < n:
        rows = min(block_rows(job.P), n - start)
        rank_update(scaled_rows(job, B, weights, start, rows), job.H, work, rows, job.P, 1 if kind == ADDED else -1)
        start += rows
    job.rest = 0
    return invert(job.H, &job.logdet, work, job.P, 0 if kind == ADDED else LEAST_PIVOT)
