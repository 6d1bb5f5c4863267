"""Attempts on the life of the process, each in a process of its own: it must live on, and say what was wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp

COMMON = """
import copy, faulthandler, pickle, threading, time
import numpy as np
from fastbp import *
from fastbp_c.networks.plan import Plan
from fastbp_c.training.stepper import Stepper
from fastbp_c.boundary.workspace import Workspace

faulthandler.enable()
rng = np.random.default_rng(0)
X, T = rng.normal(size=(3000, 50)), rng.normal(size=(3000, 2))
net = mlp([50, 100, 2], seed=0)
FLOAT64 = np.dtype(float).num

def affine(n_in, n_out, matrix=0, bias=-1, groups=1, taps=None):
    return "product", "tanh", n_in, n_out, groups, matrix, False, bias, taps

def refused(call, *errors):
    try:
        call()
    except errors:
        return
    raise AssertionError("no error")
"""

ATTEMPTS = {
    # Sizes from which a plan computes with numbers of another kind than it indexes with.
    "integers_that_lie": """
class Liar(int):
    def __mul__(self, other):
        return 0
    __rmul__ = __mul__
    __mod__ = __rmod__ = __sub__ = __rsub__ = __mul__
    def __ne__(self, other):
        return False
    def __eq__(self, other):
        return True
    def __lt__(self, other):
        return True
    __le__ = __gt__ = __ge__ = __lt__
    __hash__ = int.__hash__

plan = Plan(FLOAT64, [(Liar(500), Liar(500))], [affine(Liar(500), Liar(500))])
assert plan.n_parameters == 250_000
refused(lambda: Plan(FLOAT64, [(2, 2)], [affine(2, 2), affine(Liar(2), Liar(500))]), ValueError)
refused(lambda: Plan(FLOAT64, [(Liar(2), Liar(2))], [affine(2, 500)]), ValueError)
refused(lambda: Plan(FLOAT64, [(2, 2)], [affine(2, 2, matrix=Liar(5))]), ValueError)
refused(lambda: Plan(FLOAT64, [(2, 2)], [affine(2, 2, bias=Liar(5))]), ValueError)
refused(lambda: Plan(FLOAT64, [(2, 2)], [affine(4, 4, groups=Liar(4))]), ValueError)
""",
    "specifications_of_plans": """
one = np.zeros((1, 1), np.int32)
for layers in [None, 5, "abcde", [()], [1], [affine(1, 1)[:-1]], [(*affine(1, 1), 0)], {1: 2},
               [affine(1.0, 1)], [affine("1", 1)], [affine(10**30, 1)], [affine(1, 1, matrix=None)],
               [affine(1, 1, matrix=2**62)], [affine(1, 1, bias=2**70)], [(None, *affine(1, 1)[1:])],
               [([], *affine(1, 1)[1:])], [affine(1, 1, groups=2**70)], [affine(1, 1, groups=1.0)],
               [affine(1, 1, taps=one.astype(float))], [affine(1, 1, taps=one + 5)], [affine(1, 1, taps="ab")],
               [("maximum", *affine(1, 1)[1:])], [("product", None, *affine(1, 1)[2:])]]:
    refused(lambda: Plan(FLOAT64, [(1, 1)], layers), TypeError, ValueError, OverflowError)
for slots in [None, 5, [5], [()], [(1,)], [(1, 2, 3)], [(1.0, 1)], [("1", 1)], [(10**30, 1)], [(2**31 - 1,) * 2] * 9,
              [(1, 1), (1, 1)], [], "ab", [(-1, -1)]]:
    refused(lambda: Plan(FLOAT64, slots, [affine(1, 1)]), TypeError, ValueError, OverflowError, MemoryError)
for typenum in (None, -1, 99, 2**40, "d"):
    refused(lambda: Plan(typenum, [(1, 1)], [affine(1, 1)]), TypeError, OverflowError)
""",
    # Tables of pixels that are not what they say, or not what they were when they were looked at.
    "tables_that_lie": """
class Liar(np.ndarray):
    dtype = property(lambda self: np.dtype(np.int32))
    ndim = property(lambda self: 2)
    shape = property(lambda self: (4, 1))
    def min(self, **_):
        return np.int32(0)
    max = min
    def tobytes(self):
        return b""
    def __array_finalize__(self, other):
        pass

def pool(table):
    return Plan(FLOAT64, [], [("maximum", "identity", 4, 4, 4, -1, False, -1, table)])

for table in (np.zeros((4, 1), np.int8), np.zeros(4, np.int32), np.zeros((4, 1), np.int64), np.zeros((4, 1), object),
              np.full((4, 1), 10**9, np.int32), np.zeros((1, 1), np.int32)):
    refused(lambda: pool(table.view(Liar)), TypeError, ValueError)
plan = pool(np.zeros((4, 1), np.int32).view(Liar))
table = np.zeros((4, 1), np.int32)
plan = pool(table)
table[...] = 10**9
kept = plan.specification[0][-1]
refused(lambda: kept.setflags(write=True), ValueError)
refused(lambda: kept.resize((1, 1), refcheck=False), ValueError)
Y = np.empty((3, 4))
plan.forward(np.empty(0), np.ones((3, 4)), Y)
assert (Y == 1).all()
""",
    "layers_of_images_that_lie": """
class Growing(Conv2d):
    def __init__(self):
        super().__init__(1, 1, 2, image_shape=(8, 8))
    def _taps(self):
        return super()._taps() + 7

class Odd(MaxPool2d):
    def _groups(self):
        return 5

refused(lambda: Network([Growing()]), ValueError)
refused(lambda: Network([Odd(2, image_shape=(4, 4, 1))]), ValueError)
conv = Conv2d(1, 1, 3, image_shape=(8, 8))
net = Network([conv, Tied(conv)])
conv._image_shape = (100, 100, 1)
conv._kernel_size = (50, 50)
assert net(np.ones((2, 64))).shape == (2, 64)
""",
    "threads_that_share_a_convolution": """
conv = Conv2d(1, 4, 3, "tanh", image_shape=(10, 10), padding=1)
pool = MaxPool2d(2, image_shape=conv.output_shape)
net = Network([conv, pool], seed=0)
x, t = rng.normal(size=(500, 100)), rng.normal(size=(500, 100))
expected, found = loss_and_gradient(net, x, t)[1], []

def work():
    for rows in (1, 7, 100, 500):
        loss_and_gradient(net, x[:rows], t[:rows])
        per_sample_gradients(net, x[:rows], t[:rows])
    found.append(np.array_equal(loss_and_gradient(net, x, t)[1], expected))

threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert found == [True] * 6
""",
    "objects_without_init": """
for kind in (Plan, Stepper):
    refused(lambda: kind.__new__(kind), TypeError)
for kind in (SGD, Adam):
    optimizer = kind.__new__(kind)
    repr(optimizer), optimizer == optimizer
    trainer = Trainer(net, optimizer)
    trainer.step(X, T)
    trainer.fit(X, T, epochs=1)
for kind in (Network, Trainer, Affine, Shared, Tied, Conv1d, Conv2d, AveragePool2d, MaxPool2d, Layer):
    thing = kind.__new__(kind)
    for name in dir(thing):
        try:
            getattr(thing, name)
        except AttributeError:
            pass
refused(lambda: loss(Network.__new__(Network), X, T), AttributeError)
Workspace()
""",
    "an_optimizer_of_both_kinds": """
class Both(SGD, Adam):
    def __init__(self):
        Adam.__init__(self)

class BothAgain(Adam, SGD):
    def __init__(self):
        SGD.__init__(self, 0.1, 0.9)

for kind in (Both, BothAgain):
    trainer = Trainer(net, kind())
    trainer.step(X, T)
    trainer.fit(X, T, epochs=1)
""",
    "momentum_begins_during_an_epoch": """
optimizer = SGD(0.01)
trainer = Trainer(mlp([50, 300, 300, 2], seed=0), optimizer)
thread = threading.Thread(target=lambda: (time.sleep(0.01), setattr(optimizer, "momentum", 0.9)))
thread.start()
trainer.fit(X, T, epochs=4)
thread.join()
""",
    "a_trainer_in_two_threads": """
trainer, found = Trainer(net, Adam()), []

def train(k):
    for n in range(1, 200):
        rows = n * k * 7 % 2999 + 1
        try:
            trainer.step(X[:rows], T[:rows])
            trainer.fit(X[:rows], T[:rows], epochs=1, batch_size=rows)
        except RuntimeError as error:
            found.append(str(error))

threads = [threading.Thread(target=train, args=(k,)) for k in range(1, 5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert set(found) == {"trainer: expected one call at a time, got a second one during the first"}, set(found)
assert np.isfinite(net.parameters).all()
""",
    "parameters_that_shrink": """
refused(lambda: net.parameters.resize(1, refcheck=False), ValueError)
""",
    "parameters_that_turn_into_something_else": """
for change in (lambda p: setattr(p, "shape", (1, -1)), lambda p: p.setflags(write=False)):
    net = mlp([50, 100, 2], seed=0)
    trainer = Trainer(net, SGD(0.1))
    change(net.parameters)
    trainer.step(X, T)
    trainer.fit(X, T, epochs=1)
    assert net.parameters.shape == (net.n_parameters,) and net.parameters.flags.writeable
""",
    "data_that_shrink_between_epochs": """
def shrink(history):
    X.resize((2000, 50), refcheck=False)
    T.resize((1, 2), refcheck=False)

refused(lambda: Trainer(net, SGD(0.1)).fit(X, T, epochs=3, callback=shrink), ValueError)
""",
    "a_trainer_that_calls_itself": """
trainer = Trainer(net, Adam())

def more(history):
    trainer.fit(X[:2000], T[:2000], epochs=1, batch_size=2000)
    trainer.step(X, T)

trainer.fit(X[:100], T[:100], epochs=3, callback=more)
assert np.isfinite(net.parameters).all()
""",
    "borrowed_bit_generators": """
class Borrowed:
    lock = threading.Lock()
    @property
    def capsule(self):
        return np.random.PCG64(0).capsule

stepper = Stepper(net._plan, net.parameters, None)
refused(lambda: stepper.epoch(SGD(0.1), X, T, 5, Borrowed()), TypeError)
""",
    "copies_of_what_has_no_copies": """
trainer = Trainer(net, Adam())
for copied in (copy.deepcopy, pickle.dumps):
    for thing in (trainer, trainer._stepper, net._plan, Workspace()):
        refused(lambda: copied(thing), TypeError)
copy.copy(trainer).step(X, T)
""",
    "arrays_that_lie": """
class Liar(np.ndarray):
    shape = property(lambda self: (2**31, 2**31))
    dtype = property(lambda self: np.dtype("f4"))
    ndim = property(lambda self: 7)
    strides = property(lambda self: (1, 1))
    def __array_finalize__(self, other):
        pass

expected = net(X)
assert np.array_equal(net(X.view(Liar)), expected)
refused(lambda: net.forward(X, out=np.empty((3000, 3)).view(Liar)), ValueError, IndexError)
refused(lambda: loss_and_gradient(net, X, T, out=np.empty(7, "f4").view(Liar)), TypeError)
""",
    "layers_that_change": """
class Growing(Affine):
    __slots__ = ("asked",)
    def __init__(self):
        super().__init__(50, 2)
        self.asked = 0
    @property
    def n_in(self):
        self.asked += 1
        return 50 + 100 * (self.asked % 3)

refused(lambda: Network([Growing()])(X), ValueError)
layers = [Affine(50, 2)]
net = Network(layers)
layers.append(None)
layers[0]._n_in = 400
assert net(X).shape == (3000, 2)
assert net.weights[0].shape == (50, 2)
""",
    "networks_that_are_written_to": """
stop = threading.Event()

def write():
    while not stop.is_set():
        net.parameters = rng.normal(size=net.n_parameters)
        net.weights[0][...] = 1

thread = threading.Thread(target=write)
thread.start()
for rows in range(1, 3000, 30):
    loss_and_gradient(net, X[:rows], T[:rows])
stop.set()
thread.join()
""",
    "more_layers_than_anyone_needs": """
layer = Affine(1, 1)
assert Network([layer] * 100_000)(np.ones((2, 1))).shape == (2, 1)
assert Network([layer, Tied(layer)] * 50_000)(np.ones((2, 1))).shape == (2, 1)
conv = Conv1d(1, 1, 1, image_shape=1)
assert Network([conv, Tied(conv)] * 5_000)(np.ones((2, 1))).shape == (2, 1)
""",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_process_survives(attempt):
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1])}
    program = COMMON + ATTEMPTS[attempt]
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
