"""Optimizers as plain numbers that a nogil loop can read."""

from cython cimport floating
from libc.math cimport sqrt

from fastbp_c cimport simd

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


cdef inline void update(
    const Rule *rule, Py_ssize_t n, const floating *g, floating *p, floating *first, floating *second,
    double beta1_power, double beta2_power,
) noexcept nogil:
    """One step: p, and the running moments in first and second, from the gradient g; beta_power is beta^t at step t"""
    if rule.kind == RULE_SGD:
        simd.sgd(n, g, p, first, rule.learning_rate, rule.momentum, rule.nesterov, rule.weight_decay)
    else:
        simd.adam(n, g, p, first, second, rule.learning_rate / (1 - beta1_power), rule.beta1, rule.beta2,
                  1 / sqrt(1 - beta2_power), rule.epsilon, rule.learning_rate * rule.weight_decay)
