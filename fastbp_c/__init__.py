"""The compiled core of fastbp: kernels over C-contiguous arrays of one dtype, and nothing that converts."""
