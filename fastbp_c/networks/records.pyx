"""Filling the layer records: the one place where a specification from Python becomes sizes and places.

Whatever it says, the records are safe to walk: every size is checked against the others here, before anything uses it.
"""

cimport numpy as cnp

from fastbp_c.boundary.check cimport LARGEST_DIMENSION
from fastbp_c.networks.activation cimport activation_id
from fastbp_c.networks.records cimport AVERAGE, FLOAT_CHAIN, MAXIMUM, PRODUCT, Layer
from fastbp_c.algebra.simd cimport FBP_IDENTITY, fbp_span

import numpy as np

cnp.import_array()

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX

CHAIN = FLOAT_CHAIN  # for Python

cdef enum:
    MOST_LANES = 32  # two vectors of float32

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
    """The specification of a layer in Python's own numbers and an array that nobody can write to."""
    cdef Py_ssize_t n_in, n_out, groups, matrix, bias
    kind, activation, inputs, outputs, rows, weights, transposed, offset, taps = layer
    n_in, n_out, groups, matrix, bias = inputs, outputs, rows, weights, offset
    if taps is not None:
        table = np.asarray(taps) if isinstance(taps, np.ndarray) else None  # itself, not what a subclass says of it
        if table is None or table.dtype != np.int32 or table.ndim != 2:
            raise TypeError("layers: expected a table of pixels (2 dimensions, int32), got another object")
        taps = np.ndarray(table.shape, np.int32, table.tobytes())
    return kind, activation, n_in, n_out, groups, matrix, True if transposed else False, bias, taps


cdef int fill_layer(
    Layer *layer, tuple specification, tuple slots, list places, list spans, Py_ssize_t number
) except -1:
    """The record of layer `number` (from 1); `places` are those of the slots, `spans` keeps what it points to."""
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
        check_taps(layer, taps, number)
        if layer.kind == PRODUCT:
            spans.append(fill_spans(layer))
    return 0


cdef int fill_patches(Layer *layer, taps, Py_ssize_t number) except -1:
    cdef cnp.ndarray table
    if taps is None:
        return 0
    table = taps
    if table.shape[0] != layer.groups or table.shape[1] < 1:
        raise ValueError(f"layers: expected the pixels of {layer.groups} patches in layer {number}, "
                         f"got shape {taps.shape}")
    layer.taps = <int *> cnp.PyArray_DATA(table)
    layer.n_taps = table.shape[1]
    return 0


cdef cnp.ndarray fill_spans(Layer *layer):
    """Cut every patch into spans of taps that lie side by side, see fbp_span; returns the array that holds them

    Spans are as long as the longest row of neighbors, if that suits all patches, and else of a single tap.
    """
    cdef Py_ssize_t length = longest_row(layer)
    cdef cnp.ndarray spans
    if layer.n_taps % length != 0:
        length = 1
    spans = np.empty((layer.groups * layer.n_taps // length, 4), np.int32)
    if not cut(layer, length, <fbp_span *> cnp.PyArray_DATA(spans)):
        length = 1
        spans = np.empty((layer.groups * layer.n_taps, 4), np.int32)
        cut(layer, length, <fbp_span *> cnp.PyArray_DATA(spans))
    layer.spans = <fbp_span *> cnp.PyArray_DATA(spans)
    layer.n_spans = layer.n_taps // length
    fill_lanes(layer)
    return spans


cdef Py_ssize_t longest_row(const Layer *layer) noexcept:
    """The most taps of a patch, one after another, that are neighbors in the image"""
    cdef Py_ssize_t g, t, row, longest = 1
    cdef const int *tap
    for g in range(layer.groups):
        tap = layer.taps + g * layer.n_taps
        row = 1
        for t in range(1, layer.n_taps):
            row = row + 1 if tap[t - 1] >= 0 and tap[t] == tap[t - 1] + 1 else 1
            longest = max(longest, row)
    return longest


cdef bint cut(const Layer *layer, Py_ssize_t length, fbp_span *spans) noexcept:
    """Fill in spans of that many taps; False if there is one whose taps inside the image are not neighbors in a row"""
    cdef Py_ssize_t s, first, last, i
    cdef const int *tap
    for s in range(layer.groups * layer.n_taps // length):
        tap = layer.taps + s * length
        first = 0
        while first < length and tap[first] < 0:
            first += 1
        if first == length:
            first = 0
        last = first
        while last < length and tap[last] >= 0 and (last == first or tap[last] == tap[last - 1] + 1):
            last += 1
        for i in range(last, length):
            if tap[i] >= 0:
                return False
        spans[s].pixel = <int> (tap[first] - first) if last > first else 0
        spans[s].first, spans[s].last, spans[s].lanes = <int> first, <int> last, 0
    return True


cdef void fill_lanes(Layer *layer) noexcept:
    """A bit for every number of a span that is inside the image, if there are as many"""
    cdef Py_ssize_t s, i
    cdef fbp_span *span
    if layer.n_taps // layer.n_spans * layer.channels > MOST_LANES:
        return
    for s in range(layer.groups * layer.n_spans):
        span = &layer.spans[s]
        span.lanes = 0
        for i in range(span.first * layer.channels, span.last * layer.channels):
            span.lanes |= <unsigned> 1 << i


cdef int fill_slots(Layer *layer, matrix, bias, tuple slots, list places, Py_ssize_t number) except -1:
    if not 0 <= matrix < len(slots) or not -1 <= bias < len(slots):
        raise ValueError(f"layers: expected slots from 0 to {len(slots) - 1} in layer {number}, got {matrix}, {bias}")
    rows, columns = slots[matrix]
    layer.W_rows, layer.W_columns, layer.W = rows, columns, places[matrix]
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
