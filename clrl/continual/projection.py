"""Projections of a gradient so that a step does not raise the loss on earlier tasks."""

import numpy as np
import scipy
import torch
from jaxtyping import Float, Float64
from torch import Tensor


def gem_dual(
    gram: Float64[np.ndarray, "K K"],
    products: Float64[np.ndarray, "K"],
    *,
    margin: float,
    ridge: float,
) -> Float64[np.ndarray, "K"]:
    """``v >= margin`` that minimises ``1/2 v'(GG' + ridge I)v + (Gg)'v``.

    Source: Lopez-Paz & Ranzato (2017), eq. 11, and the authors' code for ridge and
    margin. The paper writes ``G = -(g_1, ...)``; here, as in the code, the rows of G
    are the gradients themselves.

    Args:
        gram: ``GG'``, of the K past tasks' gradients.
        products: ``Gg``, with the current gradient.
        margin: Least weight of a past gradient; more than 0 helps backward transfer.
        ridge: Added to the diagonal, so that the solution is unique.
    """
    # With v = w + margin and P = A'A this is min 1/2 ||A w - b||^2 over w >= 0. A by
    # eigenvalues, not Cholesky: rounding can make GG' indefinite beyond the ridge.
    eigenvalues, vectors = np.linalg.eigh((gram + gram.T) / 2)
    root = np.sqrt(np.maximum(eigenvalues, 0) + ridge)
    linear = products + vectors @ (root**2 * (vectors.T @ np.full(len(gram), margin)))
    # SciPy loads this module at its first use: it takes half a second.
    w, _ = scipy.optimize.nnls(root[:, None] * vectors.T, -(vectors.T @ linear) / root)
    dual: Float64[np.ndarray, K] = w + margin
    return dual


def gem_projection(
    gradient: Float[Tensor, "P"],
    past: Float[Tensor, "K P"],
    *,
    margin: float,
    ridge: float,
) -> Float[Tensor, "P"]:
    """``z = g + G'v``: near ``gradient``, and against none of the ``past`` gradients.

    Source: Lopez-Paz & Ranzato (2017), eqs. 8 to 11. The gradient comes back as it is
    where its products with all past gradients are at least 0. The large products are
    taken on the device in its precision, the quadratic programme in double precision.

    Raises:
        FloatingPointError: If a product is not finite.
    """
    products = (past @ gradient).double().cpu().numpy()
    if (products >= 0).all():
        return gradient
    gram = (past @ past.T).double().cpu().numpy()
    if not (np.isfinite(gram).all() and np.isfinite(products).all()):
        raise FloatingPointError("products of gradients are not finite.")
    v = torch.from_numpy(gem_dual(gram, products, margin=margin, ridge=ridge))
    return gradient + v.to(past) @ past


def agem_projection(
    gradient: Float[Tensor, "P"], reference: Float[Tensor, "P"]
) -> Float[Tensor, "P"]:
    """``g - (g.g_ref / g_ref.g_ref) g_ref`` where ``g.g_ref < 0``, otherwise ``g``.

    Source: Chaudhry et al. (2019), eq. 11. Nothing waits for the device.
    """
    against = (gradient @ reference).clamp(max=0)
    squared_norm = (reference @ reference).clamp(min=torch.finfo(reference.dtype).tiny)
    return gradient - against / squared_norm * reference
