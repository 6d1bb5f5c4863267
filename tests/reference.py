"""The theory in plain NumPy: float64, written for obviousness, sharing nothing with the library.

Everything up to the error takes complex parameters and inputs as well, so that a complex step gives its derivatives.
"""

import numpy as np
from scipy import special

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
    """h'(a), for real a."""
    s = activate("sigmoid", a)
    if name == "identity":
        return np.ones_like(a)
    if name == "sigmoid":
        return s * activate("sigmoid", -a)
    if name == "tanh":
        return 1 / np.cosh(a) ** 2
    if name == "relu":
        return np.where(a > 0, 1.0, 0.0)
    if name == "leaky_relu":
        return np.where(a > 0, 1.0, LEAK)
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


def slots(layers):
    """Where each layer's W and b lie in the parameter vector (b: None without a bias), and how long that vector is."""
    place, first, found = 0, {}, []
    for layer in layers:
        if id(layer) not in first:
            W = slice(place, place + layer.n_in * layer.n_out)
            b = slice(W.stop, W.stop + layer.n_out) if layer.bias else None
            place = b.stop if layer.bias else W.stop
            first[id(layer)] = W, b
        found.append(first[id(layer)])
    return found, place


def passes(layers, p, X):
    """(z^(l-1), a^l) of every layer."""
    z, p, found = wide(X), wide(p), []
    for layer, (W, b) in zip(layers, slots(layers)[0], strict=True):
        a = z @ p[W].reshape(layer.n_in, layer.n_out) + (p[b] if layer.bias else 0)
        found.append((z, a))
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
    """dE_n/dw, one a row: the delta recursion, and an outer product for each use of a slot."""
    output, done, p = layers[-1].activation, passes(layers, p, X), wide(p)
    places, P = slots(layers)
    G = np.zeros((len(X), P))
    delta = output_delta(output, loss or canonical(output), done[-1][1], wide(T))
    for l in reversed(range(len(layers))):
        (W, b), (z, _) = places[l], done[l]
        G[:, W] += (z[:, :, None] * delta[:, None, :]).reshape(len(X), layers[l].n_in * layers[l].n_out)
        if b is not None:
            G[:, b] += delta
        if l > 0:
            back = delta @ p[W].reshape(layers[l].n_in, layers[l].n_out).T
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
