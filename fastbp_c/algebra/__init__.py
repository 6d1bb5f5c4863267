"""Vector kernels, matrix products, symmetric matrices."""
