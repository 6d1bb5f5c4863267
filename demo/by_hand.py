"""The same training loop in plain NumPy, written to be fast: what fastbp's `fit` is held against.

One hidden layer of tanh, softmax output, cross-entropy, Adam, float32. Nothing is allocated after the start: every
result goes to an array made beforehand, the minibatches are views made once, and Adam runs over one flat vector.
"""

import numpy as np


class Buffers:
    """Room for one minibatch length."""

    def __init__(self, rows, hidden, outputs):
        self.z = np.empty((rows, hidden), np.float32)
        self.slope = np.empty_like(self.z)
        self.delta_hidden = np.empty_like(self.z)
        self.y = np.empty((rows, outputs), np.float32)
        self.delta = np.empty_like(self.y)
        self.row = np.empty((rows, 1), np.float32)


class Training:
    """A 2-layer network with its optimizer, over the same flat parameter vector as fastbp's: W, b, W, b."""

    def __init__(self, sizes, parameters, batch_size, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.sizes, self.batch_size = sizes, batch_size
        self.p = np.array(parameters, np.float32)
        self.g, self.m, self.v, self.work = (np.zeros_like(self.p) for _ in range(4))
        self.W1, self.b1, self.W2, self.b2 = self.views(self.p)
        self.dW1, self.db1, self.dW2, self.db2 = self.views(self.g)
        self.W2_transposed = self.W2.T
        self.rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self.power1 = self.power2 = 1.0

    def views(self, vector):
        """W1, b1, W2, b2 in a vector of all parameters."""
        inputs, hidden, outputs = self.sizes
        ends = np.cumsum([inputs * hidden, hidden, hidden * outputs])
        W1, b1, W2, b2 = np.split(vector, ends)
        return W1.reshape(inputs, hidden), b1, W2.reshape(hidden, outputs), b2

    def fit(self, X, T, epochs, shuffle=True, seed=None):
        """Return the mean error of every epoch."""
        N = len(X)
        generator = np.random.default_rng(seed)
        shuffled_X, shuffled_T = X.copy(), T.copy()
        buffers, batches = {}, []
        for start in range(0, N, self.batch_size):
            x, t = shuffled_X[start : start + self.batch_size], shuffled_T[start : start + self.batch_size]
            if len(x) not in buffers:
                buffers[len(x)] = Buffers(len(x), self.sizes[1], self.sizes[2])
            of_batch = buffers[len(x)]
            batches.append((x, x.T, t, of_batch, of_batch.z.T, 1 / len(x)))

        errors = []
        for _ in range(epochs):
            if shuffle:
                order = generator.permutation(N)
                X.take(order, axis=0, out=shuffled_X, mode="clip")
                T.take(order, axis=0, out=shuffled_T, mode="clip")
            errors.append(sum(self.step(*batch) for batch in batches) / N)
        return errors

    def step(self, x, x_transposed, t, room, z_transposed, scale):
        """Update once; return the sum of the batch's errors before it."""
        z, y, delta, delta_hidden, slope, row = room.z, room.y, room.delta, room.delta_hidden, room.slope, room.row

        # forward
        np.dot(x, self.W1, out=z)
        np.add(z, self.b1, out=z)
        np.tanh(z, out=z)
        np.dot(z, self.W2, out=y)
        np.add(y, self.b2, out=y)

        # softmax and cross-entropy, from logarithms
        np.maximum.reduce(y, axis=1, keepdims=True, out=row)
        np.subtract(y, row, out=y)
        error = -np.vdot(t, y)
        np.exp(y, out=y)
        np.add.reduce(y, axis=1, keepdims=True, out=row)
        np.divide(y, row, out=y)
        np.log(row, out=row)
        error += np.add.reduce(row, axis=None)

        # backward
        np.subtract(y, t, out=delta)
        np.multiply(delta, scale, out=delta)
        np.dot(z_transposed, delta, out=self.dW2)
        np.add.reduce(delta, axis=0, out=self.db2)
        np.dot(delta, self.W2_transposed, out=delta_hidden)
        np.multiply(z, z, out=slope)
        np.subtract(1, slope, out=slope)
        np.multiply(delta_hidden, slope, out=delta_hidden)
        np.dot(x_transposed, delta_hidden, out=self.dW1)
        np.add.reduce(delta_hidden, axis=0, out=self.db1)

        self.adam()
        return error

    def adam(self):
        """One step of Adam, the bias corrections drawn into two numbers."""
        p, g, m, v, work = self.p, self.g, self.m, self.v, self.work
        self.power1 *= self.beta1
        self.power2 *= self.beta2
        np.multiply(m, self.beta1, out=m)
        np.multiply(g, 1 - self.beta1, out=work)
        np.add(m, work, out=m)
        np.multiply(v, self.beta2, out=v)
        np.multiply(g, g, out=work)
        np.multiply(work, 1 - self.beta2, out=work)
        np.add(v, work, out=v)
        np.sqrt(v, out=work)
        np.multiply(work, (1 - self.power2) ** -0.5, out=work)
        np.add(work, self.epsilon, out=work)
        np.divide(m, work, out=work)
        np.multiply(work, self.rate / (1 - self.power1), out=work)
        np.subtract(p, work, out=p)
