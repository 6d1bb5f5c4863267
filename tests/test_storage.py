"""Networks on disk: round trips, and whole files whatever happens while writing."""

import errno
import itertools
import json
import os
import pickle
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import fastbp
from cases import ARCHITECTURES, architectures, chain, data, network, sharing_patterns
from fastbp import Affine, AveragePool2d, Conv1d, Conv2d, MaxPool2d, Network, Shared, Tied
from fastbp._boundary.files import _prefix_for
from fastbp._networks.architecture import describe, layers_of
from files import file_bytes, layer
from util import DTYPES

posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals of POSIX")
NETWORK = network(chain(3, 2), "float32")


def folder_of(path):
    return sorted(entry.name for entry in path.iterdir())


# Round trips.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ARCHITECTURES)
def test_round_trip(case, dtype, tmp_path):
    net = network(ARCHITECTURES[case], dtype)
    net.save(tmp_path / "net")
    other = fastbp.load(tmp_path / "net")
    assert other == net
    assert other.dtype == net.dtype
    for i, first in enumerate(net.layers):
        for j, second in enumerate(net.layers):
            assert (first is second) == (other.layers[i] is other.layers[j])
    X, T = data(net, 5)
    np.testing.assert_array_equal(fastbp.per_sample_gradients(other, X, T), fastbp.per_sample_gradients(net, X, T))
    assert folder_of(tmp_path) == ["net"]


@given(layers=architectures() | sharing_patterns())
def test_round_trip_of_random_architectures(layers, tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "net"
    net = network(layers)
    net.save(path)
    assert fastbp.load(path) == net


def test_loaded_network_is_independent_of_the_file(tmp_path):
    NETWORK.save(tmp_path / "net")
    net = fastbp.load(tmp_path / "net")
    assert net.parameters.flags.writeable
    net.parameters[...] = 5
    assert fastbp.load(tmp_path / "net") == NETWORK


def test_special_values_keep_their_bits(tmp_path):
    net = Network([Affine(2, 3)])
    net.parameters = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, np.finfo(float).max, 1.0, 0.1]
    net.save(tmp_path / "net")
    assert fastbp.load(tmp_path / "net").parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.parametrize("convert", [str, Path, os.fsencode], ids=["str", "Path", "bytes"])
def test_kinds_of_paths(convert, tmp_path):
    path = convert(tmp_path / "näme with spaces.safetensors")
    NETWORK.save(path)
    assert fastbp.load(path) == NETWORK


def test_path_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    NETWORK.save("net")
    assert fastbp.load("net") == NETWORK
    assert folder_of(tmp_path) == ["net"]


def test_longest_name(tmp_path):
    path = tmp_path / ("n" * 255)
    NETWORK.save(path)
    assert fastbp.load(path) == NETWORK


@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_reads_it(dtype, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    net = network(ARCHITECTURES["repeated_aab"], dtype)
    net.save(tmp_path / "net")
    tensors = safetensors.load_file(tmp_path / "net")
    assert list(tensors) == ["parameters"]
    assert tensors["parameters"].dtype == dtype
    np.testing.assert_array_equal(tensors["parameters"], net.parameters)


def test_file_of_version_1_stays_readable(tmp_path):
    """Written by hand: a release that cannot read it has broken the format."""
    (tmp_path / "net").write_bytes(file_bytes([layer(2, 2, "tanh"), {"kind": "repeat", "of": 0}], 6, "F64"))
    net = fastbp.load(tmp_path / "net")
    shared = Affine(2, 2, "tanh")
    assert net == Network([shared, shared], init="zeros")
    (tmp_path / "net").write_bytes(file_bytes())
    assert fastbp.load(tmp_path / "net") == Network([Affine(3, 2)], dtype="float32", init="zeros")


def test_file_of_every_kind_of_layer(tmp_path):
    """The same for the kinds that came later."""
    common = {"activation": "tanh", "bias": True}
    image = {"image_shape": [4, 6, 2], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    window = {"kernel_size": [2, 2], "image_shape": [4, 6, 2], "stride": [2, 2], "padding": [0, 0]}
    written = [
        {"kind": "conv2d", "in_channels": 2, "out_channels": 2, "kernel_size": [3, 3], **image, **common},
        {"kind": "tied", "of": 0, "transposed": True, "activation": "relu", "bias": False},
        {"kind": "max_pool2d", **window},
        {"kind": "tied", "of": 4, "transposed": True, "activation": "identity", "bias": True},
        {"kind": "shared", "n_in": 2, "n_out": 3, "groups": 4, **common},
        {"kind": "repeat", "of": 3},
        {"kind": "tied", "of": 4, "transposed": False, **common},  # a tie to a tie that is not there
        {"kind": "conv1d", "in_channels": 3, "out_channels": 1, "kernel_size": [3], "image_shape": [4, 3],
         "stride": [1], "padding": [2], "dilation": [2], "activation": "silu", "bias": False},
        {"kind": "average_pool2d", "kernel_size": [1, 2], "image_shape": [1, 4, 1], "stride": [1, 2],
         "padding": [0, 1]},
    ]  # fmt: skip
    conv = Conv2d(2, 2, 3, "tanh", image_shape=(4, 6), padding=1)
    shared = Shared(2, 3, 4, "tanh")
    tied = Tied(shared)
    net = network([
        conv, Tied(conv, "relu", bias=False), MaxPool2d(2, image_shape=(4, 6, 2)), tied, shared, tied,
        Tied(Tied(shared), "tanh"), Conv1d(3, 1, 3, "silu", image_shape=4, padding=2, dilation=2, bias=False),
        AveragePool2d((1, 2), image_shape=(1, 4, 1), padding=(0, 1)),
    ])  # fmt: skip
    assert json.loads(json.dumps(describe(net.layers))) == written
    net.save(tmp_path / "saved")
    (tmp_path / "net").write_bytes(file_bytes(written, net.n_parameters, "F64"))
    other = fastbp.load(tmp_path / "net")
    assert not other.parameters.any()
    other.parameters = net.parameters
    assert other == net == fastbp.load(tmp_path / "saved")
    np.testing.assert_array_equal(other(data(net, 5)[0]), net(data(net, 5)[0]))


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_description_goes_round(case):
    layers = ARCHITECTURES[case]
    assert describe(layers_of(describe(layers))) == describe(layers)
    assert json.loads(json.dumps(describe(layers))) == json.loads(json.dumps(describe(layers_of(describe(layers)))))


def test_ties_come_back_as_they_were(tmp_path):
    """The same objects tied to the same objects, wherever they stand, in files, pickles and copies."""
    first = Affine(3, 3)
    once = Tied(first)
    twice, hidden = Tied(once, "tanh"), Tied(Tied(once))
    last = Tied(twice, bias=False)
    net = network([twice, once, first, last, once, hidden])
    net.save(tmp_path / "net")
    for other in (fastbp.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        twice, once, first, last, again, hidden = other.layers
        assert type(first) is Affine
        assert again is once
        assert (once.layer, twice.layer, last.layer) == (first, once, twice)
        assert once.layer is first
        assert twice.layer is once
        assert last.layer is twice
        assert hidden.layer.layer is once
        assert other == net
        np.testing.assert_array_equal(other(np.ones((2, 3))), net(np.ones((2, 3))))


def test_long_chain_of_ties(tmp_path):
    layers = [Affine(1, 1, bias=False)]
    for _ in range(3000):
        layers.append(Tied(layers[-1], bias=False))
    net = network(layers[::-1])
    net.save(tmp_path / "net")
    other = fastbp.load(tmp_path / "net").layers
    assert all(layer.layer is before for layer, before in itertools.pairwise(other))


# Writing.


def test_save_replaces(tmp_path):
    network(ARCHITECTURES["wide"]).save(tmp_path / "net")
    NETWORK.save(tmp_path / "net")
    assert fastbp.load(tmp_path / "net") == NETWORK
    assert folder_of(tmp_path) == ["net"]


class FullDisk:
    """A file on a disk with room for 10 bytes."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def write(self, content):
        self.file.write(content[:10])
        raise OSError(errno.ENOSPC, "no space left on device")


@pytest.mark.parametrize("exception", [OSError, KeyboardInterrupt, MemoryError], ids=lambda x: x.__name__)
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_failure_leaves_the_old_file_whole(step, exception, tmp_path, monkeypatch):
    path = tmp_path / "net"
    NETWORK.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise exception

    with monkeypatch.context() as patch:
        if step == "write":
            fdopen = os.fdopen
            patch.setattr(os, "fdopen", lambda *args: FullDisk(fdopen(*args)))
            exception = OSError
        else:
            patch.setattr(os, step, fail)
        with pytest.raises(exception):
            network(ARCHITECTURES["wide"]).save(path)
        with pytest.raises(exception):
            NETWORK.save(tmp_path / "new")
    assert folder_of(tmp_path) == ["net"]
    assert path.read_bytes() == before


def test_missing_folder(tmp_path):
    path = tmp_path / "missing" / "net"
    with pytest.raises(FileNotFoundError) as caught:
        NETWORK.save(path)
    assert caught.value.filename == str(path)
    assert ".fastbp" not in str(caught.value)
    assert folder_of(tmp_path) == []


@posix
def test_folder_that_nobody_may_write_to(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="net") as caught:
        NETWORK.save(tmp_path / "net")
    assert caught.value.filename == str(tmp_path / "net")


@posix
@pytest.mark.parametrize("there", [True, False], ids=["whole", "dangling"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("relative", [True, False])
def test_links_stay(relative, steps, there, tmp_path):
    """What a link leads to is replaced, in the folder where that is."""
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "real"
    if there:
        network(ARCHITECTURES["wide"]).save(real)
    link = real
    for step in range(steps):
        name = tmp_path / f"link{step}"
        name.symlink_to(os.path.relpath(link, tmp_path) if relative else link)
        link = name
    NETWORK.save(link)
    assert link.is_symlink()
    assert not real.is_symlink()
    assert fastbp.load(real) == fastbp.load(link) == NETWORK
    assert folder_of(tmp_path / "far") == ["real"]


@posix
def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a"):
        NETWORK.save(tmp_path / "a")
    assert folder_of(tmp_path) == ["a", "b"]


@posix
def test_what_a_killed_process_left_goes_with_the_next_save(tmp_path):
    """But not what another process is writing, nor what belongs to another file."""
    left, busy = (temporary_for(tmp_path / "net", tmp_path) for _ in range(2))
    other = temporary_for(tmp_path / "other", tmp_path)
    for path in (left, busy, other):
        path.write_bytes(b"half")
    import fcntl

    with open(busy, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        NETWORK.save(tmp_path / "net")
        assert folder_of(tmp_path) == sorted([busy.name, other.name, "net"])
    NETWORK.save(tmp_path / "net")
    assert folder_of(tmp_path) == sorted([other.name, "net"])


def temporary_for(path, folder):
    """The name of a temporary file for `path`, as a save would take it."""
    return folder / (_prefix_for(str(path)) + secrets.token_hex(8))


@posix
def test_many_processes_save_to_one_name(tmp_path):
    path = tmp_path / "net"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen([sys.executable, "-c", SAVE_OFTEN, str(path)], env=environment, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for child in children:
        assert (child.communicate()[1], child.returncode) == (b"", 0)
    assert fastbp.load(path) == fastbp.mlp([40, 30, 10], seed=1)
    assert folder_of(tmp_path) == ["net"]


SAVE_OFTEN = """
import sys
import fastbp

net = fastbp.mlp([40, 30, 10], seed=1)
for _ in range(60):
    net.save(sys.argv[1])
"""


@pytest.mark.parametrize("function", [Network.save, lambda net, path: fastbp.load(path)], ids=["save", "load"])
def test_folder_in_the_place_of_the_file(function, tmp_path):
    with pytest.raises(OSError, match=str(tmp_path)):
        function(NETWORK, tmp_path)
    assert folder_of(tmp_path) == []


SAVE_FOREVER = """
import sys
import numpy as np
import fastbp

nets = [fastbp.mlp([400, 300, 10], seed=seed) for seed in (1, 2)]
while True:
    for net in nets:
        net.save(sys.argv[1])
        print(flush=True)
"""


@posix
def test_killed_while_saving(tmp_path):
    """Kill -9 at any moment: what is there is one of the networks, whole."""
    path = tmp_path / "net"
    nets = [fastbp.mlp([400, 300, 10], seed=seed) for seed in (1, 2)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for saves in (1, 2, 5, 20):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(path)], env=environment, stdout=subprocess.PIPE
        )
        try:
            for _ in range(saves):
                assert child.stdout.readline() == b"\n"
        finally:
            child.send_signal(signal.SIGKILL)
            child.stdout.close()
            child.wait()
        assert fastbp.load(path) in nets
    nets[0].save(path)
    assert folder_of(tmp_path) == ["net"]


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o027], ids=oct)
def test_mode_of_a_new_file(mask, tmp_path):
    before = os.umask(mask)
    try:
        NETWORK.save(tmp_path / "net")
        assert os.umask(mask) == mask  # and it is what it was
    finally:
        os.umask(before)
    assert (tmp_path / "net").stat().st_mode & 0o7777 == 0o666 & ~mask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666], ids=oct)
def test_mode_of_a_replaced_file(mode, tmp_path):
    path = tmp_path / "net"
    NETWORK.save(path)
    path.chmod(mode)
    NETWORK.save(path)
    assert path.stat().st_mode & 0o7777 == mode


@posix
def test_umask_is_never_touched(tmp_path, monkeypatch):
    """It belongs to the whole process: what another thread creates meanwhile would be open to everybody."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("umask was changed"))
    NETWORK.save(tmp_path / "net")
