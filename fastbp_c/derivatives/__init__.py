"""Gradients, Jacobians and curvature of a batch."""
