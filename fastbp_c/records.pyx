"""Filling the layer records: the one place where a specification from Python becomes sizes and places.

Whatever it says, the records are safe to walk: every size is checked against the others here, before anything uses it.
"""

cimport numpy as cnp

from fastbp_c._check cimport LARGEST_DIMENSION
from fastbp_c.activation cimport activation_id
from fastbp_c.records cimport AVERAGE, MAXIMUM, PRODUCT, Layer
from fastbp_c.simd cimport FBP_IDENTITY

import numpy as np

cnp.import_array()

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX

cdef dict KINDS = {"product": PRODUCT, "average": AVERAGE, "maximum": MAXIMUM}


cdef tuple plain_slots(slots):
    """((rows, columns), ...) in Python's own integers, and no larger in all than what an address can count."""
    cdef Py_ssize_t rows, columns
    cdef list plain = []
    size = 0
    for slot in slots:
        rows, columns = slot
        if not 1 <= rows <= LARGEST_DIMENSION or not 1 <= columns <= LARGEST_DIMENSION:
            raise OverflowError(f"layers: expected sizes from 1 to {LARGEST_DIMENSION}, got {rows} x {columns}")
        plain.append((rows, columns))
        size += (<object> rows) * columns
        if size > PY_SSIZE_T_MAX // 16:
            raise MemoryError(f"layers: expected parameters that fit in memory, got {size}")
    return tuple(plain)


cdef tuple plain_layer(layer):
    """The specification of a layer in Python's own numbers and an array that nobody else holds."""
    cdef Py_ssize_t n_in, n_out, groups, matrix, bias
    kind, activation, inputs, outputs, rows, weights, transposed, offset, taps = layer
    n_in, n_out, groups, matrix, bias = inputs, outputs, rows, weights, offset
    if taps is not None:
        if not isinstance(taps, np.ndarray) or taps.dtype != np.int32 or taps.ndim != 2:
            raise TypeError("layers: expected a table of pixels (2 dimensions, int32), got another object")
        taps = np.stack([taps, runs_of(taps)])
        taps.flags.writeable = False
    return kind, activation, n_in, n_out, groups, matrix, True if transposed else False, bias, taps


cdef runs_of(taps):
    """For every tap how many from it on are neighbors in the image too, or are all outside.

    The first number of a patch is negative if all of it is inside, in runs of one length.
    """
    cdef Py_ssize_t n_taps = taps.shape[1]
    here, after = taps[:, :-1], taps[:, 1:]
    ends = np.broadcast_to(np.arange(1, n_taps + 1, dtype=np.int32), taps.shape).copy()
    last = np.ones(taps.shape, np.bool_)  # tap of its run
    last[:, :-1] = np.where(here < 0, after >= 0, after != here + 1)
    ends[~last] = n_taps
    runs = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1] - np.arange(n_taps, dtype=np.int32)
    # equal lengths: the runs end where they would if all were as long as the first
    even = (taps >= 0).all(axis=1) & (last == (np.arange(1, n_taps + 1) % runs[:, :1] == 0)).all(axis=1)
    runs[even, 0] *= -1
    return runs


cdef int fill_layer(Layer *layer, tuple specification, tuple slots, list places, Py_ssize_t number) except -1:
    """The record of layer `number` (from 1); `places` are those of the slots."""
    kind, activation, n_in, n_out, groups, matrix, transposed, bias, taps = specification
    if kind not in KINDS:
        raise ValueError(f"layers: expected a kind of layer ({', '.join(KINDS)}), got {kind!r}")
    if not 1 <= n_in <= LARGEST_DIMENSION or not 1 <= n_out <= LARGEST_DIMENSION:
        raise OverflowError(f"layers: expected sizes from 1 to {LARGEST_DIMENSION}, got {n_in} x {n_out}")
    if not 1 <= groups <= n_in * n_out:
        raise ValueError(f"layers: expected at least one group in layer {number}, got {groups}")
    layer.kind = KINDS[kind]
    layer.activation = activation_id("activation", activation)
    layer.transposed = transposed
    layer.n_in, layer.n_out, layer.groups = n_in, n_out, groups
    layer.scale = 1
    layer.W = layer.b = -1
    fill_patches(layer, taps, number)
    if layer.kind == PRODUCT:
        fill_slots(layer, matrix, bias, slots, places, number)
    elif (layer.taps == NULL or n_out % groups != 0 or n_in % (n_out // groups) != 0
          or layer.activation != FBP_IDENTITY or transposed):
        raise ValueError(f"layers: expected a pool of patches in layer {number}, got {n_in} x {n_out}")
    else:
        layer.channels = n_out // groups
        layer.scale = 1.0 / layer.n_taps
    if taps is not None:
        check_taps(layer, taps[0], number)
    return 0


cdef int fill_patches(Layer *layer, taps, Py_ssize_t number) except -1:
    cdef cnp.ndarray table
    if taps is None:
        return 0
    table = taps
    if table.shape[1] != layer.groups or table.shape[2] < 1:
        raise ValueError(f"layers: expected the pixels of {layer.groups} patches in layer {number}, "
                         f"got shape {taps.shape[1:]}")
    layer.n_taps = table.shape[2]
    layer.taps = <int *> cnp.PyArray_DATA(table)
    layer.runs = layer.taps + layer.groups * layer.n_taps
    return 0


cdef int fill_slots(Layer *layer, matrix, bias, tuple slots, list places, Py_ssize_t number) except -1:
    if not 0 <= matrix < len(slots) or not -1 <= bias < len(slots):
        raise ValueError(f"layers: expected slots from 0 to {len(slots) - 1} in layer {number}, got {matrix}, {bias}")
    rows, columns = slots[matrix]
    layer.rows, layer.columns, layer.W = rows, columns, places[matrix]
    taps = layer.n_taps if layer.taps != NULL else 1
    if rows % taps != 0:
        raise ValueError(f"layers: expected {taps} rows for each channel in layer {number}, got {rows}")
    layer.channels = rows // taps
    # What is on the side of the rows of W: an image, or groups of I; on the side of its columns: groups of O.
    inner, outer = (layer.n_out, layer.n_in) if layer.transposed else (layer.n_in, layer.n_out)
    fits = inner % layer.channels == 0 if layer.taps != NULL else inner == layer.groups * rows
    if not fits or outer != layer.groups * columns:
        raise ValueError(f"layers: expected layer {number} to apply a matrix of its size, got {rows} x {columns} for "
                         f"{layer.groups} groups, {layer.n_in} inputs and {layer.n_out} outputs")
    layer.n_b = layer.channels if layer.transposed else columns
    if bias >= 0:
        if slots[bias] != (1, layer.n_b):
            raise ValueError(f"layers: expected a bias of {layer.n_b} in layer {number}, got {slots[bias]}")
        layer.b = places[bias]
    return 0


cdef int check_taps(const Layer *layer, taps, Py_ssize_t number) except -1:
    pixels = (layer.n_out if layer.transposed else layer.n_in) // layer.channels
    if taps.min() < -1 or taps.max() >= pixels:
        raise ValueError(f"layers: expected pixels below {pixels} in layer {number}, "
                         f"got {taps.min()} to {taps.max()}")
    if layer.kind == MAXIMUM and taps.max(axis=1).min() < 0:
        raise ValueError(f"layers: expected pixels in every patch of layer {number}, got one outside the image")
    return 0
