"""A hundred thousand calls with arguments drawn at random, most of them wrong.

Each ends in a documented error that names an argument and changes nothing, or in the right answer. A failure says
which call it was: `replay(seed, k)` makes it again. FASTBP_FUZZ_CALLS sets another number of calls, which are made in
PARTS of some seconds.
"""

import os
import re

import numpy as np
import pytest

from fuzz_calls import (
    affine,
    affine_backward,
    affine_layer,
    assignment,
    batches,
    change_of_optimizer,
    curvature,
    delta_backward,
    fit,
    forward,
    image_layer,
    jacobians,
    network,
    operator_call,
    optimizer,
    path,
    perceptron,
    shared_layer,
    step,
    tied_layer,
    trainer,
)
from fuzz_core_calls import specification, strict_function, strict_kernel, strict_plan
from fuzz_world import ERRORS, Draw, World

CALLS = int(os.environ.get("FASTBP_FUZZ_CALLS", 100_000))
PARTS = 20
PER_SEED = 250
MESSAGE = re.compile(r"(\w+): (?:[XT]: )?expected .+, got .+", re.DOTALL)

ENTRIES = {
    forward: 10,
    batches("loss"): 10,
    batches("loss_and_gradient"): 10,
    batches("per_sample_gradients"): 8,
    batches("check_gradient"): 3,
    curvature("hessian"): 3,
    curvature("gauss_newton"): 3,
    curvature("hessian_diagonal"): 4,
    curvature("gauss_newton_diagonal"): 3,
    curvature("HessianOperator"): 3,
    curvature("GaussNewtonOperator"): 3,
    jacobians("jacobian"): 4,
    jacobians("parameter_jacobian"): 3,
    operator_call: 4,
    assignment: 3,
    step: 10,
    fit: 8,
    affine: 8,
    affine_backward: 8,
    delta_backward: 8,
    affine_layer: 4,
    shared_layer: 3,
    tied_layer: 3,
    image_layer: 6,
    network: 5,
    perceptron: 4,
    optimizer: 5,
    change_of_optimizer: 5,
    trainer: 3,
    path: 1,
    strict_kernel: 10,
    strict_function: 8,
    strict_plan: 8,
    specification: 8,
}
CHOICES = [entry for entry, weight in ENTRIES.items() for _ in range(weight)]
SMALL = 100_000  # bytes of an argument that is compared before and after


def contents(arguments):
    """The bits of the arrays among the arguments."""
    return {
        name: np.asarray(x).tobytes()
        for name, x in arguments.items()
        if isinstance(x, np.ndarray) and x.nbytes < SMALL and x.dtype.kind not in ("O", "T")
    }


def make(world, call):
    """Whether the call returned."""
    before = contents(call.arguments)
    try:
        result, error = call.run(), None
    except ERRORS as raised:
        error = raised
    if error is not None:
        found = MESSAGE.fullmatch(str(error))
        assert found, f"{type(error).__name__}: {error}"
        assert found[1] in (*call.arguments, *call.also), f"{type(error).__name__}: {error}"
        assert contents(call.arguments) == before
        assert world.net.parameters.tobytes() == world.bits
        return False
    outputs = ("out", "work", "dX", "dW", "db")
    assert {k: v for k, v in contents(call.arguments).items() if k not in outputs} == {
        k: v for k, v in before.items() if k not in outputs
    }
    if not call.changes:
        assert world.net.parameters.tobytes() == world.bits
    if call.expected is not None:
        call.expected(result, **call.arguments)
    return True


def shown(call):
    """The call with its arguments, as far as they can be written."""
    parts = []
    for name, x in call.arguments.items():
        try:
            text = f"{x.dtype.str}{x.shape}" if isinstance(x, np.ndarray) and x.size > 20 else f"{x!r:.300}"
        except Exception:
            text = type(x).__name__
        parts.append(f"{name}={text}")
    return f"{call.name}({', '.join(parts)})"


def replay(seed, last=PER_SEED - 1):
    """The calls of one seed up to that one; the counts of those that returned and those that did not."""
    world, counts = World(Draw(seed)), [0, 0]
    for k in range(last + 1):
        call = world.draw.pick(CHOICES)(world.draw, world)
        try:
            counts[make(world, call)] += 1
        except BaseException as error:
            raise AssertionError(f"replay({seed}, {k}): {shown(call)}: {error}") from error
    x = np.ones((2, world.net.n_inputs)), np.ones((2, world.net.n_outputs))
    assert world.trainer.step(*x) == world.twin.step(*x), f"replay({seed}): a trainer has changed"
    assert world.net == world.twin.net
    return counts


@pytest.mark.parametrize("part", range(PARTS))
def test_any_call_ends_well(part):
    counts = np.zeros(2, int)
    for seed in np.random.default_rng(part).integers(2**63, size=-(-CALLS // (PARTS * PER_SEED))):
        counts += replay(int(seed))
    assert counts.sum() >= CALLS / PARTS
    assert 0.2 < counts[1] / counts.sum() < 0.8  # both right and wrong ones in good number
