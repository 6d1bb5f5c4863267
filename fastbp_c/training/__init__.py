"""Optimizers, steps and epochs."""
