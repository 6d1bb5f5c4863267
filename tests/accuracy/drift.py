"""How far an inverse drifts from the truth: a million updates, long cycles of adding and removing.

Prints the tables of docs/inverse.md. The truth is the Cholesky inverse of the matrix, assembled in extended precision
and refined by one step of Newton's method there. A few minutes.

    python tests/accuracy/drift.py
"""

import time

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fastbp import WoodburyInverse, inverse_outer_product

P = 50
ALPHAS = (1.0, 1e-5)


def well(rng, N):
    """Directions alike."""
    return rng.standard_normal((N, P))


def ill(rng, N):
    """Scales that fall over four decades: those of the squares fall over eight."""
    return rng.standard_normal((N, P)) * np.logspace(0, -4, P)


def truth(A):
    """The inverse of A, given in extended precision, to more digits than float64 has."""
    A = np.asarray(A, np.longdouble)
    X = np.asarray(cho_solve(cho_factor(A.astype(float)), np.eye(P)), np.longdouble)
    for _ in range(3):
        X = X + X @ (np.eye(P, dtype=np.longdouble) - A @ X)
    return X


class Rows:
    """Rows as they come and go, and their matrix in extended precision."""

    def __init__(self, alpha, make):
        self.A, self.make, self.rng = alpha * np.eye(P, dtype=np.longdouble), make, np.random.default_rng(0)

    def new(self, N):
        """The next rows, added to the matrix."""
        B = self.make(self.rng, N)
        self.add(B, 1)
        return B

    def add(self, B, sign):
        """The matrix after them."""
        B = np.asarray(B, np.longdouble)
        self.A += sign * B.T @ B


def errors(inverse, A):
    """The error of the inverse and of Cholesky's, relative to the largest element; the condition of A."""
    exact = truth(A)
    by_cholesky = cho_solve(cho_factor(A.astype(float)), np.eye(P))
    scale = np.abs(exact).max()
    return (
        float(np.abs(inverse.matrix - exact).max() / scale),
        float(np.abs(by_cholesky - exact).max() / scale),
        np.linalg.cond(A.astype(float)),
    )


def line(what, *numbers):
    """A row of a Markdown table."""
    print("| " + " | ".join([what, *(f"{x:.0e}" for x in numbers)]) + " |", flush=True)


def a_million_updates():
    """One row at a time."""
    print(f"\n## Rows added one by one, P = {P}\n")
    print("| rows, alpha, number | inverse | Cholesky | condition |\n|---|---|---|---|")
    for make in (well, ill):
        for alpha in ALPHAS:
            inverse, rows, done = WoodburyInverse(P, alpha), Rows(alpha, make), 0
            for N in (30, 100, 1000, 10**4, 10**5, 10**6):
                while done < N:
                    for b in rows.new(min(1000, N - done)):
                        inverse.update(b)
                    done = min(N, done + 1000)
                line(f"{make.__name__}, {alpha:g}, {N}", *errors(inverse, rows.A))


def cycles():
    """A window of 100 rows that slides, by one and by ten; the same with a refresh from time to time."""
    print("\n## A window of 100 rows, moved on by k\n")
    print("| rows, alpha, k, moves | inverse | Cholesky | condition | estimate | after refresh |")
    print("|---|---|---|---|---|---|")
    for make in (well, ill):
        for alpha in ALPHAS:
            for k in (1, 10):
                inverse, rows, moves = WoodburyInverse(P, alpha), Rows(alpha, make), 0
                window = rows.new(100)
                inverse.update(window)
                for N in (100, 10**4, 10**5):
                    while moves < N:
                        B = rows.new(k)
                        rows.add(window[:k], -1)
                        inverse.update(B)
                        inverse.downdate(window[:k])
                        window = np.concatenate([window[k:], B])
                        moves += 1
                    fresh = inverse.copy()
                    fresh.refresh(window)
                    name = f"{make.__name__}, {alpha:g}, {k}, {N}"
                    estimate = inverse.error_estimate(window)
                    line(name, *errors(inverse, rows.A), estimate, errors(fresh, rows.A)[0])


def one_shot():
    """All rows at once, by either way."""
    print("\n## All rows at once\n")
    print("| rows, alpha, number | inverse_outer_product | Cholesky | condition |\n|---|---|---|---|")
    for make in (well, ill):
        for alpha in ALPHAS:
            for N in (20, 100, 1000):
                rows = Rows(alpha, make)
                B = rows.new(N)
                shot = type("Shot", (), {"matrix": inverse_outer_product(B, alpha)})
                line(f"{make.__name__}, {alpha:g}, {N}", *errors(shot, rows.A))


if __name__ == "__main__":
    start = time.perf_counter()
    a_million_updates()
    cycles()
    one_shot()
    print(f"\n{time.perf_counter() - start:.0f} s")
