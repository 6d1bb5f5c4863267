"""One step of gradient descent on networks that share weights: convolutions, and autoencoders with tied weights.

Forward pass, gradient, update; squared error, tanh between the layers, float32. The convolutional networks are two
convolutions (3 x 3, stride 2, padding 1) and an affine layer to 10 outputs; the autoencoders decode by the encoder's
matrix, transposed. As in bench_training.py every implementation goes EPOCHS times through the same batches, starting
from the same parameters, and must end where NumPy in float64 ends.

The limit counts the flops of the products only: what gathering patches costs shows in the ratio to it.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest

import fastbp
import jax_steps
import ways
from support import join, load_jax, load_torch, record

AREA = "Training step, shared and tied weights"
RATE = 0.01
EPOCHS = 8
EPOCH_BYTES = 1 << 20  # so that the batches come from the second-level cache
FEWEST_BATCHES, MOST_BATCHES = 2, 64
SMALL = 10_000_000  # flops a step, below which calls cost more than arithmetic
KERNEL, STRIDE, PADDING, OUTPUTS = 3, 2, 1, 10


class Case:
    """A row of the table; a subclass says which network."""

    @functools.cached_property
    def n_batches(self):
        """Of an epoch."""
        wanted = EPOCH_BYTES // (4 * self.batch * (self.n_in + self.n_out))
        return max(FEWEST_BATCHES, min(wanted, MOST_BATCHES))

    @functools.cached_property
    def flops(self):
        """Of one step: each product forward, for the weights, and, but for the first layer's, for the deltas."""
        return 3 * sum(self.products) - self.products[0]

    @functools.cached_property
    def nbytes(self):
        """The batch read once, the parameters read and written once."""
        return 4 * (self.batch * (self.n_in + self.n_out) + 2 * self.start("float32").size)

    @functools.cached_property
    def data(self):
        """An epoch's batches, one after the other."""
        rng = np.random.default_rng(20)
        X = rng.standard_normal((self.n_batches * self.batch, self.n_in))
        T = rng.uniform(-1, 1, (len(X), self.n_out))
        return X.astype("float32"), T.astype("float32")

    @functools.cached_property
    def batches(self):
        """[(X, T), ...]: views."""
        X, T = self.data
        return [(X[i : i + self.batch], T[i : i + self.batch]) for i in range(0, len(X), self.batch)]

    def start(self, dtype):
        """Initial parameters: every matrix of unit fan-in variance, small biases that are not zero."""
        rng = np.random.default_rng(7)
        blocks = [
            0.1 * rng.standard_normal(shape) if len(shape) == 1 else rng.standard_normal(shape) / np.sqrt(shape[0])
            for shape in self.shapes
        ]
        return join(blocks).astype(dtype)

    def split(self, p):
        """The matrices and biases as views of the vector, in fastbp's order."""
        ends = np.cumsum([np.prod(shape) for shape in self.shapes])
        return [array.reshape(shape) for array, shape in zip(np.split(p, ends[:-1]), self.shapes, strict=True)]

    @functools.cached_property
    def end(self):
        """The parameters after all epochs, in float64."""
        p = self.start("float64")
        gradient = self.by_numpy(p)
        for x, t in self.batches * EPOCHS:
            p -= RATE / self.batch * gradient(x.astype("float64"), t.astype("float64"))
        return p


@dataclass(frozen=True)
class Convolutions(Case):
    """Two convolutions and an affine layer."""

    image: tuple  # height, width, channels
    channels: tuple
    batch: int

    def __str__(self):
        image, channels = " × ".join(map(str, self.image)), " and ".join(map(str, self.channels))
        return f"{image}, {channels} channels, batch {self.batch}"

    @functools.cached_property
    def images(self):
        """The shapes of the input, and of each convolution's output."""
        (height, width, channels), shapes = self.image, [self.image]
        for channels in self.channels:
            height, width = ((n + 2 * PADDING - KERNEL) // STRIDE + 1 for n in (height, width))
            shapes.append((height, width, channels))
        return shapes

    @property
    def n_in(self):
        """Numbers in an image."""
        return int(np.prod(self.image))

    @property
    def n_out(self):
        """Of the affine layer."""
        return OUTPUTS

    @functools.cached_property
    def shapes(self):
        """Of matrices and biases: a row for each number of a patch, a column for each channel."""
        found = []
        for (_, _, taken), (_, _, made) in zip(self.images, self.images[1:], strict=False):
            found += [(KERNEL * KERNEL * taken, made), (made,)]
        return [*found, (int(np.prod(self.images[-1])), OUTPUTS), (OUTPUTS,)]

    @functools.cached_property
    def products(self):
        """The flops of each layer's forward product."""
        patches = [height * width for height, width, _ in self.images[1:]] + [1]
        return [
            2 * self.batch * n * rows * columns for n, (rows, columns) in zip(patches, self.shapes[::2], strict=True)
        ]

    def layers(self):
        """fastbp's."""
        layers = [
            fastbp.Conv2d(image[-1], channels, KERNEL, "tanh", image_shape=image, stride=STRIDE, padding=PADDING)
            for image, channels in zip(self.images, self.channels, strict=False)
        ]
        return [*layers, fastbp.Affine(layers[-1].n_out, OUTPUTS)]

    def by_numpy(self, p):
        """(X, T) -> gradient of the sum over the batch."""
        return NumpyConvolutions(self, p).gradient

    def torch_start(self, torch):
        """(parameters, how to get fastbp's vector back), the images' channels first as PyTorch has them."""
        arrays = self.split(self.start("float32"))
        for i, image in enumerate(self.images[:-1]):
            arrays[2 * i] = arrays[2 * i].reshape(KERNEL, KERNEL, image[-1], -1).transpose(3, 2, 0, 1)
        last = self.images[-1]
        arrays[-2] = arrays[-2].reshape(*last, OUTPUTS).transpose(3, 2, 0, 1).reshape(OUTPUTS, -1)
        w = [torch.tensor(np.ascontiguousarray(array), requires_grad=True) for array in arrays]

        def back():
            found = [array.detach().numpy() for array in w]
            for i in range(0, len(found) - 2, 2):
                found[i] = found[i].transpose(2, 3, 1, 0)
            found[-2] = found[-2].reshape(OUTPUTS, last[2], *last[:2]).transpose(2, 3, 1, 0)
            return join(found)

        return w, back

    def torch_inputs(self, torch, x):
        """An image's channels first."""
        images = x.reshape(len(x), *self.image).transpose(0, 3, 1, 2)
        return torch.tensor(np.ascontiguousarray(images))

    def torch_output(self, torch, w, x):
        """(N, K)"""
        for W, b in zip(w[:-2:2], w[1:-2:2], strict=True):
            x = torch.tanh(torch.nn.functional.conv2d(x, W, b, stride=STRIDE, padding=PADDING))
        return torch.addmm(w[-1], x.flatten(1), w[-2].T)

    def jax_output(self, jax, w, x):
        """(N, K), channels last: the fastest of XLA's layouts on a CPU."""
        x = x.reshape(-1, *self.image)
        for W, b in zip(w[:-2:2], w[1:-2:2], strict=True):
            W = W.reshape(KERNEL, KERNEL, x.shape[-1], -1)
            x = jax.lax.conv_general_dilated(
                x, W, (STRIDE, STRIDE), [(PADDING, PADDING)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.numpy.tanh(x + b)
        return x.reshape(len(x), -1) @ w[-2] + w[-1]


@dataclass(frozen=True)
class Autoencoder(Case):
    """n -> hidden -> n by one matrix."""

    n_in: int
    hidden: int
    batch: int

    def __str__(self):
        return f"tied {self.n_in}-{self.hidden}-{self.n_in}, batch {self.batch}"

    @property
    def n_out(self):
        """As many as inputs."""
        return self.n_in

    @property
    def shapes(self):
        """Of the matrix and both biases."""
        return [(self.n_in, self.hidden), (self.hidden,), (self.n_in,)]

    @property
    def products(self):
        """The flops of each layer's forward product."""
        return [2 * self.batch * self.n_in * self.hidden] * 2

    def layers(self):
        """fastbp's."""
        encoder = fastbp.Affine(self.n_in, self.hidden, "tanh")
        return [encoder, fastbp.Tied(encoder)]

    def by_numpy(self, p):
        """(X, T) -> gradient of the sum over the batch, nothing allocated."""
        (W, b, c), g = self.split(p), np.empty_like(p)
        dW, db, dc = self.split(g)
        z, slope, dz = (np.empty((self.batch, self.hidden), p.dtype) for _ in range(3))
        dy, other = np.empty((self.batch, self.n_in), p.dtype), np.empty_like(dW)

        def gradient(X, T):
            np.matmul(X, W, out=z)
            np.add(z, b, out=z)
            np.tanh(z, out=z)
            np.matmul(z, W.T, out=dy)
            np.add(dy, c, out=dy)
            np.subtract(dy, T, out=dy)
            np.matmul(dy, W, out=dz)
            np.multiply(z, z, out=slope)
            np.subtract(1, slope, out=slope)
            np.multiply(dz, slope, out=dz)
            np.matmul(X.T, dz, out=dW)
            np.matmul(dy.T, z, out=other)
            np.add(dW, other, out=dW)
            np.add.reduce(dz, axis=0, out=db)
            np.add.reduce(dy, axis=0, out=dc)
            return g

        return gradient

    def torch_start(self, torch):
        """(parameters, how to get fastbp's vector back)"""
        w = [torch.tensor(array, requires_grad=True) for array in self.split(self.start("float32"))]
        return w, lambda: join([array.detach() for array in w])

    def torch_inputs(self, torch, x):
        """As they are."""
        return torch.tensor(x)

    def torch_output(self, torch, w, x):
        """(N, n_in)"""
        W, b, c = w
        return torch.addmm(c, torch.tanh(torch.addmm(b, x, W)), W.T)

    def jax_output(self, jax, w, x):
        """(N, n_in)"""
        W, b, c = w
        return jax.numpy.tanh(x @ W + b) @ W.T + c


class NumpyConvolutions:
    """The convolutional network by hand: patches gathered tap by tap into an array of all of them, one product each."""

    def __init__(self, case, p):
        self.case, self.arrays, self.g = case, case.split(p), np.empty_like(p)
        self.gradients = case.split(self.g)
        N = case.batch
        # images with a border of zeros, which nothing ever writes to
        self.padded, self.grown = (
            [np.zeros((N, h + 2 * PADDING, w + 2 * PADDING, c), p.dtype) for h, w, c in case.images[:-1]]
            for _ in range(2)
        )
        self.patches, self.back = (
            [
                np.empty((N, h, w, KERNEL, KERNEL, c), p.dtype)
                for (h, w, _), (_, _, c) in zip(case.images[1:], case.images, strict=False)
            ]
            for _ in range(2)
        )
        self.z, self.delta, self.slope = (
            [np.empty((N * h * w, c), p.dtype) for h, w, c in case.images[1:]] for _ in range(3)
        )
        self.y, self.dy = (np.empty((N, OUTPUTS), p.dtype) for _ in range(2))

    def windows(self, images, patches):
        """Of every tap, the pixels of the images it meets and its place in the patches: views."""
        height, width = patches.shape[1:3]
        for i in range(KERNEL):
            for j in range(KERNEL):
                rows, columns = (slice(k, k + STRIDE * n, STRIDE) for k, n in ((i, height), (j, width)))
                yield images[:, rows, columns], patches[:, :, :, i, j]

    def inside(self, layer):
        """The padded images without their border."""
        return self.padded[layer][:, PADDING:-PADDING, PADDING:-PADDING]

    def gradient(self, X, T):
        """The gradient of the sum over the batch."""
        case, w, g = self.case, self.arrays, self.gradients
        last, N = len(case.channels) - 1, case.batch
        z = X
        for l in range(last + 1):
            self.inside(l)[...] = z.reshape(N, *case.images[l])
            for pixels, place in self.windows(self.padded[l], self.patches[l]):
                place[...] = pixels
            z = self.z[l]
            np.matmul(self.patches[l].reshape(len(z), -1), w[2 * l], out=z)
            np.add(z, w[2 * l + 1], out=z)
            np.tanh(z, out=z)
        flat = z.reshape(N, -1)
        np.matmul(flat, w[-2], out=self.y)
        np.add(self.y, w[-1], out=self.y)
        np.subtract(self.y, T, out=self.dy)
        np.matmul(flat.T, self.dy, out=g[-2])
        np.add.reduce(self.dy, axis=0, out=g[-1])
        np.matmul(self.dy, w[-2].T, out=self.delta[last].reshape(N, -1))
        for l in range(last, -1, -1):
            delta, slope = self.delta[l], self.slope[l]
            np.multiply(self.z[l], self.z[l], out=slope)
            np.subtract(1, slope, out=slope)
            np.multiply(delta, slope, out=delta)
            np.matmul(self.patches[l].reshape(len(delta), -1).T, delta, out=g[2 * l])
            np.add.reduce(delta, axis=0, out=g[2 * l + 1])
            if l > 0:
                np.matmul(delta, w[2 * l].T, out=self.back[l].reshape(len(delta), -1))
                self.grown[l].fill(0)
                for pixels, place in self.windows(self.grown[l], self.back[l]):
                    np.add(pixels, place, out=pixels)
                below = self.grown[l][:, PADDING:-PADDING, PADDING:-PADDING]
                self.delta[l - 1].reshape(below.shape)[...] = below
        return self.g


CASES = [
    Convolutions((8, 8, 1), (8, 16), 32),
    Convolutions((28, 28, 1), (8, 16), 64),
    Convolutions((32, 32, 3), (16, 32), 64),
    Autoencoder(64, 16, 32),
    Autoencoder(784, 128, 128),
]


# An implementation takes a case and returns two functions: one runs all epochs, one gives the parameters.


def fastbp_trainer(case):
    """From the start."""
    net = fastbp.Network(case.layers(), dtype="float32", init="zeros")
    net.parameters = case.start("float32")
    return fastbp.Trainer(net, fastbp.SGD(RATE))


def fastbp_fit(case):
    """One call, with all its checks."""
    trainer = fastbp_trainer(case)
    X, T = case.data

    def run():
        trainer.fit(X, T, epochs=EPOCHS, batch_size=case.batch, shuffle=False)

    return run, lambda: trainer.net.parameters


def fastbp_step(case):
    """One call a step."""
    trainer = fastbp_trainer(case)

    def run():
        for x, t in case.batches * EPOCHS:
            trainer.step(x, t)

    return run, lambda: trainer.net.parameters


def numpy_step(case):
    """By hand, nothing allocated."""
    p = case.start("float32")
    gradient, rate = case.by_numpy(p), np.float32(RATE / case.batch)

    def run():
        for x, t in case.batches * EPOCHS:
            g = gradient(x, t)
            np.multiply(g, rate, out=g)
            np.subtract(p, g, out=p)

    return run, lambda: p


def torch_step(case, channels_last=False):
    """Functions instead of modules, gradients without .grad, one call to update: the fastest eager way found."""
    torch = load_torch()
    w, back = case.torch_start(torch)
    batches = [(case.torch_inputs(torch, x), torch.tensor(t)) for x, t in case.batches]
    if channels_last:
        batches = [(x.contiguous(memory_format=torch.channels_last), t) for x, t in batches]

    def run():
        for x, t in batches * EPOCHS:
            loss = torch.nn.functional.mse_loss(case.torch_output(torch, w, x), t, reduction="sum")
            gradient = torch.autograd.grad(loss, w)
            with torch.no_grad():
                torch._foreach_add_(w, gradient, alpha=-0.5 * RATE / case.batch)

    return run, back


def torch_channels_last(case):
    """The same on images whose channels lie together."""
    return torch_step(case, channels_last=True)


def jax_update(case, jax):
    """(parameters, batch) -> (parameters, loss)"""

    def loss(w, x, t):
        return jax.numpy.sum((case.jax_output(jax, w, x) - t) ** 2) * (0.5 / case.batch)

    def update(w, batch):
        value, gradient = jax.value_and_grad(loss)(w, *batch)
        return [a - RATE * g for a, g in zip(w, gradient, strict=True)], value

    return update


def jax_step(case):
    """One compiled call a step."""
    jax = load_jax("float32")
    return jax_steps.calls(jax, case, jax_update(case, jax), case.split(case.start("float32")), EPOCHS)


def jax_scan(case):
    """All epochs compiled into one loop over epochs and one over batches."""
    jax = load_jax("float32")
    unroll = 4 if case.flops < SMALL else 1
    return jax_steps.loop(jax, case, jax_update(case, jax), case.split(case.start("float32")), EPOCHS, unroll)


IMPLEMENTATIONS = {
    "fastbp fit": fastbp_fit,
    "fastbp step": fastbp_step,
    ways.NUMPY: numpy_step,
    ways.TORCH: torch_step,
    ways.TORCH_CHANNELS_LAST: torch_channels_last,
    ways.JAX_CALLS: jax_step,
    ways.JAX_LOOP: jax_scan,
}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_sharing_step(benchmark, case, implementation):
    """Same batches, same start, same end."""
    if implementation == ways.TORCH_CHANNELS_LAST and isinstance(case, Autoencoder):
        pytest.skip("there are no images")
    run, parameters = IMPLEMENTATIONS[implementation](case)
    run()
    change, wanted = parameters() - case.start("float32"), case.end - case.start("float64")
    assert np.linalg.norm(change - wanted) <= 1e-3 * np.linalg.norm(wanted)
    record(
        benchmark,
        AREA,
        str(case),
        implementation,
        dtype="float32",
        flops=case.flops,
        nbytes=case.nbytes,
        repeats=EPOCHS * case.n_batches,
    )
    benchmark(run)
