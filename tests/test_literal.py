"""Equations of docs/equations.md that no other test proves, one number after the other, or by a complex step."""

import numpy as np
import pytest

import fastbp
import reference
from cases import chain, data, network
from fastbp import Affine, Network, Shared, Tied, WoodburyInverse
from util import assert_close

# The affine layer.


def test_affine_backward_is_the_derivative_of_any_function():
    """dL/dX, dL/dW and dL/db of L = sum_nm c_nm sin y_nm, Y = X W + Dup(b), by complex steps through the sum itself."""
    rng = np.random.default_rng(0)
    X, W, b, c = (rng.standard_normal(shape) for shape in ((5, 3), (3, 4), 4, (5, 4)))

    def L(X, W, b):
        Y = np.array([[sum(X[n, k] * W[k, m] for k in range(3)) + b[m] for m in range(4)] for n in range(5)])
        return (c * np.sin(Y)).sum()

    dX, dW, db = fastbp.affine_backward(c * np.cos(fastbp.affine(X, W, b)), X, W)
    expected = reference.complex_step(lambda x: L(x.reshape(5, 3), W, b), X.ravel())
    assert_close(dX.ravel(), expected, "float64", 20)
    assert_close(dW.ravel(), reference.complex_step(lambda w: L(X, w.reshape(3, 4), b), W.ravel()), "float64", 20)
    assert_close(db, reference.complex_step(lambda b: L(X, W, b), b), "float64", 20)


# Any number of layers.


def parts(net, rows):
    """Rows of derivatives by the parameters as [(dW, db) of every layer]."""
    slots = reference.slots(net.layers)[0]
    return [(rows[..., W], rows[..., b]) for W, b in slots]


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax", "tanh"])
def test_literal_1_to_11(output):
    """delta^l_j = sum_k delta^(l+1)_k w_jk h'(a^l_j) and dE_n/dw^l_ij = z^(l-1)_i delta^l_j, of four layers."""
    net = network(chain(3, 5, 4, 3, 2, hidden="gelu", output=output))
    X, T = data(net, 4)
    done = reference.passes(net.layers, net.parameters, X)
    gradients = parts(net, fastbp.per_sample_gradients(net, X, T))
    for n in range(4):
        delta = reference.output_delta(output, reference.canonical(output), done[-1][1], T)[n]  # (3) for l = L
        for l in (3, 2, 1, 0):
            z, a, W = done[l]
            if l < 3:
                above, h1 = net.weights[l + 1], reference.derivative("gelu", a[n])
                delta = [sum(delta[k] * above[j, k] for k in range(len(delta))) * h1[j] for j in range(len(h1))]  # (8)
            dW, db = gradients[l][0][n].reshape(W.shape), gradients[l][1][n]
            assert_close(db, delta, "float64", 40)  # (3): a bias moves its pre-activation by as much
            expected = [[z[n, i] * delta[j] for j in range(W.shape[1])] for i in range(W.shape[0])]  # (11)
            assert_close(dW, expected, "float64", 40)


# Shared and tied weights.


def test_literal_shared_1_and_2():
    """(1) dE/dw_ij = sum_g delta_jg z_ig, (2) delta_jg = h'(a_jg) sum_k delta_k w_jg,k: an independent layer above."""
    net = network([Shared(3, 2, 4, "tanh"), Affine(8, 3, "sigmoid")])
    X, T = data(net, 5)
    (x, a, _), (_, a_above, W_above) = reference.passes(net.layers, net.parameters, X)
    x, a, w = x.reshape(5, 4, 3), a.reshape(5, 4, 2), W_above.reshape(4, 2, 3)
    dW, db = parts(net, fastbp.per_sample_gradients(net, X, T))[0]
    for n in range(5):
        above = reference.activate("sigmoid", a_above[n]) - T[n]
        expected, sums = np.zeros((3, 2)), np.zeros(2)
        for g, j in np.ndindex(4, 2):
            delta = (1 - np.tanh(a[n, g, j]) ** 2) * sum(above[k] * w[g, j, k] for k in range(3))  # (2)
            sums[j] += delta
            for i in range(3):
                expected[i, j] += delta * x[n, g, i]  # (1)
        assert_close(dW[n], expected.ravel(), "float64", 40)
        assert_close(db[n], sums, "float64", 40)


def test_literal_tied_1_to_4():
    """dnet_k/dw_ji = o_i [k = j] + (do_i/dw_ji) w_ki: with the decoder's weight as itself, and as the encoder's."""
    encoder = Affine(4, 3, "tanh")
    net = network([encoder, Tied(encoder, "sigmoid")])
    X, T = data(net, 5)
    W, (_, a, _), (o, net_k, _) = net.weights[0], *reference.passes(net.layers, net.parameters, X)
    rows = parts(net, fastbp.parameter_jacobian(net, X, of="preactivation"))[0][0]
    gradients = parts(net, fastbp.per_sample_gradients(net, X, T))[0][0]
    for n in range(5):
        y = reference.activate("sigmoid", net_k[n])
        expected = np.empty((4, 4, 3))
        for k, j, i in np.ndindex(4, 4, 3):
            of_o = X[n, j] * (1 - np.tanh(a[n, i]) ** 2)  # do_i/dw_ji
            expected[k, j, i] = of_o * W[k, i] + (o[n, i] if k == j else 0)  # (4)
        assert_close(rows[n], expected.reshape(4, 12), "float64", 20)
        total = [sum((y[k] - T[n, k]) * expected[k, j, i] for k in range(4)) for j in range(4) for i in range(3)]  # (1)
        assert_close(gradients[n], total, "float64", 40)


# Bishop's.


def test_literal_5_71():
    """dE/dw = sum_kj dE/dy_k dy_k/dz_j dz_j/dw: a module with parameters between others."""
    net = network(chain(3, 4, 5, 2, output="sigmoid"))
    X, T = data(net, 6, "squared_error")
    below, above = Network(net.layers[:2]), Network(net.layers[2:])
    below.parameters, above.parameters = np.split(net.parameters, [below.n_parameters])
    z = below(X)
    by_z, by_w = fastbp.jacobian(above, z), fastbp.parameter_jacobian(below, X)
    expected = np.zeros((6, below.n_parameters))
    for n, k, j in np.ndindex(6, 2, 5):
        expected[n] += (above(z)[n, k] - T[n, k]) * by_z[n, k, j] * by_w[n, j]
    rows = fastbp.per_sample_gradients(net, X, T, loss="squared_error")
    assert_close(rows[:, : below.n_parameters], expected, "float64", 60)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_literal_5_80(output):
    """d2E/da_j da_j' below the output and one layer further, with all that is not diagonal."""
    net = network(chain(3, 5, 4, 3, hidden="silu", output=output))
    X, T = data(net, 4)
    loss = reference.canonical(output)
    done = reference.passes(net.layers, net.parameters, X)
    M = reference.output_curvatures(output, loss, done[-1][1], T)
    expected = np.zeros(net.n_parameters)
    slots = reference.slots(net.layers)[0]
    for n in range(4):
        D, delta = M[n], reference.output_delta(output, loss, done[-1][1], T)[n]
        for l in (2, 1, 0):
            z, a, W = done[l][0][n], done[l][1][n], net.weights[l]
            if l < 2:
                w, old, width = net.weights[l + 1], D, range(len(a))
                h1, h2 = reference.derivative("silu", a), reference.second_derivative("silu", a)
                back = [sum(w[j, k] * delta[k] for k in range(len(delta))) for j in width]
                D = np.empty((len(a), len(a)))
                for i, j in np.ndindex(D.shape):
                    pairs = sum(w[i, k] * w[j, m] * old[k, m] for k, m in np.ndindex(old.shape))
                    D[i, j] = h1[i] * h1[j] * pairs + (h2[j] * back[j] if i == j else 0)  # (5.80) for i = j
                delta = [h1[j] * back[j] for j in width]
            expected[slots[l][0]] += [z[i] ** 2 * D[j, j] for i, j in np.ndindex(W.shape)]  # (5.79)
            expected[slots[l][1]] += np.diag(D)
    assert_close(fastbp.hessian_diagonal(net, X, T), expected, "float64", 60)
    assert_close(np.diag(fastbp.hessian(net, X, T)), expected, "float64", 60)


@pytest.mark.parametrize("output", ["identity", "tanh", "softmax"])
def test_literal_5_83(output):
    """H = sum_n grad y grad y^T + sum_n (y - t) grad grad y, its first part being the Gauss-Newton matrix (5.84)."""
    net = network(chain(2, 3, 2, output=output))
    X, T = data(net, 5, "squared_error")
    p, h = net.parameters.copy(), 1e-3

    def slopes(i, step):
        q = p.copy()
        q[i] += step
        return reference.parameter_jacobian(net.layers, q, X)

    J, r = reference.parameter_jacobian(net.layers, p, X), reference.forward(net.layers, p, X) - T
    by_products = np.einsum("nki,nkj->ij", J, J)
    by_residuals = np.empty((p.size, p.size))
    for i in range(p.size):
        near, far = slopes(i, h) - slopes(i, -h), slopes(i, 2 * h) - slopes(i, -2 * h)
        by_residuals[i] = np.einsum("nk,nki->i", r, (8 * near - far) / (12 * h))
    H = fastbp.hessian(net, X, T, loss="squared_error")
    # Truncation is of order h^4 = 1e-12, rounding of order eps / h.
    np.testing.assert_allclose(H, by_products + by_residuals, rtol=0, atol=1e-9 * np.abs(H).max())
    assert_close(fastbp.gauss_newton(net, X, T, loss="squared_error"), by_products, "float64", 60)


def test_literal_5_86_to_5_89():
    """One sample of one output after the other, from alpha I on: H_(L+1) = H_L + b b^T, and what that makes of H^-1."""
    net = network(chain(2, 4, 1))
    X, alpha = data(net, 30)[0], 0.5
    rows = reference.parameter_jacobian(net.layers, net.parameters, X)[:, 0]
    P = net.n_parameters
    H, H_inv = alpha * np.eye(P), np.eye(P) / alpha
    inv = WoodburyInverse(P, alpha)
    for L, b in enumerate(rows):
        H += np.outer(b, b)  # (5.87)
        u = np.array([sum(H_inv[i, j] * b[j] for j in range(P)) for i in range(P)])
        below = 1 + sum(b[i] * u[i] for i in range(P))
        H_inv = H_inv - np.outer(u, u) / below  # (5.89), by (5.88) with M = H_L, u = v = b
        inv.update(b)
        slack = 1e-13 * np.linalg.cond(H)
        np.testing.assert_allclose(inv.matrix, H_inv, rtol=0, atol=slack * np.abs(H_inv).max())
        np.testing.assert_allclose(inv.matrix @ H, np.eye(P), rtol=0, atol=10 * slack)
        if L % 10 == 9:
            of_net = WoodburyInverse.from_network(net, X[: L + 1], alpha=alpha)
            np.testing.assert_allclose(of_net.matrix, H_inv, rtol=0, atol=slack * np.abs(H_inv).max())
    np.testing.assert_allclose(inv.logdet(), np.linalg.slogdet(H)[1], rtol=1e-12)
