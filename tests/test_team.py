"""The helper threads: when there are any, and that nothing else notices: signals, forks, other threads, the exit."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp_c.boundary import team

TASKS = Path("/proc/self/task")
proc = pytest.mark.skipif(not (TASKS / str(os.getpid()) / "comm").is_file(), reason="needs /proc of Linux")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an interval timer")
# What Python 3.12 and later say when a test's own threads are there during a fork.
with_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def three_helpers():
    """As on a machine of four processors, if there is something for helpers to do."""
    fastbp.set_num_threads(4)
    yield
    fastbp.set_num_threads(None)


def threads_by_name():
    """The threads of this process that are the library's."""
    found = []
    for task in TASKS.iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if (task / "comm").read_text() == "fastbp\n":
                found.append(task)
    return found


NET = fastbp.mlp([64, 128, 128, 10], "tanh", "softmax", seed=0)
SMALL = fastbp.mlp([8, 16, 4], "tanh", "softmax", seed=0)


def batch(net, N):
    rng = np.random.default_rng(N)
    return rng.standard_normal((N, net.n_inputs)), np.eye(net.n_outputs)[rng.integers(0, net.n_outputs, N)]


X, T = batch(NET, 4000)


def gradient():
    value, dw = fastbp.loss_and_gradient(NET, X, T)
    return np.append(dw, value)


def trained():
    net = NET.copy()
    fastbp.Trainer(net, fastbp.Adam()).fit(X, T, epochs=1, batch_size=1000, seed=0)
    return net.parameters


WORKS = {
    "forward": lambda: NET(X),
    "loss_and_gradient": gradient,
    "per_sample_gradients": lambda: fastbp.per_sample_gradients(NET, X[:300], T[:300]),
    "fit": trained,
    "hessian": lambda: fastbp.hessian(SMALL, *batch(SMALL, 500)),
    "hessian_diagonal": lambda: fastbp.hessian_diagonal(NET, X[:400], T[:400]),
}


@pytest.fixture(scope="module")
def serial():
    """What each work gives by one thread."""
    fastbp.set_num_threads(1)
    return {name: work() for name, work in WORKS.items()}


def same(x, y):
    return x.shape == y.shape and x.tobytes() == y.tobytes()


def run(program, **environment):
    """What another process prints; it ends well, and without complaints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


PRELUDE = """
import os, sys, threading, time
import numpy as np
import fastbp
from fastbp_c.boundary import team

net = fastbp.mlp([64, 128, 128, 10], "tanh", "softmax", seed=0)
rng = np.random.default_rng(0)
X, T = rng.standard_normal((4000, 64)), np.eye(10)[rng.integers(0, 10, 4000)]
"""


# ---- When there are any ----


@pytest.mark.parametrize("n", [2, 3, 4, 9])
@pytest.mark.parametrize("work", WORKS)
def test_bits_do_not_depend_on_their_number(serial, work, n):
    fastbp.set_num_threads(n)
    assert same(WORKS[work](), serial[work])


def test_none_before_there_is_something_for_them_to_do():
    program = (
        PRELUDE
        + """
print(team.helpers())
for _ in range(100):
    net(X[:2])
    fastbp.loss_and_gradient(net, X[:2], T[:2])
print(team.helpers())
fastbp.loss_and_gradient(net, X, T)
print(team.helpers())
"""
    )
    before, small, large = map(int, run(program, FASTBP_NUM_THREADS="4").split())
    assert (before, small) == (0, 0)
    assert 1 <= large <= 3


@proc
def test_an_import_starts_no_thread():
    """But for those of BLAS, which get none here."""
    program = """
import os
before = len(os.listdir("/proc/self/task"))
import fastbp
fastbp.show_config
print(before, len(os.listdir("/proc/self/task")))
"""
    before, after = run(program, OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", OMP_NUM_THREADS="1").split()
    assert before == after


def test_none_for_one_thread():
    program = PRELUDE + "fastbp.loss_and_gradient(net, X, T); print(team.helpers())"
    assert int(run(program, FASTBP_NUM_THREADS="1")) == 0
    assert int(run(program, FASTBP_NUM_THREADS="", OMP_NUM_THREADS="1")) == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs the affinity mask of Linux")
def test_none_on_one_processor():
    program = (
        PRELUDE
        + """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
fastbp.loss_and_gradient(net, X, T)
print(fastbp.get_num_threads(), team.helpers())
"""
    )
    assert run(program, FASTBP_NUM_THREADS="", OMP_NUM_THREADS="") == "1 0\n"


@proc
def test_never_more_than_there_may_be():
    for _ in range(20):
        gradient()
    assert 1 <= team.helpers() == len(threads_by_name())
    assert team.helpers() < 256


# ---- Signals ----


@proc
def test_handlers_run_in_other_threads():
    """All signals are blocked, but those for a fault of the helper's own, which `faulthandler` reports."""
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
    never = {signal.SIGKILL, signal.SIGSTOP}
    gradient()
    helpers = threads_by_name()
    assert helpers
    for helper in helpers:
        status = dict(line.split(":", 1) for line in (helper / "status").read_text().splitlines())
        blocked = int(status["SigBlk"], 16)
        for number in signal.valid_signals() - faults - never:
            assert blocked >> (number - 1) & 1, number
        for number in faults:
            assert not blocked >> (number - 1) & 1, number


class AlarmError(Exception):
    """What the handler raises."""


@pytest.fixture
def alarm():
    """A function that has another called by a signal after some seconds."""
    before = signal.getsignal(signal.SIGALRM)

    def after(seconds, handler):
        signal.signal(signal.SIGALRM, lambda *_: handler())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


LONG_X, LONG_T = batch(NET, 60_000)
LONG_WORKS = {
    "loss_and_gradient": lambda out: fastbp.loss_and_gradient(NET, LONG_X, LONG_T, out=out)[1],
    "hessian_diagonal": lambda out: fastbp.hessian_diagonal(NET, LONG_X[:12_000], LONG_T[:12_000], out=out),
}


@timers
@pytest.mark.parametrize("work", LONG_WORKS)
def test_ctrl_c_ends_shared_work(alarm, work):
    """The caller returns while there is work left, and with it everybody who had a part of it."""

    def handler():
        raise AlarmError

    out = np.empty(NET.n_parameters)
    start = time.perf_counter()
    complete = LONG_WORKS[work](out).copy()
    usual = time.perf_counter() - start
    for part in (0.1, 0.3):
        out.fill(np.nan)
        alarm(part * usual, handler)
        with pytest.raises(AlarmError):
            LONG_WORKS[work](out)
        left = out.copy()
        assert not same(left, complete)
        gradient()
        assert same(out, left)  # nobody writes any more
    assert same(LONG_WORKS[work](out), complete)


@timers
def test_handlers_compute_in_the_middle_of_shared_work(alarm, serial):
    heard = []
    expected = fastbp.loss_and_gradient(NET, LONG_X, LONG_T)[1]

    def handler():
        heard.append(same(gradient(), serial["loss_and_gradient"]))
        signal.setitimer(signal.ITIMER_REAL, 0.02)

    alarm(0.02, handler)
    found = fastbp.loss_and_gradient(NET, LONG_X, LONG_T)[1]
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert same(found, expected)
    assert heard
    assert all(heard)


# ---- Forks ----


def end_if_it_hangs():
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)


def child(task):
    """Fork; whether the child, where `task` is called, found it true."""
    pid = os.fork()
    if pid == 0:
        try:
            end_if_it_hangs()
            os._exit(0 if task() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def computes(serial, works=WORKS):
    """Whether everything is as ever in a child, and helpers are there again."""
    none = team.helpers() == 0
    return none and all(same(WORKS[name](), serial[name]) for name in works) and team.helpers() > 0


@forks
@pytest.mark.parametrize("pause", [0, 0.05], ids=["awake", "asleep"])
def test_fork(serial, pause):
    for _ in range(3):
        gradient()
        assert team.helpers() > 0
        time.sleep(pause)
        assert child(lambda: computes(serial))
        assert same(gradient(), serial["loss_and_gradient"])
        assert team.helpers() > 0


@forks
def test_fork_of_a_fork(serial):
    gradient()
    assert child(lambda: computes(serial) and child(lambda: computes(serial)) and computes_again(serial))


def computes_again(serial):
    return same(gradient(), serial["loss_and_gradient"]) and team.helpers() > 0


@forks
def test_fork_before_there_is_any_helper():
    program = (
        PRELUDE
        + """
expected = net(X).tobytes()
pid = os.fork()
right = net(X).tobytes() == expected and team.helpers() > 0
if pid == 0:
    os._exit(0 if right else 1)
print(right, os.waitpid(pid, 0)[1])
"""
    )
    assert run(program, FASTBP_NUM_THREADS="4") == "True 0\n"


@forks
@with_threads
def test_fork_while_other_threads_compute(serial):
    """Their calls are finished in the parent; the child knows nothing of them."""
    ended, wrong = threading.Event(), []

    def compute(name):
        while not ended.is_set():
            if not same(WORKS[name](), serial[name]):
                wrong.append(name)

    busy = [threading.Thread(target=compute, args=(name,)) for name in ("loss_and_gradient", "fit", "forward")]
    for thread in busy:
        thread.start()
    for _ in range(10):
        time.sleep(0.01)
        assert child(lambda: computes(serial, ["loss_and_gradient", "forward"]))
    ended.set()
    for thread in busy:
        thread.join()
    assert wrong == []


@forks
@timers
def test_fork_in_a_handler_in_the_middle_of_a_call(alarm, serial):
    """Both processes finish the call, the child without the helpers that had begun it."""
    expected = fastbp.loss_and_gradient(NET, LONG_X, LONG_T)[1]
    parent, heard = os.getpid(), []

    def handler():
        heard.append(os.fork())
        if os.getpid() != parent:
            end_if_it_hangs()
        elif len(heard) < 3:
            signal.setitimer(signal.ITIMER_REAL, 0.03)  # not before: it would come in the middle of a fork

    alarm(0.03, handler)
    found = fastbp.loss_and_gradient(NET, LONG_X, LONG_T)[1]
    if os.getpid() != parent:
        try:
            os._exit(0 if same(found, expected) and computes_again(serial) else 1)
        finally:
            os._exit(2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert heard
    assert same(found, expected)
    assert [os.waitpid(pid, 0)[1] for pid in heard] == [0] * len(heard)
    assert computes_again(serial)


@forks
def test_a_hook_that_forks(serial):
    """Other libraries' hooks run between ours and the fork, or between the fork and ours."""
    program = (
        PRELUDE
        + """
expected = net(X).tobytes()
depth = [0]

def hook():
    if depth[0] == 0:
        depth[0] = 1
        pid = os.fork()
        if pid == 0:
            os._exit(0 if net(X).tobytes() == expected and team.helpers() > 0 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        depth[0] = 0

os.register_at_fork(before=hook, after_in_parent=hook)
pid = os.fork()
if pid == 0:
    os._exit(0 if net(X).tobytes() == expected and team.helpers() > 0 else 1)
print(os.waitpid(pid, 0)[1], net(X).tobytes() == expected, team.helpers() > 0)
"""
    )
    assert run(program, FASTBP_NUM_THREADS="4") == "0 True True\n"
    # Python's own modules would take their locks twice: their hooks have to come after this one.
    before = "import concurrent.futures.thread, logging, os, random\n"
    before += "os.register_at_fork(before=lambda: hook(), after_in_parent=lambda: hook())\n"
    program = before + program.replace("os.register_at_fork(before=hook, after_in_parent=hook)\n", "")
    assert run(program, FASTBP_NUM_THREADS="4") == "0 True True\n"


@forks
def test_a_fork_that_python_does_not_know_of():
    """By a library in C, which calls no hooks of Python's."""
    program = (
        PRELUDE
        + """
import ctypes
expected = net(X).tobytes()
assert team.helpers() > 0
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    right = team.helpers() == 0 and net(X).tobytes() == expected and team.helpers() > 0
    os._exit(0 if right else 1)
print(os.waitpid(pid, 0)[1], net(X).tobytes() == expected)
"""
    )
    assert run(program, FASTBP_NUM_THREADS="4") == "0 True\n"


def remote(seed):
    net = fastbp.mlp([64, 128, 128, 10], "tanh", "softmax", seed=seed)
    return fastbp.loss_and_gradient(net, X, T)[1]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@with_threads
def test_multiprocessing(method):
    expected = [remote(seed) for seed in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(remote, range(4))
    assert all(map(same, found, expected))


# ---- Other threads ----


def test_many_threads_at_once(serial):
    """More calls than there are helpers; some of them get none."""
    names = [*WORKS] * 3
    gate = threading.Barrier(len(names))

    def task(name):
        gate.wait()
        return [WORKS[name]() for _ in range(2)]

    with ThreadPoolExecutor(len(names)) as pool:
        for name, results in zip(names, pool.map(task, names), strict=True):
            assert all(same(result, serial[name]) for result in results)
    assert team.helpers() < 9  # the most that a test here has asked for


def test_numbers_that_change_while_others_compute(serial):
    ended, wrong = threading.Event(), []

    def compute(name):
        while not ended.is_set():
            if not same(WORKS[name](), serial[name]):
                wrong.append(name)

    busy = [threading.Thread(target=compute, args=(name,)) for name in WORKS]
    for thread in busy:
        thread.start()
    for k in range(60):
        fastbp.set_num_threads(1 + 5 * k % 7)
        time.sleep(0.005)
    ended.set()
    for thread in busy:
        thread.join()
    assert wrong == []


# ---- The exit ----


@pytest.mark.parametrize("pause", [0, 0.1], ids=["awake", "asleep"])
def test_exit_while_they_are_idle(pause):
    program = PRELUDE + f"fastbp.loss_and_gradient(net, X, T); time.sleep({pause}); print(team.helpers() > 0)"
    assert run(program, FASTBP_NUM_THREADS="4") == "True\n"


ENDLESS = (
    PRELUDE
    + """
def train(seed):
    mine = fastbp.mlp([64, 128, 128, 10], "tanh", "softmax", seed=seed)
    fastbp.Trainer(mine, fastbp.Adam()).fit(X, T, epochs=10**9, batch_size=1000)

def differentiate(seed):
    while True:
        fastbp.loss_and_gradient(net, X, T)

for seed in range(2):
    threading.Thread(target=train, args=(seed,), daemon=True).start()
    threading.Thread(target=differentiate, args=(seed,), daemon=True).start()
while not team.helpers():
    time.sleep(0.01)
time.sleep(0.1)
"""
)


@pytest.mark.parametrize("end", ["", "import atexit; atexit.register(time.sleep, 0.1)", "sys.exit(0)", "os._exit(0)"])
def test_exit_while_they_work(end):
    """For threads that the interpreter ends in the middle of their calls."""
    assert run(ENDLESS + end, FASTBP_NUM_THREADS="4") == ""


def test_work_at_exit():
    """Of functions that run at the end: after helpers have ended they do it alone."""
    program = (
        "import atexit\natexit.register(lambda: last())\n"
        + PRELUDE
        + """
expected = net(X).tobytes()

def last():
    print(team.helpers(), net(X).tobytes() == expected, team.helpers())
"""
    )
    assert run(program, FASTBP_NUM_THREADS="4") == "0 True 0\n"
