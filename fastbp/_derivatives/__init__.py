"""Errors, gradients, Jacobians and curvature."""
