"""What second derivatives are checked against: NumPy's gradient at complex parameters.

For a real function, Im f(w + i h v) / h is the derivative along v up to terms in h², and no difference is taken: with
h = 1e-30 it is exact to rounding. The loop that computes the gradient by hand takes complex parameters as it is.
"""

import numpy as np

from support import NumpyNetwork

STEP = 1e-30


class Derivatives:
    """Of a network of `support`: squared error, or softmax and cross-entropy, both summed."""

    def __init__(self, sizes, X, T, p, *, softmax=False):
        self.sizes, self.X, self.T, self.p, self.softmax = sizes, X, T, p, softmax

    def network(self, p):
        """The same, with these parameters."""
        return NumpyNetwork(self.sizes, len(self.X), p, softmax=self.softmax)

    def outputs_along(self, v):
        """(N, K): the outputs' derivative along v."""
        return self.network(self.p + 1j * STEP * v).forward(self.X).imag / STEP

    def hessian_times(self, v):
        """H v: the gradient's derivative along v."""
        return self.network(self.p + 1j * STEP * v).gradient(self.X, self.T).imag / STEP

    def gauss_newton_times(self, v):
        """Jᵀ M' J v. For these pairs M' J v is the outputs' derivative, and y - t the deltas: so t = y - M' J v."""
        net = self.network(self.p)
        return net.gradient(self.X, net.forward(self.X) - self.outputs_along(v))

    def outputs_by_input(self, i):
        """(N, K): ∂y/∂x_i."""
        X = self.X.astype(complex)
        X[:, i] += 1j * STEP
        return self.network(self.p.astype(complex)).forward(X).imag / STEP


def units(p, count):
    """Numbers of `count` parameters, the first and the last among them, and the unit vectors along them."""
    chosen = np.unique(np.linspace(0, len(p) - 1, count).astype(int))
    return [(i, np.eye(1, len(p), i)[0]) for i in chosen]
