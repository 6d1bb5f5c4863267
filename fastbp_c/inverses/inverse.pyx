"""The inverse (alpha I + sum w b b^T)^-1 as rows come and go: its memory, its lock and its entry points.

Between `enter` and `leave` no object is made (lock.pxd).
"""

cimport cython
cimport numpy as cnp
from libc.math cimport isfinite
from libc.string cimport memcpy

from fastbp_c.algebra.symmetric cimport DONE, INDEFINITE, PASS, Status, block_rows, symmetric_to
from fastbp_c.boundary.check cimport check_apart, check_matrix, check_vector
from fastbp_c.boundary.interrupt cimport begin, end, hold
from fastbp_c.boundary.lock cimport Lock
from fastbp_c.boundary.team cimport enlist
from fastbp_c.boundary.workspace cimport Arena, Workspace, arena_over
from fastbp_c.inverses.state cimport ADDED, REMOVED, InverseState, lay_out_state
from fastbp_c.inverses.woodbury cimport (
    adopt, begin_state, change, finish, invert_state, inverting_is_less, multiply, pending_room, rebuild, residual,
    settle,
)

import weakref

import numpy as np

cnp.import_array()

# Half of the digits: what numpy.linalg.inv makes of a symmetric matrix is symmetric to that, if it is worth anything.
cdef double SYMMETRIC = 2.0 ** -26


cdef int check_rows(str name, cnp.ndarray B, cnp.ndarray weights, Py_ssize_t P) except -1:
    check_matrix(name, B, cnp.NPY_DOUBLE, -1, "", P, "the rows of the inverse", False)
    if weights is not None:
        check_vector("weights", weights, cnp.NPY_DOUBLE, B.shape[0], "the rows of B", False)
    return 0


cdef int check_square(str name, cnp.ndarray x) except -1:
    check_matrix(name, x, cnp.NPY_DOUBLE, -1, "", -1, "", True)
    if x.shape[0] != x.shape[1]:
        raise ValueError(f"{name}: expected as many rows as columns, got shape {(<object> x).shape}")
    return 0


cdef int check_alpha(double alpha) except -1:
    if not (alpha > 0 and isfinite(alpha) and isfinite(1 / alpha)):
        raise ValueError(f"alpha: expected a number above 0 with a finite inverse, got {alpha:g}")
    return 0


cdef int check_all_apart(str name, cnp.ndarray x, cnp.ndarray B, cnp.ndarray weights) except -1:
    check_apart(name, x, "B", B)
    if weights is not None:
        check_apart(name, x, "weights", weights)
    return 0


cdef const double *data(cnp.ndarray x) noexcept:
    if x is None:
        return NULL
    return <const double *> cnp.PyArray_DATA(x)


cdef int check_status(Status status, int kind, str inverse) except -1:
    if status == DONE:
        return 0
    if status != INDEFINITE:
        raise ValueError("B: expected rows b with b^T H^-1 b finite in float64, got overflow")
    if kind == REMOVED:
        raise np.linalg.LinAlgError("B: expected rows without which the matrix is positive definite and has a digit "
                                    "left, got others")
    raise np.linalg.LinAlgError(f"{inverse}: expected a positive definite matrix, got one that is not, for rounding or "
                                "from the beginning")


cdef int reserve(Workspace slab, InverseState *state, Py_ssize_t added, Py_ssize_t removed, bint noise) except -1:
    """All arrays of a state but H, P and room being known, with so many rows Z"""
    cdef Arena arena = arena_over(NULL, sizeof(double))
    lay_out_state(state, &arena, added, removed, noise)
    slab.reserve(arena.used)
    arena = arena_over(slab.memory, sizeof(double))
    lay_out_state(state, &arena, added, removed, noise)
    return 0


cdef int employ(Py_ssize_t n, Py_ssize_t P, bint inverting) except -1:
    """Enlist helpers for n rows of P numbers, and H read, written or inverted"""
    enlist((1.5 * n + PASS + (0.5 * P if inverting else 0)) * P * P)
    return 0


@cython.final
cdef class Lease:
    """What stands behind a view of an inverse: NumPy can neither make it writeable nor look through it."""


@cython.final
cdef class Inverse:
    """What a WoodburyInverse consists of.

    Parameters
    ----------
    memory : ndarray of shape (P, P)
        The inverse lives in it from now on; nobody else may hold it.
    alpha : float
    logdet : (float, float) or None
        Two parts of the log determinant, if the memory holds an inverse already; None to begin with I / alpha.
    history : ndarray of shape (2, P), optional
        Of an inverse in memory, if that is known: the diagonal of the matrix, and how far off it is for rounding.

    Notes
    -----
    Calls from several threads wait for each other. `matrix` is a view that keeps its values: while one is alive, a
    change goes to memory of its own, for which `update` and its like ask by returning False.
    """

    def __cinit__(self, cnp.ndarray memory not None, double alpha, logdet, cnp.ndarray history=None):
        check_square("memory", memory)
        check_alpha(alpha)
        cdef Py_ssize_t P = memory.shape[0]
        if history is not None:
            check_matrix("history", history, cnp.NPY_DOUBLE, 2, "size and noise", P, "the rows of memory", False)
        self.lock = Lock(True)
        self.memory = memory
        self.state.P = P
        self.state.room = pending_room(P)
        self.state.alpha = alpha
        self.state.H = <double *> cnp.PyArray_DATA(memory)
        self.slab = Workspace()
        reserve(self.slab, &self.state, self.state.room, self.state.room, True)
        if logdet is None:
            begin_state(&self.state)
        else:
            self.state.logdet, self.state.rest = logdet
            adopt(&self.state, data(history))

    cdef int enter(self) except -1:
        """Wait for the calls of other threads, and listen for signals from then on."""
        self.lock.take("inverse")
        begin()
        return 0

    cdef int leave(self) except -1:
        """Raise what a signal handler raised; the inverse is then as it was before."""
        self.lock.give()
        return end()

    cdef bint handed_out(self) except -1:
        return self.lease is not None and self.lease() is not None

    @property
    def alpha(self):
        return self.state.alpha

    @property
    def n(self):
        return self.state.P

    def invert(self):
        """Once, if the memory came with a positive definite matrix instead of an inverse: its inverse."""
        cdef Status status
        self.enter()
        employ(0, self.state.P, True)
        with nogil:
            status = invert_state(&self.state)
        self.leave()
        check_status(status, ADDED, "alpha I + sum w b b^T")

    def logdet(self):
        """The two parts of log det (alpha I + sum w b b^T)."""
        self.enter()
        cdef double value = self.state.logdet, rest = self.state.rest
        self.leave()
        return value, rest

    cdef Lease whole(self, double *logdet, double *rest, double *history):
        """What keeps the values as they are now, log determinant and history of the same moment being copied."""
        cdef Lease lease = Lease()
        cdef Lease current = None
        reference = weakref.ref(lease)
        cdef Status status
        self.enter()
        employ(self.state.waiting[ADDED] + self.state.waiting[REMOVED], self.state.P, False)
        with nogil:
            status = settle(&self.state, True)
        if status == DONE:
            current = None if self.lease is None else self.lease()
            if current is None:
                lease.memory = self.memory
                self.lease, reference = reference, self.lease
                current = lease
            logdet[0], rest[0] = self.state.logdet, self.state.rest
            if history != NULL:
                memcpy(history, self.state.size, 2 * self.state.P * sizeof(double))
        self.leave()
        return current

    cdef cnp.ndarray view(self, Lease lease):
        """A new one for everybody who asks: what they do to its shape or dtype is their business."""
        cdef cnp.npy_intp[2] shape
        shape[0] = shape[1] = self.state.P
        cdef cnp.ndarray view = cnp.PyArray_SimpleNewFromData(2, shape, cnp.NPY_DOUBLE,
                                                              cnp.PyArray_DATA(lease.memory))
        cnp.set_array_base(view, lease)
        (<object> view).flags.writeable = False
        return view

    def matrix(self):
        """The inverse as a read-only view, which keeps its values as long as it is alive."""
        cdef double logdet, rest
        return self.view(self.whole(&logdet, &rest, NULL))

    def snapshot(self, cnp.ndarray history not None):
        """`matrix` and `logdet` of the same moment; `history` gets what a new inverse takes as such."""
        check_matrix("history", history, cnp.NPY_DOUBLE, 2, "size and noise", self.state.P, "the rows of the inverse",
                     True)
        cdef double logdet, rest
        lease = self.whole(&logdet, &rest, <double *> cnp.PyArray_DATA(history))
        return self.view(lease), (logdet, rest)

    def move(self, cnp.ndarray memory not None):
        """Go on in another memory, if views of this one are alive, which then keep it."""
        check_matrix("memory", memory, cnp.NPY_DOUBLE, self.state.P, "P", self.state.P, "P", True)
        check_apart("memory", memory, "that of the inverse", self.memory)
        before = lease = None  # what goes, goes after `leave`
        self.enter()
        if self.handed_out():
            with nogil:
                memcpy(cnp.PyArray_DATA(memory), self.state.H, self.state.P * self.state.P * sizeof(double))
            before, self.memory = self.memory, memory
            lease, self.lease = self.lease, None
            self.state.H = <double *> cnp.PyArray_DATA(memory)
        self.leave()

    def change(self, cnp.ndarray B not None, cnp.ndarray weights, bint remove):
        """Add or remove the rows B; False, with nothing done, if `move` has to come first."""
        check_rows("B", B, weights, self.state.P)
        cdef const double *rows = data(B)
        cdef const double *w = data(weights)
        cdef Py_ssize_t k = B.shape[0]
        cdef int kind = REMOVED if remove else ADDED
        cdef Status status = DONE
        self.enter()
        cdef bint busy = self.handed_out()
        if not busy:
            employ(k, self.state.P, inverting_is_less(self.state.P, k, self.state.fresh, False))
            with nogil:
                status = change(&self.state, rows, w, k, kind)
        self.leave()
        check_status(status, kind, "inverse")
        return not busy

    def refresh(self, cnp.ndarray B not None, cnp.ndarray weights):
        """Begin anew with the rows B; False, with nothing done, if `move` has to come first."""
        check_rows("B", B, weights, self.state.P)
        cdef const double *rows = data(B)
        cdef const double *w = data(weights)
        cdef Py_ssize_t k = B.shape[0]
        cdef Status status = DONE
        self.enter()
        cdef bint busy = self.handed_out()
        if not busy:
            employ(k, self.state.P, inverting_is_less(self.state.P, k, True, False))
            with nogil:
                status = rebuild(&self.state, rows, w, k)
        self.leave()
        check_status(status, ADDED, "alpha I + sum w b b^T")
        return not busy

    def multiply(self, cnp.ndarray V not None, cnp.ndarray U not None):
        """U[k, q] = V[k, p] H^-1[p, q]"""
        check_matrix("v", V, cnp.NPY_DOUBLE, -1, "", self.state.P, "the rows of the inverse", False)
        check_matrix("out", U, cnp.NPY_DOUBLE, V.shape[0], "those of v", self.state.P, "the rows of the inverse", True)
        check_apart("out", U, "v", V)
        cdef const double *v = data(V)
        cdef double *u = <double *> cnp.PyArray_DATA(U)
        cdef Py_ssize_t k = V.shape[0]
        self.enter()
        employ(k, self.state.P, False)
        with nogil:
            multiply(&self.state, v, u, k)
        self.leave()

    def diagonal(self, cnp.ndarray out not None):
        """out[p] = H^-1[p, p]"""
        check_vector("out", out, cnp.NPY_DOUBLE, self.state.P, "the rows of the inverse", True)
        cdef double *d = <double *> cnp.PyArray_DATA(out)
        cdef Py_ssize_t P = self.state.P, p, i
        self.enter()
        with nogil:
            for p in range(P):
                d[p] = self.state.H[p * P + p]
            for i in range(self.state.waiting[ADDED]):
                for p in range(P):
                    d[p] -= self.state.Z[ADDED][i * P + p] * self.state.Z[ADDED][i * P + p]
            for i in range(self.state.waiting[REMOVED]):
                for p in range(P):
                    d[p] += self.state.Z[REMOVED][i * P + p] * self.state.Z[REMOVED][i * P + p]
        self.leave()

    def residual(self, cnp.ndarray B not None, cnp.ndarray weights, cnp.ndarray X not None, cnp.ndarray R not None):
        """R[k, :] = X[k, :] (H^-1 (alpha I + sum w b b^T) - I), for a few rows X; returns nothing"""
        check_rows("B", B, weights, self.state.P)
        check_matrix("X", X, cnp.NPY_DOUBLE, -1, "", self.state.P, "the rows of the inverse", False)
        check_matrix("R", R, cnp.NPY_DOUBLE, X.shape[0], "the rows of X", self.state.P, "the columns of X", True)
        check_all_apart("R", R, B, weights)
        check_apart("R", R, "X", X)
        if X.shape[0] > block_rows(self.state.P):
            raise ValueError(f"X: expected at most {block_rows(self.state.P)} rows, got {X.shape[0]}")
        cdef const double *rows = data(B)
        cdef const double *w = data(weights)
        cdef const double *x = data(X)
        cdef double *r = <double *> cnp.PyArray_DATA(R)
        cdef Py_ssize_t n = B.shape[0], k = X.shape[0]
        cdef Workspace U = Workspace()
        U.reserve(k * self.state.P * sizeof(double))
        cdef double *u = <double *> U.memory
        self.enter()
        employ(k + n, self.state.P, False)
        with nogil:
            residual(&self.state, rows, w, x, u, r, n, k)
        self.leave()


def woodbury_update(cnp.ndarray H_inv not None, cnp.ndarray B not None, cnp.ndarray weights):
    """H_inv = (H_inv^-1 + sum w b b^T)^-1 in place, from its lower triangle, in both"""
    check_square("H_inv", H_inv)
    check_rows("B", B, weights, H_inv.shape[0])
    check_all_apart("H_inv", H_inv, B, weights)
    cdef InverseState state
    cdef const double *rows = data(B)
    cdef const double *w = data(weights)
    cdef Py_ssize_t k = B.shape[0]
    cdef bint symmetric, exactly = False
    cdef Workspace slab = Workspace()
    cdef Status status
    state.P = H_inv.shape[0]
    state.room = min(k, pending_room(state.P))
    state.alpha = 1
    state.logdet = state.rest = 0
    state.H = <double *> cnp.PyArray_DATA(H_inv)
    employ(k, state.P, inverting_is_less(state.P, k, False, False))
    with nogil:
        symmetric = symmetric_to(SYMMETRIC, state.H, state.P, &exactly)
    if not symmetric:
        raise ValueError("H_inv: expected a symmetric matrix, got triangles that differ in more than rounding")
    # What is not symmetric to the bit cannot be put back from the upper triangle.
    cdef cnp.ndarray kept = None if exactly else H_inv.copy()
    reserve(slab, &state, state.room, 0, False)
    adopt(&state, NULL)
    state.mirrored = exactly
    begin()
    with nogil:
        status = change(&state, rows, w, k, ADDED)
        if status == DONE:
            status = settle(&state, False)
        if status == DONE:
            hold(True)
            finish(&state)
            hold(False)
    if status != DONE and kept is not None:
        memcpy(cnp.PyArray_DATA(H_inv), cnp.PyArray_DATA(kept), cnp.PyArray_NBYTES(kept))
    end()
    check_status(status, ADDED, "H_inv")


def rows_to_keep(Py_ssize_t N, Py_ssize_t P):
    """How many rows of P numbers `inverse_outer_product` wants as work: N if the dual way is the cheaper one."""
    return 0 if inverting_is_less(P, N, True, True) else N


def inverse_outer_product(
    cnp.ndarray B not None, cnp.ndarray weights, double alpha, cnp.ndarray out not None, cnp.ndarray rows not None,
):
    """out = (alpha I + sum w b b^T)^-1; rows: work of rows_to_keep(N, P) rows"""
    check_rows("B", B, weights, -1)
    check_alpha(alpha)
    cdef Py_ssize_t N = B.shape[0], P = B.shape[1]
    check_matrix("out", out, cnp.NPY_DOUBLE, P, "the columns of B", P, "the columns of B", True)
    check_matrix("rows", rows, cnp.NPY_DOUBLE, rows_to_keep(N, P), "to keep", P, "P", True)
    check_all_apart("out", out, B, weights)
    check_all_apart("rows", rows, B, weights)
    check_apart("out", out, "rows", rows)
    cdef InverseState state
    cdef const double *b = data(B)
    cdef const double *w = data(weights)
    cdef Workspace slab = Workspace()
    cdef Status status
    state.P = P
    state.room = rows.shape[0]
    state.alpha = alpha
    state.H = <double *> cnp.PyArray_DATA(out)
    reserve(slab, &state, 0, 0, False)
    state.Z[ADDED] = <double *> cnp.PyArray_DATA(rows)
    employ(N, P, state.room == 0)
    begin()
    with nogil:
        begin_state(&state)
        status = change(&state, b, w, N, ADDED)
        if status == DONE:
            status = finish(&state)
    end()
    check_status(status, ADDED, "alpha I + sum w b b^T")
