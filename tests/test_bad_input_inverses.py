"""What the compiled functions of inverses say to arrays that are not what they take: dimensions, shape, overlap."""

import numpy as np
import pytest

import fastbp_c.inverses.inverse as strict
from fastbp import woodbury_update

P, N = 5, 3


class Scene:
    """Arguments that will do, by name."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.memory, self.out, self.H_inv = np.eye(P), np.full((P, P), np.nan), np.eye(P)
        self.B, self.weights = rng.standard_normal((N, P)), np.ones(N)
        self.rows = np.empty((strict.rows_to_keep(N, P), P))
        self.v, self.u, self.R, self.d = rng.standard_normal((2, P)), np.empty((2, P)), np.empty((2, P)), np.empty(P)
        self.history = np.ones((2, P))
        self.inverse = strict.Inverse(np.eye(P), 1.0, None)


ENTRIES = {
    "new": (lambda s, memory, history: strict.Inverse(memory, 1.0, (0.0, 0.0), history), "memory history"),
    "move": (lambda s, memory: s.inverse.move(memory), "memory"),
    "change": (lambda s, B, weights: s.inverse.change(B, weights, False), "B weights"),
    "refresh": (lambda s, B, weights: s.inverse.refresh(B, weights), "B weights"),
    "multiply": (lambda s, v, u: s.inverse.multiply(v, u), "v u"),
    "diagonal": (lambda s, d: s.inverse.diagonal(d), "d"),
    "snapshot": (lambda s, history: s.inverse.snapshot(history), "history"),
    "residual": (lambda s, B, weights, v, R: s.inverse.residual(B, weights, v, R), "B weights v R"),
    "woodbury_update": (lambda s, H_inv, B, weights: strict.woodbury_update(H_inv, B, weights), "H_inv B weights"),
    "inverse_outer_product": (
        lambda s, B, weights, out, rows: strict.inverse_outer_product(B, weights, 1.0, out, rows),
        "B weights out rows",
    ),
}
ARGUMENTS = [(entry, name) for entry, (_, names) in ENTRIES.items() for name in names.split()]
# Arrays that are written, with those they must not overlap.
APART = [
    ("multiply", "u", "v"),
    ("residual", "R", "B"),
    ("residual", "R", "weights"),
    ("residual", "R", "v"),
    ("woodbury_update", "H_inv", "B"),
    ("woodbury_update", "H_inv", "weights"),
    ("inverse_outer_product", "out", "B"),
    ("inverse_outer_product", "out", "weights"),
    ("inverse_outer_product", "out", "rows"),
    ("inverse_outer_product", "rows", "B"),
    ("inverse_outer_product", "rows", "weights"),
]


def call(entry, scene, **changed):
    function, names = ENTRIES[entry]
    return function(scene, **{name: changed.get(name, getattr(scene, name)) for name in names.split()})


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_will_do(entry):
    call(entry, Scene())


@pytest.mark.parametrize(("entry", "name"), ARGUMENTS)
@pytest.mark.parametrize("ndim", [0, 1, 2, 3, 4])
def test_dimensions(entry, name, ndim):
    scene = Scene()
    if getattr(scene, name).ndim == ndim:
        return
    with pytest.raises(ValueError, match=r": expected .*, got shape \("):
        call(entry, scene, **{name: np.ones((P,) * ndim)})


@pytest.mark.parametrize(("entry", "name"), ARGUMENTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_shapes(entry, name, axis):
    scene = Scene()
    shape = list(getattr(scene, name).shape)
    if axis == len(shape) or (name in ("B", "v") and axis == 0 and "weights" not in ENTRIES[entry][1]):
        return
    shape[axis] += 1
    with pytest.raises(ValueError, match=r": expected .*, got shape \("):
        call(entry, scene, **{name: np.ones(shape)})


@pytest.mark.parametrize(("entry", "name"), ARGUMENTS)
def test_dtypes(entry, name):
    scene = Scene()
    with pytest.raises(TypeError, match="expected dtype float64, got float32"):
        call(entry, scene, **{name: getattr(scene, name).astype("f4")})


@pytest.mark.parametrize(("entry", "written", "other"), APART)
@pytest.mark.parametrize("offset", [0, 1, -1])
def test_overlaps(entry, written, other, offset):
    scene = Scene()
    room = np.ones(200)
    start, x, y = 60, getattr(scene, written), getattr(scene, other)
    ours = room[start : start + x.size].reshape(x.shape)
    begin = {0: start, 1: start + x.size - 1, -1: start - y.size + 1}[offset]
    theirs = room[begin : begin + y.size].reshape(y.shape)
    with pytest.raises(ValueError, match="expected memory of its own, got an array that overlaps"):
        call(entry, scene, **{written: ours, other: theirs})
    np.testing.assert_array_equal(room, 1)


def test_moving_into_its_own_memory():
    memory = np.eye(P)
    inverse = strict.Inverse(memory, 1.0, None)
    with pytest.raises(ValueError, match=r"^memory: expected memory of its own, got an array that overlaps that of"):
        inverse.move(memory)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf, 1e-320])
def test_alpha(alpha):
    scene = Scene()
    for function in (
        lambda: strict.Inverse(scene.memory, alpha, None),
        lambda: strict.inverse_outer_product(scene.B, None, alpha, scene.out, scene.rows),
    ):
        with pytest.raises(ValueError, match=r"^alpha: expected a number above 0 with a finite inverse, got "):
            function()


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1.0, 1e150, 1e290])
@pytest.mark.parametrize("size", [1, 2, 17, 100])
def test_asymmetric_matrices(size, scale):
    """What rounding leaves of symmetry will do, more will not: relative to the diagonal."""
    rng = np.random.default_rng(0)
    V = rng.standard_normal((size + 3, size))
    inverse = scale * np.linalg.inv(V.T @ V + np.eye(size))  # symmetric but for rounding
    woodbury_update(inverse.copy(), np.zeros(size))
    if size == 1:
        return
    for place in ((0, size - 1), (size - 1, 0), (size // 2, size // 2 - 1)):
        wrong = inverse.copy()
        wrong[place] += 1e-6 * np.sqrt(wrong[place[0], place[0]]) * np.sqrt(wrong[place[1], place[1]])
        before = wrong.copy()
        with pytest.raises(ValueError, match=r"^H_inv: expected a symmetric matrix, got triangles that differ in more"):
            woodbury_update(wrong, np.zeros(size))
        np.testing.assert_array_equal(wrong, before)
