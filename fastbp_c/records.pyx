"""Filling the layer records: the one place where a specification from Python becomes sizes and places.

Whatever it says, the records are safe to walk: every size is checked against the others here, before anything uses it.
"""

cimport numpy as cnp

from fastbp_c._check cimport LARGEST_DIMENSION
from fastbp_c.activation cimport activation_id
from fastbp_c.records cimport AVERAGE, MAXIMUM, PRODUCT, Layer
from fastbp_c.simd cimport FBP_IDENTITY, fbp_span

import numpy as np

cnp.import_array()

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX

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
    """The specification of a layer in Python's own numbers and arrays that nobody else holds."""
    cdef Py_ssize_t n_in, n_out, groups, matrix, bias
    kind, activation, inputs, outputs, rows, weights, transposed, offset, taps = layer
    n_in, n_out, groups, matrix, bias = inputs, outputs, rows, weights, offset
    if taps is not None:
        if not isinstance(taps, np.ndarray) or taps.dtype != np.int32 or taps.ndim != 2:
            raise TypeError("layers: expected a table of pixels (2 dimensions, int32), got another object")
        taps = np.array(taps, order="C")
        taps.flags.writeable = False
    spans = spans_of(taps) if taps is not None and kind == "product" and taps.size > 0 else None
    return kind, activation, n_in, n_out, groups, matrix, True if transposed else False, bias, taps, spans


cdef spans_of(taps):
    """Every patch cut into spans of as many taps as lie side by side: int32 (groups, spans, 4), see fbp_span.

    Spans are as long as the longest row of neighbors, if that suits all patches, and else of a single tap.
    """
    groups, n_taps = taps.shape
    neighbors = (taps[:, :-1] >= 0) & (taps[:, 1:] == taps[:, :-1] + 1)
    begins = np.ones(taps.shape, np.bool_)
    begins[:, 1:] = ~neighbors
    place = np.arange(n_taps, dtype=np.int32)
    longest = int((place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)).max()) + 1
    for step in (longest, 1):
        if n_taps % step != 0:
            continue
        cut = taps.reshape(groups, n_taps // step, step)
        inside = cut >= 0
        first = np.where(inside.any(axis=2), inside.argmax(axis=2), 0)
        last = first + inside.sum(axis=2)
        pixel = np.where(last > first, np.take_along_axis(cut, first[:, :, None], axis=2)[:, :, 0] - first, 0)
        place = np.arange(step)
        expected = np.where((place >= first[:, :, None]) & (place < last[:, :, None]), pixel[:, :, None] + place, -1)
        if step == 1 or (expected == cut).all():
            return np.stack([pixel, first, last, np.zeros_like(first)], axis=2).astype(np.int32)


cdef int fill_layer(Layer *layer, tuple specification, tuple slots, list places, Py_ssize_t number) except -1:
    """The record of layer `number` (from 1); `places` are those of the slots."""
    kind, activation, n_in, n_out, groups, matrix, transposed, bias, taps, spans = specification
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
    fill_patches(layer, taps, spans, number)
    if layer.kind == PRODUCT:
        fill_slots(layer, matrix, bias, slots, places, number)
    elif (layer.taps == NULL or n_out % groups != 0 or n_in % (n_out // groups) != 0
          or layer.activation != FBP_IDENTITY or transposed):
        raise ValueError(f"layers: expected a pool of patches in layer {number}, got {n_in} x {n_out}")
    else:
        layer.channels = n_out // groups
        layer.scale = 1.0 / layer.n_taps
    if layer.spans != NULL:
        fill_lanes(layer)
    if taps is not None:
        check_taps(layer, taps, number)
    return 0


cdef int fill_patches(Layer *layer, taps, spans, Py_ssize_t number) except -1:
    cdef cnp.ndarray table
    if taps is None:
        return 0
    table = taps
    if table.shape[0] != layer.groups or table.shape[1] < 1:
        raise ValueError(f"layers: expected the pixels of {layer.groups} patches in layer {number}, "
                         f"got shape {taps.shape}")
    layer.taps = <int *> cnp.PyArray_DATA(table)
    layer.n_taps = table.shape[1]
    if spans is not None:
        table = spans
        layer.spans = <fbp_span *> cnp.PyArray_DATA(table)
        layer.n_spans = table.shape[1]
    return 0


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
