"""Trainer: steps, fits, histories, stopping."""

import re
import sys

import numpy as np
import pytest
from scipy import stats

import fastbp
from cases import ARCHITECTURES, PAIRS, SHARING, chain, data, network
from fastbp import SGD, Adam, Affine, History, Network, Trainer
from util import DTYPES, assert_close

OPTIMIZERS = {"sgd": lambda: SGD(0.05), "momentum": lambda: SGD(0.02, 0.9), "adam": lambda: Adam(0.01)}


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    return OPTIMIZERS[request.param]()


def bits(net):
    """The parameters now."""
    return net.parameters.copy()


def test_attributes():
    net, optimizer = network(chain(2, 1)), SGD(0.1)
    trainer = Trainer(net, optimizer)
    assert trainer.net is net
    assert trainer.optimizer is optimizer


# Steps.


@pytest.mark.parametrize("N", [1, 2, 31, 300, 5000], ids="N_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["one_by_one", "depth_4", "repeated_aab", "widest", *SHARING])
def test_step_is_gradient_and_update(case, dtype, N):
    net = network(ARCHITECTURES[case], dtype)
    X, T = data(net, N)
    value, gradient = fastbp.loss_and_gradient(net, X, T, reduction="mean")
    expected = net.parameters - 0.25 * gradient.astype(np.float64)
    result = Trainer(net, SGD(0.25)).step(X, T)
    assert isinstance(result, float)
    assert_close(result, value, dtype, 4)
    assert_close(net.parameters, expected, dtype, 4)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_step_with_every_error_function(pair):
    output, loss = pair
    net = network(chain(3, 4, 3, output=output))
    X, T = data(net, 9, loss)
    value, gradient = fastbp.loss_and_gradient(net, X, T, loss=loss, reduction="mean")
    expected = net.parameters - 0.25 * gradient
    assert_close(Trainer(net, SGD(0.25), loss=loss).step(X, T), value, "float64", 4)
    assert_close(net.parameters, expected, "float64", 4)


def test_step_of_an_empty_batch_updates_nothing(optimizer):
    net = network(chain(3, 2))
    X, T = data(net, 4)
    trainer = Trainer(net, optimizer)
    trainer.step(X, T)
    before = bits(net)
    assert trainer.step(X[:0], T[:0]) == 0.0
    np.testing.assert_array_equal(net.parameters, before)
    trainer.step(X, T)
    twice = network(chain(3, 2))
    again = Trainer(twice, optimizer)
    again.step(X, T)
    again.step(X, T)
    assert net == twice  # moments and bias corrections did not count the empty batch


def test_step_writes_into_the_parameters_in_place():
    net = network(chain(3, 2))
    memory, view = net.parameters, net.weights[0]
    before = view.copy()
    Trainer(net, SGD(0.1)).step(*data(net, 4))
    np.testing.assert_array_equal(net.parameters, memory)
    assert (view != before).any()


def test_step_sees_parameters_that_were_assigned():
    net, other = network(chain(3, 2)), network(chain(3, 2), seed=5)
    trainer = Trainer(net, SGD(0.1))
    X, T = data(net, 4)
    trainer.step(X, T)
    net.parameters = other.parameters
    trainer.step(X, T)
    Trainer(other, SGD(0.1)).step(X, T)
    assert net == other


@pytest.mark.parametrize("dtype", DTYPES)
def test_step_takes_labels(dtype):
    nets = [network(chain(3, 4, output="softmax"), dtype) for _ in range(2)]
    X, _ = data(nets[0], 10)
    labels = np.random.default_rng(0).integers(0, 4, 10)
    assert Trainer(nets[0], SGD(0.1)).step(X, labels) == Trainer(nets[1], SGD(0.1)).step(X, np.eye(4)[labels])
    assert nets[0] == nets[1]


def test_batches_of_changing_sizes(optimizer):
    nets = [network(chain(3, 4, 2)) for _ in range(2)]
    trainer = Trainer(nets[0], optimizer)
    X, T = data(nets[0], 5000)
    for N in (3, 5000, 1, 300, 5000):
        trainer.step(X[:N], T[:N])
    rest = Trainer(nets[1], optimizer)
    for N in (3, 5000, 1, 300, 5000):
        rest.step(X[:N].copy(), T[:N].copy())
    assert nets[0] == nets[1]


# Fits.


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100, 101, 10**9], ids="batch_{}".format)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["depth_3", "repeated_aab", *SHARING])
def test_fit_without_shuffling_is_its_steps(case, dtype, batch_size, optimizer):
    net, by_hand = (network(ARCHITECTURES[case], dtype) for _ in range(2))
    X, T = data(net, 101)
    history = Trainer(net, optimizer).fit(X, T, epochs=3, batch_size=batch_size, shuffle=False)
    trainer, size = Trainer(by_hand, optimizer), min(batch_size, 101)
    for epoch in range(3):
        total = 0.0
        for start in range(0, 101, size):
            x, t = X[start : start + size], T[start : start + size]
            total += len(x) * trainer.step(x, t)
        assert_close(history.loss[epoch], total / 101, "float64", 101)
    assert net == by_hand


def test_default_batch_size():
    nets = [network(chain(3, 2)) for _ in range(2)]
    X, T = data(nets[0], 100)
    Trainer(nets[0], SGD(0.1)).fit(X, T, epochs=1, seed=0)
    Trainer(nets[1], SGD(0.1)).fit(X, T, epochs=1, seed=0, batch_size=32)
    assert nets[0] == nets[1]


def test_one_sample():
    net, by_hand = network(chain(3, 2)), network(chain(3, 2))
    X, T = data(net, 1)
    Trainer(net, SGD(0.1)).fit(X, T, epochs=2)
    trainer = Trainer(by_hand, SGD(0.1))
    trainer.step(X, T)
    trainer.step(X, T)
    assert net == by_hand


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_seed_same_bits(dtype, optimizer):
    nets = [network(ARCHITECTURES["depth_3"], dtype) for _ in range(3)]
    X, T = data(nets[0], 77)
    histories = [
        Trainer(net, optimizer).fit(X, T, epochs=5, batch_size=8, seed=seed)
        for net, seed in zip(nets, (11, np.random.default_rng(11), 12), strict=True)
    ]
    assert nets[0] == nets[1]
    assert histories[0].loss == histories[1].loss
    assert nets[0] != nets[2]


def test_fit_goes_on_where_the_last_one_ended(optimizer):
    once, twice = network(chain(3, 4, 2)), network(chain(3, 4, 2))
    X, T = data(once, 50)
    Trainer(once, optimizer).fit(X, T, epochs=6, seed=np.random.default_rng(0))
    generator, trainer = np.random.default_rng(0), Trainer(twice, optimizer)
    trainer.fit(X, T, epochs=2, seed=generator)
    trainer.fit(X, T, epochs=4, seed=generator)
    assert once == twice


def test_fit_changes_neither_data_nor_its_order():
    net = network(chain(3, 4, 2))
    X, T = data(net, 50)
    copies = X.copy(), T.copy()
    Trainer(net, SGD(0.1)).fit(X, T, epochs=3)
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(T, copies[1])


def test_learning_rate_changed_by_the_callback():
    net, by_hand = network(chain(3, 2)), network(chain(3, 2))
    X, T = data(net, 20)
    optimizer = SGD(0.1)

    def halve(history):
        optimizer.learning_rate /= 2

    Trainer(net, optimizer).fit(X, T, epochs=3, batch_size=20, shuffle=False, callback=halve)
    for rate in (0.1, 0.05, 0.025):
        Trainer(by_hand, SGD(rate)).step(X, T)
    assert net == by_hand


def test_a_fit_learns():
    net = fastbp.mlp([2, 16, 2], output="softmax", seed=0)
    X = np.random.default_rng(0).standard_normal((400, 2))
    labels = (X[:, 0] * X[:, 1] > 0).astype(int)
    history = Trainer(net, Adam(0.02)).fit(X, labels, epochs=60, seed=0)
    assert history.loss[-1] < 0.2 * history.loss[0]
    assert (net(X).argmax(axis=1) == labels).mean() > 0.95


# Shuffling. With X = I, a batch size of 1 and momentum m, weight n starts to move when sample n comes by, and is then
# carried on by every further step: from its size follows when that was.


def order_of_epoch(N, seed):
    """The order in which a fit of one epoch takes N samples."""
    net = Network([Affine(N, 1, bias=False)], init="zeros")
    Trainer(net, SGD(1.0, momentum=0.5)).fit(np.eye(N), np.ones((N, 1)), epochs=1, batch_size=1, seed=seed)
    steps = np.log2(1 / (1 - net.parameters / 2))  # p = 1 + 1/2 + 1/4 + ..., one term a step since it was seen
    order = np.argsort(-steps)
    np.testing.assert_array_equal(steps[order], np.arange(N, 0, -1))  # every sample once, one at every step
    return order


@pytest.mark.parametrize("N", [1, 2, 3, 10, 40])
def test_every_sample_is_seen_once_an_epoch(N):
    order_of_epoch(N, 0)


def test_every_sample_is_seen_once_in_batches_too():
    N = 1000
    net = Network([Affine(N, 1, bias=False)], init="zeros")
    Trainer(net, SGD(7.0)).fit(np.eye(N), np.ones((N, 1)), epochs=1, batch_size=7, seed=0)
    rest = N % 7  # the samples of the last batch weigh more in its mean
    np.testing.assert_allclose(np.sort(net.parameters), [*np.ones(N - rest), *np.full(rest, 7 / rest)], rtol=1e-15)


def test_shuffled_fit_is_its_steps_in_that_order():
    order = order_of_epoch(40, 5)
    net, by_hand = network(chain(3, 4, 2)), network(chain(3, 4, 2))
    X, T = data(net, 40)
    Trainer(net, Adam(0.01)).fit(X, T, epochs=1, batch_size=9, seed=5)
    trainer = Trainer(by_hand, Adam(0.01))
    for start in range(0, 40, 9):
        rows = order[start : start + 9]
        trainer.step(X[rows], T[rows])
    assert net == by_hand


def test_all_orders_are_equally_likely():
    generator, counts = np.random.default_rng(0), {}
    for _ in range(3000):
        order = tuple(order_of_epoch(4, generator))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_every_epoch_has_an_order_of_its_own():
    generator = np.random.default_rng(0)
    assert order_of_epoch(40, generator).tolist() != order_of_epoch(40, generator).tolist()
    assert order_of_epoch(40, None).tolist() != order_of_epoch(40, None).tolist()
    assert order_of_epoch(40, 3).tolist() == order_of_epoch(40, 3).tolist()


@pytest.mark.parametrize("bit_generator", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_all_bit_generators_shuffle(bit_generator):
    orders = [order_of_epoch(30, np.random.Generator(getattr(np.random, bit_generator)(1))) for _ in range(2)]
    np.testing.assert_array_equal(*orders)


def test_without_shuffling_the_generator_stays():
    generator = np.random.default_rng(1)
    net = network(chain(3, 2))
    Trainer(net, SGD(0.1)).fit(*data(net, 20), epochs=2, shuffle=False, seed=generator)
    assert generator.random() == np.random.default_rng(1).random()


# Histories and stopping.


def test_history():
    net = network(chain(3, 4, 2))
    X, T = data(net, 60)
    history = Trainer(net, SGD(0.01)).fit(X, T, epochs=4, validation_data=(X[:10], T[:10]))
    assert isinstance(history, History)
    assert history.epochs == len(history.loss) == len(history.validation_loss) == 4
    assert all(type(value) is float for value in (*history.loss, *history.validation_loss, history.seconds))
    assert history.seconds > 0
    assert history.validation_loss[-1] == fastbp.loss(net, X[:10], T[:10], reduction="mean")


def test_history_without_validation():
    net = network(chain(3, 2))
    assert Trainer(net, SGD(0.01)).fit(*data(net, 10), epochs=2).validation_loss == []


def test_validation_uses_the_trainers_error_function_and_labels():
    net = network(chain(3, 4, output="softmax"))
    X, _ = data(net, 30)
    labels = np.random.default_rng(0).integers(0, 4, 30)
    for loss in ("cross_entropy", "squared_error"):
        history = Trainer(net, SGD(0.01), loss=loss).fit(X, labels, epochs=1, validation_data=(X[:7], labels[:7]))
        assert history.validation_loss == [fastbp.loss(net, X[:7], labels[:7], loss=loss, reduction="mean")]


def test_validation_does_not_change_the_training():
    nets = [network(chain(3, 4, 2)) for _ in range(2)]
    X, T = data(nets[0], 60)
    Trainer(nets[0], Adam()).fit(X, T, epochs=3, seed=0)
    Trainer(nets[1], Adam()).fit(X, T, epochs=3, seed=0, validation_data=(X[:10], T[:10]))
    assert nets[0] == nets[1]


def passing_by(epochs, **options):
    """One weight on its way from 0 to 1, seen from 0.5: w = 1 - 0.9^n is nearest to it after 7 epochs."""
    net = Network([Affine(1, 1, bias=False)], init="zeros")
    one = np.ones((1, 1))
    history = Trainer(net, SGD(0.1)).fit(one, one, epochs=epochs, validation_data=(one, one / 2), **options)
    return net.parameters[0], history


def after(n):
    return pytest.approx(1 - 0.9**n, rel=1e-14)


def test_patience_stops_and_returns_to_the_best():
    w, history = passing_by(100, patience=3)
    assert history.epochs == len(history.loss) == len(history.validation_loss) == 7 + 3
    assert np.argmin(history.validation_loss) == 6
    assert w == after(7)


def test_patience_returns_to_the_best_even_if_it_is_not_exhausted():
    w, history = passing_by(9, patience=3)
    assert history.epochs == 9
    assert w == after(7)


def test_patience_with_the_best_last():
    w, history = passing_by(5, patience=1)
    assert history.epochs == 5
    assert w == after(5)


def test_without_patience_the_last_epoch_stays():
    w, history = passing_by(9)
    assert history.epochs == 9
    assert w == after(9)


def test_patience_counts_an_epoch_as_good_as_the_best():
    net = Network([Affine(1, 1)], init="zeros")
    zero = np.zeros((1, 1))
    history = Trainer(net, SGD(0.1)).fit(zero, zero, epochs=10, patience=2, validation_data=(zero, zero))
    assert history.epochs == 2


def test_callback_with_patience_stops_and_returns_to_the_best():
    w, history = passing_by(100, patience=50, callback=lambda history: history.epochs == 9)
    assert history.epochs == 9
    assert w == after(7)


def test_callback_sees_every_epoch():
    net, seen = network(chain(3, 2)), []
    X, T = data(net, 20)

    def callback(history):
        seen.append((history, history.epochs, len(history.loss), len(history.validation_loss), bits(net)))

    result = Trainer(net, SGD(0.1)).fit(X, T, epochs=3, callback=callback, validation_data=(X, T))
    assert [entry[1:4] for entry in seen] == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert all(entry[0] is result for entry in seen)
    np.testing.assert_array_equal(seen[-1][4], net.parameters)
    assert (seen[0][4] != seen[1][4]).any()


@pytest.mark.parametrize("answer", [True, 1, "stop", [0]], ids=repr)
def test_callback_stops(answer):
    net = network(chain(3, 2))
    history = Trainer(net, SGD(0.1)).fit(
        *data(net, 20), epochs=10, callback=lambda history: answer if history.epochs == 3 else None
    )
    assert history.epochs == len(history.loss) == 3


@pytest.mark.parametrize("answer", [None, False, 0, "", []], ids=repr)
def test_callback_goes_on(answer):
    net = network(chain(3, 2))
    assert Trainer(net, SGD(0.1)).fit(*data(net, 20), epochs=4, callback=lambda history: answer).epochs == 4


# Progress bars.


class FakeBar:
    def __init__(self, total, unit):
        self.total, self.unit, self.values, self.updates, self.closed = total, unit, [], 0, False
        FakeBar.last = self

    def set_postfix(self, values, refresh):
        self.values.append(values)

    def update(self):
        self.updates += 1

    def close(self):
        self.closed = True


@pytest.fixture
def fake_tqdm(monkeypatch):
    module = type(sys)("tqdm.auto")
    module.tqdm = FakeBar
    monkeypatch.setitem(sys.modules, "tqdm", type(sys)("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)


@pytest.mark.parametrize("validation", [False, True], ids=["training", "validation"])
def test_progress(fake_tqdm, validation):
    net = network(chain(3, 2))
    X, T = data(net, 20)
    history = Trainer(net, SGD(0.1)).fit(X, T, epochs=3, progress=True, validation_data=(X, T) if validation else None)
    bar = FakeBar.last
    assert (bar.total, bar.unit, bar.updates, bar.closed) == (3, "epoch", 3, True)
    assert [values["loss"] for values in bar.values] == history.loss
    assert [values["validation"] for values in bar.values if validation] == history.validation_loss


def test_progress_bar_is_closed_after_an_exception(fake_tqdm):
    net = network(chain(3, 2))
    with pytest.raises(ZeroDivisionError):
        Trainer(net, SGD(0.1)).fit(*data(net, 20), epochs=3, progress=True, callback=lambda history: 1 / 0)
    assert FakeBar.last.closed


def test_progress_with_tqdm_itself(capfd):
    pytest.importorskip("tqdm")
    net, quiet = network(chain(3, 2)), network(chain(3, 2))
    X, T = data(net, 20)
    Trainer(net, SGD(0.1)).fit(X, T, epochs=3, seed=0, progress=True)
    assert "3/3" in capfd.readouterr().err
    Trainer(quiet, SGD(0.1)).fit(X, T, epochs=3, seed=0)
    assert net == quiet


def test_progress_without_tqdm_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    net, generator, called = network(chain(3, 2)), np.random.default_rng(0), []
    before = bits(net)
    with pytest.raises(ImportError, match=r"^progress: expected tqdm to be installed"):
        Trainer(net, SGD(0.1)).fit(*data(net, 20), epochs=3, progress=True, seed=generator, callback=called.append)
    np.testing.assert_array_equal(net.parameters, before)
    assert generator.random() == np.random.default_rng(0).random()
    assert called == []


def test_without_progress_nothing_is_printed(capfd):
    net = network(chain(3, 2))
    Trainer(net, SGD(0.1)).fit(*data(net, 20), epochs=3)
    assert capfd.readouterr() == ("", "")


# Plots.


class FakeAxes:
    def __init__(self):
        self.lines, self.options, self.legends = {}, {}, 0

    def plot(self, x, y, label):
        self.lines[label] = (list(x), list(y))

    def set(self, **options):
        self.options.update(options)

    def legend(self):
        self.legends += 1


@pytest.mark.parametrize("validation", [[], [5.0, 6.0]], ids=["training", "validation"])
def test_plot(validation):
    ax = FakeAxes()
    history = History([3.0, 2.0], validation, 2, 0.1)
    assert history.plot(ax) is ax
    assert ax.lines["training"] == ([1, 2], [3.0, 2.0])
    assert ax.lines.get("validation", ([1, 2], [])) == ([1, 2], validation)
    assert ax.options["xlabel"] == "epoch"
    assert ax.legends == 1


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    message = "plot: expected matplotlib to be installed (pip install 'fastbp[plot]'), got none"
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        History([3.0], [], 1, 0.1).plot()
