"""What a removal loses: right to a digit, or refused."""

import pickle

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp import WoodburyInverse
from test_inverse_failures import GONE

WAYS = {
    "as it is": lambda inv: inv,
    "copy": lambda inv: inv.copy(),
    "pickle": lambda inv: pickle.loads(pickle.dumps(inv)),
}


def truth(alpha, B):
    """The inverse and the log determinant in 60 digits."""
    with mpmath.workdps(60):
        P = B.shape[1]
        A = mpmath.matrix(P, P)
        for i in range(P):
            A[i, i] += mpmath.mpf(alpha)
            for j in range(P):
                A[i, j] += mpmath.fsum(mpmath.mpf(float(b[i])) * mpmath.mpf(float(b[j])) for b in B)
        return np.array((A**-1).tolist(), float), float(mpmath.log(mpmath.det(A)))


def removed(inv, B, expected):
    """Whether the removal is refused; else it has a digit."""
    try:
        inv.downdate(B)
    except np.linalg.LinAlgError:
        return True
    matrix, logdet = expected
    assert np.abs(inv.matrix - matrix).max() < 0.3 * np.abs(matrix).max()
    assert abs(inv.logdet() - logdet) < 0.3
    return False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("alpha", 10.0 ** np.arange(-12, 2))
@pytest.mark.parametrize("b", [[1, 2, 3], [1], [1, 1], [100, 0, 0, 1], [1e-3, 5]], ids=str)
def test_a_strong_row_comes_and_goes(b, alpha, way):
    """It loses the digits of s², s being 1 + bᵀb/α: not refused long before these are all."""
    b = np.array(b, float)
    inv = WoodburyInverse(b.size, alpha)
    inv.update(b)
    refused = removed(WAYS[way](inv), b, truth(alpha, np.empty((0, b.size))))
    assert not (refused and 2.0**-53 * (1 + b @ b / alpha) ** 2 < 1e-3)


@pytest.mark.parametrize("portion", [1, 2, 5, 40])
@pytest.mark.parametrize("size", [1.0, 1e3])
def test_all_rows_go_again(size, portion):
    P, alpha = 4, 1e-4
    B = size * np.random.default_rng(0).standard_normal((40, P))
    inv = WoodburyInverse(P, alpha)
    for start in range(0, 40, portion):
        inv.update(B[start : start + portion])
    assert not removed(inv.copy(), B[:1], truth(alpha, B[1:]))
    refused = removed(inv, B, truth(alpha, np.empty((0, P))))
    assert not refused or size == 1e3


@given(st.integers(0, 2**32 - 1))
def test_right_or_refused(seed):
    """Rows of sizes over six decades come in portions, and some go, together or one by one."""
    rng = np.random.default_rng(seed)
    P, alpha = int(rng.integers(1, 5)), 10.0 ** rng.uniform(-8, 1)
    B = rng.standard_normal((int(rng.integers(1, 6)), P))
    B *= 10 ** rng.uniform(-3, 3, (len(B), 1))
    left = int(rng.integers(0, len(B)))
    inv = WoodburyInverse(P, alpha)
    for b in B:
        inv.update(b)
    removed(inv, B[left:], truth(alpha, B[:left]))


ADDING = {
    "at once": lambda inv, B: inv.update(B),
    "one by one": lambda inv, B: [inv.update(b) for b in B],
    "read between": lambda inv, B: [(inv.update(b), inv.matrix) for b in B],
}


@pytest.mark.parametrize("adding", ADDING)
@pytest.mark.parametrize("alpha", [1e-12, 1e-10, 1e-8])
@pytest.mark.parametrize("weak", [[6.0, 0.6], [1.0, 1.0]], ids=str)
@pytest.mark.parametrize("strong", [[20000.0, 17000.0], [2000.0, -700.0]], ids=str)
def test_a_weak_row_goes_and_a_strong_one_stays(strong, weak, alpha, adding):
    """The columns are nearly parallel then: the diagonal of the matrix says little about its inverse."""
    B = np.array([strong, weak])
    inv = WoodburyInverse(2, alpha)
    ADDING[adding](inv, B)
    removed(inv, B[1], truth(alpha, B[:1]))


@pytest.mark.parametrize("adding", ADDING)
@pytest.mark.parametrize("seed", range(20))
def test_rows_of_any_size_go(seed, adding):
    """Rows of sizes over eight decades, some nearly parallel, beside an alpha over fourteen."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        P, alpha = int(rng.integers(1, 7)), 10.0 ** rng.uniform(-12, 2)
        B = rng.standard_normal((int(rng.integers(1, 2 * P + 3)), P))
        B *= 10 ** rng.uniform(-3, 5, (len(B), 1))
        if rng.random() < 0.3:
            B[-1] = B[0] * (1 + 1e-9 * rng.standard_normal(P))
        gone = int(rng.integers(1, len(B) + 1))
        inv = WoodburyInverse(P, alpha)
        try:
            ADDING[adding](inv, B)
        except np.linalg.LinAlgError:
            continue
        removed(inv, B[:gone], truth(alpha, B[gone:]))


@pytest.mark.parametrize("scales", [np.zeros(20), np.linspace(0, -4, 20)], ids=["well", "ill"])
@pytest.mark.parametrize("alpha", [1.0, 1e-5])
@pytest.mark.parametrize("N", [25, 40])
def test_windows_go_on(N, alpha, scales):
    """No removal of a long series is refused that leaves digits."""
    B = np.random.default_rng(0).standard_normal((N + 3000, 20)) * 10**scales
    inv = WoodburyInverse(20, alpha)
    inv.update(B[:N])
    for old, new in zip(B, B[N:], strict=False):
        inv.update(new)
        inv.downdate(old)
    left = B[-N:]
    expected = np.linalg.inv(alpha * np.eye(20) + left.T @ left)
    assert np.abs(inv.matrix - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("adding", ADDING)
@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("N", [10, 40, 45, 200])
def test_windows_of_few_rows_go_on(N, alpha, adding):
    """Also where rows are no more than columns, and every removal makes H as large as it was at first."""
    B = np.random.default_rng(N).standard_normal((N + 100, 40))
    inv = WoodburyInverse(40, alpha)
    ADDING[adding](inv, B[:N])
    for old, new in zip(B, B[N:], strict=False):
        inv.update(new)
        inv.downdate(old)
    left = B[-N:]
    expected = np.linalg.inv(alpha * np.eye(40) + left.T @ left)
    assert np.abs(inv.matrix - expected).max() < 1e-2 * np.abs(expected).max()


def test_files_know_what_has_been_lost(tmp_path):
    b = np.array([1.0, 2.0, 3.0])
    inv = WoodburyInverse(3, 1e-10)
    inv.update(b)
    inv.save(tmp_path / "inverse")
    with pytest.raises(np.linalg.LinAlgError, match=GONE):
        fastbp.load(tmp_path / "inverse").downdate(b)


def test_a_refusal_changes_nothing():
    b = np.array([1.0, 2.0, 3.0])
    inv = WoodburyInverse(3, 1e-10)
    inv.update(b)
    twin = inv.copy()
    for _ in range(3):
        with pytest.raises(np.linalg.LinAlgError, match=GONE):
            inv.downdate(b)
    for other in (inv, twin):
        other.update([0.0, 1.0, 0.0])
        other.downdate([0.0, 1e-3, 0.0])
    assert inv.matrix.tobytes() == twin.matrix.tobytes()
    assert inv.logdet() == twin.logdet()
