"""How many threads a call may use: as the program has it, the environment, the machine, threadpoolctl."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

import fastbp
import fastbp._boundary.control_groups as control_groups
from fastbp import _threads
from fastbp_c.boundary import team

linux_files = pytest.mark.skipif(sys.platform == "win32", reason="files of Linux")


@pytest.fixture(autouse=True)
def usual():
    """A number of threads that does not depend on this machine; afterwards it does again."""
    fastbp.set_num_threads(5)
    yield
    fastbp.set_num_threads(None)


def in_thread(function):
    """What it returns, called in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


class Worker:
    """A thread that does what it is told, and stays."""

    def __init__(self):
        self.asked, self.done, self.task = threading.Semaphore(0), threading.Semaphore(0), None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            self.asked.acquire()
            if self.task is None:
                return
            self.result = self.task()
            self.done.release()

    def __call__(self, task):
        self.task = task
        self.asked.release()
        if task is not None:
            self.done.acquire()
            return self.result


@pytest.fixture
def workers():
    """Two threads."""
    both = Worker(), Worker()
    yield both
    for worker in both:
        worker(None)
        worker.thread.join()


# ---- By the program ----


@pytest.mark.parametrize("n", [1, 2, 17, 256, np.int32(3), True + 1])
def test_is_what_was_set(n):
    assert fastbp.set_num_threads(n) is None
    assert fastbp.get_num_threads() == n
    assert type(fastbp.get_num_threads()) is int
    assert in_thread(fastbp.get_num_threads) == n


@pytest.mark.parametrize("n", [257, 2**31, 2**64, 10**1000])
def test_has_an_end(n):
    fastbp.set_num_threads(n)
    assert fastbp.get_num_threads() == 256


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (0, "ValueError: n: expected at least 1, got 0"),
        (-3, "ValueError: n: expected at least 1, got -3"),
        (True, "TypeError: n: expected an integer, got bool"),
        (np.True_, "TypeError: n: expected an integer, got bool"),
        (2.0, "TypeError: n: expected an integer, got float"),
        ("2", "TypeError: n: expected an integer, got str"),
        ([2], "TypeError: n: expected an integer, got list"),
    ],
)
def test_refusals_change_nothing(n, message):
    with pytest.raises((TypeError, ValueError)) as raised:
        fastbp.set_num_threads(n)
    assert f"{raised.type.__name__}: {raised.value}" == message
    assert fastbp.get_num_threads() == 5
    assert _threads.why() == "set_num_threads"


def test_none_is_the_number_at_the_beginning():
    beginning = fresh("print(fastbp.get_num_threads())")
    fastbp.set_num_threads(None)
    assert str(fastbp.get_num_threads()) == beginning


@pytest.mark.parametrize("n", [1, 3])
def test_a_number_that_is_set_ends_all_limits(workers, n):
    threadpool_limits(2, "fastbp")
    workers[0](lambda: threadpool_limits(4, "fastbp"))
    fastbp.set_num_threads(n)
    assert fastbp.get_num_threads() == n
    assert workers[0](fastbp.get_num_threads) == n
    assert workers[1](fastbp.get_num_threads) == n


# ---- By the environment ----


def fresh(program, check=True, **environment):
    """What a new process prints."""
    names = ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    path = str(Path(fastbp.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import fastbp\n{program}"],
        env={**inherited, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    if check:
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()
    return done


WHY = "from fastbp import _threads; print(fastbp.get_num_threads(), _threads.why())"


@pytest.fixture
def environment(monkeypatch):
    """A function that replaces what the environment says, and gives what is understood."""

    def understood(**variables):
        for name in ("FASTBP_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        return _threads._of_environment()

    return understood


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, "")),
        ({"FASTBP_NUM_THREADS": "3"}, (3, "FASTBP_NUM_THREADS")),
        ({"FASTBP_NUM_THREADS": " 003 "}, (3, "FASTBP_NUM_THREADS")),
        ({"FASTBP_NUM_THREADS": "1", "OMP_NUM_THREADS": "4"}, (1, "FASTBP_NUM_THREADS")),
        ({"FASTBP_NUM_THREADS": "", "OMP_NUM_THREADS": "4"}, (4, "OMP_NUM_THREADS")),
        ({"FASTBP_NUM_THREADS": "9" * 5000}, (256, "FASTBP_NUM_THREADS")),
        ({"OMP_NUM_THREADS": "4,2"}, (4, "OMP_NUM_THREADS")),
        ({"OMP_NUM_THREADS": "1000"}, (256, "OMP_NUM_THREADS")),
    ],
    ids=lambda x: ", ".join(f"{name}={text:.9}" for name, text in x.items()) if isinstance(x, dict) else x[1],
)
def test_environment(environment, variables, expected):
    assert environment(**variables) == expected


@pytest.mark.parametrize("text", ["0", "-1", "many", "2.5", ",3", ""])
def test_what_another_librarys_variable_says_wrongly_is_ignored(environment, text):
    assert environment(OMP_NUM_THREADS=text) == (0, "")


@pytest.mark.parametrize("text", ["0", "-1", "many", "2.5", "3,2", " "])
def test_a_wrong_variable_of_its_own_is_refused(environment, text):
    message = f"^FASTBP_NUM_THREADS: expected a whole number of at least 1, got {text!r}$"
    with pytest.raises(ValueError, match=message):
        environment(FASTBP_NUM_THREADS=text)


def test_the_import_reads_the_environment():
    assert fresh(WHY, OMP_NUM_THREADS="4,2") == "4 OMP_NUM_THREADS"
    done = fresh("", check=False, FASTBP_NUM_THREADS="many")
    last = done.stderr.splitlines()[-1]
    assert last == "ValueError: FASTBP_NUM_THREADS: expected a whole number of at least 1, got 'many'"


def test_the_environments_number_is_restored():
    program = "fastbp.set_num_threads(7); fastbp.set_num_threads(None);" + WHY
    assert fresh(program, FASTBP_NUM_THREADS="3") == "3 FASTBP_NUM_THREADS"


# ---- By the machine and the container ----


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs the affinity mask of Linux")
def test_the_processors_that_a_thread_may_use_now():
    """One thread is confined; the others see what they may use themselves."""
    mask = os.sched_getaffinity(0)
    fastbp.set_num_threads(None)
    before = fastbp.get_num_threads()
    try:
        os.sched_setaffinity(0, {min(mask)})
        assert fastbp.get_num_threads() == 1
    finally:
        os.sched_setaffinity(0, mask)
    assert fastbp.get_num_threads() == before


@pytest.fixture
def machine(monkeypatch):
    """One of eight processors, as far as the library can tell."""
    if "OMP_NUM_THREADS" in os.environ or "FASTBP_NUM_THREADS" in os.environ:
        monkeypatch.setattr(_threads, "_default", (0, ""))
    monkeypatch.setattr(_threads, "_processors", lambda: 8)
    used = []
    monkeypatch.setattr(team, "set_threads", lambda n, most: used.append(n or min(8, most)), raising=True)
    monkeypatch.setattr(team, "usual_threads", lambda: used[-1])
    monkeypatch.setattr(team, "threads", lambda: used[-1])


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A function that makes the control groups around this process, given the quota of each."""

    def make(quotas, version, path="/"):
        proc, top = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True)
        lines = {"unified": [f"0::{path}"], "legacy": ["4:cpuset:/other", f"3:cpu,cpuacct:{path}", "0::/user.slice"]}
        (proc / "self/cgroup").write_text("".join(f"{line}\n" for line in lines[version]))
        top.mkdir()
        for place, quota in quotas.items():
            folder = top / ("" if version == "unified" else "cpu") / place.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            if version == "unified":
                (folder / "cpu.max").write_text(f"{quota}\n")
            else:
                limit, period = quota.split()
                (folder / "cpu.cfs_quota_us").write_text("-1\n" if limit == "max" else f"{limit}\n")
                (folder / "cpu.cfs_period_us").write_text(f"{period}\n")
        monkeypatch.setattr(control_groups, "PROC", proc)
        monkeypatch.setattr(control_groups, "CGROUP", top)

    return make


@linux_files
@pytest.mark.parametrize("version", ["unified", "legacy"])
@pytest.mark.parametrize(
    ("quotas", "path", "expected"),
    [
        ({}, "/", None),
        ({"/": "max 100000"}, "/", None),
        ({"/": "150000 100000"}, "/", 2),
        ({"/": "200000 100000"}, "/", 2),
        ({"/": "200001 100000"}, "/", 3),
        ({"/": "1000 100000"}, "/", 1),
        ({"/": "6400000 100000"}, "/", 64),
        ({"/": "max 100000", "/job": "300000 100000", "/job/step": "50000 10000"}, "/job/step", 3),
        ({"/": "100000 100000", "/job": "300000 100000"}, "/job", 1),
        ({"/job": "300000 100000", "/other": "100000 100000"}, "/job", 3),
        ({"/": "400000 100000"}, "/docker/0123456789abcdef", 4),
        ({"/": "lots 100000"}, "/", None),
        ({"/": "100000 0"}, "/", None),
        ({"/": "100000 many"}, "/", None),
    ],
)
def test_quota(groups, version, quotas, path, expected):
    groups(quotas, version, path)
    assert control_groups.processors() == expected


@linux_files
@pytest.mark.parametrize("text", ["", "\n", "nonsense\n", "0\n", "0:\n", "\udcff:cpu:/\udcff\n"])
def test_groups_that_make_no_sense(groups, text):
    groups({}, "unified")
    (control_groups.PROC / "self/cgroup").write_text(text, errors="surrogateescape")
    assert control_groups.processors() is None
    (control_groups.PROC / "self/cgroup").unlink()
    assert control_groups.processors() is None


@linux_files
@pytest.mark.parametrize(
    ("quota", "expected", "reason"),
    [
        ("150000 100000", 2, "quota of the container"),
        ("max 100000", 8, "processors this process may use"),
        ("800000 100000", 8, "processors this process may use"),
        ("6400000 100000", 8, "processors this process may use"),
    ],
)
def test_processors_up_to_the_quota(groups, machine, quota, expected, reason):
    groups({"/": quota}, "unified")
    fastbp.set_num_threads(None)
    assert fastbp.get_num_threads() == expected
    assert _threads.why() == reason
    fastbp.set_num_threads(6)  # what is asked for is not cut
    assert fastbp.get_num_threads() == 6
    assert _threads.why() == "set_num_threads"


@linux_files
def test_the_quota_is_asked_for_again(groups, machine):
    groups({"/": "max 100000"}, "unified")
    fastbp.set_num_threads(None)
    assert fastbp.get_num_threads() == 8
    (control_groups.CGROUP / "cpu.max").write_text("300000 100000\n")
    fastbp.set_num_threads(None)
    assert fastbp.get_num_threads() == 3


# ---- By threadpoolctl ----


def entry():
    (found,) = (library for library in threadpool_info() if library["user_api"] == "fastbp")
    return found


def test_threadpoolctl_lists_the_library():
    found = entry()
    assert found["internal_api"] == "fastbp"
    assert found["num_threads"] == 5
    assert found["version"] == fastbp.__version__
    assert Path(found["filepath"]).samefile(team.__file__)


@pytest.mark.parametrize("order", ["import threadpoolctl, fastbp", "import fastbp, threadpoolctl"])
def test_threadpoolctl_lists_it_whoever_is_imported_first(order):
    program = (
        f"{order}\nprint([x['num_threads'] for x in threadpoolctl.threadpool_info() if x['user_api'] == 'fastbp'])"
    )
    assert fresh(program, FASTBP_NUM_THREADS="3") == "[3]"


def test_threadpoolctl_lists_it_if_it_has_looked_before():
    program = """
import threadpoolctl
before = threadpoolctl.threadpool_info()
import fastbp
print(len(before), [x["num_threads"] for x in threadpoolctl.threadpool_info() if x["user_api"] == "fastbp"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1]), "FASTBP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0 [3]\n", "")


@pytest.mark.parametrize(
    "limit",
    [
        lambda n: threadpool_limits(n),
        lambda n: threadpool_limits(n, "fastbp"),
        lambda n: threadpool_limits({"fastbp": n}),
        lambda n: ThreadpoolController().limit(limits=n),
        lambda n: ThreadpoolController().select(user_api="fastbp").limit(limits={"fastbp": n}),
    ],
)
def test_threadpoolctl_limits(limit):
    for n in (1, 3, 5, 8):
        with limit(n):
            assert fastbp.get_num_threads() == n
            assert entry()["num_threads"] == n
            assert _threads.why() == ("set_num_threads" if n == 5 else "a limit of threadpoolctl")
        assert fastbp.get_num_threads() == 5
        assert in_thread(fastbp.get_num_threads) == 5


def test_nested_limits():
    numbers = []
    with threadpool_limits(3, "fastbp"):
        numbers.append(fastbp.get_num_threads())
        with threadpool_limits(1, "fastbp"):
            numbers.append(fastbp.get_num_threads())
            with threadpool_limits(5, "fastbp"):
                numbers.append(fastbp.get_num_threads())
            numbers.append(fastbp.get_num_threads())
        numbers.append(fastbp.get_num_threads())
    assert [*numbers, fastbp.get_num_threads()] == [3, 1, 5, 1, 3, 5]


def test_a_limit_bounds_threads_that_have_none(workers):
    first, second = workers
    limits = first(lambda: threadpool_limits(2, "fastbp"))
    assert (fastbp.get_num_threads(), first(fastbp.get_num_threads)) == (2, 2)
    with threadpool_limits(4, "fastbp"):  # of its own
        assert fastbp.get_num_threads() == 4
        assert second(fastbp.get_num_threads) == 2
    assert fastbp.get_num_threads() == 2
    first(limits.restore_original_limits)
    assert [fastbp.get_num_threads(), first(fastbp.get_num_threads), second(fastbp.get_num_threads)] == [5, 5, 5]


def test_more_than_usual_is_for_its_own_thread_alone(workers):
    with threadpool_limits(8, "fastbp"):
        assert fastbp.get_num_threads() == 8
        assert workers[0](fastbp.get_num_threads) == 5


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first_in_first_out", "first_in_last_out"])
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), (3, 3), (1, 8), (1, 5)])
def test_limits_of_several_threads_overlap(workers, numbers, order):
    """Each ends where it began: what another thread had set in between is not taken for what was there before."""
    limits = [worker(lambda n=n: threadpool_limits(n, "fastbp")) for worker, n in zip(workers, numbers, strict=True)]
    own = [worker(fastbp.get_num_threads) for worker in workers]
    assert own == [n if n != 5 else min(numbers) for n in numbers]
    assert fastbp.get_num_threads() == min(5, *numbers)
    for k in order:
        workers[k](limits[k].restore_original_limits)
        left = [n for j, n in enumerate(numbers) if j != k and n != 5] if k == order[0] else []
        assert workers[k](fastbp.get_num_threads) == fastbp.get_num_threads() == min([5, *left])
    assert [worker(fastbp.get_num_threads) for worker in workers] == [5, 5]


def test_a_limit_ends_with_its_thread():
    in_thread(lambda: threadpool_limits(1, "fastbp"))
    start = time.monotonic()
    while fastbp.get_num_threads() != 5:  # Python joins a thread a moment before its end
        assert time.monotonic() < start + 10
    assert [in_thread(fastbp.get_num_threads) for _ in range(5)] == [5] * 5  # though the system gives its name again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("main", "other", "expected"), [(None, 2, 2), (3, 2, 3), (3, None, 3), (None, None, 5)])
def test_what_held_before_a_fork_holds_in_the_child(workers, main, other, expected):
    """There the limits of other threads have nobody to end them: they bound until a number is set."""
    limits = threadpool_limits(main, "fastbp") if main else None
    workers[0](lambda: threadpool_limits(other, "fastbp") if other else None)
    child = os.fork()
    if child == 0:
        try:
            right = fastbp.get_num_threads() == expected
            if limits:
                limits.restore_original_limits()
                right &= fastbp.get_num_threads() == (other or 5)
            fastbp.set_num_threads(7)
            right &= fastbp.get_num_threads() == 7
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    if limits:
        limits.restore_original_limits()
    assert os.waitpid(child, 0)[1] == 0


def test_many_threads_set_numbers_and_limits_while_others_compute():
    net = fastbp.mlp([64, 128, 10], "tanh", "softmax", seed=0)
    X = np.random.default_rng(0).standard_normal((2000, 64))
    expected, ended, wrong = net(X), threading.Event(), []

    def compute():
        while not ended.is_set():
            if not np.array_equal(net(X), expected):
                wrong.append(1)

    def limit(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            with threadpool_limits(int(rng.integers(1, 5)), "fastbp"):
                net(X)
            if seed == 0:
                fastbp.set_num_threads(int(rng.integers(1, 5)))

    busy = [threading.Thread(target=compute) for _ in range(2)]
    limiting = [threading.Thread(target=limit, args=(seed,)) for seed in range(3)]
    for thread in busy + limiting:
        thread.start()
    for thread in limiting:
        thread.join()
    ended.set()
    for thread in busy:
        thread.join()
    assert wrong == []
    fastbp.set_num_threads(5)
    assert fastbp.get_num_threads() == 5
