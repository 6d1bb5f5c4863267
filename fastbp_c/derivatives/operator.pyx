"""Products with the Hessian or the Gauss-Newton matrix, neither being formed: the R-operator (PRML 5.4.6).

Design:
a) The forward pass and the deltas do not depend on the vector. They are computed once for the whole batch and kept, a
   workspace for every chunk of samples, as long as they fit CACHE_BYTES; beyond that, once for every call.
b) A product is one pass forward and one pass back along a vector v, by the functions of linear.pyx with the parameters
   and with v in their place. R{z}, R{a} and R{delta} lie in a second workspace, where z, h' and delta lie in the first.
c) For the Gauss-Newton matrix, h'' and all terms with v against delta are left out.
"""

cimport cython
cimport numpy as cnp
from cython cimport floating

from fastbp_c.boundary.check cimport check_apart, check_matrix
from fastbp_c.boundary.workspace cimport Arena, Workspace, arena_over, take, times
from fastbp_c.networks.batch cimport Batch, Quantity, itemsize, new_quantity, parts_of
from fastbp_c.networks.linear cimport slot, slot_gradient, tangent_adjoint, tangent_map
from fastbp_c.networks.nonlinear cimport tangent_above, tangent_below
from fastbp_c.networks.output cimport curvature_times, keep_curvature
from fastbp_c.networks.passes cimport last_a, layer_input, linearize
from fastbp_c.networks.plan cimport Plan, check_output
from fastbp_c.networks.records cimport Layer, Net, array_at, chosen_of, strip_of, work_size

cnp.import_array()

cdef enum:
    CACHE_BYTES = 1 << 28


cdef inline const Layer *last_layer(const Batch *chunk) noexcept nogil:
    return &chunk.net.layers[chunk.net.n_layers - 1]


cdef void keep(const Batch *chunk, bint exact, floating *work) noexcept nogil:
    """Everything that does not depend on v; in the place of the last h', which nobody needs, what M is made of"""
    linearize(chunk, work, exact)
    keep_curvature(chunk, exact, last_a(chunk, work), array_at(work, last_layer(chunk).h1, chunk.N))


cdef void forward_along(
    const Batch *chunk, const floating *v, const floating *work, floating *tangent
) noexcept nogil:
    """R{a^l} = R{z^(l-1)} W^l + z^(l-1) V^l + v^l, R{z^l} = h' * R{a^l}; R{a} lies at h1, R{z} at z"""
    cdef const Net *net = chunk.net
    cdef Py_ssize_t N = chunk.N, l
    cdef const Layer *layer
    cdef const floating *Rz = NULL
    for l in range(net.n_layers):
        layer = &net.layers[l]
        tangent_map(layer, N, <const floating *> chunk.p, v, layer_input(chunk, l, work), Rz,
                    array_at(tangent, layer.h1, N), chosen_of(layer, N, work), strip_of(net, N, tangent))
        if l < net.n_layers - 1:
            tangent_above(layer, N, work, array_at(tangent, layer.h1, N), array_at(tangent, layer.z, N))
            Rz = array_at(tangent, layer.z, N)


cdef void output_along(const Batch *chunk, bint exact, const floating *work, floating *tangent) noexcept nogil:
    """R{delta^L} = M R{a^L}"""
    cdef const Layer *last = last_layer(chunk)
    cdef Py_ssize_t N = chunk.N
    curvature_times(chunk, exact, array_at(work, last.h1, N), array_at(tangent, last.h1, N),
                    array_at(tangent, last.delta, N), array_at(tangent, chunk.net.scratch, N))


cdef void back_along(
    const Batch *chunk, bint exact, const floating *v, const floating *work, floating *tangent
) noexcept nogil:
    """R{delta^l} = h'' R{a^l} (delta^(l+1) W^T) + h' (R{delta^(l+1)} W^T + delta^(l+1) V^T), from R{delta^L}"""
    cdef const Net *net = chunk.net
    cdef Py_ssize_t N = chunk.N, l
    cdef const Layer *layer
    cdef const Layer *below
    for l in range(net.n_layers - 1, 0, -1):
        layer, below = &net.layers[l], &net.layers[l - 1]
        tangent_adjoint(layer, N, <const floating *> chunk.p, v if exact else NULL, array_at(work, layer.delta, N),
                        array_at(tangent, layer.delta, N), array_at(tangent, below.delta, N),
                        chosen_of(layer, N, work), strip_of(net, N, tangent))
        tangent_below(below, N, exact, work, array_at(tangent, below.h1, N), array_at(tangent, below.delta, N))


cdef void gradient_along(
    const Batch *chunk, bint exact, floating *out, const floating *work, floating *tangent
) noexcept nogil:
    """R{dE/dW^l} = z^(l-1)^T R{delta^l} + R{z^(l-1)}^T delta^l"""
    cdef const Net *net = chunk.net
    cdef Py_ssize_t N = chunk.N, l
    cdef bint add = chunk.add
    cdef const Layer *layer
    for l in range(net.n_layers - 1, -1, -1):
        layer = &net.layers[l]
        slot_gradient(layer, N, layer_input(chunk, l, work), array_at(tangent, layer.delta, N),
                      add or not layer.opens_W, add or not layer.opens_b, slot(out, layer.W), slot(out, layer.b),
                      strip_of(net, N, tangent))
        if exact and l > 0:     # the bias's input, 1, does not change
            slot_gradient(layer, N, array_at(tangent, net.layers[l - 1].z, N), array_at(work, layer.delta, N), True,
                          True, slot(out, layer.W), NULL, strip_of(net, N, tangent))


cdef struct Wanted:
    bint exact
    Py_ssize_t N            # samples of a chunk, the last one perhaps excepted
    void *kept              # workspaces of all chunks, one after another; NULL: there are none
    const void *V           # (k, P)
    Py_ssize_t k


cdef struct Room:
    void *tangent
    void *work              # unless it is kept


cdef Room lay_out(const Net *net, const Wanted *wanted, Arena *arena) noexcept nogil:
    cdef Room room
    room.tangent = take(arena, work_size(net, wanted.N))
    room.work = take(arena, work_size(net, wanted.N) if wanted.kept == NULL else 0)
    return room


cdef inline size_t place_kept(const Batch *chunk, const Wanted *wanted) noexcept nogil:
    """Where the workspace kept for the chunk is"""
    return chunk.start // wanted.N * work_size(chunk.net, wanted.N)


cdef double keep_chunk(const Batch *chunk, void *wanted_, floating *_) noexcept nogil:
    cdef const Wanted *wanted = <const Wanted *> wanted_
    keep(chunk, wanted.exact, <floating *> wanted.kept + place_kept(chunk, wanted))
    return 0


cdef double products_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """out[j] (+)= the matrix of the chunk times V[j]"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef Py_ssize_t P = chunk.net.n_parameters, j
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Room room = lay_out(chunk.net, wanted, &arena)
    cdef floating *tangent = <floating *> room.tangent
    cdef floating *work
    cdef const floating *v
    if wanted.kept != NULL:
        work = <floating *> wanted.kept + place_kept(chunk, wanted)
    else:
        work = <floating *> room.work
        keep(chunk, wanted.exact, work)
    for j in range(wanted.k):
        v = <const floating *> wanted.V + j * P
        forward_along(chunk, v, work, tangent)
        output_along(chunk, wanted.exact, work, tangent)
        back_along(chunk, wanted.exact, v, work, tangent)
        gradient_along(chunk, wanted.exact, <floating *> chunk.sum + j * P, work, tangent)
    return 0


cdef Quantity products(const Batch *batch, Py_ssize_t k, Wanted *wanted) noexcept nogil:
    cdef Quantity quantity = new_quantity(batch, 6.0 * k, wanted)
    quantity.of_float, quantity.of_double = products_chunk[float], products_chunk[double]
    quantity.n_sum = k * batch.net.n_parameters
    quantity.sum = <void *> batch.p     # not NULL; where it is, is still to be said
    return quantity


@cython.final
cdef class Products:
    """The Hessian of a batch, or its Gauss-Newton matrix, as something to multiply by.

    Parameters
    ----------
    plan : Plan
    p, X, T, weight, loss, scale
        As for `Plan.loss_and_gradient`. The arrays are kept and must not change.
    gauss_newton : bool

    Notes
    -----
    Several threads may call it at once.
    """

    def __cinit__(self, Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                  cnp.ndarray weight, loss, double scale, bint gauss_newton):
        self.batch = plan.batch(loss, p, X, T, weight, scale)
        self.plan, self.exact = plan, not gauss_newton
        self.p, self.X, self.T, self.weight = p, X, T, weight
        self.kept = Workspace()
        cdef const Net *net = &plan.net
        cdef Quantity product = products(&self.batch, 1, NULL)
        cdef Py_ssize_t N = min(parts_of(&self.batch, &product).samples, net.longest)
        cdef Py_ssize_t chunks = (self.batch.N + N - 1) // N
        self.length = N
        cdef size_t size = times(times(chunks, work_size(net, N)), itemsize(&self.batch))
        self.is_kept = self.batch.N > 0 and size <= CACHE_BYTES
        if not self.is_kept:
            return
        self.kept.reserve(size)
        cdef Wanted wanted = Wanted(self.exact, N, self.kept.memory, NULL, 0)
        cdef Quantity quantity = new_quantity(&self.batch, 3, &wanted)
        quantity.of_float, quantity.of_double, quantity.size = keep_chunk[float], keep_chunk[double], 0
        quantity.longest = quantity.grid = N
        plan.run(&self.batch, &quantity)

    @property
    def cached(self):
        """Whether the forward pass is kept."""
        return self.is_kept

    def multiply(self, cnp.ndarray V not None, cnp.ndarray out not None):
        """out[j] = the matrix times V[j]; V and out are (k, P), out is overwritten"""
        cdef Plan plan = self.plan
        cdef const Net *net = &plan.net
        check_matrix("V", V, plan.typenum, -1, "", net.n_parameters, "the network's parameters", False)
        cdef Py_ssize_t k = V.shape[0]
        check_matrix("out", out, plan.typenum, k, "the rows of V", net.n_parameters, "the network's parameters", True)
        check_apart("out", out, "V", V)
        check_output("out", out, self.p, self.X, self.T, self.weight)
        cdef void *kept = NULL
        if self.is_kept:
            kept = self.kept.memory
        cdef Wanted wanted = Wanted(self.exact, self.length, kept, cnp.PyArray_DATA(V),
                                    k)
        cdef Arena arena = arena_over(NULL, itemsize(&self.batch))
        lay_out(net, &wanted, &arena)
        cdef Batch batch = self.batch   # of this call: others may be on
        cdef Quantity quantity = products(&batch, k, &wanted)
        quantity.multiply_adds += 0 if self.is_kept else 3 * net.multiply_adds
        quantity.longest = quantity.grid = self.length
        quantity.sum, quantity.size = cnp.PyArray_DATA(out), arena.used
        plan.run(&batch, &quantity)
