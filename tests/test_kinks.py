"""check_gradient where the error has a kink just at the parameters: right gradients pass, wrong ones are found."""

import numpy as np
import pytest

import fastbp
import fastbp._derivatives.check_gradient
from cases import chain, data, network
from fastbp import Affine, Conv1d, Conv2d, MaxPool2d, Network, Shared, Tied, check_gradient, mlp
from util import DTYPES


def with_a_zero_row(net, N=10, seed=0):
    X, T = data(net, N, seed=seed)
    X[3] = 0
    return X, T


def images(net, channels=1, N=8, seed=0):
    """Strokes on blank paper, as digits are: most patches have nothing in them."""
    rng = np.random.default_rng(seed)
    X = np.zeros((N, 8, 8, channels))
    X[:, 2:6, 3:5] = rng.integers(1, 17, (N, 4, 2, channels)) / 16
    return X.reshape(N, -1), rng.integers(net.n_outputs, size=N)


def convolutional(activation, pool=True, **options):
    first = Conv2d(1, 4, 3, activation, image_shape=(8, 8), padding=1)
    layers = [first]
    if pool:
        layers += [MaxPool2d(2, image_shape=first.output_shape)]
        layers += [Conv2d(4, 4, 3, activation, image_shape=layers[-1].output_shape, padding=1)]
    return Network([*layers, Affine(layers[-1].n_out, 5, "softmax")], **options)


def scenes(dtype, seed=0):
    """Networks as they are made, with biases of 0, and data by which their units are just at the kink."""
    options = {"dtype": dtype, "seed": seed}
    shared, encoder = Affine(6, 6, "relu"), Affine(8, 6, "relu")
    nets = {
        "the reported mlp": mlp([8, 6, 2], "relu", **options),
        "leaky_relu": mlp([8, 6, 2], "leaky_relu", **options),
        "two layers": mlp([8, 6, 6, 2], "relu", **options),
        "two leaky layers": mlp([8, 6, 6, 2], "leaky_relu", **options),
        "deep": mlp([8, 6, 6, 6, 6, 6, 2], "leaky_relu", **options),
        "wide": mlp([8, 60, 60, 2], "relu", **options),
        "kinks of both signs": Network(
            [Affine(8, 6, "tanh"), Affine(6, 6, "relu"), Affine(6, 6, "leaky_relu"), Affine(6, 2)], **options
        ),
        "a kink at the output": mlp([8, 6, 2], "tanh", "relu", **options),
        "repeated": Network([encoder, shared, shared, Affine(6, 2)], **options),
        "tied": Network([encoder, Tied(encoder, "relu")], **options),
        "without biases": Network([Affine(8, 6, "relu", bias=False), Affine(6, 2, "leaky_relu")], **options),
        "groups": Network([Shared(4, 3, 2, "relu"), Affine(6, 2)], **options),
        "sequences": Network([Conv1d(2, 3, 2, "leaky_relu", image_shape=4), Affine(9, 2)], **options),
    }
    found = {name: (net, *with_a_zero_row(net, seed=seed)) for name, net in nets.items()}
    for name, net in {
        "the reported convolution": convolutional("relu", False, **options),
        "leaky convolution": convolutional("leaky_relu", False, **options),
        "convolutions and a pool": convolutional("relu", **options),
        "leaky convolutions and a pool": convolutional("leaky_relu", **options),
        "all weights 0": convolutional("relu", **{**options, "init": "zeros"}),
        "all weights 0, no kink but the pool's": convolutional("tanh", **{**options, "init": "zeros"}),
    }.items():
        found[name] = (net, *images(net, seed=seed))
    return found


SCENES = list(scenes("float64"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SCENES)
def test_passes_at_kinks(name, dtype, seed):
    net, X, T = scenes(dtype, seed)[name]
    before = net.copy()
    report = check_gradient(net, X, T, max_parameters=200)
    assert report, str(report)
    relative = np.abs(report.gradient - report.differences) / max(np.abs(report.gradient).max(), 1e-300)
    assert (relative <= 2 * report.tolerance).all()  # what is reported there goes with the verdict
    assert net == before


@pytest.mark.parametrize(
    "options", [{"reduction": "mean"}, {"sample_weight": np.arange(10.0)}], ids=["mean", "weights"]
)
def test_passes_at_kinks_with_options(options):
    net = mlp([8, 6, 2], "relu", seed=0)
    assert check_gradient(net, *with_a_zero_row(net), **options)


def test_digits():
    """The reported case: fresh convolutions, and scans whose borders are blank."""
    sklearn = pytest.importorskip("sklearn.datasets")
    digits = sklearn.load_digits()
    net = convolutional("relu", pool=False, seed=0)
    X, labels = digits.data[:40] / 16, digits.target[:40] % 5
    report = check_gradient(net, X, labels, max_parameters=100)
    assert report, str(report)


# Wrong gradients.


@pytest.fixture
def replace(monkeypatch):
    """A function that puts wrong(net, gradient) in the place of the library's gradient."""
    right = fastbp._derivatives.check_gradient.loss_and_gradient

    def put(wrong):
        def changed(net, *args, **options):
            value, gradient = right(net, *args, **options)
            return value, wrong(net, gradient)

        monkeypatch.setattr(fastbp._derivatives.check_gradient, "loss_and_gradient", changed)

    return put


def kinked(net, X, T):
    """A parameter for which the error has a kink here, with its one-sided derivatives and the gradient's largest."""
    gradient = fastbp.loss_and_gradient(net, X, T)[1]
    sides = []
    for h in (1e-7, -1e-7):
        found = []
        for i in range(net.n_parameters):
            near = net.copy()
            near.parameters[i] += h
            found.append((fastbp.loss(near, X, T) - fastbp.loss(net, X, T)) / h)
        sides.append(found)
    i = int(np.argmax(np.abs(np.subtract(*sides))))
    low, high = sorted((sides[0][i], sides[1][i]))
    assert high - low > 0.01 * np.abs(gradient).max()
    return i, low, high, np.abs(gradient).max()


@pytest.mark.parametrize("part", [1e-5, -1e-3, 0.1, -1.0], ids=str)
@pytest.mark.parametrize("name", ["the reported mlp", "two leaky layers", "kinks of both signs", "sequences"])
def test_fails_at_kinks_when_the_gradient_is_wrong(name, part, replace):
    """By a part of its largest: beyond the sides, or where there are none."""
    net, X, T = scenes("float64")[name]
    i, low, high, _ = kinked(net, X, T)
    places = (i, 0, slice(None))
    if name in ("two leaky layers", "kinks of both signs"):  # there are more sides than two, some of them further off
        places = places[1:]
    for place in places:

        def wrong(here, gradient, place=place):
            if place == i:
                gradient[i] = high if part > 0 else low
            gradient[place] += part * np.abs(gradient).max()
            return gradient

        replace(wrong)
        report = check_gradient(net, X, T)
        assert not report, str(report)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_fails_for_what_is_wrong_at_the_kink_alone(sign, dtype, replace):
    """A derivative of relu at 0 that is on neither side of it, nor between."""
    net, X, T = scenes(dtype)["the reported mlp"]
    i, low, high, _ = kinked(*scenes("float64")["the reported mlp"])

    def wrong(here, gradient):
        if not here.biases[0].any():
            gradient[i] += sign * 3 * (high - low)
        return gradient

    replace(wrong)
    report = check_gradient(net, X, T)
    assert not report
    assert report.worst == i


@pytest.mark.parametrize("where", [0.0, 0.3, 1.0])
def test_passes_for_any_derivative_between_the_sides(where, replace):
    """Whether relu's derivative at 0 is 0, 1 or something between is a convention."""
    net, X, T = scenes("float64")["the reported mlp"]
    i, low, high, _ = kinked(net, X, T)

    def other(here, gradient):
        if not here.biases[0].any():
            gradient[i] = low + where * (high - low)
        return gradient

    replace(other)
    report = check_gradient(net, X, T, tolerance=1e-5)  # to which the sides are known
    assert report, str(report)


def test_fails_for_nan_at_a_kink(replace):
    net, X, T = scenes("float64")["the reported mlp"]
    i, *_ = kinked(net, X, T)

    def wrong(here, gradient):
        gradient[i] = np.nan
        return gradient

    replace(wrong)
    report = check_gradient(net, X, T)
    assert not report
    assert np.isnan(report.max_error)
    assert report.worst == i


def test_fails_for_a_gradient_that_leaves_out_the_blank_samples(replace):
    """What a mask in the wrong place would do: at the kinks it could be a convention, for the output's biases not."""
    net, X, T = scenes("float64")["the reported mlp"]
    right = fastbp._derivatives.check_gradient.loss_and_gradient
    rest = np.delete(np.arange(len(X)), 3)

    replace(lambda here, gradient: right(here, X[rest], T[rest])[1])
    assert not check_gradient(net, X, T)


def test_where_nothing_is_wrong_nothing_else_is_looked_at(monkeypatch):
    net = network(chain(3, 5, 2))
    X, T = data(net, 7)

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(fastbp._derivatives.check_gradient, "_Sides", never)
    assert check_gradient(net, X, T)


# Sweeps over many small networks.


def round_numbers(seed, dtype):
    """Networks of rounded parameters and data, by which pre-activations cancel, to 0 or to a last digit, or tie."""
    rng = np.random.default_rng(seed)
    for hidden in ("relu", "leaky_relu"):
        for sizes in ([3, 6, 2], [4, 5, 5, 2]):
            for parts in (4, 10):
                net = mlp(sizes, hidden, seed=seed, dtype=dtype)
                net.parameters = np.round(net.parameters * parts + rng.normal(size=net.n_parameters)) / parts
                N = rng.integers(1, 9)
                yield net, rng.integers(-2, 3, (N, sizes[0])) / parts, rng.standard_normal((N, 2))
    first = Conv2d(1, 3, 3, "relu", image_shape=(6, 6))
    pool = MaxPool2d(2, image_shape=first.output_shape)
    net = Network([first, pool, Affine(pool.n_out, 2)], seed=seed, dtype=dtype)
    yield net, rng.integers(0, 3, (4, 36)) / 2, rng.standard_normal((4, 2))
    pool = MaxPool2d(2, image_shape=(4, 4, 1))
    net = Network([Affine(3, 16, "tanh"), pool, Affine(4, 2)], seed=seed, dtype=dtype)
    net.parameters = np.round(net.parameters * 2) / 2
    yield net, rng.integers(-1, 2, (4, 3)) * 1.0, rng.standard_normal((4, 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", [*range(8), 22, 23, 25, 28])
def test_passes_for_round_numbers(seed, dtype):
    for net, X, T in round_numbers(seed, dtype):
        report = check_gradient(net, X, T)
        assert report, str(report)


def test_passes_with_kinks_as_near_as_the_steps():
    """The longer steps agree with each other, and with neither side."""
    for name in ("two layers", "repeated"):
        assert check_gradient(*scenes("float64", 23)[name])


def smooth(seed):
    """A network and data at no kink: one sample, or several and other activations."""
    rng = np.random.default_rng(seed)
    if seed % 2:
        net, N = mlp([3, 6, 2], "relu", seed=seed), 1
    else:
        first, second = rng.choice(["relu", "leaky_relu", "tanh", "gelu"], 2)
        net, N = Network([Affine(3, 5, str(first)), Affine(5, 4, str(second)), Affine(4, 2)], seed=seed), 1 + seed % 8
    return net, rng.standard_normal((N, 3)), rng.standard_normal((N, 2))


CHANGES = {
    "flipped": lambda gradient, i, j: {i: -gradient[i]},
    "scaled": lambda gradient, i, j: {i: 1.01 * gradient[i]},
    "zeroed": lambda gradient, i, j: {i: 0.0},
    "swapped": lambda gradient, i, j: {i: gradient[j], j: gradient[i]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_fails_for_any_change_at_smooth_points(change, replace):
    """Also where units are dead: then other derivatives of the same are 0, and so are theirs at places nearby."""
    for seed in range(10):
        net, X, T = smooth(seed)
        right = fastbp.loss_and_gradient(net, X, T)[1]
        rng = np.random.default_rng(seed)
        for i in rng.choice(net.n_parameters, 6, replace=False):
            new = CHANGES[change](right, i, rng.integers(net.n_parameters))
            if max(abs(value - right[k]) for k, value in new.items()) < 2e-7 * np.abs(right).max():
                continue  # both are 0

            def wrong(here, gradient, new=new):
                gradient[[*new]] = [*new.values()]
                return gradient

            replace(wrong)
            report = check_gradient(net, X, T)
            assert not report, (seed, i, str(report))
            assert report.worst in new


@pytest.mark.parametrize("beyond", [3e-7, 1e-5, 1e-2, 1.0], ids=str)
@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_fails_beyond_the_sides(hidden, beyond, replace):
    """By so much of the largest derivative, on either side."""
    for seed in range(3):
        net = mlp([8, 6, 2], hidden, seed=seed)
        X, T = with_a_zero_row(net, seed=seed)
        sides = [fastbp.loss_and_gradient(moved(net, sign), X, T)[1] for sign in (-1, 1)]
        low, high, largest = np.min(sides, axis=0), np.max(sides, axis=0), np.abs(sides).max()
        for i in np.flatnonzero(high - low > 1e-3 * largest):
            for value in (low[i] - beyond * largest, high[i] + beyond * largest):

                def wrong(here, gradient, i=i, value=value):
                    gradient[i] = value
                    return gradient

                replace(wrong)
                report = check_gradient(net, X, T)
                assert not report, (seed, i, str(report))
                assert report.worst == i


def moved(net, sign):
    """All units of the first layer to one side of their kinks."""
    near = net.copy()
    near.biases[0] += sign * 1e-10
    return near
