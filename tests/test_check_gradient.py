"""The finite-difference check for users: passes what is right, fails what is wrong, and says which."""

import numpy as np
import pytest
from scipy import optimize

import fastbp
import fastbp._derivatives.check_gradient
from cases import ARCHITECTURES, LARGE, PAIRS, chain, data, network
from fastbp import SGD, Adam, Trainer, check_gradient
from util import DTYPES


@pytest.fixture
def wrong_gradient(monkeypatch):
    """A function that makes the library's gradient wrong in one parameter, by a part of its largest."""
    right = fastbp._derivatives.check_gradient.loss_and_gradient

    def change(place, part):
        def wrong(*args, **options):
            value, gradient = right(*args, **options)
            gradient[place] += part * np.abs(gradient).max()
            return value, gradient

        monkeypatch.setattr(fastbp._derivatives.check_gradient, "loss_and_gradient", wrong)

    return change


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [case for case in ARCHITECTURES if case not in LARGE])
def test_passes(case, dtype):
    net = network(ARCHITECTURES[case], dtype)
    report = check_gradient(net, *data(net, 7))
    assert report.passed
    assert report
    assert report.max_error <= report.tolerance == (1e-7 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_passes_for_every_error_function(pair):
    output, loss = pair
    net = network(chain(3, 4, 3, output=output))
    X, T = data(net, 9, loss)
    weight = np.random.default_rng(0).random(9)
    report = check_gradient(net, X, T, loss=loss, reduction="mean", sample_weight=weight)
    assert report
    np.testing.assert_array_equal(
        report.gradient,
        fastbp.loss_and_gradient(net, X, T, loss=loss, reduction="mean", sample_weight=weight)[1],
    )


def near_a_minimum(seed, dtype="float64"):
    """A network, and data that it cannot fit any better but for a little."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((500, 3))
    T = np.sin(X[:, :1]) + rng.standard_normal((500, 1))
    net = fastbp.mlp([3, 6, 1], seed=seed, dtype=dtype)
    Trainer(net, Adam(0.02)).fit(X, T, epochs=300, batch_size=500, shuffle=False)
    Trainer(net, Adam(0.002)).fit(X, T, epochs=2000, batch_size=500, shuffle=False)
    return net, X, T


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(6))
def test_passes_at_a_minimum(seed, dtype):
    """The derivatives are small there and the error is not: differences have the most to lose."""
    report = check_gradient(*near_a_minimum(seed, dtype))
    assert report.passed, str(report)


def at_a_minimum(dtype="float64"):
    """The same as near as float64 comes to it."""
    rng = np.random.default_rng(2)
    net, X = fastbp.mlp([3, 2, 1], seed=2), rng.standard_normal((500, 3))
    T = np.tanh(X[:, :1]) - np.tanh(X[:, 1:2]) + rng.standard_normal((500, 1))

    def error(p):
        net.parameters = p
        return fastbp.loss_and_gradient(net, X, T)

    options = {"gtol": 1e-12, "maxiter": 5000}
    net.parameters = optimize.minimize(error, net.parameters, jac=True, method="BFGS", options=options).x
    assert np.abs(error(net.parameters)[1]).max() < 1e-4
    return net.astype(dtype), X, T


@pytest.mark.parametrize("dtype", DTYPES)
def test_passes_where_the_gradient_is_all_but_rounding(dtype):
    report = check_gradient(*at_a_minimum(dtype))
    assert report.passed, str(report)


@pytest.mark.parametrize("part", [0.01, -0.001])
@pytest.mark.parametrize("seed", range(3))
def test_fails_near_a_minimum_when_the_gradient_is_wrong(seed, part, wrong_gradient):
    net, X, T = near_a_minimum(seed)
    for place in (0, 13, -1, slice(None)):
        wrong_gradient(place, part)
        assert not check_gradient(net, X, T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fails_at_a_minimum_for_what_one_sample_too_many_adds(dtype, monkeypatch):
    """Its derivatives are ordinary, although the gradient is not."""
    net, X, T = at_a_minimum(dtype)
    right = fastbp._derivatives.check_gradient.loss_and_gradient

    def wrong(net, X, T, **options):
        return right(net, np.vstack([X, X[-1:]]), np.vstack([T, T[-1:]]), **options)

    monkeypatch.setattr(fastbp._derivatives.check_gradient, "loss_and_gradient", wrong)
    assert not check_gradient(net, X, T)


@pytest.mark.parametrize("seed", range(6))
def test_passes_for_inputs_that_nobody_scaled(seed):
    """Numbers from 0 to 255: a small change of a weight is a large one of what it is multiplied with."""
    rng = np.random.default_rng(seed)
    X, labels = rng.uniform(0, 255, (200, 5)), rng.integers(0, 4, 200)
    net = fastbp.mlp([5, 8, 4], output="softmax", seed=seed)
    report = check_gradient(net, X, labels)
    assert report.passed, str(report)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_passes_across_kinks(hidden, seed):
    net = network(chain(3, 20, 20, 1, hidden=hidden), seed=seed)
    X, T = data(net, 500, seed=seed)
    report = check_gradient(net, X, T)
    assert report.passed, str(report)


@pytest.mark.parametrize("part", [1.0, -1.0, 1e-3, 1e-5], ids=str)
@pytest.mark.parametrize("place", [0, 13, -1])
def test_fails_when_the_gradient_is_wrong(place, part, wrong_gradient):
    net = network(chain(3, 5, 2))
    wrong_gradient(place, part)
    report = check_gradient(net, *data(net, 7))
    assert not report.passed
    assert not report
    assert report.worst == place % net.n_parameters
    assert abs(part) / 2 < report.max_error < abs(part) * 1.1
    assert str(report).startswith("gradient check FAILED: ")


@pytest.mark.parametrize("dtype", DTYPES)
def test_fails_when_all_of_it_is_wrong(dtype, wrong_gradient):
    net = network(chain(3, 5, 2), dtype)
    for place, part in ((slice(None), 0.01), (slice(None, None, 2), -0.01)):
        wrong_gradient(place, part)
        assert not check_gradient(net, *data(net, 7))


def test_fails_for_zeros_in_the_place_of_a_gradient(monkeypatch):
    net = network(chain(3, 5, 2))
    monkeypatch.setattr(
        fastbp._derivatives.check_gradient, "loss_and_gradient", lambda *_, **__: (0.0, np.zeros(net.n_parameters))
    )
    report = check_gradient(net, *data(net, 7))
    assert not report
    assert report.max_error == pytest.approx(1.0, rel=1e-9)


def test_fails_for_nan(wrong_gradient):
    net = network(chain(3, 5, 2))
    wrong_gradient(4, np.nan)
    report = check_gradient(net, *data(net, 7))
    assert not report
    assert np.isnan(report.max_error)
    assert report.worst == 4


def test_fails_where_the_error_is_nan():
    net = network(chain(3, 5, 2))
    X, T = data(net, 7)
    X[2, 1] = np.nan
    assert not check_gradient(net, X, T)


def test_right_when_all_derivatives_are_zero():
    net = fastbp.Network(chain(3, 5, 2), init="zeros")
    report = check_gradient(net, np.ones((4, 3)), np.zeros((4, 2)))
    assert report
    assert report.max_error <= 1e-12


def test_empty_batch():
    net = network(chain(3, 5, 2))
    report = check_gradient(net, np.empty((0, 3)), np.empty((0, 2)))
    assert report
    assert report.max_error == 0.0


def test_network_without_parameters():
    net = fastbp.Network([fastbp.AveragePool2d(2, image_shape=(2, 4, 1))])
    report = check_gradient(net, np.ones((3, 8)), np.zeros((3, 2)))
    assert report
    assert (report.max_error, report.worst, report.indices.size) == (0.0, -1, 0)


def test_report():
    net = network(chain(3, 5, 2))
    X, T = data(net, 7)
    report = check_gradient(net, X, T)
    _, gradient = fastbp.loss_and_gradient(net, X, T)
    np.testing.assert_array_equal(report.indices, np.arange(net.n_parameters))
    np.testing.assert_array_equal(report.gradient, gradient)
    np.testing.assert_allclose(report.differences, gradient, rtol=0, atol=1e-8 * np.abs(gradient).max())
    error = np.abs(report.differences - gradient)
    assert report.worst == np.argmax(error)
    assert 0 < report.max_error < 1e-7
    assert str(report) == (
        f"gradient check passed: largest relative error {report.max_error:.1e} (parameter {report.worst}), "
        f"tolerance 1e-07, {net.n_parameters} parameters compared"
    )
    with pytest.raises(AttributeError):
        report.tolerance = 1.0


def test_reports_can_be_compared_and_collected():
    net = network(chain(3, 5, 2))
    X, T = data(net, 7)
    reports = [check_gradient(net, X, T) for _ in range(2)]
    assert reports[0] == reports[0]
    assert (reports[0] == reports[1]) in (True, False)
    assert len({*reports, reports[0]}) in (1, 2)


def test_tolerance(wrong_gradient):
    net = network(chain(3, 5, 2))
    X, T = data(net, 7)
    assert not check_gradient(net, X, T, tolerance=0)
    wrong_gradient(0, 0.01)
    assert check_gradient(net, X, T, tolerance=0.02)
    assert not check_gradient(net, X, T, tolerance=0.005)


def test_some_of_many_parameters():
    net = network(chain(10, 20, 20, 5))
    X, T = data(net, 7)
    report = check_gradient(net, X, T, max_parameters=50, seed=1)
    assert report
    assert report.indices.size == report.gradient.size == report.differences.size == 50
    assert (np.diff(report.indices) > 0).all()  # none twice
    assert report.indices[0] >= 0
    assert report.indices[-1] < net.n_parameters
    np.testing.assert_array_equal(report.gradient, fastbp.loss_and_gradient(net, X, T)[1][report.indices])
    again = check_gradient(net, X, T, max_parameters=50, seed=1)
    np.testing.assert_array_equal(again.indices, report.indices)
    other = check_gradient(net, X, T, max_parameters=50, seed=2)
    assert (other.indices != report.indices).any()
    assert str(report).endswith("50 parameters compared")


def test_error_outside_the_drawn_parameters_is_not_seen_but_inside_is(wrong_gradient):
    net = network(chain(10, 20, 20, 5))
    X, T = data(net, 7)
    drawn = check_gradient(net, X, T, max_parameters=20).indices
    wrong_gradient(int(np.setdiff1d(np.arange(net.n_parameters), drawn)[0]), 0.01)
    assert check_gradient(net, X, T, max_parameters=20)
    wrong_gradient(int(drawn[3]), 0.01)
    assert check_gradient(net, X, T, max_parameters=20).worst == drawn[3]


def test_all_parameters_if_there_are_no_more():
    net = network(chain(3, 5, 2))
    assert check_gradient(net, *data(net, 7), max_parameters=net.n_parameters).indices.size == net.n_parameters


def test_a_thousand_parameters_by_default():
    net = network(chain(30, 32, 2))
    assert check_gradient(net, *data(net, 2)).indices.size == 1000


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_changed(dtype):
    net = network(ARCHITECTURES["repeated_aab"], dtype)
    X, T = data(net, 7)
    arrays = (net.parameters, X, T)
    copies = [x.copy() for x in arrays]
    check_gradient(net, X, T)
    for x, before in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(x, before)


def test_between_fits():
    net = network(chain(3, 5, 4, output="softmax"))
    X, _ = data(net, 30)
    labels = np.random.default_rng(0).integers(0, 4, 30)
    for _ in range(3):
        Trainer(net, SGD(0.1)).fit(X, labels, epochs=5, seed=0)
        assert check_gradient(net, X, labels).passed
