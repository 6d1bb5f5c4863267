"""The optimizers: hyperparameters only. What they remember of a network's past belongs to its Trainer.

A docstring that starts with the signature and a line of two dashes is how a compiled class tells it to `inspect`.
"""

import numbers

from cython cimport floating
from libc.math cimport INFINITY, isfinite

from fastbp_c.boundary.team cimport Piece, enlisted, share

cdef enum:
    # benches/bench_threads.py
    STRETCH = 1 << 14       # parameters that are stepped as one piece
    MOVING = 16             # multiply-adds in the time of a parameter's step


cdef struct Update:
    const Step *step
    Py_ssize_t place, n
    const void *g


cdef void stretch_of_floats(void *update_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Update *whole = <const Update *> update_
    cdef Py_ssize_t first = number * STRETCH
    update(whole.step, whole.place + first, min(<Py_ssize_t> STRETCH, whole.n - first),
           <const float *> whole.g + first)


cdef void stretch_of_doubles(void *update_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Update *whole = <const Update *> update_
    cdef Py_ssize_t first = number * STRETCH
    update(whole.step, whole.place + first, min(<Py_ssize_t> STRETCH, whole.n - first),
           <const double *> whole.g + first)


cdef void long_update(const Step *step, Py_ssize_t place, Py_ssize_t n, const floating *g) noexcept nogil:
    """`update` for as many parameters as are worth sharing"""
    cdef Update whole = Update(step, place, n, g)
    cdef Piece piece = stretch_of_floats if floating is float else stretch_of_doubles
    share((n + STRETCH - 1) // STRETCH, <double> MOVING * n, enlisted(), piece, &whole)


cdef double number(str name, value, double least, bint least_allowed, double bound) except? -1:
    """A finite number from least (or above it) to below bound."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    cdef double x
    try:
        x = float(value)
    except OverflowError:  # an integer of hundreds of digits
        value = x = INFINITY
    except (TypeError, ValueError):  # a time span calls itself a number
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
    cdef str lower = "at least" if least_allowed else "above"
    if not isfinite(x) or x < least or (x == least and not least_allowed) or x >= bound:
        upper = "" if not isfinite(bound) else f" and below {bound:g}"
        raise ValueError(f"{name}: expected a finite number {lower} {least:g}{upper}, got {value}")
    return x


# What other libraries call a number that has another name here.
cdef dict ALSO_CALLED = {
    "alpha": "learning_rate", "eta": "learning_rate", "learning_rate_init": "learning_rate", "lr": "learning_rate",
    "step_size": "learning_rate",
    "beta": "momentum", "mu": "momentum", "rho": "momentum",
    "nesterovs_momentum": "nesterov", "use_nesterov": "nesterov",
    "b1": "beta1", "beta_1": "beta1", "b2": "beta2", "beta_2": "beta2", "betas": "beta1 and beta2",
    "eps": "epsilon",
    "decay": "weight_decay", "wd": "weight_decay",
}


cdef int refuse(type kind, dict unknown) except -1:
    """TypeError for keywords that the optimizer does not have, with the name it has for the same."""
    for name in unknown:
        ours = ALSO_CALLED.get(name, "")
        if not ours or not {*ours.split(" and ")} <= {*kind._names}:
            ours = ", ".join(kind._names)
        raise TypeError(f"{kind.__name__}: expected {ours}, got {name}")
    return 0


cdef class Optimizer:
    """What SGD and Adam have in common; not for use by itself."""

    @property
    def learning_rate(self):
        """The step length; may be changed between steps."""
        return self.rule.learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self.rule.learning_rate = number("learning_rate", value, 0, True, float("inf"))

    @property
    def weight_decay(self):
        """Decoupled weight decay: a step also takes off learning_rate * weight_decay * parameters."""
        return self.rule.weight_decay

    @weight_decay.setter
    def weight_decay(self, value):
        self.rule.weight_decay = number("weight_decay", value, 0, True, float("inf"))

    def __reduce__(self):
        return type(self), self._arguments()

    def __eq__(self, other):
        return type(self) is type(other) and self._arguments() == other._arguments()

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._names)})"

    def _arguments(self):
        return tuple([getattr(self, name) for name in self._names])


cdef class SGD(Optimizer):
    """SGD(learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0)
--

    Stochastic gradient descent, with momentum if wanted.

        v = momentum v + g
        p = (1 - learning_rate weight_decay) p - learning_rate v

    with `g + momentum v` in place of `v` in the second line for Nesterov's form.

    Parameters
    ----------
    learning_rate : float
        Step length, at least 0.
    momentum : float, optional
        From 0 (none) to below 1.
    nesterov : bool, optional
        Look ahead along the momentum.
    weight_decay : float, optional
        Decoupled decay, at least 0. It acts on all parameters and is not seen by the momentum.

    Raises
    ------
    TypeError
        If a number is expected and something else is given.
    ValueError
        If a number is out of its range.
    """

    _names = ("learning_rate", "momentum", "nesterov", "weight_decay")

    def __init__(self, learning_rate=None, momentum=0.0, nesterov=False, weight_decay=0.0, **unknown):
        refuse(type(self), unknown)
        self.rule.kind = RULE_SGD
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    @property
    def momentum(self):
        """How much of the last step goes into the next."""
        return self.rule.momentum

    @momentum.setter
    def momentum(self, value):
        self.rule.momentum = number("momentum", value, 0, True, 1)

    @property
    def nesterov(self):
        """Whether the step looks ahead along the momentum."""
        return self.rule.nesterov

    @nesterov.setter
    def nesterov(self, value):
        if value is not True and value is not False:
            raise TypeError(f"nesterov: expected True or False, got {type(value).__name__}")
        self.rule.nesterov = value


cdef class Adam(Optimizer):
    """Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0)
--

    Adam (Kingma and Ba 2015) with decoupled weight decay (AdamW, Loshchilov and Hutter 2019).

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = (1 - learning_rate weight_decay) p - learning_rate m' / (sqrt(v') + epsilon)

    with m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) at step t.

    Parameters
    ----------
    learning_rate : float, optional
        Step length, at least 0.
    beta1, beta2 : float, optional
        Decay of the running mean of the gradient and of its square, from 0 to below 1.
    epsilon : float, optional
        Above 0.
    weight_decay : float, optional
        Decoupled decay, at least 0. It acts on all parameters.

    Raises
    ------
    TypeError
        If something other than a number is given.
    ValueError
        If a number is out of its range.
    """

    _names = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")

    def __init__(self, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, **unknown):
        refuse(type(self), unknown)
        self.rule.kind = RULE_ADAM
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    @property
    def beta1(self):
        """Decay of the running mean of the gradient."""
        return self.rule.beta1

    @beta1.setter
    def beta1(self, value):
        self.rule.beta1 = number("beta1", value, 0, True, 1)

    @property
    def beta2(self):
        """Decay of the running mean of the squared gradient."""
        return self.rule.beta2

    @beta2.setter
    def beta2(self, value):
        self.rule.beta2 = number("beta2", value, 0, True, 1)

    @property
    def epsilon(self):
        """Keeps the denominator away from 0."""
        return self.rule.epsilon

    @epsilon.setter
    def epsilon(self, value):
        self.rule.epsilon = number("epsilon", value, 0, False, float("inf"))
