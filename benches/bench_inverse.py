"""The inverse Hessian: a row added, 64 or more at once, and all of them known from the start, float64.

Rank-one rows are an update of one row each, 48 of them in a timed call, so that the rows that wait are settled once.
Rows of rank k are one update of k rows; the time is that of a row. The limit is 3 P^2 flops a row; for rank-one it is
reading half of the matrix.

Rows to look at for the constants: PENDING in woodbury.pyx, "P 500, a row"; block_rows in symmetric.pyx, "k at once";
FEW_ROWS there, "16 at once" on the large matrices; UPDATED and DISTANT, "all of".
"""

import numpy as np
import pytest
from scipy.linalg import blas

import fastbp
import ways
from support import record

AREA = "Inverse Hessian"
ROWS_A_CALL = 48
SIZES = [100, 500, 1000, 2000, 4000]
AT_ONCE = [16, 64, 128]
ALPHA = 1.0


def rows(N, P):
    return np.random.default_rng(P).standard_normal((N, P)) / np.sqrt(P)


class ByFastbp:
    """WoodburyInverse.update."""

    def __init__(self, P, B):
        self.inverse, self.B = fastbp.WoodburyInverse(P, ALPHA), B

    def one_by_one(self):
        """Add the rows, each in a step of its own."""
        for b in self.B:
            self.inverse.update(b)

    def at_once(self):
        """Add all rows in one step."""
        self.inverse.update(self.B)

    def matrix(self):
        """The inverse, both triangles."""
        return self.inverse.matrix


class ByNumpy:
    """As one writes it: the outer product, and for k rows the k x k system."""

    def __init__(self, P, B):
        self.H, self.B = np.eye(P) / ALPHA, B

    def one_by_one(self):
        """Add the rows, each in a step of its own."""
        for b in self.B:
            u = self.H @ b
            self.H -= np.outer(u, u) / (1 + b @ u)

    def at_once(self):
        """Add all rows in one step."""
        U = self.B @ self.H
        S = U @ self.B.T
        S.flat[:: len(S) + 1] += 1
        self.H -= U.T @ np.linalg.solve(S, U)

    def matrix(self):
        """The inverse, both triangles."""
        return self.H


class ByBlas:
    """One triangle, in BLAS's order, every result in memory that is there: SYMV and SYR, or SYMM, TRSM and SYRK."""

    def __init__(self, P, B):
        self.H, self.B = np.asfortranarray(np.eye(P) / ALPHA), B
        self.columns = np.asfortranarray(B.T)
        self.u, self.U = np.empty(P), np.empty((P, len(B)), order="F")

    def one_by_one(self):
        """Add the rows, each in a step of its own."""
        for b in self.B:
            blas.dsymv(1.0, self.H, b, y=self.u, overwrite_y=1, lower=1)
            blas.dsyr(-1 / (1 + b @ self.u), self.u, a=self.H, overwrite_a=1, lower=1)

    def at_once(self):
        """Add all rows in one step."""
        blas.dsymm(1.0, self.H, self.columns, c=self.U, overwrite_c=1, lower=1)
        S = self.columns.T @ self.U
        S.flat[:: len(S) + 1] += 1
        C = np.asfortranarray(np.linalg.cholesky(S))
        blas.dtrsm(1.0, C, self.U, side=1, lower=1, trans_a=1, overwrite_b=1)
        blas.dsyrk(-1.0, self.U, beta=1.0, c=self.H, overwrite_c=1, lower=1)

    def matrix(self):
        """The inverse, both triangles."""
        return np.tril(self.H) + np.tril(self.H, -1).T


IMPLEMENTATIONS = {"fastbp": ByFastbp, ways.NUMPY: ByNumpy, ways.BLAS: ByBlas}


def check(matrix, B):
    """It is the inverse: its product with the matrix, which is not assembled, leaves vectors as they are."""
    X = np.random.default_rng(1).standard_normal((len(matrix), 2))
    np.testing.assert_allclose(matrix @ (ALPHA * X + B.T @ (B @ X)), X, rtol=0, atol=1e-9)


@pytest.mark.benchmark(max_time=0.25)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("P", SIZES)
def test_one_row(benchmark, P, implementation):
    B = rows(ROWS_A_CALL, P)
    run = IMPLEMENTATIONS[implementation](P, B)
    run.one_by_one()
    check(run.matrix(), B)
    record(benchmark, AREA, f"P {P}, a row", implementation, dtype="float64", flops=3 * P**2, nbytes=4 * P**2,
           repeats=ROWS_A_CALL, series="a row", x=P, x_name="P")  # fmt: skip
    benchmark(run.one_by_one)


@pytest.mark.benchmark(max_time=0.25)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("k", AT_ONCE)
@pytest.mark.parametrize("P", SIZES)
def test_rows_at_once(benchmark, P, k, implementation):
    B = rows(k, P)
    run = IMPLEMENTATIONS[implementation](P, B)
    run.at_once()
    check(run.matrix(), B)
    calls = 3 if k == 16 else 1  # so that no call is without its share of the rows that wait
    record(benchmark, AREA, f"P {P}, {k} at once", implementation, dtype="float64", flops=3 * P**2, repeats=calls * k,
           series=f"{k} at once, a row", x=P, x_name="P")  # fmt: skip

    def timed():
        for _ in range(calls):
            run.at_once()

    benchmark(timed)


def least_flops(N, P):
    """Of the two exact ways, the second by an N x N matrix."""
    return N * P**2 + min(P**3, 2 * N**2 * P + N**3 / 3)


def by_inv(B):
    """numpy.linalg.inv of the assembled matrix."""
    A = B.T @ B
    A.flat[:: len(A) + 1] += ALPHA
    return np.linalg.inv(A)


@pytest.mark.benchmark(max_time=0.25)
@pytest.mark.parametrize("implementation", ["fastbp", ways.NUMPY])
@pytest.mark.parametrize("of_P", [0.25, 0.5, 1, 2])
@pytest.mark.parametrize("P", SIZES[:-1])
def test_all_rows(benchmark, P, of_P, implementation):
    B = rows(int(of_P * P), P)
    run = by_inv if implementation == ways.NUMPY else lambda B: fastbp.inverse_outer_product(B, ALPHA)
    check(run(B), B)
    record(benchmark, AREA, f"P {P}, all of {len(B)}", implementation, dtype="float64",
           flops=least_flops(*B.shape))  # fmt: skip
    benchmark(run, B)
