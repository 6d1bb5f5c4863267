"""Inverses have the same bits with any number of threads."""

import numpy as np
import pytest

import fastbp
from fastbp_c.boundary import team

# Of one tile and of several, odd, more than a block of rows, and from where on a single row is shared.
SIZES = [1, 37, 257, 700, 1301]
THREADS = [2, 3, 5, 16]
ALPHA = 0.5


@pytest.fixture
def threads():
    """A function that sets how many a call may use."""
    yield team.set_threads
    team.set_threads(0)


def rows(k, P, seed=0):
    return np.random.default_rng([seed, P]).standard_normal((k, P)) / np.sqrt(P)


def begun(P):
    inverse = fastbp.WoodburyInverse(P, ALPHA)
    inverse.update(rows(min(P, 70), P, 1))
    return inverse


def changed(P, *steps):
    """What an inverse has after steps: rows and whether they go."""
    inverse = begun(P)
    for B, remove in steps:
        (inverse.downdate if remove else inverse.update)(B)
    V = rows(3, P, 2)
    return inverse @ V[0], inverse @ V.T, inverse.matrix.copy(), np.float64(inverse.logdet())


def one_by_one(P):
    B = rows(5, P)
    return changed(P, *((b, False) for b in B), *((b, True) for b in B[:2]))


def with_rows(k):
    def some(P):
        B = rows(k, P)
        return changed(P, (B, False), (B[: k // 2], True))

    return some


def more_than_columns(P):
    B = rows(P + P // 2 + 3, P)
    return changed(P, (B, False), (B[: P + 7], True))


def products(P):
    inverse = begun(P)
    return [inverse @ rows(k, P).T for k in (1, 2, 3, 32, 33, 150)]


def woodbury_update(P):
    H = np.eye(P) / ALPHA
    for k in (1, 20, 2 * P):
        fastbp.woodbury_update(H, rows(k, P))
    H[P // 2, : P // 2] *= 1 + 2.0**-52  # symmetric but for rounding
    fastbp.woodbury_update(H, rows(40, P))
    return (H,)


def inverse_outer_product(P):
    weights = np.random.default_rng(0).random(P)
    return [
        fastbp.inverse_outer_product(rows(N, P), ALPHA, w) for N, w in ((P // 4 + 1, None), (P, weights), (2 * P, None))
    ]


CASES = {
    "one_by_one": one_by_one, "4_rows": with_rows(4), "50_rows": with_rows(50), "300_rows": with_rows(300),
    "more_than_columns": more_than_columns, "products": products, "woodbury_update": woodbury_update,
    "inverse_outer_product": inverse_outer_product,
}  # fmt: skip


@pytest.mark.parametrize("P", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_bits(threads, case, P):
    threads(1)
    team.end_helpers()
    team.let_helpers_start()
    expected = CASES[case](P)
    assert team.helpers() == 0
    for n in THREADS:
        threads(n)
        for got, wanted in zip(CASES[case](P), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.tobytes() == wanted.tobytes()
    if P > 1000:
        assert team.helpers() > 0  # else nothing has been shared


@pytest.mark.parametrize("n", THREADS)
def test_failure_leaves_the_same_bits(threads, n):
    P = 700
    B = rows(900, P)
    inverse = begun(P)
    inverse.update(B[:600])
    before = inverse.matrix.copy()
    threads(n)
    with pytest.raises(np.linalg.LinAlgError):
        inverse.downdate(B)
    assert inverse.matrix.tobytes() == before.tobytes()
