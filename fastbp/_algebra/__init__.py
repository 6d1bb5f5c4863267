"""The affine layer by itself."""
