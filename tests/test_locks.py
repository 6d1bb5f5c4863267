"""Inverses used by several threads, processes, signal handlers and finalizers at once: nobody waits for ever."""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastbp
from fastbp import WoodburyInverse, inverse_outer_product, woodbury_update

posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")
NESTED = r"^inverse: expected one call at a time, got a call from within another$"


def rows(N, P, seed=0):
    return np.random.default_rng(seed).standard_normal((N, P))


def run(script, *arguments, seconds=60):
    """What a script prints in a process of its own, which has to come to an end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    child = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert (child.stderr, child.returncode) == ("", 0)
    return child.stdout.split()


# One state at a time.

KEPT = {
    "copy": lambda inv, path: inv.copy(),
    "copy.copy": lambda inv, path: copy.copy(inv),
    "deepcopy": lambda inv, path: copy.deepcopy(inv),
    "pickle": lambda inv, path: pickle.loads(pickle.dumps(inv)),
    "save": lambda inv, path: inv.save(path) or fastbp.load(path),
}


@pytest.mark.parametrize("way", KEPT)
def test_matrix_and_log_determinant_of_one_moment(way, tmp_path):
    """While another thread adds and removes a row, the two of them fit together."""
    P = 3
    inv, b, done = WoodburyInverse(P, 1.0), np.array([3.0, 0.0, 0.0]), threading.Event()

    def work():
        while not done.is_set():
            inv.update(b)
            inv.downdate(b)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(300):
            other = KEPT[way](inv, tmp_path / "inverse")
            assert abs(other.logdet() + np.linalg.slogdet(other.matrix)[1]) < 1e-9
    finally:
        done.set()
        thread.join()


VIEWS = {
    "shape": lambda m: setattr(m, "shape", (25,)),
    "dtype": lambda m: setattr(m, "dtype", "i8"),
    "strides": lambda m: np.lib.stride_tricks.as_strided(m, strides=(0, 0)),
    "byte order": lambda m: setattr(m, "dtype", m.dtype.newbyteorder()),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", VIEWS)
def test_views_are_nobodys_state(change, tmp_path):
    inv = WoodburyInverse(5, 1.0)
    inv.update(rows(9, 5))
    expected = inv.matrix.copy()
    m = inv.matrix
    VIEWS[change](m)
    inv.save(tmp_path / "inverse")
    for other in (inv, inv.copy(), pickle.loads(pickle.dumps(inv)), fastbp.load(tmp_path / "inverse")):
        assert other.matrix.dtype == np.float64
        np.testing.assert_array_equal(other.matrix, expected)
    assert inv == inv.copy()
    inv.update(rows(1, 5, seed=1))
    np.testing.assert_array_equal(np.asarray(m).view(np.float64).reshape(-1)[0], expected.flat[0])


@pytest.mark.parametrize("derived", [lambda m: m[1], lambda m: m.T, lambda m: m.reshape(-1), np.asarray, memoryview])
def test_what_is_made_of_a_view_keeps_its_values(derived):
    inv = WoodburyInverse(4, 1.0)
    part = derived(inv.matrix)
    expected = np.array(part)
    gc.collect()
    inv.update(rows(9, 4))
    np.testing.assert_array_equal(np.asarray(part), expected)


# Nested calls.

CALLS = {
    "matrix": lambda inv: inv.matrix,
    "update": lambda inv: inv.update(np.ones(inv.n)),
    "logdet": lambda inv: inv.logdet(),
    "diagonal": lambda inv: inv.diagonal(),
    "product": lambda inv: inv @ np.ones(inv.n),
    "copy": lambda inv: inv.copy(),
    "estimate": lambda inv: inv.error_estimate(np.ones((1, inv.n))),
    "refresh": lambda inv: inv.refresh(np.ones((1, inv.n))),
}


@posix
@pytest.mark.parametrize("call", CALLS)
def test_handler_that_uses_the_same_inverse(call):
    """It gets an error instead of waiting for the call that it is in the middle of; that one is undone."""
    P, heard = 700, []
    inv, B = WoodburyInverse(P, 1.0), rows(400, P)
    inv.update(B[:3])
    twin = inv.copy()

    def handler(number, frame):
        with pytest.raises(RuntimeError, match=NESTED):
            CALLS[call](inv)
        heard.append(number)
        raise KeyboardInterrupt

    long = np.concatenate([B] * 100)
    interrupted(lambda: inv.update(long), handler)
    assert heard
    for other in (inv, twin):
        other.update(B[3:6])
    assert inv.matrix.tobytes() == twin.matrix.tobytes()
    assert inv.logdet() == twin.logdet()


@posix
def test_handler_that_uses_another_inverse():
    inv, other, B = WoodburyInverse(700, 1.0), WoodburyInverse(700, 1.0), rows(40000, 700)
    other.update(B[:5])
    twin = other.copy()

    def handler(number, frame):
        other.update(B[:500])
        raise KeyboardInterrupt

    interrupted(lambda: inv.update(B), handler)
    twin.update(B[:500])
    assert other == twin
    assert inv == WoodburyInverse(700, 1.0)


def test_finalizer_that_uses_the_same_inverse():
    """The collector may run wherever objects are made: so not while the lock is held."""
    script = """
import gc
import fastbp

inv = fastbp.WoodburyInverse(3, 1.0)

class Cycle:
    def __init__(self):
        self.own = self

    def __del__(self):
        inv.matrix, inv.logdet(), inv.diagonal(), inv.copy()

gc.set_threshold(1, 1, 1)
for _ in range(300):
    Cycle()
    inv.update([1.0, 2.0, 3.0])
    inv.matrix, inv.copy(), inv.logdet(), inv @ [1.0, 0.0, 0.0]
print("done")
"""
    assert run(script) == ["done"]


# Interruption.


def interrupted(call, handler=signal.default_int_handler, after=0.05):
    """Run a call that a signal ends: SIGINT, by a clock of the process, so that its work has begun."""
    before = signal.signal(signal.SIGINT, handler)
    alarm = signal.signal(signal.SIGVTALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_VIRTUAL, after)
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGVTALRM, alarm)


LONG = {
    "blocks": (1500, lambda inv, B: inv.update(np.concatenate([B[:700]] * 2))),
    "inverting": (700, lambda inv, B: inv.update(np.concatenate([B] * 30))),
    "removal": (700, lambda inv, B: inv.downdate(np.concatenate([1e-6 * B] * 30))),
    "refresh": (700, lambda inv, B: inv.refresh(np.concatenate([B] * 30))),
    "estimate": (700, lambda inv, B: inv.error_estimate(np.concatenate([B] * 60), probes=64)),
    "product": (1500, lambda inv, B: inv @ np.concatenate([B] * 6).T),
}


@posix
@pytest.mark.parametrize("blas", [False, True], ids=["own", "blas"])
@pytest.mark.parametrize("case", LONG)
def test_ctrl_c_leaves_an_inverse_as_it_was(case, blas, products_by_blas):
    products_by_blas(blas)
    P, call = LONG[case]
    inv, B = WoodburyInverse(P, 1.0), rows(1000, P)
    inv.update(B[:100])
    for b in B[100:105]:
        inv.update(b)
    twin = inv.copy() if case == "refresh" else copy_with_waiting(B, P)
    interrupted(lambda: call(inv, B))
    if case == "refresh":  # which may have settled the rows that waited
        np.testing.assert_allclose(inv.matrix, twin.matrix, rtol=1e-12, atol=1e-14)
        return
    assert inv.logdet() == twin.logdet()
    assert inv.diagonal().tobytes() == twin.diagonal().tobytes()
    for other in (inv, twin):
        other.update(B[200:203])
    assert inv.matrix.tobytes() == twin.matrix.tobytes()


def copy_with_waiting(B, P):
    twin = WoodburyInverse(P, 1.0)
    twin.update(B[:100])
    for b in B[100:105]:
        twin.update(b)
    return twin


@posix
def test_ctrl_c_in_place():
    P = 1000
    H = np.eye(P)
    woodbury_update(H, rows(20, P))
    before = H.copy()
    interrupted(lambda: woodbury_update(H, rows(20000, P)))
    assert H.tobytes() == before.tobytes()
    H[0, 5] += 1e-12
    before = H.copy()
    interrupted(lambda: woodbury_update(H, rows(20000, P)))
    assert H.tobytes() == before.tobytes()


@posix
@pytest.mark.parametrize("N", [1800, 6000], ids=["dual", "assembled"])
def test_ctrl_c_at_once(N):
    interrupted(lambda: inverse_outer_product(rows(N, 3000), 1.0))


@posix
@pytest.mark.parametrize("N", [40, 4000])
def test_ctrl_c_from_a_network(N):
    net = fastbp.mlp([60, 50, 10], seed=0)
    X = rows(N, 60)
    interrupted(lambda: [WoodburyInverse.from_network(net, X, alpha=1.0) for _ in range(100)])


@posix
def test_ctrl_c_while_waiting():
    """For a call of another thread, which goes on."""
    inv, B = WoodburyInverse(1200, 1.0), rows(12000, 1200)
    thread = threading.Thread(target=lambda: inv.update(B))
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    heard = []

    def once(number, frame):
        heard.append(number)
        if len(heard) == 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, once)
    try:
        thread.start()
        time.sleep(0.1)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            ask_until(thread, inv)
    finally:
        thread.join()
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert inv.error_estimate(B) < 1e-9


def ask_until(thread, inv):
    """Wait for a thread in vain."""
    while thread.is_alive():
        inv.logdet()
    signal.raise_signal(signal.SIGINT)  # it was faster than the clock


# Forks.

FORK = """
import os, sys, threading, time, signal
import numpy as np
import fastbp

P = 300
B = np.random.default_rng(0).standard_normal((3000, P))
inverses = [fastbp.WoodburyInverse(P, 1.0) for _ in range(3)]
done = threading.Event()

def whole(inv):
    return abs(inv.logdet() + np.linalg.slogdet(inv.matrix)[1]) < 1e-6

def work(inv):
    while not done.is_set():
        inv.update(B[:700])
        inv.downdate(B[:700])

def child(check):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # instead of hanging
        os._exit(0 if check() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def all_whole():
    return all(whole(inv) for inv in inverses) and [inv.update(B[0]) for inv in inverses] == [None] * 3

threads = [threading.Thread(target=work, args=[inv]) for inv in inverses]
"""


def forked(script):
    return run("import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n" + FORK + script)


@posix
def test_fork_while_other_threads_change_inverses():
    script = """
for thread in threads: thread.start()
codes = {child(all_whole) for _ in range(10)}
done.set()
for thread in threads: thread.join()
print(codes == {0}, all_whole())
"""
    assert forked(script) == ["True", "True"]


@posix
def test_several_threads_fork():
    script = """
codes = []
def forks():
    for _ in range(5): codes.append(child(all_whole))
threads += [threading.Thread(target=forks) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads[3:]: thread.join()
done.set()
for thread in threads: thread.join()
print(codes == [0] * 15, all_whole())
"""
    assert forked(script) == ["True", "True"]


@posix
def test_fork_in_a_handler_in_the_middle_of_a_call():
    """The call goes on in both processes, and what other threads were changing says so."""
    script = """
def usable(inv):
    try:
        return whole(inv)
    except RuntimeError as error:
        return str(error) == "inverse: expected it as one call had left it, got it from a fork during another"

pids, mine = [], fastbp.WoodburyInverse(P, 1.0)
def handler(number, frame):
    pids.append(os.fork())
    if pids[-1] == 0: signal.alarm(30)
signal.signal(signal.SIGVTALRM, handler)
for thread in threads: thread.start()
signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
while not pids: mine.refresh(np.concatenate([B] * 10))
if pids == [0]:
    os._exit(0 if whole(mine) and all(usable(inv) for inv in inverses) and mine.update(B[0]) is None else 1)
code = os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1])
done.set()
for thread in threads: thread.join()
print(code, whole(mine), all_whole())
"""
    assert forked(script) == ["0", "True", "True"]


@posix
def test_fork_while_another_handler_forks():
    """One thread that waits for all, and one in the middle of a call that nobody may wait for."""
    script = """
mine, results = fastbp.WoodburyInverse(P, 1.0), []
def forks():
    while not done.is_set(): results.append(child(lambda: mine.logdet() == mine.logdet()))
def handler(number, frame):
    results.append(child(lambda: True))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
signal.signal(signal.SIGVTALRM, handler)
thread = threading.Thread(target=forks)
thread.start()
signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
for _ in range(6): mine.refresh(np.concatenate([B] * 10))
signal.setitimer(signal.ITIMER_VIRTUAL, 0)
done.set()
thread.join()
print(set(results) == {0}, whole(mine))
"""
    assert forked(script) == ["True", "True"]


@posix
def test_a_child_may_fork_and_make_new_inverses():
    script = """
def grandchild():
    other = fastbp.WoodburyInverse(P, 1.0)
    other.update(B[:5])
    return child(lambda: whole(other) and all_whole()) == 0 and whole(other)
for thread in threads: thread.start()
codes = {child(grandchild) for _ in range(5)}
done.set()
for thread in threads: thread.join()
print(codes == {0})
"""
    assert forked(script) == ["True"]
