"""Optimizers as plain numbers that a nogil loop can read."""

from cython cimport floating
from libc.math cimport sqrt

from fastbp_c.algebra cimport simd

cdef enum:
    RULE_SGD
    RULE_ADAM


cdef struct Rule:
    int kind
    bint nesterov
    double learning_rate, momentum, beta1, beta2, epsilon, weight_decay


cdef class Optimizer:
    cdef Rule rule


cdef inline int n_states(const Rule *rule) noexcept nogil:
    """How many vectors the rule remembers from step to step."""
    if rule.kind == RULE_ADAM:
        return 2
    return 0 if rule.momentum == 0 else 1


cdef struct Step:
    # A step of the rule on parameters p, which remembers its running moments in first and second (NULL if not needed).
    const Rule *rule
    void *p
    void *first
    void *second
    double beta1_power, beta2_power     # beta^t at step t


cdef void long_update(const Step *step, Py_ssize_t place, Py_ssize_t n, const floating *g) noexcept nogil


cdef inline void update(const Step *step, Py_ssize_t place, Py_ssize_t n, const floating *g) noexcept nogil:
    """The step of n parameters from that place on, g being their gradient"""
    cdef const Rule *rule = step.rule
    cdef floating *p = <floating *> step.p + place
    cdef floating *first = <floating *> step.first
    cdef floating *second = <floating *> step.second
    if rule.kind == RULE_SGD:
        simd.sgd(n, g, p, first + place if first != NULL else NULL, rule.learning_rate, rule.momentum, rule.nesterov,
                 rule.weight_decay)
    else:
        simd.adam(n, g, p, first + place, second + place, rule.learning_rate / (1 - step.beta1_power), rule.beta1,
                  1 - rule.beta1, rule.beta2, 1 - rule.beta2, 1 / sqrt(1 - step.beta2_power), rule.epsilon,
                  rule.learning_rate * rule.weight_decay)
