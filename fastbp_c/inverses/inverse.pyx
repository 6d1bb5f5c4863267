"""The inverse (alpha I + sum w b b^T)^-1 as rows come and go: its memory, its lock and its entry points."""

cimport cython
cimport numpy as cnp
from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
)
from libc.math cimport isfinite
from libc.string cimport memcpy

from fastbp_c.boundary.check cimport check_apart, check_matrix, check_vector
from fastbp_c.algebra.symmetric cimport DONE, INDEFINITE, Status, block_rows
from fastbp_c.inverses.woodbury cimport (
    ADDED, REMOVED, Job, begin, change, job_work, multiply, pending_room, rebuild, residual, settle,
)
from fastbp_c.boundary.workspace cimport Workspace

import weakref

import numpy as np

cnp.import_array()


cdef int check_rows(str name, cnp.ndarray B, cnp.ndarray weights, Py_ssize_t P) except -1:
    check_matrix(name, B, cnp.NPY_DOUBLE, -1, "", P, "the rows of the inverse", False)
    if weights is not None:
        check_vector("weights", weights, cnp.NPY_DOUBLE, B.shape[0], "the rows of B", False)
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
        raise np.linalg.LinAlgError("B: expected rows that were added before, got some without which the matrix is not "
                                    "positive definite")
    raise np.linalg.LinAlgError(f"{inverse}: expected a positive definite matrix, got one that is not, for rounding or "
                                "from the beginning")


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

    Notes
    -----
    Calls from several threads wait for each other. `matrix` is a view that keeps its values: while it is alive, a
    change goes to memory of its own, for which `update` and its like ask by returning False.
    """

    def __cinit__(self, cnp.ndarray memory not None, double alpha, logdet):
        check_matrix("memory", memory, cnp.NPY_DOUBLE, memory.shape[0], "", memory.shape[0], "its rows", True)
        if not (alpha > 0 and isfinite(alpha) and isfinite(1 / alpha)):
            raise ValueError(f"alpha: expected a number above 0 with a finite inverse, got {alpha:g}")
        self.work, self.added, self.removed = Workspace(), Workspace(), Workspace()
        self.memory = memory
        self.job.P = memory.shape[0]
        self.job.room = pending_room(self.job.P)
        self.job.alpha = alpha
        self.job.H = <double *> cnp.PyArray_DATA(memory)
        if logdet is None:
            begin(&self.job)
        else:
            self.job.logdet, self.job.rest = logdet
            self.job.mirrored = True
        self.work.reserve(job_work(self.job.P, self.job.room) * sizeof(double))
        self.job.work = <double *> self.work.memory
        self.in_use = PyThread_allocate_lock()
        if self.in_use == NULL:
            raise MemoryError("inverse: expected room for a lock, got none")

    def __dealloc__(self):
        if self.in_use != NULL:
            PyThread_free_lock(self.in_use)

    cdef int enter(self) except -1:
        """Wait for the calls of other threads, without the GIL if there are any."""
        if not PyThread_acquire_lock(self.in_use, NOWAIT_LOCK):
            with nogil:
                PyThread_acquire_lock(self.in_use, WAIT_LOCK)
        return 0

    cdef void leave(self) noexcept:
        PyThread_release_lock(self.in_use)

    cdef int reserve(self, int kind) except -1:
        """Room for rows that wait, when the first of their kind come."""
        cdef Workspace rows = self.added if kind == ADDED else self.removed
        if self.job.Z[kind] == NULL:
            rows.reserve(self.job.room * self.job.P * sizeof(double))
            self.job.Z[kind] = <double *> rows.memory
        return 0

    cdef bint handed_out(self) except -1:
        return self.view is not None and self.view() is not None

    @property
    def alpha(self):
        return self.job.alpha

    @property
    def n(self):
        return self.job.P

    def logdet(self):
        """The two parts of log det (alpha I + sum w b b^T)."""
        self.enter()
        cdef double value = self.job.logdet, rest = self.job.rest
        self.leave()
        return value, rest

    def matrix(self):
        """The inverse as a read-only view, which keeps its values as long as it is alive."""
        cdef cnp.npy_intp[2] shape
        cdef Lease lease
        self.enter()
        try:
            with nogil:
                settle(&self.job, True)
            view = None if self.view is None else self.view()
            if view is None:
                lease = Lease()
                lease.memory = self.memory
                shape[0] = shape[1] = self.job.P
                view = cnp.PyArray_SimpleNewFromData(2, shape, cnp.NPY_DOUBLE, cnp.PyArray_DATA(self.memory))
                cnp.set_array_base(view, lease)
                view.flags.writeable = False
                self.view = weakref.ref(view)
            return view
        finally:
            self.leave()

    def move(self, cnp.ndarray memory not None):
        """Go on in another memory, if views of this one are alive, which then keep it."""
        check_matrix("memory", memory, cnp.NPY_DOUBLE, self.job.P, "P", self.job.P, "P", True)
        self.enter()
        try:
            if self.handed_out():
                memcpy(cnp.PyArray_DATA(memory), self.job.H, self.job.P * self.job.P * sizeof(double))
                self.memory = memory
                self.job.H = <double *> cnp.PyArray_DATA(memory)
                self.view = None
        finally:
            self.leave()

    def change(self, cnp.ndarray B not None, cnp.ndarray weights, bint remove):
        """Add or remove the rows B; False, with nothing done, if `move` has to come first."""
        check_rows("B", B, weights, self.job.P)
        cdef const double *rows = data(B)
        cdef const double *w = data(weights)
        cdef Py_ssize_t k = B.shape[0]
        cdef int kind = REMOVED if remove else ADDED
        cdef Status status
        self.enter()
        try:
            if self.handed_out():
                return False
            self.reserve(kind)
            with nogil:
                status = change(&self.job, rows, w, k, kind)
        finally:
            self.leave()
        check_status(status, kind, "inverse")
        return True

    def refresh(self, cnp.ndarray B not None, cnp.ndarray weights):
        """Begin anew with the rows B; False, with nothing done, if `move` has to come first."""
        check_rows("B", B, weights, self.job.P)
        cdef const double *rows = data(B)
        cdef const double *w = data(weights)
        cdef Py_ssize_t k = B.shape[0]
        cdef Status status
        self.enter()
        try:
            if self.handed_out():
                return False
            self.reserve(ADDED)
            with nogil:
                status = rebuild(&self.job, rows, w, k)
        finally:
            self.leave()
        check_status(status, ADDED, "alpha I + sum w b b^T")
        return True

    def multiply(self, cnp.ndarray V not None, cnp.ndarray U not None):
        """U[k, q] = V[k, p] H^-1[p, q]"""
        check_matrix("v", V, cnp.NPY_DOUBLE, -1, "", self.job.P, "the rows of the inverse", False)
        check_matrix("out", U, cnp.NPY_DOUBLE, V.shape[0], "those of v", self.job.P, "the rows of the inverse", True)
        check_apart("out", U, "v", V)
        cdef const double *v = data(V)
        cdef double *u = <double *> cnp.PyArray_DATA(U)
        cdef Py_ssize_t k = V.shape[0]
        self.enter()
        with nogil:
            multiply(&self.job, v, u, k)
        self.leave()

    def diagonal(self, cnp.ndarray out not None):
        """out[p] = H^-1[p, p]"""
        check_vector("out", out, cnp.NPY_DOUBLE, self.job.P, "the rows of the inverse", True)
        cdef double *d = <double *> cnp.PyArray_DATA(out)
        cdef Py_ssize_t P = self.job.P, p, i
        self.enter()
        with nogil:
            for p in range(P):
                d[p] = self.job.H[p * P + p]
            for i in range(self.job.count[ADDED]):
                for p in range(P):
                    d[p] -= self.job.Z[ADDED][i * P + p] * self.job.Z[ADDED][i * P + p]
            for i in range(self.job.count[REMOVED]):
                for p in range(P):
                    d[p] += self.job.Z[REMOVED][i * P + p] * self.job.Z[REMOVED][i * P + p]
        self.leave()

    def residual(self, cnp.ndarray B not None, cnp.ndarray weights, cnp.ndarray X not None, cnp.ndarray R not None):
        """R[k, :] = X[k, :] (H^-1 (alpha I + sum w b b^T) - I), for a few rows X; returns nothing"""
        check_rows("B", B, weights, self.job.P)
        check_matrix("X", X, cnp.NPY_DOUBLE, -1, "", self.job.P, "the rows of the inverse", False)
        check_matrix("R", R, cnp.NPY_DOUBLE, X.shape[0], "the rows of X", self.job.P, "the columns of X", True)
        if X.shape[0] > block_rows(self.job.P):
            raise ValueError(f"X: expected at most {block_rows(self.job.P)} rows, got {X.shape[0]}")
        cdef const double *rows = data(B)
        cdef const double *w = data(weights)
        cdef const double *x = data(X)
        cdef double *r = <double *> cnp.PyArray_DATA(R)
        cdef Py_ssize_t n = B.shape[0], k = X.shape[0]
        cdef Workspace U = Workspace()
        U.reserve(k * self.job.P * sizeof(double))
        cdef double *u = <double *> U.memory
        self.enter()
        with nogil:
            residual(&self.job, rows, w, x, u, r, n, k)
        self.leave()


def woodbury_update(cnp.ndarray H_inv not None, cnp.ndarray B not None, cnp.ndarray weights):
    """H_inv = (H_inv^-1 + sum w b b^T)^-1 in place, from its lower triangle, in both"""
    check_matrix("H_inv", H_inv, cnp.NPY_DOUBLE, -1, "", -1, "", True)
    if H_inv.shape[0] != H_inv.shape[1]:
        raise ValueError(f"H_inv: expected as many rows as columns, got shape {(<object> H_inv).shape}")
    check_rows("B", B, weights, H_inv.shape[0])
    check_apart("H_inv", H_inv, "B", B)
    if weights is not None:
        check_apart("H_inv", H_inv, "weights", weights)
    cdef Job job
    cdef const double *rows = data(B)
    cdef const double *w = data(weights)
    cdef Py_ssize_t k = B.shape[0]
    cdef Workspace slab = Workspace()
    cdef Status status
    job.P = H_inv.shape[0]
    job.room = min(k, pending_room(job.P))
    job.alpha = 1
    job.logdet = job.rest = job.trace = job.taken = 0
    job.H = <double *> cnp.PyArray_DATA(H_inv)
    job.count[ADDED] = job.count[REMOVED] = 0
    job.fresh = False
    # A call that may have to put the matrix back finds it in the upper triangle, if that is the lower one to the bit.
    cdef bint symmetric = k <= min(job.P, block_rows(job.P)) or np.array_equal(H_inv, H_inv.T)
    cdef cnp.ndarray kept = None if symmetric else H_inv.copy()
    job.mirrored = symmetric
    cdef size_t needed = job_work(job.P, job.room)
    slab.reserve((needed + job.room * job.P) * sizeof(double))
    job.work = <double *> slab.memory
    job.Z[ADDED] = job.work + needed
    job.Z[REMOVED] = NULL
    with nogil:
        status = change(&job, rows, w, k, ADDED)
        if status == DONE:
            settle(&job, True)
    if status != DONE and kept is not None:
        H_inv[...] = kept
    check_status(status, ADDED, "H_inv")


def rows_to_keep(Py_ssize_t N, Py_ssize_t P):
    """How many rows of P numbers `inverse_outer_product` wants as work: N if the dual way is the cheaper one."""
    return N if 2.0 * N * N * P <= <double> P * P * P else 0


def inverse_outer_product(
    cnp.ndarray B not None, cnp.ndarray weights, double alpha, cnp.ndarray out not None, cnp.ndarray rows not None,
):
    """out = (alpha I + sum w b b^T)^-1; rows: work of rows_to_keep(N, P) rows"""
    check_matrix("out", out, cnp.NPY_DOUBLE, B.shape[1], "the columns of B", B.shape[1], "the columns of B", True)
    check_rows("B", B, weights, out.shape[0])
    check_matrix("rows", rows, cnp.NPY_DOUBLE, rows_to_keep(B.shape[0], B.shape[1]), "to keep", B.shape[1], "P", True)
    cdef Job job
    cdef const double *b = data(B)
    cdef const double *w = data(weights)
    cdef Py_ssize_t N = B.shape[0]
    cdef Workspace slab = Workspace()
    cdef Status status
    job.P = out.shape[0]
    job.room = rows.shape[0]
    job.alpha = alpha
    job.H = <double *> cnp.PyArray_DATA(out)
    job.Z[ADDED] = <double *> cnp.PyArray_DATA(rows)
    job.Z[REMOVED] = NULL
    slab.reserve(job_work(job.P, max(job.room, block_rows(job.P))) * sizeof(double))
    job.work = <double *> slab.memory
    with nogil:
        begin(&job)
        status = change(&job, b, w, N, ADDED)
        if status == DONE:
            settle(&job, True)
    check_status(status, ADDED, "alpha I + sum w b b^T")
