"""The theory in plain NumPy: float64, written for obviousness, sharing nothing with the library.

Of the library's layers it reads what their constructors were given, and nothing that follows from it.

Everything takes complex parameters and inputs as well, so that a complex step gives its derivatives: of outputs the
Jacobians, of the gradient the Hessian.
"""

import functools
import itertools
import math

import numpy as np
from scipy import special

from fastbp import Affine, AveragePool2d, Conv1d, Conv2d, MaxPool2d, Shared, Tied

ELEMENTWISE = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "gelu", "silu")
LEAK = 0.01


def wide(x):
    """`x` in float64, or in complex128 if it is complex."""
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def softplus(a):
    """log(1 + e^a)."""
    positive = a.real > 0
    return np.where(positive, a, 0) + np.log1p(np.exp(np.where(positive, -a, a)))


def log_sum_exp(a):
    """log sum_k e^(a_nk), a column."""
    top = a.real.max(axis=1, keepdims=True)
    return top + np.log(np.exp(a - top).sum(axis=1, keepdims=True))


def activate(name, a):
    """h(a)."""
    if name == "identity":
        return a
    if name == "sigmoid":
        return np.exp(-softplus(-a))
    if name == "tanh":
        return np.tanh(a)
    if name == "relu":
        return np.where(a.real > 0, a, 0)
    if name == "leaky_relu":
        return np.where(a.real > 0, a, LEAK * a)
    if name == "softplus":
        return softplus(a)
    if name == "gelu":
        return a * (1 + special.erf(a / np.sqrt(2))) / 2
    if name == "silu":
        return a * activate("sigmoid", a)
    assert name == "softmax"
    return np.exp(a - log_sum_exp(a))


def derivative(name, a):
    """h'(a)."""
    s = activate("sigmoid", a)
    if name == "identity":
        return np.ones_like(a)
    if name == "sigmoid":
        return s * activate("sigmoid", -a)
    if name == "tanh":
        return 1 / np.cosh(a) ** 2
    if name == "relu":
        return np.where(a.real > 0, 1.0, 0.0)
    if name == "leaky_relu":
        return np.where(a.real > 0, 1.0, LEAK)
    if name == "softplus":
        return s
    if name == "gelu":
        return special.ndtr(a) + a * np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
    assert name == "silu"
    return s + a * s * activate("sigmoid", -a)


def canonical(output):
    """The error function that belongs to an output unit."""
    return {"sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}.get(output, "squared_error")


def errors(output, loss, a, t):
    """E_n, one a row, from the pre-activations of the last layer."""
    if loss == "binary_cross_entropy":
        return (softplus(a) - t * a).sum(axis=1)
    if loss == "cross_entropy":
        return (t * (log_sum_exp(a) - a)).sum(axis=1)
    return ((activate(output, a) - t) ** 2).sum(axis=1) / 2


def output_delta(output, loss, a, t):
    """dE_n/da_nk."""
    y = activate(output, a)
    if loss == "binary_cross_entropy":
        return y - t
    if loss == "cross_entropy":
        return y * t.sum(axis=1, keepdims=True) - t
    if output == "softmax":
        return y * (y - t - (y * (y - t)).sum(axis=1, keepdims=True))
    return (y - t) * derivative(output, a)


def owner(layer):
    """The layer whose matrix this one applies, and whether it does so transposed: through ties, each of which turns."""
    transposed = False
    while isinstance(layer, Tied):
        layer, transposed = layer.layer, not transposed
    return layer, transposed


def matrix_shape(layer):
    """Rows and columns of the matrix that a layer brings with it; None if it brings none."""
    if isinstance(layer, Affine):
        return layer.n_in, layer.n_out
    if isinstance(layer, Shared):
        return layer.n_in // layer.groups, layer.n_out // layer.groups
    if isinstance(layer, (Conv1d, Conv2d)):
        return math.prod(layer.kernel_size) * layer.in_channels, layer.out_channels
    return None


def bias_size(layer):
    """How long the bias of a layer is: an output of a group or a channel each."""
    giver, transposed = owner(layer)
    if not transposed:
        return matrix_shape(giver)[1]
    return giver.in_channels if isinstance(giver, (Conv1d, Conv2d)) else matrix_shape(giver)[0]


def slots(layers):
    """Where each layer's W (a tied one's: its owner's) and b lie in the parameters, or None; how many there are."""
    place, matrices, biases = 0, {}, {}
    for layer in layers:
        if id(layer) in biases:
            continue
        if not isinstance(layer, Tied) and matrix_shape(layer):
            rows, columns = matrix_shape(layer)
            matrices[id(layer)] = slice(place, place + rows * columns)
            place += rows * columns
        biases[id(layer)] = None
        if layer.bias:
            biases[id(layer)] = slice(place, place + bias_size(layer))
            place += bias_size(layer)
    return [(matrices.get(id(owner(layer)[0])), biases[id(layer)]) for layer in layers], place


@functools.lru_cache(256)
def patches(layer):
    """For every place of the window, row by row: (number in it, number of the pixel) of what is in the image."""
    found = []
    image, axes = layer.image_shape[:-1], range(len(layer.kernel_size))
    span = [(k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    starts = [
        range(-layer.padding[i], image[i] + layer.padding[i] - span[i], layer.stride[i]) for i in axes
    ]  # fmt: skip
    for start in itertools.product(*starts):
        inside = []
        for tap, offset in enumerate(itertools.product(*map(range, layer.kernel_size))):
            pixel = [start[i] + offset[i] * layer.dilation[i] for i in axes]
            if all(0 <= pixel[i] < image[i] for i in axes):
                inside.append((tap, pixel[0] if len(image) == 1 else pixel[0] * image[1] + pixel[1]))
        found.append(inside)
    return found


@functools.lru_cache(256)
def uses(layer):
    """All (inputs, outputs, rows) with y[outputs] += x[inputs] W[rows], for a layer with a matrix of its own."""
    rows, columns = matrix_shape(layer)
    if isinstance(layer, (Conv1d, Conv2d)):
        C = layer.in_channels
        return [
            (slice(pixel * C, (pixel + 1) * C), slice(g * columns, (g + 1) * columns), slice(tap * C, (tap + 1) * C))
            for g, inside in enumerate(patches(layer))
            for tap, pixel in inside
        ]
    groups = layer.groups if isinstance(layer, Shared) else 1
    return [
        (slice(g * rows, (g + 1) * rows), slice(g * columns, (g + 1) * columns), slice(0, rows)) for g in range(groups)
    ]


def dense(layer, W):
    """The matrix (n_in, n_out) that takes a layer's whole input to its whole output, for an average without W."""
    if isinstance(layer, AveragePool2d):
        C, M = layer.image_shape[-1], np.zeros((layer.n_in, layer.n_out))
        for g, inside in enumerate(patches(layer)):
            for _, pixel in inside:
                for c in range(C):
                    M[pixel * C + c, g * C + c] += 1 / math.prod(layer.kernel_size)
        return M
    giver, transposed = owner(layer)
    M = np.zeros((giver.n_in, giver.n_out), W.dtype)
    for inputs, outputs, rows in uses(giver):
        M[inputs, outputs] += W[rows]
    return M.T if transposed else M


def dense_gradient(layer, z, delta):
    """The gradient of W, one a row, flattened: of every use the outer product, added up."""
    giver, transposed = owner(layer)
    x, dy = (delta, z) if transposed else (z, delta)
    dW = np.zeros((len(z), *matrix_shape(giver)), np.result_type(z, delta))
    for inputs, outputs, rows in uses(giver):
        dW[:, rows] += x[:, inputs, None] * dy[:, None, outputs]
    return dW.reshape(len(z), math.prod(matrix_shape(giver)))


def largest(layer, z):
    """The inputs that a maximum takes, (N, n_out): the first of the largest, a NaN being larger than any number."""
    C, columns = layer.image_shape[-1], []
    for inside in patches(layer):
        for c in range(C):
            places = np.array([pixel * C + c for _, pixel in inside])
            columns.append(places[np.argmax(z.real[:, places], axis=1)])
    return np.stack(columns, axis=1)


def apply(layer, W, z):
    """A layer without its bias."""
    if isinstance(layer, MaxPool2d):
        return np.take_along_axis(z, largest(layer, z), axis=1)
    return z @ dense(layer, W)


def apply_back(layer, W, z, delta):
    """The adjoint of its derivative at z."""
    if not isinstance(layer, MaxPool2d):
        return delta @ dense(layer, W).T
    back, taken = np.zeros(z.shape, delta.dtype), largest(layer, z)
    for n in range(len(z)):
        for k in range(layer.n_out):
            back[n, taken[n, k]] += delta[n, k]
    return back


def passes(layers, p, X):
    """(z^(l-1), a^l, W^l as its owner has it) of every layer."""
    z, p, found = wide(X), wide(p), []
    for layer, (W, b) in zip(layers, slots(layers)[0], strict=True):
        matrix = None if W is None else p[W].reshape(matrix_shape(owner(layer)[0]))
        a = apply(layer, matrix, z)
        if b is not None:
            a = a + np.tile(p[b], layer.n_out // bias_size(layer))
        found.append((z, a, matrix))
        z = activate(layer.activation, a)
    return found


def forward(layers, p, X):
    """y(x_n), one a row."""
    return activate(layers[-1].activation, passes(layers, p, X)[-1][1])


def losses(layers, p, X, T, loss=None):
    """E_n, one a row."""
    output = layers[-1].activation
    return errors(output, loss or canonical(output), passes(layers, p, X)[-1][1], wide(T))


def per_sample_gradients(layers, p, X, T, loss=None):
    """dE_n/dw, one a row: the delta recursion, every use of a slot adding its term."""
    output, done = layers[-1].activation, passes(layers, p, X)
    places, P = slots(layers)
    G = np.zeros((len(X), P), np.result_type(done[-1][1], np.float64))
    delta = output_delta(output, loss or canonical(output), done[-1][1], wide(T))
    for l in reversed(range(len(layers))):
        (W, b), (z, _, matrix) = places[l], done[l]
        if W is not None:
            G[:, W] += dense_gradient(layers[l], z, delta)
        if b is not None:
            size = bias_size(layers[l])
            G[:, b] += delta.reshape(len(X), layers[l].n_out // size, size).sum(axis=1)
        if l > 0:
            back = apply_back(layers[l], matrix, z, delta)
            delta = derivative(layers[l - 1].activation, done[l - 1][1]) * back
    return G


def complex_step(f, x, step=1e-30):
    """df/dx_i of a real-analytic function of a vector, without cancellation."""
    result = []
    for i in range(len(x)):
        z = x.astype(np.complex128)
        z[i] += 1j * step
        result.append(f(z).imag / step)
    return np.array(result)


def complex_columns(f, x, columns, step=1e-30):
    """df/dx_i for the i of `columns`, stacked last."""

    def along(i):
        z = x.astype(np.complex128)
        z[..., i] += 1j * step
        return f(z).imag / step

    return np.stack([along(i) for i in columns], axis=-1)


def jacobian(layers, p, X):
    """dy_k/dx_i of every sample, (N, K, D)."""
    return complex_columns(lambda z: forward(layers, p, z), wide(X), range(np.shape(X)[1]))


def parameter_jacobian(layers, p, X, of="output", columns=None):
    """dy_k/dw_i of every sample, (N, K, P), or da^L_k/dw_i, or some of their columns."""

    def outputs(z):
        return forward(layers, z, X) if of == "output" else passes(layers, z, X)[-1][1]

    return complex_columns(outputs, wide(p), range(len(p)) if columns is None else columns)


def hessians(layers, p, X, T, loss=None, columns=None):
    """d2E_n/dw dw of every sample, (N, P, P), or some of their columns."""
    columns = range(len(p)) if columns is None else columns
    return complex_columns(lambda z: per_sample_gradients(layers, z, X, T, loss), wide(p), columns)


def output_curvatures(output, loss, a, t):
    """d2E_n/da da of every sample, (N, K, K)."""
    return complex_columns(lambda z: output_delta(output, loss, z, wide(t)), wide(a), range(np.shape(a)[1]))


def gauss_newton_curvatures(output, loss, a, t):
    """M' of every sample, (N, K, K): M of the canonical pairs, S^T S with S = dy/da for a squared error."""
    if loss == "squared_error":
        S = complex_columns(lambda z: activate(output, z), wide(a), range(np.shape(a)[1]))
        return np.einsum("nki,nkj->nij", S, S)
    return output_curvatures(output, loss, a, t)


def gauss_newtons(layers, p, X, T, loss=None, columns=None):
    """J_n^T M'_n J_n of every sample, (N, P, P), J_n = da^L/dw, or some of their columns and the same rows."""
    output = layers[-1].activation
    J = parameter_jacobian(layers, p, X, "preactivation", columns)
    M = gauss_newton_curvatures(output, loss or canonical(output), passes(layers, p, X)[-1][1], T)
    return np.einsum("nki,nkl,nlj->nij", J, M, J, optimize=True)


def second_derivative(name, a):
    """h''(a)."""
    return complex_columns(lambda z: derivative(name, z), np.ravel(wide(a))[:, None], [0]).reshape(np.shape(a))


def approximate_diagonal(layers, p, X, T, loss=None):
    """Becker and LeCun's diagonal of every sample, (N, P): PRML (5.79) to (5.81), every use of a slot by itself."""
    output, done = layers[-1].activation, passes(layers, p, X)
    loss = loss or canonical(output)
    places, P = slots(layers)
    D = np.zeros((len(X), P))
    delta = output_delta(output, loss, done[-1][1], wide(T))
    M = output_curvatures(output, loss, done[-1][1], T)
    c = np.stack([np.diag(M_n) for M_n in M]) if len(M) else np.zeros(delta.shape)
    for l in reversed(range(len(layers))):
        (W, b), (z, _, matrix) = places[l], done[l]
        if W is not None:
            D[:, W] += dense_gradient(layers[l], z * z, c)
        if b is not None:
            size = bias_size(layers[l])
            D[:, b] += c.reshape(len(X), layers[l].n_out // size, size).sum(axis=1)
        if l == 0:
            return D
        below, a = layers[l - 1].activation, done[l - 1][1]
        back = apply_back(layers[l], matrix, z, delta)
        if isinstance(layers[l], MaxPool2d):
            squares = apply_back(layers[l], matrix, z, c)
        else:
            squares = c @ (dense(layers[l], matrix) ** 2).T
        c = derivative(below, a) ** 2 * squares + second_derivative(below, a) * back
        delta = derivative(below, a) * back


class SGD:
    """v = momentum v + g, then p = (1 - rate decay) p - rate (v, or g + momentum v)."""

    def __init__(self, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.learning_rate, self.momentum, self.nesterov = learning_rate, momentum, nesterov
        self.weight_decay = weight_decay
        self.v = 0.0

    def update(self, p, g):
        """The parameters after one step."""
        p, g = wide(p), wide(g)
        self.v = self.momentum * self.v + g
        direction = g + self.momentum * self.v if self.nesterov else self.v
        return p - self.learning_rate * self.weight_decay * p - self.learning_rate * direction


class Adam:
    """Adam with decoupled weight decay."""

    def __init__(self, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
        self.learning_rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self.weight_decay = weight_decay
        self.m = self.v = 0.0
        self.t = 0

    def update(self, p, g):
        """The parameters after one step."""
        p, g = wide(p), wide(g)
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        m, v = self.m / (1 - self.beta1**self.t), self.v / (1 - self.beta2**self.t)
        decayed = p - self.learning_rate * self.weight_decay * p
        return decayed - self.learning_rate * m / (np.sqrt(v) + self.epsilon)
