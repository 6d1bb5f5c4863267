"""The reference itself: its hand-written derivatives against a complex step through its forward pass alone."""

import numpy as np
import pytest

import reference
from cases import ARCHITECTURES, LARGE, PAIRS, SMOOTH, chain, data, network


@pytest.mark.parametrize("name", reference.ELEMENTWISE)
def test_derivative(name):
    a = np.random.default_rng(0).standard_normal(50) * 4
    expected = np.diag(reference.complex_step(lambda z: reference.activate(name, z), a))
    np.testing.assert_allclose(reference.derivative(name, a), expected, rtol=1e-14, atol=1e-15)


def gradient_by_complex_step(net, X, T, loss=None):
    p = net.parameters.astype(np.float64)
    return reference.complex_step(lambda z: reference.losses(net.layers, z, X, T, loss), p).T


@pytest.mark.parametrize("case", [name for name in ARCHITECTURES if name not in LARGE])
def test_per_sample_gradients(case):
    net = network(ARCHITECTURES[case])
    X, T = data(net, 5)
    G = reference.per_sample_gradients(net.layers, net.parameters, X, T)
    np.testing.assert_allclose(G, gradient_by_complex_step(net, X, T), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("output", "loss"), PAIRS, ids="-".join)
def test_output_delta(output, loss):
    net = network(chain(3, 4, 3, output=output))
    X, T = data(net, 6, loss)
    G = reference.per_sample_gradients(net.layers, net.parameters, X, T, loss)
    np.testing.assert_allclose(G, gradient_by_complex_step(net, X, T, loss), rtol=1e-12, atol=1e-14)


def test_smooth_activations_have_no_kink():
    step = 1e-6
    for name in SMOOTH:
        slopes = reference.derivative(name, np.array([-step, step]))
        assert abs(slopes[1] - slopes[0]) < 10 * step


def test_optimizers_on_numbers_worked_by_hand():
    sgd = reference.SGD(0.1, momentum=0.5, weight_decay=0.2)
    p = sgd.update([1.0], [2.0])
    np.testing.assert_allclose(p, 1 - 0.02 - 0.2)
    np.testing.assert_allclose(sgd.update(p, [1.0]), 0.78 * 0.98 - 0.1 * 2)
    nesterov = reference.SGD(0.1, momentum=0.5, nesterov=True)
    np.testing.assert_allclose(nesterov.update([1.0], [2.0]), 1 - 0.1 * (2 + 0.5 * 2))
    adam = reference.Adam(0.1)
    np.testing.assert_allclose(adam.update([1.0, 1.0], [2.0, -3.0]), [0.9, 1.1])
    # m = 0.1 * 2 * 0.9 = 0.18 and m' = 0.18 / 0.19; v = 0.001 * 4 * 0.999 and v' = v / 0.001999
    second = reference.Adam(0.1)
    second.update([0.0], [2.0])
    np.testing.assert_allclose(
        second.update([0.0], [0.0]), -0.1 * (0.18 / 0.19) / np.sqrt(0.003996 / 0.001999), rtol=1e-7
    )
