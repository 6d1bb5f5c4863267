"""What the tests of second derivatives share: networks with a few samples whose derivatives are all known."""

import functools

import numpy as np

import reference
from cases import ARCHITECTURES, LARGE, PAIRS, chain, data, network, terms_of, uses_of
from fastbp import Network
from util import assert_close

SAMPLES = 7
SMALL = [name for name in ARCHITECTURES if name not in LARGE]
# What a network of one hidden layer does for each error function.
OUTPUTS = [(*pair, K) for pair in PAIRS for K in (1, 3, 17)]
COLUMNS = 25


class Known:
    """A network and seven samples, all of numbers that float32 has too, with each sample's derivatives in float64.

    Of a large network, H has some `columns` and G the same columns and rows.
    """

    def __init__(self, layers, loss=None, large=False):
        narrow = network(layers, "float32")
        X, T = data(narrow, SAMPLES, loss)
        self.layers, self.loss = layers, loss or reference.canonical(layers[-1].activation)
        self.p, self.X, self.T = (reference.wide(x) for x in (narrow.parameters, X, T))
        self.P, self.columns = len(self.p), None
        if large:
            self.columns = np.sort(np.random.default_rng(5).choice(self.P, COLUMNS, replace=False))

    @functools.cached_property
    def H(self):
        return reference.hessians(self.layers, self.p, self.X, self.T, self.loss, self.columns)

    @functools.cached_property
    def G(self):
        return reference.gauss_newtons(self.layers, self.p, self.X, self.T, self.loss, self.columns)

    @functools.cached_property
    def jacobian(self):
        return reference.jacobian(self.layers, self.p, self.X)

    @functools.cache  # noqa: B019
    def parameter_jacobian(self, of):
        return reference.parameter_jacobian(self.layers, self.p, self.X, of, self.columns)

    @functools.cached_property
    def approximate(self):
        return reference.approximate_diagonal(self.layers, self.p, self.X, self.T, self.loss)

    def diagonals(self, gauss_newton):
        """Of every sample, at `columns`."""
        if gauss_newton:
            return np.einsum("nii->ni", self.G)
        rows = slice(None) if self.columns is None else self.columns
        return np.einsum("nii->ni", self.H[:, rows])

    def batch(self, dtype, N):
        """The network in that dtype, and N rows: the samples over and over."""
        net = Network(self.layers, dtype=dtype)
        net.parameters = self.p
        rows = np.arange(N) % SAMPLES
        return net, self.X[rows].astype(dtype), self.T[rows].astype(dtype)

    def check(self, actual, samples, w, what):
        """`actual` against the samples' own derivatives, weighted with one w for each row of the batch.

        Roundings are relative to what a sum adds up on its way, which may be more than what is left of it.
        """
        N, w = len(w), np.asarray(w, np.float64)
        sums, squares = (np.bincount(np.arange(N) % SAMPLES, x, SAMPLES) for x in (w, w**2))
        expected = np.tensordot(sums, samples, 1)
        size = (np.sqrt(np.tensordot(squares, samples**2, 1)) + np.abs(expected)).max(initial=0.0)
        assert_close(actual, expected, actual.dtype, self.terms(N), size, what)

    def terms(self, N):
        """The numbers that one element adds up on its longest way, there and back."""
        most = max(uses_of(layer) for layer in self.layers)
        return most * N + 2 * sum(terms_of(layer) + layer.n_out + 2 for layer in self.layers)


@functools.cache
def known(case):
    """By the name of an architecture, or by (output, error function, number of outputs)."""
    if case in ARCHITECTURES:
        return Known(ARCHITECTURES[case], large=case in LARGE)
    output, loss, K = case
    return Known(chain(4, 6, K, output=output), loss)


def weights(kind, N, dtype):
    """None, or weights of which some are 0 and some negative, and what they come to for the sum and the mean."""
    if kind == "none":
        return None, np.ones(N)
    w = (np.random.default_rng(7).random(N) - 0.2).astype(dtype)
    w[1::3] = 0
    return w, w.astype(np.float64)


def divided(w, reduction):
    """The weights of a batch's samples in its sum or mean."""
    return w / w.sum() if reduction == "mean" and len(w) else w


def name_of(case):
    return case if isinstance(case, str) else "-".join(map(str, case))
