"""The Gauss-Newton matrix as what it is: a sum of outer products, G = sum_nr c_nr g_nr g_nr^T   (PRML 5.84)

M' of a sample is a sum of outer products of rows (`output_factors`), each of which is taken back like a row of a
Jacobian and gives a row g of derivatives with respect to the parameters, whatever slots are shared. That is the cheaper
way to the matrix where samples have many groups and few outputs, and to its diagonal where slots are used twice.
"""

cimport numpy as cnp
from cython cimport floating
from libc.string cimport memset

from fastbp_c.algebra cimport simd
from fastbp_c.algebra.product cimport product
from fastbp_c.algebra.simd cimport FBP_ADD
from fastbp_c.boundary.check cimport check_apart, check_matrix, check_vector
from fastbp_c.boundary.team cimport enlist, share
from fastbp_c.boundary.workspace cimport Arena, arena_over, take, times
from fastbp_c.derivatives.hessian cimport mirror
from fastbp_c.derivatives.jacobian cimport Rows, lay_out_rows, parameter_rows, samples_for
from fastbp_c.networks.batch cimport WRITING, Batch, Quantity, chunk_of, itemsize, new_quantity
from fastbp_c.networks.output cimport output_factors
from fastbp_c.networks.passes cimport forward, last_a
from fastbp_c.networks.plan cimport Plan, check_output
from fastbp_c.networks.records cimport Net

cnp.import_array()

cdef enum:
    # Elements of a chunk of rows, and the fewest rows that a product is made for.
    CHUNK = 1 << 19
    FEWEST_ROWS = 32
    PIECE = 1 << 18         # multiply-adds of a piece of samples, whose rows are made together


cdef struct Wanted:
    void *G             # rows, if they are what is wanted
    void *c             # and their coefficients
    void *H             # the matrix, or its diagonal
    bint full           # not the diagonal
    Py_ssize_t N        # samples of the longest chunk
    Py_ssize_t each     # samples of a piece
    int workers


cdef struct Room:
    void *G
    void *scaled
    void *c
    char *own               # rooms of the workers
    size_t pitch            # bytes from one to the next


cdef struct Rowwise:
    # Rows of a chunk, by pieces of its samples.
    const Batch *chunk
    const Wanted *wanted
    char *own
    size_t pitch
    void *G
    void *c
    void *scaled            # or NULL


cdef Room lay_out(const Net *net, const Wanted *wanted, Arena *arena) noexcept nogil:
    """Unless they are the result, rows g of the parameters, those times c, and c; rows at a^L"""
    cdef Room room
    cdef size_t NK = times(wanted.N, net.n_outputs), size = times(NK, net.n_parameters)
    cdef Arena one = arena_over(NULL, arena.itemsize)
    room.G = take(arena, size if wanted.H != NULL else 0)
    room.scaled = take(arena, size if wanted.full else 0)
    room.c = take(arena, NK if wanted.H != NULL else 0)
    lay_out_rows(net, wanted.each, net.n_outputs, &one)
    room.pitch = one.used
    room.own = <char *> take(arena, times(wanted.workers, room.pitch // arena.itemsize))
    return room


cdef void scale_rows(
    Py_ssize_t rows, Py_ssize_t P, const floating *c, const floating *G, floating *scaled
) noexcept nogil:
    """scaled[r] = c[r] G[r]"""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(P):
            scaled[r * P + i] = c[r] * G[r * P + i]


cdef void rows_of(const Rowwise *all, Py_ssize_t first, int worker, const floating *of_type) noexcept nogil:
    """G[n, r], c[n, r] and their products for the samples of a piece"""
    cdef const Net *net = all.chunk.net
    cdef Py_ssize_t K = net.n_outputs, P = net.n_parameters
    cdef Batch piece = chunk_of(all.chunk, first, min(all.wanted.each, all.chunk.N - first))
    cdef Arena arena = arena_over(all.own + worker * all.pitch, sizeof(floating))
    cdef Rows rows = lay_out_rows(net, all.wanted.each, K, &arena)
    cdef floating *work = <floating *> rows.work
    cdef floating *G = <floating *> all.G + first * K * P
    cdef floating *c = <floating *> all.c + first * K
    forward(&piece, last_a(&piece, work), work, 1)
    output_factors(&piece, last_a(&piece, work), <floating *> rows.here, c)
    parameter_rows(&piece, <floating *> rows.here, <floating *> rows.next, G, work)
    if all.scaled != NULL:
        scale_rows(piece.N * K, P, c, G, <floating *> all.scaled + first * K * P)


cdef void rows_piece(void *all_, Py_ssize_t number, int worker) noexcept nogil:
    cdef const Rowwise *all = <const Rowwise *> all_
    if all.chunk.single:
        rows_of(all, number * all.wanted.each, worker, <const float *> NULL)
    else:
        rows_of(all, number * all.wanted.each, worker, <const double *> NULL)


cdef void share_rows(
    const Batch *chunk, const Wanted *wanted, const Room *room, void *G, void *c
) noexcept nogil:
    """G and c of the chunk, and their products if there is room for them"""
    cdef Rowwise all = Rowwise(chunk, wanted, room.own, room.pitch, G, c, NULL)
    if wanted.full:
        all.scaled = room.scaled
    share((chunk.N + wanted.each - 1) // wanted.each, chunk.N * work_of_rows(chunk.net), wanted.workers, rows_piece,
          &all)


cdef inline double work_of_rows(const Net *net) noexcept nogil:
    """Multiply-adds of a sample"""
    return (1.0 + 2 * net.n_outputs) * net.multiply_adds + <double> WRITING * net.n_outputs * net.n_parameters


cdef double rows_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """The rows themselves"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef Py_ssize_t first = chunk.start * chunk.net.n_outputs
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Room room = lay_out(chunk.net, wanted, &arena)
    share_rows(chunk, wanted, &room, <floating *> wanted.G + first * chunk.net.n_parameters,
               <floating *> wanted.c + first)
    return 0


cdef double sum_chunk(const Batch *chunk, void *wanted_, floating *memory) noexcept nogil:
    """H (+)= sum_r c_r g_r g_r^T over the chunk's rows, or its diagonal"""
    cdef const Wanted *wanted = <const Wanted *> wanted_
    cdef Py_ssize_t rows = chunk.N * chunk.net.n_outputs, P = chunk.net.n_parameters
    cdef Arena arena = arena_over(memory, sizeof(floating))
    cdef Room room = lay_out(chunk.net, wanted, &arena)
    cdef floating *G = <floating *> room.G
    cdef floating *H = <floating *> chunk.sum
    share_rows(chunk, wanted, &room, room.G, room.c)
    if not chunk.add:
        memset(H, 0, (P * P if wanted.full else P) * sizeof(floating))
    if wanted.full:
        # H[i, j] += (c g)[r, i]^T g[r, j]
        product(True, False, P, P, rows, <floating *> room.scaled, G, FBP_ADD, <const floating *> NULL, H)
    else:
        simd.sum_squares(1, rows, P, <const floating *> room.c, G, True, H)
    return 0


cdef Wanted new_wanted(const Net *net, void *G, void *c, void *H, bint full) noexcept nogil:
    """For one worker; how long a chunk may be is still to be set"""
    return Wanted(G, c, H, full, 0, max(1, <Py_ssize_t> (PIECE / work_of_rows(net))), 1)


cdef Quantity rows_quantity(const Batch *batch, Wanted *wanted) noexcept nogil:
    cdef Quantity quantity = new_quantity(batch, 0, wanted)
    cdef Arena arena = arena_over(NULL, itemsize(batch))
    lay_out(batch.net, wanted, &arena)
    quantity.longest, quantity.size = wanted.N, arena.used
    quantity.multiply_adds = work_of_rows(batch.net)
    return quantity


def outer_product(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                  cnp.ndarray weight, loss, double scale, cnp.ndarray H not None):
    """H = the Gauss-Newton matrix (P, P) of scale sum_n weight_n E_n, or its diagonal (P,); overwritten"""
    cdef const Net *net = &plan.net
    cdef Batch batch = plan.batch(loss, p, X, T, weight, scale)
    plan.check_curvature(H, p, X, T, weight)
    cdef Py_ssize_t P = net.n_parameters, K = net.n_outputs
    cdef Wanted wanted = new_wanted(net, NULL, NULL, cnp.PyArray_DATA(H), H.ndim == 2)
    # As many as make a product worth while, and keep its rows in cache.
    wanted.N = CHUNK // max(<size_t> 1, times(K, P))
    wanted.N = max(wanted.N, FEWEST_ROWS // K if wanted.full else 1)
    wanted.N = max(1, min(wanted.N, samples_for(&batch, K)))
    wanted.each = min(wanted.each, wanted.N)
    if wanted.full:
        wanted.workers = batch.workers = enlist(<double> batch.N * K * P * P)
    cdef Quantity quantity = rows_quantity(&batch, &wanted)
    quantity.of_float, quantity.of_double = sum_chunk[float], sum_chunk[double]
    quantity.multiply_adds += <double> K * P * (P if wanted.full else 1)
    quantity.sum, quantity.n_sum, quantity.in_order = wanted.H, P * P if wanted.full else P, wanted.full
    plan.run(&batch, &quantity)
    if wanted.full:
        mirror(batch.single, P, False, wanted.H)


def outer_product_rows(Plan plan not None, cnp.ndarray p not None, cnp.ndarray X not None, cnp.ndarray T not None,
                       cnp.ndarray weight, loss, cnp.ndarray G not None, cnp.ndarray c not None):
    """G[r] and c[r] such that the Gauss-Newton matrix of sum_n weight_n E_n is sum_r c_r G_r G_r^T, K rows a sample

    G (N K, P) and c (N K,) are overwritten.
    """
    cdef const Net *net = &plan.net
    cdef Batch batch = plan.batch(loss, p, X, T, weight, 1)
    cdef Py_ssize_t rows = batch.N * net.n_outputs
    check_matrix("G", G, plan.typenum, rows, "outputs of all samples", net.n_parameters, "the network's parameters",
                 True)
    check_vector("c", c, plan.typenum, rows, "outputs of all samples", True)
    check_output("G", G, p, X, T, weight)
    check_output("c", c, p, X, T, weight)
    check_apart("G", G, "c", c)
    cdef Wanted wanted = new_wanted(net, cnp.PyArray_DATA(G), cnp.PyArray_DATA(c), NULL, False)
    wanted.N = wanted.each = samples_for(&batch, net.n_outputs)
    cdef Quantity quantity = rows_quantity(&batch, &wanted)
    quantity.of_float, quantity.of_double = rows_chunk[float], rows_chunk[double]
    plan.run(&batch, &quantity)
