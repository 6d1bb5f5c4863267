"""A network as the kernels see it: layer records, checks, and a pool of workspaces."""

cimport cython
cimport numpy as cnp
from libc.stdlib cimport calloc, free

from fastbp_c.algebra.simd cimport FBP_SOFTMAX
from fastbp_c.boundary.check cimport LARGEST_DIMENSION, check_apart, check_matrix, check_vector
from fastbp_c.boundary.interrupt cimport begin, end
from fastbp_c.boundary.team cimport enlist
from fastbp_c.boundary.workspace cimport Workspace
from fastbp_c.networks.batch cimport Batch, Quantity, walk, walk_size
from fastbp_c.networks.linear cimport has_weights, keeps_choice, multiply_adds, strip_size
from fastbp_c.networks.output cimport has_factors, loss_id
from fastbp_c.networks.passes cimport gradient_sum, loss_value, prediction, sample_gradients
from fastbp_c.networks.records cimport Layer, Net, fill_layer, plain_layer, plain_slots

cnp.import_array()

cdef enum:
    # A chunk's workspace should stay in the second-level cache, yet have rows enough for the products to run well.
    CHUNK_BYTES = 1 << 21
    SHORTEST_CHUNK = 256
    LONGEST_CHUNK = 4096
    # Larger workspaces, of second derivatives, are given back to the system after the call.
    KEPT_BYTES = 1 << 26
    # Multiply-adds that take as long as the activation, or the like, of one element in one pass.
    ELEMENT = 16


cdef int check_output(str name, out, p, X, T, weight) except -1:
    """Whether a result shares no memory with what it is made from."""
    check_apart(name, out, "parameters", p)
    check_apart(name, out, "X", X)
    check_apart(name, out, "T", T)
    if weight is not None:
        check_apart(name, out, "sample_weight", weight)
    return 0


@cython.final
cdef class Plan:
    """The records of a network, and the passes over them for arrays of one dtype.

    Parameters
    ----------
    typenum : int
        NumPy's type number of the dtype, float32 or float64.
    slots : sequence of (rows, columns)
        The matrices that lie one after another in the parameter vector.
    layers : sequence of (kind, activation, n_in, n_out, groups, matrix, transposed, bias, taps)
        `kind` is "product", "average" or "maximum", `matrix` and `bias` are indices of slots (-1 for none), `taps` is
        an int32 table (groups, pixels of a patch) or None; see `fastbp_c.networks.records`.

    Notes
    -----
    Calls take a workspace from a pool and put it back (list operations, which are atomic), so that one plan may be
    used from several Python threads at once. A call holds at most a chunk's worth of workspace.
    """

    def __cinit__(self, int typenum, slots, layers):
        if typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE:
            raise TypeError(f"typenum: expected that of float32 or float64, got {typenum}")
        self.typenum = typenum
        self.slots = plain_slots(slots)
        self.specification = tuple([plain_layer(layer) for layer in layers])
        self.pool = []
        self.spans = []
        if not self.specification:
            raise ValueError("layers: expected at least one layer, got none")
        self.net.n_layers = len(self.specification)
        self.net.layers = <Layer *> calloc(self.net.n_layers, sizeof(Layer))
        if self.net.layers == NULL:
            raise MemoryError(f"layers: expected room for {self.net.n_layers} records, got none")
        self.fill_records()
        self.place_arrays()

    def __dealloc__(self):
        free(self.net.layers)

    cdef int fill_records(self) except -1:
        cdef Layer *layer
        cdef Py_ssize_t l, last = self.net.n_layers - 1
        cdef list places = []
        place = 0
        for rows, columns in self.slots:
            places.append(place)
            place += rows * columns
        for l in range(last + 1):
            layer = &self.net.layers[l]
            fill_layer(layer, self.specification[l], self.slots, places, self.spans, l + 1)
            if l > 0 and layer.n_in != self.net.layers[l - 1].n_out:
                raise ValueError(f"layers: expected layer {l + 1} to take {self.net.layers[l - 1].n_out} inputs (the "
                                 f"outputs of layer {l}), got {layer.n_in}")
            if layer.activation == FBP_SOFTMAX and l < last:
                raise ValueError("layers: expected softmax on the last layer only, "
                                 f"got it on layer {l + 1} of {last + 1}")
        self.find_uses(places)
        self.net.n_inputs = self.net.layers[0].n_in
        self.net.n_outputs = self.net.layers[last].n_out
        self.net.n_parameters = place
        return 0

    cdef int find_uses(self, list places) except -1:
        """Which use of a slot the gradient pass meets first, and from which place on the gradient is then complete."""
        cdef Layer *layer
        cdef Py_ssize_t l
        seen = set()
        self.repeats = False
        for l in range(self.net.n_layers - 1, -1, -1):
            layer = &self.net.layers[l]
            layer.opens_W, layer.opens_b = layer.W not in seen, layer.b not in seen and layer.b != layer.W
            self.repeats = self.repeats or layer.W >= 0 and not layer.opens_W or layer.b >= 0 and not layer.opens_b
            seen.update((layer.W, layer.b))
        if not seen.issuperset(places):
            raise ValueError("slots: expected every slot to be used by a layer, got one that is not")
        settled = 0
        ends = {start: start + rows * columns for start, (rows, columns) in zip(places, self.slots)}
        for l in range(self.net.n_layers):
            layer = &self.net.layers[l]
            layer.settled = settled
            settled = max(settled, ends.get(layer.W, 0), ends.get(layer.b, 0))
        return 0

    cdef int place_arrays(self) except -1:
        cdef Net *net = &self.net
        cdef Layer *layer
        cdef Py_ssize_t l, width = 0, itemsize = 4 if self.typenum == cnp.NPY_FLOAT else 8, groups = 1
        cdef double once = 0, reused = 0
        net.widest = net.n_inputs
        net.lowest = -1
        for l in range(net.n_layers):
            layer = &net.layers[l]
            layer.z, layer.h1, layer.delta = width, width + layer.n_out, width + 2 * layer.n_out
            width += 3 * layer.n_out
            if keeps_choice(layer):
                layer.chosen = width
                width += layer.n_out
            if has_weights(layer):
                once += multiply_adds(layer) / layer.groups
                reused += multiply_adds(layer)
                net.lowest = l if net.lowest < 0 else net.lowest
            net.multiply_adds += multiply_adds(layer) + <double> ELEMENT * layer.n_out
            net.widest = max(net.widest, layer.n_out)
            groups = max(groups, layer.groups)
            net.strip = max(net.strip, <Py_ssize_t> strip_size(layer))
        net.lowest = net.n_layers - 1 if net.lowest < 0 else net.lowest
        net.scratch = width
        net.X = net.scratch + 2 * net.n_outputs
        net.T = net.X + net.n_inputs
        net.width = net.T + net.n_outputs
        # A weight that serves many groups has its rows from few samples. All rows together are BLAS's to count.
        net.longest = max(<Py_ssize_t> (SHORTEST_CHUNK * once / max(once, reused, 1)), 1,
                          min(LONGEST_CHUNK, CHUNK_BYTES // (net.width * itemsize)))
        net.longest = min(net.longest, LARGEST_DIMENSION // groups)
        for l in range(net.n_layers):  # which a gradient never touches
            net.layers[l].h2 = net.width
            net.width += net.layers[l].n_out
        return 0

    @property
    def n_parameters(self):
        return self.net.n_parameters

    cdef int check_curvature(self, H, p, X, T, weight) except -1:
        """Whether H can take a result: (P, P), or (P,) for a diagonal."""
        cdef Py_ssize_t P = self.net.n_parameters
        if H.ndim == 2:
            check_matrix("out", H, self.typenum, P, "the network's parameters", P, "the network's parameters", True)
        else:
            check_vector("out", H, self.typenum, P, "the network's parameters", True)
        return check_output("out", H, p, X, T, weight)

    def check_result(self, cnp.ndarray H not None, cnp.ndarray p not None, cnp.ndarray X not None,
                     cnp.ndarray T not None, cnp.ndarray weight):
        """ValueError or TypeError unless H can take second derivatives for that batch."""
        self.check_parameters(p)
        self.check_batch(X, T, weight)
        self.check_curvature(H, p, X, T, weight)

    def factors(self, loss):
        """Whether rows of derivatives give the Hessian's diagonal: no slot is used twice, and M is known by factors."""
        return not self.repeats and has_factors(&self.net, self.loss_number(loss))

    cdef Workspace take(self, size_t size):
        """A workspace of that many bytes; `give` puts it back."""
        cdef Workspace workspace
        try:
            workspace = self.pool.pop()
        except IndexError:
            workspace = Workspace()
        workspace.reserve(size)
        return workspace

    cdef int give(self, Workspace workspace) except -1:
        """Put a workspace back, unless it is large enough to be missed elsewhere."""
        if workspace.size <= KEPT_BYTES:
            self.pool.append(workspace)
        return 0

    cdef double run(self, Batch *batch, const Quantity *quantity) except? -1:
        """Walk the batch without the GIL; what a signal handler raised meanwhile is raised in the end.

        Who shares work beyond what the walk shares has enlisted workers before.
        """
        if not quantity.in_order:
            batch.workers = enlist(batch.N * quantity.multiply_adds)
        cdef Workspace work = self.take(walk_size(batch, quantity))
        cdef double value
        begin()
        with nogil:
            value = walk(batch, quantity, work.memory)
        self.give(work)
        end()
        return value

    cdef int loss_number(self, name) except -1:
        return loss_id(&self.net, name)

    cdef Batch inputs(self, cnp.ndarray p, cnp.ndarray X) except *:
        """These parameters and inputs, checked, as a batch without an error."""
        self.check_parameters(p)
        self.check_inputs(X)
        return Batch(&self.net, self.typenum == cnp.NPY_FLOAT, -1, 1, 1, X.shape[0], cnp.PyArray_DATA(p),
                     cnp.PyArray_DATA(X), NULL, NULL, NULL, 0, NULL, False, True)

    cdef Batch batch(
        self, loss, cnp.ndarray p, cnp.ndarray X, cnp.ndarray T, cnp.ndarray weight, double scale
    ) except *:
        """The batch of these arrays, checked."""
        cdef int error = self.loss_number(loss)
        cdef Batch batch = self.inputs(p, X)
        self.check_batch(X, T, weight)
        batch.error, batch.scale, batch.T = error, scale, cnp.PyArray_DATA(T)
        batch.weight = NULL if weight is None else cnp.PyArray_DATA(weight)
        return batch

    cdef int check_parameters(self, p) except -1:
        return check_vector("parameters", p, self.typenum, self.net.n_parameters, "the network's parameters", False)

    cdef int check_inputs(self, X) except -1:
        return check_matrix("X", X, self.typenum, -1, "", self.net.n_inputs, "the network's inputs", False)

    cdef int check_batch(self, X, T, weight) except -1:
        self.check_inputs(X)
        check_matrix("T", T, self.typenum, X.shape[0], "the rows of X", self.net.n_outputs, "the network's outputs",
                     False)
        if weight is not None:
            check_vector("sample_weight", weight, self.typenum, X.shape[0], "one a row of X", False)
        return 0

    def forward(self, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray Y not None):
        """Y[n, k] = y_k(x_n); Y (N, K) is overwritten and must not overlap X"""
        cdef Batch batch = self.inputs(p, X)
        check_matrix("out", Y, self.typenum, batch.N, "the rows of X", self.net.n_outputs, "the network's outputs",
                     True)
        check_apart("out", Y, "parameters", p)
        check_apart("out", Y, "X", X)
        cdef Quantity quantity = prediction(&batch, cnp.PyArray_DATA(Y))
        self.run(&batch, &quantity)

    def loss(self, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None, cnp.ndarray weight, loss):
        """sum_n weight_n E_n"""
        cdef Batch batch = self.batch(loss, p, X, T, weight, 1)
        cdef Quantity quantity = loss_value(&batch)
        return self.run(&batch, &quantity)

    def loss_and_gradient(self, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                          cnp.ndarray weight, loss, double scale, cnp.ndarray g not None):
        """g = scale sum_n weight_n dE_n/dw; returns sum_n weight_n E_n, not scaled"""
        cdef Batch batch = self.batch(loss, p, X, T, weight, scale)
        check_vector("out", g, self.typenum, self.net.n_parameters, "the network's parameters", True)
        check_output("out", g, p, X, T, weight)
        cdef Quantity quantity = gradient_sum(&batch, cnp.PyArray_DATA(g))
        return self.run(&batch, &quantity)

    def per_sample_gradients(self, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                             cnp.ndarray weight, loss, double scale, cnp.ndarray G not None):
        """G[n] = scale weight_n dE_n/dw; G (N, P) is overwritten"""
        cdef Batch batch = self.batch(loss, p, X, T, weight, scale)
        check_matrix("out", G, self.typenum, batch.N, "the rows of X", self.net.n_parameters,
                     "the network's parameters", True)
        check_output("out", G, p, X, T, weight)
        cdef Quantity quantity = sample_gradients(&batch, cnp.PyArray_DATA(G))
        self.run(&batch, &quantity)
