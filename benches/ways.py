"""What the peers, and the ways to call one, are called: by benches, tables, pictures, and in what is written."""

NUMPY, SCIKIT_LEARN, BACKPACK, BLAS = "NumPy", "scikit-learn", "BackPACK", "BLAS"
NUMPY_OUT = f"{NUMPY}, out given"
TORCH = "PyTorch"
TORCH_LEAN = f"{TORCH}, lean"
TORCH_CHANNELS_LAST = f"{TORCH}, channels last"
JAX = "JAX"
JAX_CALLS = f"{JAX}, a call a step"
JAX_LOOP = f"{JAX}, compiled loop"
JAX_LINEARIZED = f"{JAX}, linearized"

APART = (JAX_CALLS, JAX_LOOP)  # with a column each in tables that otherwise show a peer by the best of its ways
FLOORS = ("copy", "memset")  # what is nobody's implementation
