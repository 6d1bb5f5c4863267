"""Inverse Hessians against dense algebra: every way to the same inverse, both product paths, every layout."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp import WoodburyInverse, inverse_outer_product, woodbury_update
from strategies import CONTAINERS, LAYOUTS, numbers
from test_threads import at_once
from util import DTYPES

# Around the numbers of rows that are taken at once (64), wait (48) and find room (176).
SIZES = [(1, 1), (1, 70), (2, 5), (5, 2), (7, 130), (49, 48), (50, 49), (65, 64), (130, 65), (131, 200), (300, 180)]
WEIGHTED = [False, True]


def rows(N, P, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 2, N) if weighted else None
    if weighted and N > 1:
        weights[1] = 0
    return rng.standard_normal((N, P)), weights


def dense(B, alpha, weights=None):
    """αI + Σ w b bᵀ."""
    B = np.asarray(B, np.float64)
    return alpha * np.eye(B.shape[1]) + (B.T if weights is None else B.T * weights) @ B


def check(matrix, A, alpha, slack=1.0):
    """Against the inverse of A, within 1e-13 times its condition, that of the way from alpha on included."""
    expected = np.linalg.inv(A)
    eigenvalues = np.linalg.eigvalsh(A)
    condition = eigenvalues[-1] / min(alpha, eigenvalues[0]) if len(A) else 1
    np.testing.assert_array_equal(matrix, matrix.T)
    bound = slack * 1e-13 * condition * np.abs(expected).max(initial=0)
    assert np.abs(matrix - expected).max(initial=0) <= bound


@pytest.fixture(params=["own", "blas"])
def products(request, products_by_blas):
    """Both paths of the larger products."""
    products_by_blas(request.param == "blas")


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize(("P", "N"), SIZES)
def test_every_way(P, N, weighted, products):
    B, weights = rows(N, P, weighted)
    alpha = 0.5
    A = dense(B, alpha, weights)
    check(inverse_outer_product(B, alpha, weights), A, alpha)
    H = np.eye(P) / alpha
    woodbury_update(H, B, weights)
    check(H, A, alpha)
    for block in (1, 3, 17, 64, 100, N):
        inv = WoodburyInverse(P, alpha)
        for start in range(0, N, block):
            part = slice(start, start + block)
            inv.update(B[part], None if weights is None else weights[part])
        logdet, diagonal, product = inv.logdet(), inv.diagonal(), inv @ B[0]  # while rows may wait
        check(inv.matrix, A, alpha)
        np.testing.assert_allclose(logdet, np.linalg.slogdet(A)[1], rtol=1e-12, atol=1e-12 * P)
        np.testing.assert_allclose(diagonal, inv.matrix.diagonal(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(product, inv.matrix @ B[0], rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(("P", "N"), [(13, 40), (131, 70)])
def test_instruction_sets(P, N):
    B, _ = rows(N, P)
    inv = WoodburyInverse(P, 1.0)
    inv.update(B[:30])
    for b in B[30:]:
        inv.update(b)
    check(inv.matrix, dense(B, 1.0), 1.0)


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize(("P", "N"), SIZES)
def test_removal_returns(P, N, weighted, products):
    B, weights = rows(N, P, weighted)
    kept, others = rows(P + 3, P, seed=1)
    inv = WoodburyInverse(P, 1.0)
    inv.update(kept, others)
    before, logdet = inv.matrix, inv.logdet()
    inv.update(B, weights)
    inv.downdate(B, weights)
    check(inv.matrix, dense(kept, 1.0), 1.0, slack=100)
    np.testing.assert_allclose(inv.matrix, before, rtol=0, atol=1e-9 * np.abs(before).max())
    np.testing.assert_allclose(inv.logdet(), logdet, atol=1e-9 * max(1, abs(logdet)))


def test_sliding_window():
    B, _ = rows(400, 20)
    inv = WoodburyInverse(20, 0.1)
    inv.update(B[:50])
    for old, new in zip(B, B[50:], strict=False):
        inv.update(new)
        inv.downdate(old)
    A = dense(B[350:], 0.1)
    check(inv.matrix, A, 0.1)
    np.testing.assert_allclose(inv.logdet(), np.linalg.slogdet(A)[1], rtol=1e-11)


@pytest.mark.parametrize("alpha", [1e-5, 1e-2, 1.0, 1e5])
@pytest.mark.parametrize(("P", "N"), [(1, 30), (8, 3), (40, 200), (150, 60)])
def test_alphas(P, N, alpha):
    B, _ = rows(N, P)
    A = dense(B, alpha)
    one_shot = inverse_outer_product(B, alpha)
    check(one_shot, A, alpha)
    inv = WoodburyInverse(P, alpha)
    for b in B:
        inv.update(b)
    check(inv.matrix, A, alpha)
    assert inv.error_estimate(B) < 1e-13 * np.linalg.eigvalsh(A)[-1] / alpha * P
    inv.refresh(B)
    check(inv.matrix, A, np.linalg.eigvalsh(A)[0])


@given(
    st.integers(1, 24),
    st.lists(st.tuples(st.integers(1, 80), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_any_order_of_calls(P, calls, seed, alpha):
    """Rows that come in any portions and go in any other, against what is left."""
    rng = np.random.default_rng(seed)
    inv, there = WoodburyInverse(P, alpha), np.empty((0, P))
    inverted = 1.0
    for k, remove in calls:
        if remove and len(there) > k:
            inv.downdate(there[:k])
            there = there[k:]
        else:
            B = rng.standard_normal((k, P))
            inv.update(B)
            there = np.concatenate([there, B])
        inverted = max(inverted, np.linalg.norm(dense(there, alpha), 2) / alpha)
    expected = np.linalg.inv(dense(there, alpha))
    np.testing.assert_array_equal(inv.matrix, inv.matrix.T)
    assert np.abs(inv.matrix - expected).max() <= 1e-13 * len(calls) * inverted**1.5 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [*LAYOUTS, *CONTAINERS])
def test_layouts(layout, dtype):
    """Whatever the rows and weights are stored as: the same bits, and they are left alone."""
    rng = np.random.default_rng(0)
    B, weights = numbers(rng, (6, 5), dtype), abs(numbers(rng, (6,), dtype))
    store = {**LAYOUTS, **CONTAINERS}[layout]

    def results(B, weights, b):
        inv = WoodburyInverse(5, 0.5)
        inv.update(B, weights)
        inv.update(b)
        inv.downdate(b)
        H = np.eye(5)
        woodbury_update(H, B, weights)
        parts = inv.matrix, inverse_outer_product(B, 0.5, weights), H, inv @ b, b @ inv, inv.diagonal()
        return [np.asarray(part).tobytes() for part in parts], inv.logdet()

    given_B, given_weights, given_b = store(B), store(weights), store(B[2])
    expected = results(B.astype("float64"), weights.astype("float64"), B[2].astype("float64"))
    if not isinstance(given_b, (list, tuple, memoryview)):
        assert results(given_B, given_weights, given_b) == expected
    assert results(given_B, given_weights, B[2]) == expected
    np.testing.assert_array_equal(np.asarray(given_B), B)
    np.testing.assert_array_equal(np.asarray(given_weights), weights)


@pytest.mark.parametrize(("P", "k"), [(1, 1), (5, 3), (5, 0), (70, 1), (70, 2), (70, 90), (200, 70)])
def test_products(P, k, products):
    B, _ = rows(P + 5, P)
    inv = WoodburyInverse(P, 1.0)
    inv.update(B[:-10])
    for b in B[-10:]:
        inv.update(b)
    V = np.random.default_rng(1).standard_normal((P, k))
    left, right = V.T @ inv, inv @ V
    assert (left.shape, right.shape) == ((k, P), (P, k))
    np.testing.assert_allclose(right, inv.matrix @ V, rtol=0, atol=1e-13 * P)
    np.testing.assert_array_equal(left, right.T)


def test_no_rows():
    for P in (0, 1, 5):
        inv = WoodburyInverse(P, 0.25)
        inv.update(np.zeros((0, P)))
        inv.downdate(np.zeros((0, P)), np.zeros(0))
        np.testing.assert_array_equal(inv.matrix, 4 * np.eye(P))
        np.testing.assert_array_equal(inverse_outer_product(np.zeros((0, P)), 0.25), 4 * np.eye(P))
        assert inv.logdet() == P * np.log(0.25)
        H = np.eye(P)
        woodbury_update(H, np.zeros((0, P)))
        np.testing.assert_array_equal(H, np.eye(P))


def test_a_matrix_keeps_its_values():
    B, _ = rows(30, 10)
    inv = WoodburyInverse(10, 1.0)
    inv.update(B[:20])
    before = inv.matrix
    row, values = before[3], before.copy()
    assert inv.matrix is not before
    assert np.shares_memory(inv.matrix, before)
    inv.update(B[20])
    np.testing.assert_array_equal(before, values)
    inv.downdate(B[20])
    inv.refresh(B)
    np.testing.assert_array_equal(row, values[3])
    with pytest.raises(ValueError, match="WRITEABLE"):
        inv.matrix.flags.writeable = True
    check(inv.matrix, dense(B, 1.0), 1.0)


def test_copies_are_equal_and_independent():
    B, _ = rows(60, 10)
    inv = WoodburyInverse(10, 0.3)
    inv.update(B[:50])
    inv.update(B[50])
    for other in (inv.copy(), copy.copy(inv), copy.deepcopy(inv), pickle.loads(pickle.dumps(inv))):
        assert other == inv
        assert other.logdet() == inv.logdet()
        assert repr(other) == repr(inv)
        other.update(B[51])
        assert other != inv
        mine = inv.copy()
        mine.update(B[51])
        assert mine == other
    assert inv != WoodburyInverse(10, 0.3)
    assert WoodburyInverse(2, 0.3) != WoodburyInverse(2, 0.5)
    assert WoodburyInverse(2, 0.3) != "inverse"
    assert repr(WoodburyInverse(2, 1.0)) == "WoodburyInverse(n=2, alpha=1.0, logdet=0)"
    with pytest.raises(TypeError):
        hash(inv)


def test_error_estimate():
    B, weights = rows(80, 30, True)
    inv = WoodburyInverse(30, 0.1)
    inv.update(B, weights)
    assert inv.error_estimate(B, weights) < 1e-10
    wrong = inv.copy()
    wrong.update(0.01 * B[0])
    norm = np.linalg.norm(wrong.matrix @ dense(B, 0.1, weights) - np.eye(30))
    assert 0.5 * norm < wrong.error_estimate(B, weights, probes=64) < 2 * norm
    assert wrong.error_estimate(B, weights, seed=1) == wrong.error_estimate(B, weights, seed=1)
    wrong.refresh(B, weights)
    assert wrong.error_estimate(B, weights) < 1e-10


def test_threads_wait_for_each_other():
    B, _ = rows(64, 40)
    inv = WoodburyInverse(40, 1.0)

    def task(part):
        for b in part:
            inv.update(b)
            inv @ b
            inv.matrix.sum()
            inv.diagonal()
            inv.logdet()

    at_once([lambda part=part: task(part) for part in np.split(B, 8)])
    check(inv.matrix, dense(B, 1.0), 1.0)


def test_threads_with_inverses_of_their_own():
    B, _ = rows(300, 40)

    def task(seed):
        inv = WoodburyInverse(40, 1.0)
        for start in range(0, 300, 7 + seed):
            inv.update(B[start : start + 7 + seed])
        return inv

    serial = [task(seed) for seed in range(8)]
    assert at_once([lambda seed=seed: task(seed) for seed in range(8)]) == serial


def grown(call):
    """The most memory, in bytes, that calls after the first have in use beyond what there was."""
    call()
    tracemalloc.start()
    try:
        call()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(60):
            call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("k", [1, 10, 100, 500])
def test_updates_allocate_nothing(k):
    B, weights = rows(k, 300, True)
    inv = WoodburyInverse(300, 1.0)
    assert grown(lambda: inv.update(B, weights)) < 2048 + 9 * k  # a comparison of the weights is a byte each
    assert grown(lambda: inv.update(B[0])) < 2048


def test_no_second_matrix():
    B, _ = rows(5, 1500)
    tracemalloc.start()
    try:
        inv = WoodburyInverse(1500, 1.0)
        inv.update(B)
        inv.downdate(B[0])
        diagonal = inv.matrix.diagonal()
        assert tracemalloc.get_traced_memory()[1] < 1.1 * 8 * 1500**2
        np.testing.assert_allclose(diagonal, inv.diagonal())
    finally:
        tracemalloc.stop()


def test_exported():
    for name in ("WoodburyInverse", "inverse_outer_product", "woodbury_update"):
        assert name in fastbp.__all__
