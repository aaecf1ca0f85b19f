"""Singular values of ∂u_m[T]/∂u_l[t] of one target m and every layer l ≤ m, taken from the product itself.

The walk of `stack` gives every element an exponent of its own, so that the product is there at any length;
its largest singular values are those of the matrix over 2^(its largest exponent). Small ones beside them are
lost in the rounding of its elements, and said to be. Axes: sample lag index.
"""

import numpy as np
from jaxtyping import Int

from gradflow.jacobian.column import Column, from_layer
from gradflow.jacobian.kernels import ZERO_ROW
from gradflow.jacobian.leading import SMALLEST
from gradflow.jacobian.measures import plain
from gradflow.jacobian.scaled import LN2, Scaled
from gradflow.jacobian.spectra import Spectra
from gradflow.jacobian.stack import spiking
from gradflow.transition import Transition


def stack_spectra(
    found: Transition, target: int, last: int, lags: Int[np.ndarray, " lag"], leading: int | None
) -> list[Spectra]:
    """Return the `leading` largest singular values (all, where None) of every layer up to the target.

    Cost, per sample: that of the target in `stack_products`, memory too, and 20 n³ operations for each layer
    and lag that is kept.
    """
    layers = spiking(found)[: target + 1]
    _, samples, neurons = layers[target].a.shape
    sizes = [layer.a.shape[2] for layer in layers]
    kept = [min(neurons, size) if leading is None else leading for size in sizes]
    spectra = [empty(samples, len(lags), k, size) for k, size in zip(kept, sizes, strict=True)]
    at = {int(lag): place for place, lag in enumerate(lags)}
    for b in range(samples):
        column = Column(found, target, last, slice(b, b + 1), neurons)
        for t, layer, P in from_layer(column, last, np.eye(neurons)):
            if last - t in at:
                read(P, spectra[layer], b, at[last - t])
    return spectra


def empty(samples: int, lags: int, values: int, neurons: int) -> Spectra:
    """Return what holds for products that are zero."""
    return Spectra(
        np.full((samples, lags, values), -np.inf),
        np.full((samples, lags, neurons), np.nan),
        np.zeros((samples, lags), dtype=np.int64),
        np.full((samples, lags), np.nan),
    )


def read(P: Scaled, out: Spectra, sample: int, place: int) -> None:
    """Write one product's values, leading right vector, bound on the rank and participation ratio."""
    S, top = plain(P)
    if top[0] == ZERO_ROW:
        return
    k = out.logs.shape[2]
    _, values, right = np.linalg.svd(S[0], full_matrices=False)
    values = values[:k]
    rank = min(np.count_nonzero(P.m[0, 0].any(axis=axis)) for axis in (0, 1))
    known = values > SMALLEST * values[0]
    logs = np.log(np.where(known, values, 1.0)) + float(top[0]) * LN2
    out.logs[sample, place] = np.where(known, logs, np.where(np.arange(k) < rank, np.nan, -np.inf))
    out.direction[sample, place] = right[0]
    out.bound[sample, place] = rank
    out.participation[sample, place] = (np.sum(S[0] ** 2) / np.linalg.norm(S[0].T @ S[0])) ** 2
