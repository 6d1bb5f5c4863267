"""How much memory there is to be had: what a container may take, less what it has, without the files it has read."""

import os
import sys

import numpy as np
import pytest

import fastbp
import fastbp._boundary.control_groups as control_groups
import fastbp._boundary.memory as memory
from fastbp import Affine, Network, Shared

MiB = 2**20
linux_files = pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked in another way")

UNIFIED = {"limit": "memory.max", "usage": "memory.current", "active": "active_file", "inactive": "inactive_file"}
LEGACY = {
    "limit": "memory.limit_in_bytes", "usage": "memory.usage_in_bytes", "active": "total_active_file",
    "inactive": "total_inactive_file",
}  # fmt: skip
VERSIONS = pytest.mark.parametrize("version", ["unified", "legacy", "both"])


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A function that makes the files of a system, and of the control groups around this process."""

    def make(groups=None, version="unified", free=8192 * MiB, path="/"):
        proc, top = tmp_path / "proc", tmp_path / "cgroup"
        (proc / "self").mkdir(parents=True)
        (proc / "meminfo").write_text(
            f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: {free // 1024:>12} kB\nBuffers: 5 kB\n"
        )
        lines = {
            "unified": [f"0::{path}"],
            "legacy": [f"4:memory:{path}", "3:cpu,cpuacct:/elsewhere"],
            "both": [f"9:cpu,memory:{path}", "1:name=systemd:/user.slice", "0::/user.slice/session"],
        }[version]
        (proc / "self/cgroup").write_text("".join(f"{line}\n" for line in lines))
        names = UNIFIED if version == "unified" else LEGACY
        top.mkdir()
        for place, group in (groups or {}).items():
            folder = top / ("" if version == "unified" else "memory") / place.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / names["limit"]).write_text(f"{group['limit']}\n")
            (folder / names["usage"]).write_text(f"{group['usage']}\n")
            (folder / "memory.stat").write_text(
                f"anon 5\nfile {group.get('file', 0)}\ncache {group.get('file', 0)}\nshmem 7\n"
                f"{names['inactive']} {group.get('inactive', 0)}\n{names['active']} {group.get('active', 0)}\n"
            )
        monkeypatch.setattr(control_groups, "PROC", proc)
        monkeypatch.setattr(control_groups, "CGROUP", top)
        monkeypatch.setattr(sys, "platform", "linux")

    return make


@linux_files
def test_without_groups(system):
    system()
    assert memory.available_bytes() == 8192 * MiB


@linux_files
@VERSIONS
def test_the_page_cache_is_free(system, version):
    """Files that were read or written fill the limit: they make room as soon as it is needed."""
    group = {"limit": 1024 * MiB, "usage": 1000 * MiB, "inactive": 500 * MiB, "active": 300 * MiB, "file": 900 * MiB}
    system({"/": group}, version)
    assert memory.available_bytes() == (1024 - 1000 + 500 + 300) * MiB


@linux_files
@VERSIONS
def test_shared_memory_is_not_free(system, version):
    """It is a part of what the kernel counts as cache, but only swapping makes room of it."""
    system({"/": {"limit": 1024 * MiB, "usage": 1000 * MiB, "file": 900 * MiB}}, version)
    assert memory.available_bytes() == 24 * MiB


@linux_files
@VERSIONS
def test_the_least_of_all_groups_around_the_process(system, version):
    groups = {
        "/": {"limit": 4096 * MiB, "usage": 0},
        "/job": {"limit": 1024 * MiB, "usage": 900 * MiB, "active": 100 * MiB},
        "/job/step": {"limit": 2048 * MiB, "usage": 100 * MiB},
        "/other": {"limit": MiB, "usage": 0},
    }
    system(groups, version, path="/job/step")
    assert memory.available_bytes() == 224 * MiB


@linux_files
@VERSIONS
def test_in_a_container_that_sees_the_path_of_its_host(system, version):
    system({"/": {"limit": 512 * MiB, "usage": 12 * MiB}}, version, path="/docker/0123456789abcdef")
    assert memory.available_bytes() == 500 * MiB


@linux_files
@pytest.mark.parametrize(
    ("version", "limit"), [("unified", "max"), ("legacy", 2**63 - 4096), ("both", 2**63 - 4096)], ids=str
)
def test_without_a_limit(system, version, limit):
    system({"/": {"limit": limit, "usage": 10 * MiB, "inactive": 5 * MiB}}, version)
    assert memory.available_bytes() == 8192 * MiB


@linux_files
@VERSIONS
def test_more_used_than_allowed(system, version):
    system({"/": {"limit": 100 * MiB, "usage": 101 * MiB}}, version)
    assert memory.available_bytes() == 0


@linux_files
@pytest.mark.parametrize("missing", ["meminfo", "self/cgroup", "memory.stat", "memory.current", "memory.max"])
def test_files_that_are_not_there(system, missing):
    system({"/": {"limit": 100 * MiB, "usage": 50 * MiB}})
    folder = control_groups.CGROUP if missing.startswith("memory.") else control_groups.PROC
    (folder / missing).unlink()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory.available_bytes() == {"meminfo": min(total, 50 * MiB)}.get(missing, 8192 * MiB)


@linux_files
def test_garbage(system):
    system({"/": {"limit": "lots", "usage": "x"}})
    (control_groups.PROC / "meminfo").write_text("MemAvailable: much kB\n")
    assert memory.available_bytes() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_of_this_machine():
    assert 0 < memory.available_bytes() < 2**60


@linux_files
def test_a_result_that_fits_but_for_the_page_cache(system):
    system({"/": {"limit": 1024 * MiB, "usage": 1020 * MiB, "inactive": 512 * MiB}})
    assert memory.new_array("x", (70 * MiB // 8,), np.dtype(np.float64)).nbytes == 70 * MiB
    with pytest.raises(MemoryError, match=r"^x: expected 629145600 bytes of memory for shape \(78643200,\), got 541"):
        memory.new_array("x", (600 * MiB // 8,), np.dtype(np.float64))


P = 2**23 + 2  # of that many parameters, and inputs, a row is asked for before it is taken


def wide():
    return Network([Affine(P - 1, 1)], init="zeros")


@pytest.mark.parametrize(
    ("call", "what", "shape"),
    [
        (lambda net, X, T: fastbp.loss_and_gradient(net, X, T), "loss_and_gradient", (P,)),
        (lambda net, X, T: fastbp.per_sample_gradients(net, X, T), "per_sample_gradients", (1, P)),
        (lambda net, X, T: fastbp.jacobian(net, X), "jacobian", (1, 1, P - 1)),
        (lambda net, X, T: fastbp.parameter_jacobian(net, X), "parameter_jacobian", (1, 1, P)),
        (lambda net, X, T: fastbp.hessian_diagonal(net, X, T), "hessian_diagonal", (P,)),
        (lambda net, X, T: fastbp.gauss_newton_diagonal(net, X, T), "gauss_newton_diagonal", (P,)),
        (lambda net, X, T: net.copy(), "parameters", (P,)),
    ],
)
def test_results_of_one_sample(call, what, shape, monkeypatch):
    """A row of as many numbers as there are parameters is large enough to be asked for."""
    net, X, T = wide(), np.zeros((1, P - 1)), np.zeros((1, 1))
    monkeypatch.setattr(memory, "available_bytes", lambda: MiB)
    needed = 8 * int(np.prod(shape))
    with pytest.raises(MemoryError, match=rf"^{what}: expected {needed} bytes of memory for shape .*, got 1048576 "):
        call(net, X, T)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda x, W: fastbp.affine_backward(np.ones((1, 1)), x, W), "dX"),
        (lambda x, W: fastbp.affine_backward(np.ones((1, 1)), x, W, need_dX=False), "dW"),
        (lambda x, W: fastbp.delta_backward(np.ones((1, 1)), W, x, "tanh"), "delta"),
        (lambda x, W: fastbp.affine(np.ones((1, 1)), x), "affine"),
    ],
)
def test_building_blocks_of_one_sample(call, what, monkeypatch):
    x, W = np.zeros((1, P)), np.zeros((P, 1))
    monkeypatch.setattr(memory, "available_bytes", lambda: MiB)
    with pytest.raises(MemoryError, match=rf"^{what}: expected {8 * P} bytes of memory for shape "):
        call(x, W)


def test_units_for_products_are_asked_for(monkeypatch):
    """A diagonal by products takes rows of as many numbers beside it."""
    net = Network([Shared(1, 1, 2, "tanh"), Affine(2, 4, "softmax")], init="zeros")
    asked = []
    right = memory.new_array

    def new_array(what, shape, dtype):
        asked.append(what)
        return right(what, shape, dtype)

    monkeypatch.setattr(memory, "new_array", new_array)
    op = fastbp.HessianOperator(net, np.ones((3, 2)), [0, 1, 2])
    op.block(0, 1)
    assert "block" in asked
