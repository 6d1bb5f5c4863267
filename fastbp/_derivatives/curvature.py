"""Jacobians, Hessians, Gauss-Newton matrices and their diagonals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp._boundary.convert import output_array, real_array
from fastbp._boundary.memory import check_room, new_array, new_units
from fastbp._derivatives.first_order import batch, check_network
from fastbp_c.derivatives import diagonal as _diagonal
from fastbp_c.derivatives import hessian as _hessian
from fastbp_c.derivatives import jacobian as _jacobian
from fastbp_c.derivatives import outer_product as _outer_product
from fastbp_c.derivatives.operator import Products
from fastbp_c.networks.records import CHAIN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastbp._boundary.names import Loss, Method, Of, Reduction
    from fastbp._networks.network import Network

COLUMNS = 64  # of a matrix that are computed at once, where products are the cheapest way to it, and
ROOM = 1 << 20  # how many numbers their unit vectors may have


def jacobian(net: Network, X: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Compute the derivatives of the outputs with respect to the inputs.

    Parameters
    ----------
    net : Network
    X : array_like of shape (N, D)
        One sample a row.
    out : ndarray of shape (N, K, D), optional
        Where to put the result: of the network's dtype, C-contiguous, not overlapping `X`; a `numpy.memmap` will do.

    Returns
    -------
    J : ndarray of shape (N, K, D)
        ``J[n, k, i]`` is ∂y_k/∂x_i for sample n.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.
    MemoryError
        If (N, K, D) does not fit; the message says how many bytes it needs.

    Notes
    -----
    PRML (5.70) to (5.76). Reverse mode, 2 N K Σ n_in n_out flops, or forward mode, with D for K but without the first
    layer, whichever is less; both are matrix products over the rows of a chunk of samples.

    Examples
    --------
    >>> net = mlp([3, 2], init="zeros")
    >>> net.weights[0][...] = [[1, 2], [3, 4], [5, 6]]
    >>> jacobian(net, [[0, 0, 0]])
    array([[[1., 3., 5.],
            [2., 4., 6.]]])
    """
    check_network(net)
    X = real_array("X", X, net.dtype, 2)
    if out is None:
        out = new_array("jacobian", (X.shape[0], net.n_outputs, net.n_inputs), net.dtype)
    _jacobian.jacobian(net._plan, net._parameters, X, output_array(out))
    return out


def parameter_jacobian(
    net: Network, X: ArrayLike, *, of: Of = "output", out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Compute the derivatives of the outputs with respect to the parameters.

    Parameters
    ----------
    net : Network
    X : array_like of shape (N, D)
        One sample a row.
    of : {"output", "preactivation"}, optional
        Of what: the outputs y, or the last layer's pre-activations a, before its activation.
    out : ndarray of shape (N, K, P), optional
        Where to put the result: of the network's dtype, C-contiguous, not overlapping `X`; a `numpy.memmap` will do.

    Returns
    -------
    J : ndarray of shape (N, K, P)
        ``J[n, k, i]`` is ∂y_k/∂w_i for sample n, or ∂a_k/∂w_i.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.
    MemoryError
        If (N, K, P) does not fit; the message says how many bytes it needs.

    Notes
    -----
    K backward passes as one, and then N K P products written once. The rows of ``of="preactivation"`` are the b_n of
    PRML (5.84).
    """
    check_network(net)
    if not isinstance(of, str):
        raise TypeError(f"of: expected 'output' or 'preactivation', got {type(of).__name__}")
    if of not in ("output", "preactivation"):
        raise ValueError(f"of: expected 'output' or 'preactivation', got {of!r}")
    X = real_array("X", X, net.dtype, 2)
    if out is None:
        out = new_array("parameter_jacobian", (X.shape[0], net.n_outputs, net.n_parameters), net.dtype)
    _jacobian.parameter_jacobian(net._plan, net._parameters, X, of == "preactivation", output_array(out))
    return out


def hessian(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Compute the exact Hessian of a batch's error.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`.
    out : ndarray of shape (P, P), optional
        Where to put the result: of the network's dtype, C-contiguous, not overlapping the other arrays; a
        `numpy.memmap` will do.

    Returns
    -------
    H : ndarray of shape (P, P)
        Σ w_n ∂²E_n/∂w∂w, divided by Σ w_n for the mean; exactly symmetric.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.
    MemoryError
        If (P, P) does not fit; the message says how many bytes it needs.

    See Also
    --------
    HessianOperator : Products with the same matrix, which is never formed.
    hessian_diagonal : Its diagonal alone.

    Notes
    -----
    PRML (5.93) to (5.95) for two layers, here for any number of them and any sharing: the second derivatives of E with
    respect to pairs of pre-activations by a recursion, then one matrix product for each pair of layers, over pairs of
    inputs and pairs of outputs that are different. N P² / 2 to N P² flops at the speed of a large product, and at
    most a quarter of the result's memory and 64 MiB beside it; in float32, for more than 4096 samples, twice the
    result's memory more, for sums in float64.
    """
    return _matrix("hessian", net, X, T, loss, reduction, sample_weight, out, False)


def gauss_newton(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Compute the generalized Gauss-Newton (outer-product, Levenberg-Marquardt) matrix.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`. Of `T` only the cross-entropy's sums over classes count.
    out : ndarray of shape (P, P), optional
        As for `hessian`.

    Returns
    -------
    G : ndarray of shape (P, P)
        Σ w_n J_nᵀ M'_n J_n, divided by Σ w_n for the mean, with J_n = ∂a/∂w of the last layer's pre-activations and M'
        the error function's second derivative with respect to them; exactly symmetric. For a squared error
        M' = Sᵀ S, S = ∂y/∂a, so that it is Σ ∇y ∇yᵀ.

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `hessian` does.

    Notes
    -----
    PRML (5.84) for one output. The same assembly as the Hessian's without its terms in h''; the cost does not depend on
    the number of outputs.
    """
    return _matrix("gauss_newton", net, X, T, loss, reduction, sample_weight, out, True)


def hessian_diagonal(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    method: Method = "exact",
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Compute the diagonal of the Hessian.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `loss`.
    method : {"exact", "approximate"}, optional
        "approximate" is Becker and LeCun's recursion, PRML (5.79) to (5.81), which leaves out whatever is not diagonal
        in the second derivatives with respect to a layer's pre-activations. It is exact for one hidden layer with
        elementwise outputs, and for no more than that.
    out : ndarray of shape (P,), optional
        Where to put the result: of the network's dtype, C-contiguous, not overlapping the other arrays.

    Returns
    -------
    d : ndarray of shape (P,)
        Σ w_n ∂²E_n/∂w_i², divided by Σ w_n for the mean.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.

    Notes
    -----
    The approximate one takes two or three gradients. The exact one carries, for each sample, a row for every output of
    a softmax and for every nonlinear unit at least two layers above, which is next to nothing for a network with one
    hidden layer. Where slots are used several times, or for a squared error of softmax outputs, it carries whole
    matrices of a sample instead, or, if these would take more memory or time, takes a product with every unit vector.
    Nothing of size P² is formed.
    """
    if not isinstance(method, str):
        raise TypeError(f"method: expected 'exact' or 'approximate', got {type(method).__name__}")
    if method not in ("exact", "approximate"):
        raise ValueError(f"method: expected 'exact' or 'approximate', got {method!r}")
    X, T, weight, scale = batch(net, X, T, reduction, sample_weight)
    out = _result("hessian_diagonal", net, (net.n_parameters,), out)
    arguments = net._plan, net._parameters, X, T, weight, loss, scale, False
    if method == "approximate" or net._plan.factors(loss):
        _diagonal.diagonal(*arguments, method == "approximate", out)
    elif _hessian.route(net._plan, False, False) == "pairs":
        _hessian.curvature(*arguments, out)
    else:
        _by_products(arguments, out)
    return out


def gauss_newton_diagonal(
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    *,
    loss: Loss | None = None,
    reduction: Reduction = "sum",
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Compute the diagonal of the generalized Gauss-Newton matrix.

    Parameters
    ----------
    net, X, T, loss, reduction, sample_weight
        As for `gauss_newton`.
    out : ndarray of shape (P,), optional
        As for `hessian_diagonal`.

    Returns
    -------
    d : ndarray of shape (P,)
        Σ w_n (J_nᵀ M'_n J_n)_ii, divided by Σ w_n for the mean.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If an argument is not as above.

    Notes
    -----
    Exact. The cost is that of K rows a sample through the layers between the first and the last.
    """
    X, T, weight, scale = batch(net, X, T, reduction, sample_weight)
    out = _result("gauss_newton_diagonal", net, (net.n_parameters,), out)
    if net._plan.repeats:
        _outer_product.outer_product(net._plan, net._parameters, X, T, weight, loss, scale, out)
    else:
        _diagonal.diagonal(net._plan, net._parameters, X, T, weight, loss, scale, True, False, out)
    return out


def _matrix(
    what: str,
    net: Network,
    X: ArrayLike,
    T: ArrayLike,
    loss: Loss | None,
    reduction: Reduction,
    sample_weight: ArrayLike | None,
    out: NDArray[Any] | None,
    gauss_newton: bool,
) -> NDArray[Any]:
    """Either matrix, by the cheapest way."""
    X, T, weight, scale = batch(net, X, T, reduction, sample_weight)
    if net.dtype == np.float32 and len(X) > CHAIN:
        check_room(what, 8 * net.n_parameters**2, "sums in float64")
    out = _result(what, net, (net.n_parameters, net.n_parameters), out)
    arguments = net._plan, net._parameters, X, T, weight, loss, scale
    route = _hessian.route(net._plan, gauss_newton, True)
    if route == "pairs":
        _hessian.curvature(*arguments, gauss_newton, out)
    elif route == "rows":
        _outer_product.outer_product(*arguments, out)
    else:
        _by_products((*arguments, gauss_newton), out)
    return out


def _result(what: str, net: Network, shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    """`out`, with as many dimensions as it should have, or a new array; the kernels look at the rest."""
    if out is None:
        return new_array(what, shape, net.dtype)
    if output_array(out).ndim != len(shape):
        raise ValueError(f"out: expected shape {shape}, got shape {out.shape}")
    return out


def _by_products(arguments: tuple[Any, ...], out: NDArray[Any]) -> None:
    """The matrix, or its diagonal, column by column: products with unit vectors."""
    plan, parameters, X, T, weight, *_ = arguments
    plan.check_result(out, parameters, X, T, weight)
    products, P = Products(*arguments), parameters.size
    step = max(1, min(COLUMNS, ROOM // max(1, P)))
    for start in range(0, P, step):
        some = np.arange(start, min(start + step, P))
        units = new_units("products", some, P, parameters.dtype)
        rows = out[start : start + some.size] if out.ndim == 2 else new_array("products", units.shape, units.dtype)
        products.multiply(units, rows)
        if out.ndim == 1:
            out[some] = rows[np.arange(some.size), some]
    if out.ndim == 2:
        _hessian.symmetrize(out)
