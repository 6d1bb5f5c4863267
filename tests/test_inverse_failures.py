"""What inverses refuse, word for word, and that everything is then as it was, to the bit; and their files."""

import json
import os
import re

import numpy as np
import pytest

import fastbp
import fastbp._boundary.memory
from bad_input import PARTS, converted
from cases import chain, network
from fastbp import WoodburyInverse, inverse_outer_product, woodbury_update
from strategies import fortran, misaligned, misshapen, negative, read_only, spread_out, strided, swapped

GONE = "B: expected rows without which the matrix is positive definite and has a digit left, got others"
LOST = np.linalg.LinAlgError, GONE
HUGE = ValueError, "B: expected rows b with b^T H^-1 b finite in float64, got overflow"
DIMENSIONS = "dimensions of at most 2147483647 (BLAS counts in 32 bits), got 2147483648"
LAYOUT = "a C-contiguous, aligned array in native byte order"


def rows(N, P, seed=0):
    return np.random.default_rng(seed).standard_normal((N, P))


def scene(P=20, waiting=5):
    """An inverse of 45 rows, the last of which still wait."""
    inv = WoodburyInverse(P, 0.5)
    B = rows(40 + waiting, P)
    inv.update(B[:40])
    for b in B[40:]:
        inv.update(b)
    return inv


def refused(call, kind, message):
    """The error with its whole text; an inverse that met it goes on, bit for bit, as one that did not."""
    inv, twin = scene(), scene()
    with pytest.raises(kind) as caught:
        call(inv)
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert inv.logdet() == twin.logdet()
    assert inv.diagonal().tobytes() == twin.diagonal().tobytes()
    for other in (inv, twin):
        other.update(rows(2, 20, seed=5))
    assert inv.matrix.tobytes() == twin.matrix.tobytes()


B = np.ones((3, 20))
UPDATES = {
    "columns": (lambda i: np.ones((3, 4)), None, ValueError, "B: expected 20 columns (the rows of the inverse), got "
                "shape (3, 4)"),
    "vector": (lambda i: np.ones(4), None, ValueError, "B: expected 20 columns (the rows of the inverse), got shape "
               "(1, 4)"),
    "scalar": (lambda i: 3.0, None, ValueError, "B: expected one row (1 dimension) or rows (2 dimensions), got shape "
               "()"),
    "cube": (lambda i: np.ones((1, 1, 20)), None, ValueError, "B: expected one row (1 dimension) or rows "
             "(2 dimensions), got shape (1, 1, 20)"),
    "nan": (lambda i: B * [[1], [np.nan], [1]], None, ValueError, "B: expected finite numbers, got nan in row 1"),
    "inf": (lambda i: -B[0] * np.inf, None, ValueError, "B: expected finite numbers, got -inf in row 0"),
    "complex": (lambda i: 1j * B, None, TypeError, f"B: expected real numbers, got dtype complex128; {PARTS}"),
    "objects": (lambda i: [[None]], None, TypeError, f"B: expected real numbers, got dtype object; {converted('B')}"),
    "ragged": (lambda i: [[1.0], [1.0, 2.0]], None, ValueError, "B: expected rows of equal length, got a ragged list"),
    "long": (lambda i: spread_out((2**31, 20)), None, OverflowError, "B: expected " + DIMENSIONS),
    "negative": (lambda i: B, [1, -0.5, 1], ValueError, "weights: expected finite numbers of at least 0, got -0.5 in "
                 "row 1"),
    "nan_weight": (lambda i: B, [1, 1, np.nan], ValueError, "weights: expected finite numbers of at least 0, got nan "
                   "in row 2"),
    "inf_weight": (lambda i: B, [np.inf, 1, 1], ValueError, "weights: expected finite numbers of at least 0, got inf "
                   "in row 0"),
    "few_weights": (lambda i: B, [1, 1], ValueError, "weights: expected shape (3,) (the rows of B), got shape (2,)"),
    "matrix_of_weights": (lambda i: B, np.ones((3, 1)), ValueError, "weights: expected a vector (1 dimension), got "
                          "shape (3, 1)"),
    "one_weight": (lambda i: B, 1.0, ValueError, "weights: expected a vector (1 dimension), got shape ()"),
    "text": (lambda i: B, ["a"] * 3, TypeError,
             f"weights: expected real numbers, got dtype <U1; {converted('weights')}"),
}  # fmt: skip


@pytest.mark.parametrize("method", ["update", "downdate", "refresh"])
@pytest.mark.parametrize("case", UPDATES)
def test_rows_and_weights(case, method):
    B, weights, kind, message = UPDATES[case]
    refused(lambda inv: getattr(inv, method)(B(inv), weights), kind, message)


# A single row; rows that wait; rows that find no more room; more rows than columns.
@pytest.mark.parametrize("N", [1, 7, 19, 20, 21, 300])
def test_downdate_of_what_was_never_added(N):
    refused(lambda inv: inv.downdate(10 * rows(N, 20, seed=1)), *LOST)


@pytest.mark.parametrize(("P", "N"), [(100, 90), (200, 150), (200, 200), (300, 250), (300, 301)])
def test_long_downdates(P, N):
    """The last row is the one that was never added: all blocks before it have to be undone."""
    inv, B = WoodburyInverse(P, 1.0), rows(N, P)
    inv.update(B[:-1])
    inv.update(rows(3, P, seed=2))
    twin = inv.copy()
    inv.update(rows(3, P, seed=3))
    twin.update(rows(3, P, seed=3))
    logdet = inv.logdet()
    with pytest.raises(np.linalg.LinAlgError, match=GONE):
        inv.downdate(np.concatenate([B[:-1], 50 * B[-1:]]))
    assert inv.logdet() == logdet
    for other in (inv, twin):
        other.downdate(B[:3])
    assert inv.matrix.tobytes() == twin.matrix.tobytes()
    assert inv.logdet() == twin.logdet()


def test_removing_everything_down_to_rounding():
    inv = WoodburyInverse(2, 1.0)
    inv.update([[1e8, 0], [0, 1]])  # at once: the inverse is right to the last digit
    before = inv.matrix
    with pytest.raises(np.linalg.LinAlgError, match=GONE):
        inv.downdate([1e8, 0])
    np.testing.assert_array_equal(inv.matrix, before)


@pytest.mark.parametrize("method", ["update", "downdate"])
@pytest.mark.parametrize("N", [1, 7, 300])
def test_overflow(N, method):
    refused(lambda inv: getattr(inv, method)(1e200 * rows(N, 20, seed=1)), *HUGE)


@pytest.mark.parametrize("N", [5, 300])
def test_overflow_in_refresh(N):
    inv = scene()
    before, logdet = inv.matrix.copy(), inv.logdet()
    with pytest.raises(ValueError, match=re.escape(HUGE[1])):
        inv.refresh(1e200 * rows(N, 20, seed=1))
    assert inv.matrix.tobytes() == before.tobytes()
    assert inv.logdet() == logdet


PRODUCTS = [
    (lambda inv: inv @ np.ones(3), ValueError, "v: expected 20 rows (n of the inverse), got shape (3,)"),
    (lambda inv: inv @ np.ones((3, 20)), ValueError, "v: expected 20 rows (n of the inverse), got shape (3, 20)"),
    (lambda inv: np.ones((20, 3)) @ inv, ValueError, "v: expected 20 columns (n of the inverse), got shape (20, 3)"),
    (lambda inv: inv @ 3.0, ValueError, "v: expected a vector or a matrix, got shape ()"),
    (lambda inv: inv @ ["a"], TypeError, f"v: expected real numbers, got dtype <U1; {converted('v')}"),
    (lambda inv: inv.error_estimate(B, probes=0), ValueError, "probes: expected at least 1, got 0"),
    (lambda inv: inv.error_estimate(B, probes=65), ValueError, "probes: expected at most 64, got 65"),
    (lambda inv: inv.error_estimate(B, probes=1.5), TypeError, "probes: expected an integer, got float"),
    (lambda inv: inv.error_estimate(np.ones(3)), ValueError, "B: expected 20 columns (the rows of the inverse), got "
     "shape (1, 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), PRODUCTS)
def test_products(call, kind, message):
    refused(call, kind, message)


NEW = [
    ((-1, 1.0), ValueError, "n: expected at least 0, got -1"),
    ((2.5, 1.0), TypeError, "n: expected an integer, got float"),
    ((2**31, 1.0), OverflowError, "n: expected at most 2147483647 (BLAS counts in 32 bits), got 2147483648"),
    ((3, 0.0), ValueError, "alpha: expected a number above 0 with a finite inverse, got 0.0"),
    ((3, -1.0), ValueError, "alpha: expected a number above 0 with a finite inverse, got -1.0"),
    ((3, np.nan), ValueError, "alpha: expected a number above 0 with a finite inverse, got nan"),
    ((3, np.inf), ValueError, "alpha: expected a number above 0 with a finite inverse, got inf"),
    ((3, 1e-320), ValueError, "alpha: expected a number above 0 with a finite inverse, got 1e-320"),
    ((3, "1"), TypeError, "alpha: expected a number, got str"),
    ((3, True), TypeError, "alpha: expected a number, got bool"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), NEW)
def test_new(arguments, kind, message):
    with pytest.raises(kind) as caught:
        WoodburyInverse(*arguments)
    assert str(caught.value) == message
    if message.startswith("alpha"):
        with pytest.raises(kind) as caught:
            inverse_outer_product(np.ones((2, 3)), arguments[1])
        assert str(caught.value) == message


def test_memory(monkeypatch):
    monkeypatch.setattr(fastbp._boundary.memory, "available_bytes", lambda: 10**6)
    message = "WoodburyInverse: expected 3200000064 bytes of memory for shape (400000008,), got 1000000 available"
    with pytest.raises(MemoryError) as caught:
        WoodburyInverse(20000, 1.0)
    assert str(caught.value) == message
    with pytest.raises(MemoryError, match=r"^inverse_outer_product: expected 3200000064 bytes"):
        inverse_outer_product(spread_out((0, 20000)), 1.0)


IN_PLACE = [
    (lambda: [[1.0]], TypeError, "H_inv: expected an array to write to, got list"),
    (lambda: np.eye(3, dtype="f4"), TypeError, "H_inv: expected dtype float64, got float32"),
    (lambda: np.ones(9), ValueError, "H_inv: expected a matrix (2 dimensions), got shape (9,)"),
    (lambda: np.ones((3, 4)), ValueError, "H_inv: expected as many rows as columns, got shape (3, 4)"),
    (lambda: misshapen((4, 4)), ValueError, "B: expected 4 columns (the rows of the inverse), got shape (1, 3)"),
    (lambda: read_only(np.eye(3)), ValueError, "H_inv: expected a writeable array, got a read-only one"),
    *((lambda layout=layout: layout(np.eye(3) + 1), ValueError, None) for layout in
      (fortran, strided, negative, misaligned, swapped)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "message"), IN_PLACE)
def test_in_place(make, kind, message):
    H = make()
    before = np.array(H)
    with pytest.raises(kind) as caught:
        woodbury_update(H, np.ones(3))
    if message is None:
        assert str(caught.value).startswith(f"H_inv: expected {LAYOUT}, got strides")
    else:
        assert str(caught.value) == message
    np.testing.assert_array_equal(H, before)


def test_in_place_overlap():
    H = np.eye(3)
    with pytest.raises(ValueError, match=r"^H_inv: expected memory of its own, got an array that overlaps B$"):
        woodbury_update(H, H)


@pytest.mark.parametrize("N", [1, 10, 60, 100, 200, 400])
@pytest.mark.parametrize("symmetric", [True, False])
def test_in_place_on_what_is_not_positive_definite(symmetric, N):
    """Put back to the bit, the upper triangle too, even if it is the lower one only to rounding."""
    H = np.eye(300)
    H[-1, -1] = -1.0
    if not symmetric:
        H[0, 5] = 1e-9
    before = H.copy()
    B = rows(N, 300)
    B[-1, -1] = 100
    with pytest.raises(
        np.linalg.LinAlgError, match=r"^H_inv: expected a positive definite matrix, got one that is not"
    ):
        woodbury_update(H, B)
    assert H.tobytes() == before.tobytes()


# Files.


def test_round_trip(tmp_path):
    inv = scene()
    inv.save(tmp_path / "inverse")
    for load in (fastbp.load, WoodburyInverse.load):
        other = load(tmp_path / "inverse")
        assert other == inv
        assert other.logdet() == inv.logdet()
        other.update(B)
    inv.update(B)
    assert other == inv
    other.save(tmp_path / "inverse")
    assert fastbp.load(tmp_path / "inverse") == inv
    assert os.listdir(tmp_path) == ["inverse"]
    empty = WoodburyInverse(0, 2.0)
    empty.save(tmp_path / "empty")
    assert fastbp.load(tmp_path / "empty") == empty


def test_others_can_read_it(tmp_path):
    from safetensors.numpy import load_file

    inv = scene()
    inv.save(tmp_path / "inverse")
    np.testing.assert_array_equal(load_file(tmp_path / "inverse")["matrix"], inv.matrix)


def test_a_network_is_no_inverse(tmp_path):
    network(chain(3, 2)).save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"^path: expected an inverse saved by fastbp, got .* no fastbp.inverse in"):
        WoodburyInverse.load(tmp_path / "net")
    with pytest.raises(FileNotFoundError):
        WoodburyInverse.load(tmp_path / "none")


def file_bytes(matrix=None, dtype="F64", shape=None, name="matrix", cut=0, **metadata):
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]]) if matrix is None else np.asarray(matrix, "<f8")
    content = {"format": "fastbp.inverse", "version": "1", "alpha": "0x1p+0", "logdet": "0x0p+0", "rest": "0x0p+0"}
    content = {key: value for key, value in {**content, **metadata}.items() if value is not None}
    tensor = {"dtype": dtype, "shape": matrix.shape if shape is None else shape, "data_offsets": [0, matrix.nbytes]}
    header = json.dumps({"__metadata__": content, name: tensor}).encode()
    return (len(header).to_bytes(8, "little") + header + matrix.tobytes())[: -cut or None]


HOSTILE = {
    "cut": (file_bytes(cut=8), ""),
    "version": (file_bytes(version="2"), "format version '2', this release reads 1"),
    "alpha": (file_bytes(alpha="-0x1p+0"), "expected alpha above 0 and a finite logdet in its metadata"),
    "no_alpha": (file_bytes(alpha=None), "expected alpha above 0 and a finite logdet in its metadata"),
    "word": (file_bytes(alpha="word"), "invalid hexadecimal"),
    "tiny_alpha": (file_bytes(alpha="0x1p-1070"), "alpha: expected a number above 0 with a finite inverse"),
    "logdet": (file_bytes(logdet="inf"), "expected alpha above 0 and a finite logdet in its metadata"),
    "name": (file_bytes(name="parameters"), "expected one tensor named matrix, got ['parameters']"),
    "shape": (file_bytes(shape=[4, 1]), "expected a square matrix of F64, got shape (4, 1) of F64"),
    "vector": (file_bytes(shape=[4]), "expected a square matrix of F64, got shape (4,) of F64"),
    "dtype": (file_bytes(dtype="I64"), "expected a square matrix of F64, got shape (2, 2) of I64"),
    "nan": (file_bytes([[1, np.nan], [np.nan, 1]]), "expected finite numbers, above 0 on the diagonal, got others"),
    "diagonal": (file_bytes([[1, 0], [0, 0]]), "expected finite numbers, above 0 on the diagonal, got others"),
    "asymmetric": (file_bytes([[1, 0], [0.5, 1]]), "expected a symmetric matrix, got another one"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(case, tmp_path):
    content, message = HOSTILE[case]
    (tmp_path / "file").write_bytes(content)
    for load in (fastbp.load, WoodburyInverse.load):
        with pytest.raises(ValueError, match=r"^path: expected an? \w+ saved by fastbp, got '.*file': ") as caught:
            load(tmp_path / "file")
        assert "inverse" in str(caught.value) or case == "cut"
        assert message in str(caught.value)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    inv = scene()
    inv.save(tmp_path / "inverse")
    before = (tmp_path / "inverse").read_bytes()

    def full(*arguments):
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    inv.update(B)
    with pytest.raises(OSError, match="no space"):
        inv.save(tmp_path / "inverse")
    assert (tmp_path / "inverse").read_bytes() == before
    assert os.listdir(tmp_path) == ["inverse"]
