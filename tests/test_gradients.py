"""The error of a batch, its gradient and the gradients of its samples, against NumPy in float64."""

import numpy as np
import pytest

import fastbp
import reference
from cases import ARCHITECTURES, PAIRS, chain, data, network, terms_of, uses_of
from util import DTYPES, assert_close, nan, shifted

WEIGHTS = ("none", "some")
REDUCTIONS = ("sum", "mean")


def terms(net, N):
    """The numbers that one element of the gradient adds up on its longest way."""
    most = max(uses_of(layer) for layer in net.layers)
    return most * N + sum(terms_of(layer) + layer.n_out + 2 for layer in net.layers)


def weights_for(kind, N, dtype):
    """None, or weights of which some are 0."""
    if kind == "none":
        return None
    weight = np.random.default_rng(7).random(N).astype(dtype)
    weight[1::3] = 0
    return weight


def check(net, X, T, loss=None, given=True, **options):
    """All three functions with the same arguments against the reference."""
    N, P, dtype = len(X), net.n_parameters, net.dtype
    weight = options.get("sample_weight")
    w = np.ones(N) if weight is None else np.asarray(weight, np.float64)
    total = w.sum() if options.get("reduction") == "mean" and N > 0 else 1.0
    w = w / total
    G = w[:, None] * reference.per_sample_gradients(net.layers, net.parameters, X, T, loss)
    E_n = w * reference.losses(net.layers, net.parameters, X, T, loss)
    # Roundings are relative to what a sum adds up on its way, which may be more than what is left of it.
    gradient_size = (np.sqrt((G**2).sum(axis=0)) + np.abs(G.sum(axis=0))).max()

    value = fastbp.loss(net, X, T, loss=loss, **options)
    assert isinstance(value, float)
    assert_close(value, E_n.sum(), dtype, terms(net, N), np.abs(E_n).sum(), "loss")

    out = nan(P, dtype) if given else None
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss, out=out, **options)
    assert isinstance(value, float)
    assert gradient.dtype == dtype
    assert out is None or gradient is out
    assert_close(value, E_n.sum(), dtype, terms(net, N), np.abs(E_n).sum(), "loss with gradient")
    assert_close(gradient, G.sum(axis=0), dtype, terms(net, N), gradient_size, "gradient")

    out = nan((N, P), dtype) if given else None
    rows = fastbp.per_sample_gradients(net, X, T, loss=loss, out=out, **options)
    assert rows.dtype == dtype
    assert out is None or rows is out
    assert_close(rows, G, dtype, terms(net, 1), what="per-sample gradients")


@pytest.mark.parametrize("given", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("N", [0, 1, 3, 300, 1000], ids="N_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ARCHITECTURES)
def test_architectures(case, dtype, N, given):
    net = network(ARCHITECTURES[case], dtype)
    check(net, *data(net, N), given=given)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_units_with_error_functions(instruction_set, dtype, pair, reduction, weight):
    output, loss = pair
    for n_outputs in (1, 3, 17, 33):
        net = network(chain(4, 6, n_outputs, output=output), dtype)
        for N in (0, 1, 3, 31):
            X, T = data(net, N, loss)
            check(net, X, T, loss, reduction=reduction, sample_weight=weights_for(weight, N, dtype))


@pytest.mark.parametrize(
    "case",
    ["depth_2", "depth_6", "repeated_aab", "repeated_cababc", "repeated_no_bias", "wide", "tied_wide", "everything",
     "shared_many_groups", "conv2d_many_channels", "conv2d_one_channel", "conv_tied_uneven", "average_pool_overlapping",
     "max_pool_overlapping"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES)
def test_instruction_sets(instruction_set, dtype, case):
    net = network(ARCHITECTURES[case], dtype)
    check(net, *data(net, 29), sample_weight=weights_for("some", 29, dtype), reduction="mean")


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_default_error_function(pair):
    output, loss = pair
    net = network(chain(4, 6, 3, output=output))
    X, T = data(net, 9, loss)
    if loss == reference.canonical(output):
        assert fastbp.loss(net, X, T) == fastbp.loss(net, X, T, loss=loss)
    else:
        assert fastbp.loss(net, X, T) != fastbp.loss(net, X, T, loss=loss)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("rows", [255, 256, 257, 513, 4095, 4096, 4097, 8193])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_longer_than_a_chunk(dtype, rows, weight):
    sizes = (3, 400, 2) if rows < 1000 else (3, 4, 2)  # chunks of 256 and of 4096 rows
    net = network(chain(*sizes), dtype)
    check(net, *data(net, rows), reduction="mean", sample_weight=weights_for(weight, rows, dtype))


@pytest.mark.parametrize("case", ["one_layer", "repeated_aab", "widest", "tied_deep", "conv_tied_uneven", "everything"])
def test_long_batch_is_the_sum_of_short_ones(case):
    net = network(ARCHITECTURES[case])
    X, T = data(net, 5000)
    parts = [fastbp.loss_and_gradient(net, X[i : i + 100], T[i : i + 100]) for i in range(0, 5000, 100)]
    value, gradient = fastbp.loss_and_gradient(net, X, T)
    assert_close(value, sum(part[0] for part in parts), "float64", 5000)
    expected = np.sum([part[1] for part in parts], axis=0)
    assert_close(gradient, expected, "float64", 5000)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_class_labels_are_rows_of_zeros_and_a_one(dtype, loss):
    net = network(chain(4, 6, 5, output="softmax"), dtype)
    X, _ = data(net, 40)
    labels = np.random.default_rng(3).integers(0, 5, 40)
    one_hot = np.eye(5, dtype=dtype)[labels]
    for same in (labels, labels.astype(np.uint8), labels.astype(np.int32), labels.tolist()):
        assert fastbp.loss(net, X, same, loss=loss) == fastbp.loss(net, X, one_hot, loss=loss)
        np.testing.assert_array_equal(
            fastbp.loss_and_gradient(net, X, same, loss=loss)[1],
            fastbp.loss_and_gradient(net, X, one_hot, loss=loss)[1],
        )
        np.testing.assert_array_equal(
            fastbp.per_sample_gradients(net, X, same, loss=loss),
            fastbp.per_sample_gradients(net, X, one_hot, loss=loss),
        )
    check(net, X, one_hot, loss)


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_vector_of_targets_for_one_output(output):
    net = network(chain(3, 4, 1, output=output))
    X, T = data(net, 12)
    value, gradient = fastbp.loss_and_gradient(net, X, T[:, 0])
    expected_value, expected = fastbp.loss_and_gradient(net, X, T)
    assert value == expected_value
    np.testing.assert_array_equal(gradient, expected)


def test_targets_of_cross_entropy_need_not_sum_to_one():
    net = network(chain(3, 4, 4, output="softmax"))
    X, T = data(net, 12)
    check(net, X, 3 * T + 0.1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_batch_gives_zeros(dtype):
    net = network(ARCHITECTURES["repeated_aab"], dtype)
    X, T = np.empty((0, 5), dtype), np.empty((0, 2), dtype)
    for reduction in REDUCTIONS:
        for weight in (None, np.empty(0, dtype)):
            options = {"reduction": reduction, "sample_weight": weight}
            assert fastbp.loss(net, X, T, **options) == 0.0
            value, gradient = fastbp.loss_and_gradient(net, X, T, out=nan(net.n_parameters, dtype), **options)
            assert value == 0.0
            np.testing.assert_array_equal(gradient, np.zeros(net.n_parameters))
            assert fastbp.per_sample_gradients(net, X, T, **options).shape == (0, net.n_parameters)


def test_weight_zero_leaves_a_sample_out():
    net = network(chain(4, 6, 2))
    X, T = data(net, 30)
    kept = np.random.default_rng(4).random(30) < 0.5
    weight = kept.astype(np.float64)
    for reduction in REDUCTIONS:
        value, gradient = fastbp.loss_and_gradient(net, X, T, sample_weight=weight, reduction=reduction)
        expected_value, expected = fastbp.loss_and_gradient(net, X[kept], T[kept], reduction=reduction)
        assert_close(value, expected_value, "float64", 60)
        assert_close(gradient, expected, "float64", 60)
    rows = fastbp.per_sample_gradients(net, X, T, sample_weight=weight)
    np.testing.assert_array_equal(rows[~kept], 0.0)
    assert (np.abs(rows[kept]).max(axis=1) > 0).all()


def test_all_weights_zero():
    net = network(chain(4, 6, 2))
    X, T = data(net, 8)
    value, gradient = fastbp.loss_and_gradient(net, X, T, sample_weight=np.zeros(8))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
    with pytest.raises(ValueError, match=r"^sample_weight: .* sum other than 0"):
        fastbp.loss(net, X, T, sample_weight=np.zeros(8), reduction="mean")


@pytest.mark.parametrize("case", ["depth_4", "repeated_cababc", "widest", "tied_wide", "convolutional", "everything"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_every_time_wherever_the_arrays_lie(instruction_set, dtype, case):
    net = network(ARCHITECTURES[case], dtype)
    X, T = data(net, 300)
    w = weights_for("some", 300, dtype)
    value, gradient = fastbp.loss_and_gradient(net, X, T, sample_weight=w)
    rows = fastbp.per_sample_gradients(net, X, T, sample_weight=w)
    for offset in (0, 1, 3):
        X, T, w = (shifted(x, offset) for x in (X, T, w))
        again, out = fastbp.loss_and_gradient(net, X, T, sample_weight=w, out=shifted(gradient, offset))
        assert again == value
        np.testing.assert_array_equal(out, gradient)
        np.testing.assert_array_equal(fastbp.per_sample_gradients(net, X, T, sample_weight=w), rows)
        assert fastbp.loss(net, X, T, sample_weight=w) == fastbp.loss(net, *data(net, 300), sample_weight=w)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_every_error_function(instruction_set, dtype, pair):
    output, loss = pair
    net = network(chain(4, 6, 19, output=output), dtype)
    X, T = data(net, 30, loss)
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss)
    for offset in (0, 1, 3):
        again, out = fastbp.loss_and_gradient(net, shifted(X, offset), shifted(T, offset), loss=loss)
        assert again == value
        np.testing.assert_array_equal(out, gradient)


def test_parameters_and_arguments_are_only_read():
    net = network(ARCHITECTURES["repeated_aab"])
    X, T = data(net, 10)
    w = np.ones(10)
    arrays = (net.parameters, X, T, w)
    before = [x.copy() for x in arrays]
    fastbp.loss(net, X, T, sample_weight=w)
    fastbp.loss_and_gradient(net, X, T, sample_weight=w)
    fastbp.per_sample_gradients(net, X, T, sample_weight=w)
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("function", [fastbp.loss_and_gradient, fastbp.per_sample_gradients])
def test_nan_in_one_sample_reaches_the_gradient_and_its_own_row_only(function):
    net = network(chain(3, 4, 2))
    X, T = data(net, 6)
    X[2, 1] = np.nan
    result = function(net, X, T)
    if function is fastbp.loss_and_gradient:
        assert np.isnan(result[0])
        assert np.isnan(result[1]).all()
    else:
        assert np.isnan(result[2]).any()
        assert np.isfinite(np.delete(result, 2, axis=0)).all()


@pytest.mark.parametrize("case", ["depth_3", "hidden_gelu", "repeated_aaa", "tied_deep", "shared_to_shared", "convs"])
def test_float64_is_exact_to_the_last_digits(case):
    """A float64 result must never have passed through float32."""
    net = network(ARCHITECTURES[case])
    X, T = data(net, 50)
    expected = reference.per_sample_gradients(net.layers, net.parameters, X, T).sum(axis=0)
    _, gradient = fastbp.loss_and_gradient(net, X, T)
    assert np.abs(gradient - expected).max() < 1e-14 * np.abs(expected).max()
