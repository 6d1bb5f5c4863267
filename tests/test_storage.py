"""Networks on disk: round trips, whole files whatever happens while writing, and files that are not what they seem."""

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import fastbp
from cases import ARCHITECTURES, architectures, chain, data, network
from fastbp import Affine, Network
from util import DTYPES

posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals of POSIX")
NETWORK = network(chain(3, 2), "float32")


def layer(n_in=3, n_out=2, activation="identity", bias=True, kind="affine"):
    return {"kind": kind, "n_in": n_in, "n_out": n_out, "activation": activation, "bias": bias}


def file_bytes(layers=None, values=8, dtype="F32", shape=None, name="parameters", **metadata):
    """A safetensors file, written by hand; `layers` may be a text that takes the place of JSON."""
    content = {"format": "fastbp.network", "version": "1"}
    content["layers"] = layers if isinstance(layers, str) else json.dumps([layer()] if layers is None else layers)
    content = {key: value for key, value in {**content, **metadata}.items() if value is not None}
    size = {"F64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}[dtype] * values
    tensor = {"dtype": dtype, "shape": [values] if shape is None else shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": content, name: tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


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


@given(layers=architectures())
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
    with pytest.raises(FileNotFoundError):
        NETWORK.save(tmp_path / "missing" / "net")
    assert folder_of(tmp_path) == []


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


# Reading what is not right.


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        fastbp.load(tmp_path / "missing")


def test_truncated_at_every_length(tmp_path):
    content = file_bytes([layer(2, 2), {"kind": "repeat", "of": 0}], 6)
    path = tmp_path / "short"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^path: expected a network saved by fastbp, got '.*short': ."):
            fastbp.load(path)
    path.write_bytes(content)
    assert fastbp.load(path).n_parameters == 6


def test_bytes_after_the_end(tmp_path):
    (tmp_path / "net").write_bytes(file_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"^path: expected a network saved by fastbp"):
        fastbp.load(tmp_path / "net")


def test_any_byte_changed(tmp_path):
    """Another number, an error that says so, but never another exception."""
    content, path = bytearray(file_bytes()), tmp_path / "net"
    start_of_data = len(content) - 32
    generator = np.random.default_rng(0)
    messages = {}
    for place, byte in enumerate(content):
        for value in {byte ^ 1, int(generator.integers(256))} - {byte}:
            content[place] = value
            path.write_bytes(content)
            try:
                assert isinstance(fastbp.load(path), Network)
            except ValueError as error:
                messages[place] = str(error)
        content[place] = byte
    assert max(messages) < start_of_data  # a changed number is a number
    assert len(messages) > 0.5 * start_of_data
    assert all(message.startswith("path: expected a network saved by fastbp, got ") for message in messages.values())


FOREIGN = {
    "empty": b"",
    "text": b"This is not a network, but it is long enough to be one.",
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01K\x02e.",
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }" + bytes(100),
    "header_of_2_to_62_bytes": (2**62).to_bytes(8, "little") + b"{}",
    "header_of_100_megabytes": (10**8 - 1).to_bytes(8, "little") + b"{}",
    "header_without_end": (8).to_bytes(8, "little") + b'{"a": [[',
    "no_tensors": (2).to_bytes(8, "little") + b"{}",
}

# What is wrong, and what the message must say of it.
WRONG = {
    "no_metadata": (file_bytes(format=None, version=None), "no fastbp.network in its metadata"),
    "other_format": (file_bytes(format="pt"), "no fastbp.network in its metadata"),
    "no_version": (file_bytes(version=None), "format version None, this release reads 1"),
    "other_version": (file_bytes(version="2"), "format version '2', this release reads 1"),
    "no_layers": (file_bytes("null"), "layers: expected a list, got NoneType"),
    "empty_layers": (file_bytes([], values=0), "layers: expected at least one layer, got none"),
    "layers_not_json": (file_bytes("[{]"), "line 1 column"),
    "layers_not_a_list": (file_bytes({"a": 1}), "layers: expected a list, got dict"),
    "layer_not_an_object": (file_bytes([5]), "expected the description of a layer, got 5"),
    "layer_of_unknown_kind": (file_bytes([layer(kind="dense")]), "'kind': 'dense'"),
    "layer_without_kind": (file_bytes([{"n_in": 3}]), "expected the description of a layer"),
    "layer_with_too_much": (file_bytes([{**layer(), "extra": 1}]), "'extra': 1"),
    "layer_with_too_little": (file_bytes([{"kind": "affine", "n_in": 3, "n_out": 2}]), "description of a layer"),
    "activation_unknown": (file_bytes([layer(activation="sin")]), "activation: expected one of identity"),
    "activation_a_number": (file_bytes([layer(activation=1)]), "activation: expected a name, got int"),
    "softmax_inside": (file_bytes([layer(3, 1, "softmax"), layer(1, 2)]), "softmax on the last layer only"),
    "bias_a_number": (file_bytes([layer(bias=1)]), "bias: expected True or False, got int"),
    "layers_do_not_fit": (file_bytes([layer(3, 1), layer(2, 1)], values=7), "layer 2 to take 1 inputs"),
    "size_0": (file_bytes([layer(n_in=0)], values=2), "n_in: expected at least 1, got 0"),
    "size_negative": (file_bytes([layer(n_in=-3)]), "n_in: expected at least 1, got -3"),
    "size_a_float": (file_bytes([layer(n_in=3.0)]), "n_in: expected an integer, got float"),
    "size_a_bool": (file_bytes([layer(n_in=True)]), "n_in: expected an integer, got bool"),
    "size_a_text": (file_bytes([layer(n_in="3")]), "n_in: expected an integer, got str"),
    "size_infinite": (file_bytes('[{"kind": "affine", "n_in": Infinity, "n_out": 1}]'), "description of a layer"),
    "size_10**12": (file_bytes([layer(n_in=10**12)]), "n_in: expected at most 2147483647"),
    "size_of_5000_digits": (file_bytes(json.dumps([layer()]).replace("3", "3" * 5000)), "integer"),
    "sizes_of_2**31": (file_bytes([layer(2**31 - 1, 2**31 - 1)]), "parameters for these layers, got shape (8,)"),
    "many_sizes_of_2**31": (file_bytes([layer(2**31 - 1, 2**31 - 1)] * 100), "parameters for these layers"),
    "too_few_parameters": (file_bytes(values=7), "expected 8 parameters for these layers, got shape (7,)"),
    "too_many_parameters": (file_bytes(values=9), "expected 8 parameters for these layers, got shape (9,)"),
    "parameters_as_matrix": (file_bytes(shape=[2, 4]), "expected 8 parameters for these layers, got shape (2, 4)"),
    "parameters_as_number": (file_bytes([layer(1, 1, bias=False)], 1, shape=[]), "got shape ()"),
    "shape_of_10**12": (file_bytes(shape=[10**12]), "header"),
    "shape_that_overflows": (file_bytes(shape=[2**62, 2**62]), "header"),
    "dtype_int32": (file_bytes(dtype="I32"), "expected parameters in float32 or float64"),
    "dtype_float16": (file_bytes(dtype="F16"), "expected parameters in float32 or float64"),
    "dtype_bfloat16": (file_bytes(dtype="BF16"), "expected parameters in float32 or float64"),
    "other_tensor": (file_bytes(name="weights"), "expected one tensor named parameters, got ['weights']"),
    "repeat_of_itself": (file_bytes([{"kind": "repeat", "of": 0}]), "'of': 0"),
    "repeat_of_a_later_one": (file_bytes([layer(2, 2), {"kind": "repeat", "of": 2}, layer(2, 2)]), "'of': 2"),
    "repeat_of_a_negative_one": (file_bytes([layer(2, 2), {"kind": "repeat", "of": -1}]), "'of': -1"),
    "repeat_of_a_huge_one": (file_bytes([layer(2, 2), {"kind": "repeat", "of": 10**30}]), "'of': 1000"),
    "repeat_of_a_bool": (file_bytes([layer(2, 2), {"kind": "repeat", "of": False}]), "'of': False"),
    "repeat_of_a_float": (file_bytes([layer(2, 2), {"kind": "repeat", "of": 0.0}]), "'of': 0.0"),
    "repeat_of_nothing": (file_bytes([layer(2, 2), {"kind": "repeat"}]), "'kind': 'repeat'"),
    "repeat_that_does_not_fit": (file_bytes([layer(3, 2), {"kind": "repeat", "of": 0}]), "to take 2 inputs"),
    "nested_deeply": (file_bytes("[" * 100_000 + "]" * 100_000), "recursion"),
    "long_text": (file_bytes([{"kind": "x" * 10**6}]), "expected the description of a layer, got {'kind': 'xxx"),
}


def load_refused(content, path):
    """The message of the ValueError; nothing that Python counts was allocated on the file's word."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^path: expected a network saved by fastbp, got ") as caught:
            fastbp.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(content) + 10**6
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files(case, tmp_path):
    load_refused(FOREIGN[case], tmp_path / "net")


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content(case, tmp_path):
    content, said = WRONG[case]
    assert said.lower() in load_refused(content, tmp_path / "net").lower()


def test_another_tensor_beside_the_parameters(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    metadata = {"format": "fastbp.network", "version": "1", "layers": json.dumps([layer()])}
    tensors = {"parameters": np.zeros(8), "more": np.zeros(8)}
    message = load_refused(safetensors.save(tensors, metadata), tmp_path / "net")
    assert "expected one tensor named parameters, got ['more', 'parameters']" in message
