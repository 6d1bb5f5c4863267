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
   and puts it back if it fails or is stopped (interrupt.pxd). So does the update that ends the waiting, if it is long;
   a short one is not stopped.
c) When the rows are more than the columns, inverting twice and adding the rows between costs less than updating.
d) rounding.pyx says which removals are refused.
"""

from libc.math cimport fabs, log
from libc.string cimport memcpy, memset

from fastbp_c.algebra.symmetric cimport (
    DONE, STOPPED, block_rows, factor_rows, inner_products, invert, mirror, rank_update, restore,
    subtract_rows, symmetric_rows,
)
from fastbp_c.boundary.interrupt cimport go_on, hold, stopped
from fastbp_c.inverses.rounding cimport EPSILON, add_noise, add_size, check_digits, check_loss
from fastbp_c.inverses.state cimport ADDED, REMOVED, scaled_rows

cdef enum:
    # benches/bench_inverse.py is behind them.
    PENDING = 48            # rows that wait at most, after a call
    WAITING_BLOCKS = 2      # blocks that one call may let wait

# A pivot of an addition, 1 + b^T H b, so close to 0 is no sum with a square.
cdef double LEAST_PIVOT = 2.0 ** -46
# Multiply-adds of an update of H that is not stopped: less than 0.1 s.
cdef double LONG_UPDATE = 2.0 ** 31


cdef Py_ssize_t pending_room(Py_ssize_t P) noexcept nogil:
    """Rows of Z to keep room for: those that wait, and a call of some blocks"""
    return PENDING + WAITING_BLOCKS * block_rows(P)


cdef void begin_state(InverseState *state) noexcept nogil:
    """H = I / alpha, in the lower triangle"""
    cdef Py_ssize_t p
    diagonal_matrix(state, 1 / state.alpha)
    state.logdet = state.P * log(state.alpha)
    state.rest = state.taken = 0
    state.trace = state.P / state.alpha
    state.waiting[ADDED] = state.waiting[REMOVED] = 0
    state.fresh = True
    state.mirrored = False
    if state.noise != NULL:
        for p in range(state.P):
            state.scale[p], state.size[p], state.noise[p] = 1 / state.alpha, state.alpha, 0


cdef void adopt(InverseState *state, const double *history) noexcept nogil:
    """H is an inverse already, in both triangles; size and noise, if they are known"""
    cdef Py_ssize_t P = state.P, p
    state.waiting[ADDED] = state.waiting[REMOVED] = 0
    state.fresh = False
    state.mirrored = True
    state.trace = state.taken = 0
    for p in range(P):
        state.trace += state.H[p * P + p]
        if state.noise != NULL:
            state.scale[p] = state.H[p * P + p]
            state.size[p] = 1 / state.scale[p] if history == NULL else history[p]
            state.noise[p] = 0 if history == NULL else history[P + p]


cdef void diagonal_matrix(InverseState *state, double x) noexcept nogil:
    """H = x I, in the lower triangle"""
    cdef Py_ssize_t i
    for i in range(state.P):
        memset(state.H + i * state.P, 0, i * sizeof(double))
        state.H[i * state.P + i] = x


cdef void apply(InverseState *state) noexcept nogil:
    """H takes the rows that wait; none does afterwards"""
    if state.waiting[ADDED] + state.waiting[REMOVED] > 0:
        rank_update(state.Z[ADDED], state.H, state.work, state.waiting[ADDED], state.P, -1)
        rank_update(state.Z[REMOVED], state.H, state.work, state.waiting[REMOVED], state.P, 1)
        state.waiting[ADDED] = state.waiting[REMOVED] = 0
        state.fresh = state.mirrored = False
        measure(state)


cdef void measure(InverseState *state) noexcept nogil:
    """`take_scale`, with the noise of an update: rounding of the elements at the larger of their two sizes"""
    cdef Py_ssize_t p
    if state.noise != NULL:
        for p in range(state.P):
            state.scale[p] = max(state.scale[p], state.H[p * state.P + p])
        add_noise(state)
    take_scale(state)


cdef void take_scale(InverseState *state) noexcept nogil:
    """The trace and the diagonal of an H that has changed"""
    cdef Py_ssize_t p
    cdef double h
    state.trace = state.taken = 0
    for p in range(state.P):
        h = state.H[p * state.P + p]
        state.trace += h
        if state.noise != NULL:
            state.scale[p] = h


cdef bint is_long(const InverseState *state, Py_ssize_t rows) noexcept nogil:
    return 0.5 * state.P * state.P * rows > LONG_UPDATE


cdef Status settle(InverseState *state, bint whole) noexcept nogil:
    """H takes the rows that wait; if whole, in both triangles. If that is stopped the state is as it was"""
    cdef Py_ssize_t rows = state.waiting[ADDED] + state.waiting[REMOVED]
    cdef InverseState before
    if stopped():
        return STOPPED
    if not is_long(state, rows):
        hold(True)
        apply(state)
        hold(False)
    else:
        if not mirror_once(state):
            return STOPPED
        before = state[0]
        keep(state)
        apply(state)
        if stopped():
            put_back(state, &before)
            return STOPPED
    return STOPPED if whole and not mirror_once(state) else DONE


cdef Status finish(InverseState *state) noexcept nogil:
    """The same in both triangles for an inverse that nobody needs if this is stopped"""
    apply(state)
    return DONE if mirror_once(state) else STOPPED


cdef bint mirror_once(InverseState *state) noexcept nogil:
    """Whether the upper triangle is a copy now"""
    if not state.mirrored:
        mirror(state.H, state.P)
        state.mirrored = not stopped()
    return state.mirrored and not stopped()


cdef void keep(InverseState *state) noexcept nogil:
    """What `put_back` needs beside the structure itself and the upper triangle"""
    cdef Py_ssize_t i
    for i in range(state.P):
        state.kept_diagonal[i] = state.H[i * state.P + i]
    if state.noise != NULL:
        memcpy(state.kept_noise, state.scale, 3 * state.P * sizeof(double))


cdef void put_back(InverseState *state, const InverseState *before) noexcept nogil:
    restore(state.H, state.kept_diagonal, state.P)
    state[0] = before[0]
    if state.noise != NULL:
        memcpy(state.scale, state.kept_noise, 3 * state.P * sizeof(double))


cdef void add_log(InverseState *state, double x) noexcept nogil:
    """logdet + rest += x with the rounding error kept (Neumaier): a million small terms lose no digits"""
    cdef double total = state.logdet + x
    if fabs(state.logdet) >= fabs(x):
        state.rest += (state.logdet - total) + x
    else:
        state.rest += (x - total) + state.logdet
    state.logdet = total


cdef void product_rows(InverseState *state, const double *V, double *U, Py_ssize_t k) noexcept nogil:
    """U = V (H - Z^T Z + Z^T Z) for up to a block of rows"""
    cdef Py_ssize_t i
    if state.fresh:
        for i in range(k * state.P):
            U[i] = V[i] / state.alpha
    else:
        symmetric_rows(V, state.H, U, state.work, k, state.P)
    subtract_rows(V, state.Z[ADDED], U, state.work, k, state.waiting[ADDED], state.P, 1)
    subtract_rows(V, state.Z[REMOVED], U, state.work, k, state.waiting[REMOVED], state.P, -1)


cdef void multiply(InverseState *state, const double *V, double *U, Py_ssize_t k) noexcept nogil:
    """U = V (alpha I + sum b b^T)^-1 for k rows"""
    cdef Py_ssize_t start = 0, rows
    while start < k:
        rows = min(block_rows(state.P), k - start)
        product_rows(state, V + start * state.P, U + start * state.P, rows)
        start += rows


cdef void residual(
    InverseState *state, const double *B, const double *weights, const double *X, double *U, double *R, Py_ssize_t n,
    Py_ssize_t k,
) noexcept nogil:
    """R = X (H^-1 H - I) for k rows, up to a block; U = X H^-1; n rows B"""
    cdef Py_ssize_t start = 0, rows, i
    product_rows(state, X, U, k)
    for i in range(k * state.P):
        R[i] = state.alpha * U[i] - X[i]
    while start < n:
        rows = min(block_rows(state.P), n - start)
        if not go_on(2.0 * k * rows * state.P):
            return
        subtract_rows(U, scaled_rows(state, B, weights, start, rows), R, state.work, k, rows, state.P, -1)
        start += rows


cdef Status next_rows(InverseState *state, const double *V, Py_ssize_t k, int kind) noexcept nogil:
    """Z for k rows V, up to a block, behind those that are there

    The log determinant, scale and size have them then, the counts not.
    """
    cdef double *Z = state.Z[kind] + state.waiting[kind] * state.P
    cdef double *S = state.small_matrix
    cdef double part, squares
    cdef Py_ssize_t i
    cdef Status status
    if state.fresh and not go_on(<double> k * state.P * (k + 2 * state.waiting[kind])):  # others multiply by H
        return STOPPED
    product_rows(state, V, Z, k)
    inner_products(Z, V, S, state.work, k, state.P)
    for i in range(k * k):
        S[i] = -S[i] if kind == REMOVED else S[i]
    for i in range(k):
        S[i * k + i] += 1
        state.least_pivots[i] = 0 if kind == REMOVED else LEAST_PIVOT
    status = factor_rows(S, Z, state.least_pivots, &part, &squares, state.work, k, state.P)
    if status == DONE and state.noise != NULL:
        if kind == REMOVED:
            status = check_loss(state, V, Z, k)
        if status == DONE:
            add_size(state, V, k, kind)
    if status == DONE:
        add_log(state, part)
        if kind == ADDED:
            state.taken += squares
    return status


cdef bint inverting_is_less(double P, double n, bint fresh, bint fits) noexcept nogil:
    """Flops beyond the n P^2 that every way takes: of inverting, against those of updating by blocks

    A fresh H need not be inverted first, and as long as all rows fit, products are only those with the rows before.
    """
    cdef double of_updates = 2 * n * n * P if fresh and fits else 2 * n * P * P
    return of_updates > (P * P * P if fresh else 2 * P * P * P)


cdef bint may_wait(const InverseState *state, Py_ssize_t n, int kind) noexcept nogil:
    """Whether n rows can all be factored before H changes: there is room, and H will not shrink much meanwhile"""
    return (state.waiting[kind] + n <= state.room and (n <= block_rows(state.P) or 4 * n <= state.P or state.fresh)
            and not inverting_is_less(state.P, n, state.fresh, True))


cdef Status change(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil:
    """Add or remove n rows; if that fails or is stopped the state is as it was"""
    cdef InverseState before
    cdef Status status
    if n == 0 or state.P == 0:
        return DONE
    if may_wait(state, n, kind):
        return change_waiting(state, B, weights, n, kind)
    if not mirror_once(state):
        return STOPPED
    before = state[0]
    keep(state)
    apply(state)
    state.Z[kind] += before.waiting[kind] * state.P  # which a failure needs again
    status = change_at_once(state, B, weights, n, kind)
    state.Z[kind] = before.Z[kind]
    if status != DONE:
        put_back(state, &before)
    return status


cdef Status change_waiting(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil:
    """The rows join those that wait, and H takes them if they are enough now"""
    cdef InverseState before = state[0]
    cdef Py_ssize_t all_rows = state.waiting[ADDED] + state.waiting[REMOVED] + n
    # A single block changes them last, and a short update of H does not fail.
    cdef bint keeps = state.noise != NULL and (n > block_rows(state.P) or is_long(state, all_rows))
    cdef bint enough
    cdef Status status
    if keeps:
        memcpy(state.kept_sizes, state.scale, 2 * state.P * sizeof(double))
    status = change_by_blocks(state, B, weights, n, kind, False)
    if status == DONE:
        enough = state.waiting[ADDED] + state.waiting[REMOVED] >= PENDING
        if enough or 2 * state.taken > state.trace:
            status = settle(state, False)
    if status != DONE:
        state[0] = before
        if keeps:
            memcpy(state.scale, state.kept_sizes, 2 * state.P * sizeof(double))
    return status


cdef Status rebuild(InverseState *state, const double *B, const double *weights, Py_ssize_t n) noexcept nogil:
    """Begin anew with n rows; if that fails the state is as it was, but that no rows wait"""
    cdef InverseState before
    cdef Status status = settle(state, True)
    if status != DONE:
        return status
    before = state[0]
    keep(state)
    begin_state(state)
    status = change_at_once(state, B, weights, n, ADDED)
    if status != DONE:
        put_back(state, &before)
    return status


cdef Status change_at_once(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil:
    """Add or remove n rows in the lower triangle, which is lost if that fails; no row waits afterwards"""
    cdef Status status
    if inverting_is_less(state.P, n, state.fresh, False):
        status = change_by_inverting(state, B, weights, n, kind)
    else:
        status = change_by_blocks(state, B, weights, n, kind, True)
    state.fresh = state.mirrored = False
    return STOPPED if stopped() else status


cdef Status change_by_blocks(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n, int kind, bint at_once,
) noexcept nogil:
    """Let the rows wait, or only until there are enough"""
    cdef Py_ssize_t blocks = (n + block_rows(state.P) - 1) // block_rows(state.P), start = 0, rows
    cdef Status status
    for blocks in range(blocks, 0, -1):
        rows = (n - start + blocks - 1) // blocks
        status = next_rows(state, scaled_rows(state, B, weights, start, rows), rows, kind)
        if status != DONE:
            return status
        state.waiting[kind] += rows
        start += rows
        if at_once and (state.waiting[kind] >= PENDING or blocks == 1):
            apply(state)
    return DONE


cdef Status change_by_inverting(
    InverseState *state, const double *B, const double *weights, Py_ssize_t n, int kind,
) noexcept nogil:
    """Invert, add or subtract the rows, invert"""
    cdef Py_ssize_t start = 0, rows
    cdef Py_ssize_t at_once = n if weights == NULL and state.noise == NULL else block_rows(state.P)
    cdef const double *V
    cdef Status status
    if state.fresh:
        diagonal_matrix(state, state.alpha)
    else:
        status = invert(state.H, &state.logdet, state.work, state.P, 0)
        if status != DONE:
            return status
        if state.noise != NULL:
            add_noise(state)
    if kind == REMOVED:
        take_diagonal(state)
    while start < n:
        rows = min(at_once, n - start)
        V = scaled_rows(state, B, weights, start, rows)
        rank_update(V, state.H, state.work, rows, state.P, 1 if kind == ADDED else -1)
        if state.noise != NULL:
            add_size(state, V, rows, kind)
        start += rows
    if kind == ADDED:
        take_diagonal(state)
        return invert_back(state, 0)
    status = invert_back(state, LEAST_PIVOT)
    return check_digits(state) if status == DONE else status


cdef void take_diagonal(InverseState *state) noexcept nogil:
    """Of the matrix, which is in H, where it is largest: that is the size at which it was rounded"""
    cdef Py_ssize_t p
    for p in range(state.P):
        state.largest_diagonal[p] = state.H[p * state.P + p]


cdef Status invert_back(InverseState *state, double floor) noexcept nogil:
    """H = H^-1, the matrix being in it, rounded at its largest diagonal"""
    cdef Status status = invert(state.H, &state.logdet, state.work, state.P, floor)
    cdef Py_ssize_t p
    if status != DONE:
        return status
    state.rest = 0
    take_scale(state)
    if state.noise != NULL:
        for p in range(state.P):
            state.noise[p] += EPSILON * state.largest_diagonal[p]
        add_noise(state)
    return DONE


cdef Status invert_state(InverseState *state) noexcept nogil:
    """Of a state that has adopted alpha I + sum b b^T itself: H is the inverse from now on; lost if it is not DONE"""
    cdef Status status
    take_diagonal(state)
    memcpy(state.size, state.largest_diagonal, state.P * sizeof(double))
    status = invert_back(state, 0)
    state.mirrored = False
    return status
