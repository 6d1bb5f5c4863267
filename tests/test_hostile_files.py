"""Files that are not what they seem: refused with a reason, and no memory taken on their word."""

import json
import tracemalloc

import numpy as np
import pytest

import fastbp
from fastbp import Network
from files import file_bytes, layer


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


def tied(of, **options):
    return {"kind": "tied", "of": of, "transposed": True, "activation": "identity", "bias": True, **options}


def shared(**options):
    return {**layer(kind="shared"), "groups": 2, **options}


def conv(**options):
    window = {"kernel_size": 1, "image_shape": [8, 8], "stride": 1, "padding": 0, "dilation": 1}
    channels = {"in_channels": 1, "out_channels": 1}
    return {"kind": "conv2d", **channels, **window, "activation": "tanh", "bias": True, **options}


def pool(**options):
    return {"kind": "max_pool2d", "kernel_size": 1, "image_shape": [8, 8, 1], "stride": 1, "padding": 0, **options}


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
    "tie_to_itself": (file_bytes([tied(0)]), "'of': 0"),
    "tie_to_nothing": (file_bytes([layer(), {**tied(0), "of": None}]), "'of': none"),
    "tie_to_a_tie_that_does_not_fit": (
        file_bytes([layer(), tied(0), tied(1, transposed=False)], 14),
        "layer 3 to take 3 inputs",
    ),
    "ties_in_a_ring": (file_bytes([layer(), tied(2), tied(3), tied(1)]), "'of': "),
    "tie_to_a_repeated_tie": (file_bytes([layer(2, 2), tied(0), {"kind": "repeat", "of": 1}, tied(2)]), "'of': 2"),
    "name_twice": (file_bytes().replace(b'"dtype"', b'"shape"'), "header"),
    "tie_to_a_repetition": (file_bytes([layer(2, 2), {"kind": "repeat", "of": 0}, tied(1)]), "'of': 1"),
    "tie_to_a_pool": (file_bytes([pool(), tied(0)], 0), "layer: expected a layer with weights, got maxpool2d"),
    "tie_beyond_the_end": (file_bytes([layer(), tied(2)]), "'of': 2"),
    "tie_before_the_start": (file_bytes([layer(), tied(-1)]), "'of': -1"),
    "tie_to_a_huge_place": (file_bytes([layer(), tied(10**30)]), "'of': 1000"),
    "tie_to_a_bool": (file_bytes([layer(), tied(False)]), "'of': false"),
    "tie_with_too_little": (file_bytes([layer(), {"kind": "tied", "of": 0}]), "'of': 0"),
    "tie_with_too_much": (file_bytes([layer(), {**tied(0), "n_in": 3}]), "'n_in': 3"),
    "tie_turned_by_a_number": (file_bytes([layer(), {**tied(0), "transposed": 1}]), "'transposed': 1"),
    "tie_that_does_not_fit": (file_bytes([layer(), tied(0, transposed=False)], 10), "layer 2 to take 2 inputs"),
    "tie_with_a_wrong_activation": (file_bytes([layer(), {**tied(0), "activation": 5}]), "activation: expected a name"),
    "tie_with_too_few_parameters": (file_bytes([layer(), tied(0)]), "expected 11 parameters for these layers"),
    "ties_to_each_other": (file_bytes([tied(1), tied(0)]), "'of': 1"),
    "repeat_of_a_later_tie": (file_bytes([{"kind": "repeat", "of": 1}, tied(2), layer(2, 2)]), "'of': 1"),
    "groups_of_0": (file_bytes([shared(groups=0)]), "groups: expected at least 1, got 0"),
    "groups_of_a_float": (file_bytes([shared(groups=2.0)]), "groups: expected an integer, got float"),
    "groups_of_2**31": (file_bytes([shared(groups=2**31)]), "groups: expected at most"),
    "groups_too_many_together": (file_bytes([shared(groups=2**30)]), "for all groups together at most"),
    "shared_without_groups": (file_bytes([layer(kind="shared")]), "description of a layer"),
    "image_missing": (file_bytes([{k: v for k, v in conv().items() if k != "image_shape"}]), "description of a layer"),
    "image_of_a_text": (file_bytes([conv(image_shape="888")]), "image_shape: expected an integer, got str"),
    "image_of_floats": (file_bytes([conv(image_shape=[8.0, 8])]), "image_shape: expected an integer, got float"),
    "image_of_an_object": (file_bytes([conv(image_shape={"8": 8})]), "image_shape: expected an integer, got dict"),
    "image_of_a_long_list": (
        file_bytes([conv(image_shape=[8] * 10**5)]),
        "expected (height, width, channels), got [8,",
    ),
    "image_of_other_channels": (file_bytes([conv(image_shape=[8, 8, 3])]), "expected 1 channels (in_channels)"),
    "image_of_10**12": (file_bytes([conv(image_shape=[10**12, 1])]), "image_shape: expected at most"),
    "image_of_2**31_pixels": (file_bytes([conv(image_shape=[2**16, 2**15])]), "of all patches together at most"),
    "image_of_2**30_pixels": (
        file_bytes([conv(image_shape=[2**15, 2**15])], 2),
        f"at most {2**25} pixels in the patch",
    ),
    "image_of_2**26_pixels": (file_bytes([conv(image_shape=[2**13, 2**13])], 2), f"got {2**26}"),
    "windows_of_2**30_pixels": (
        file_bytes([conv(image_shape=[200, 200], kernel_size=[100, 100])], 10001),
        f"got {101**2 * 10**4}",
    ),
    "padding_of_2**30": (file_bytes([conv(padding=[0, 2**30])]), "padding: expected a padded image of at most"),
    "padding_far_around_a_pixel": (
        file_bytes([conv(image_shape=[1, 1], padding=[2**14, 2**14])], 2),
        "pixels in the patches of all layers",
    ),
    "pool_of_2**30_pixels": (file_bytes([pool(image_shape=[2**15, 2**15, 1])], 0), f"got {2**30}"),
    "many_images": (
        file_bytes([conv(image_shape=[1000, 1000])] * 100, 200),
        f"got {10**8}",
    ),
    "many_repeated_images": (
        file_bytes([conv(image_shape=[1000, 1000]), *[{"kind": "repeat", "of": 0}] * 99], 2),
        f"got {10**8}",
    ),
    "many_tied_images": (
        file_bytes([conv(image_shape=[1000, 1000]), *[tied(0, bias=False)] * 99], 2),
        f"got {10**8}",
    ),
    "kernel_too_large": (file_bytes([conv(kernel_size=[9, 1])]), "expected at most the padded image, 8 x 8, got 9 x 1"),
    "kernel_nested": (file_bytes([conv(kernel_size=[[3, 3]])]), "kernel_size: expected one number or 2"),
    "kernel_null": (file_bytes([conv(kernel_size=None)]), "kernel_size: expected an integer, got nonetype"),
    "stride_0": (file_bytes([conv(stride=0)]), "stride: expected at least 1, got 0"),
    "stride_of_a_bool": (file_bytes([conv(stride=True)]), "stride: expected an integer, got bool"),
    "dilation_huge": (file_bytes([conv(kernel_size=2, dilation=10**30)]), "dilation: expected at most"),
    "channels_huge": (file_bytes([conv(in_channels=2**31 - 1)]), "numbers in an image"),
    "outputs_huge": (file_bytes([conv(out_channels=2**31 - 1)]), "numbers in an image"),
    "pool_with_a_bias": (file_bytes([{**pool(), "bias": True}], 0), "description of a layer"),
    "pool_padded_too_far": (file_bytes([pool(padding=[2, 0])], 0), "padding: expected at most half of the window"),
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
