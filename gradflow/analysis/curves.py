"""Curves of log-norm against lag: their envelope, and their centre and band over samples and seeds.

Axes: … lag. Values are natural logarithms; −∞ is an exact zero and stays one.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.schema import Array, labelled, lag_values, ordered, without
from gradflow.results import Results


def envelope(log_norm: Float[np.ndarray, "*rest lag"]) -> Float[np.ndarray, "*rest lag"]:
    """Return the smallest non-increasing majorant, env[n] = max over m ≥ n of log_norm[m].

    Between the teeth of a comb it keeps the level of the next tooth; after the last one it is −∞.

    Raises ValueError for NaN or +∞.

    >>> envelope(np.array([0.0, -np.inf, -2.0, -5.0, -4.0])).tolist()
    [0.0, -2.0, -2.0, -4.0, -4.0]
    """
    without(log_norm, "log_norm")
    return np.maximum.accumulate(log_norm[..., ::-1], axis=-1)[..., ::-1]


def log_quantile(values: Float[np.ndarray, "*rest n"], q: float) -> Array:
    """Return the quantile q along the last axis by linear interpolation of the order statistics.

    numpy's own rule, made exact for infinite entries: between −∞ and a finite value lies −∞.

    Raises ValueError for q outside 0 … 1 or an empty axis.

    >>> log_quantile(np.array([-np.inf, -3.0, -1.0]), 0.5).tolist()
    -3.0
    """
    if not 0.0 <= q <= 1.0 or not values.shape[-1]:
        raise ValueError(f"quantile: got {q} of {values.shape[-1]} values, expected 0 <= q <= 1 and values")
    ranked = np.sort(values, axis=-1)
    place = q * (values.shape[-1] - 1)
    below = int(np.floor(place))
    low, high = ranked[..., below], ranked[..., min(below + 1, values.shape[-1] - 1)]
    weight = place - below
    with np.errstate(invalid="ignore"):  # −∞ − (−∞), not used below
        mixed = low + weight * (high - low)
    return np.asarray(np.where((weight == 0.0) | (low == high), low, np.where(np.isneginf(low), low, mixed)))


def curve_band(
    prod: xr.Dataset,
    *,
    variable: str = "log_frobenius",
    over: Sequence[str] | None = None,
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> xr.Dataset:
    """Return the centre (median), low and high of the curves at each lag, in nats.

    `over` names the dimensions that are pooled (default: sample, and seed where there is one);
    `quantiles` are those of low and high (default: the middle 80 %, of which even ten curves tell
    something). The centre keeps the holes of a comb; `envelope` is the envelope of the centre.

    Raises ValueError where the variable, the coordinate `lag` or a dimension of `over` is missing,
    or an entry is NaN or +∞.

    >>> prod = xr.Dataset({"log_frobenius": (("sample", "lag"), [[0.0, -1.0], [0.0, -3.0]])}, {"lag": [0, 1]})
    >>> curve_band(prod).centre.values.tolist()
    [0.0, -2.0]
    """
    curves = labelled(prod, variable, "lag", log=True)
    lag_values(curves)
    pooled = [dim for dim in ("sample", "seed") if dim in curves.dims] if over is None else list(over)
    missing = [dim for dim in pooled if dim not in curves.dims]
    if missing or "lag" in pooled:
        raise ValueError(f"over: got {pooled}, expected dimensions among {curves.dims} other than lag")
    stacked = ordered(curves, "lag", *pooled)
    kept = [dim for dim in stacked.dims if dim not in pooled]
    table = stacked.values.reshape(*(curves.sizes[dim] for dim in kept), -1)
    rows = {"centre": log_quantile(table, 0.5)}
    rows |= {name: log_quantile(table, q) for name, q in zip(("low", "high"), quantiles, strict=True)}
    rows["envelope"] = envelope(rows["centre"])
    coords = {name: coord for name, coord in curves.coords.items() if not set(coord.dims) & set(pooled)}
    attrs = {**prod.attrs, "band_variable": variable, "band_low": quantiles[0], "band_high": quantiles[1]}
    unit = {"units": "nats"}
    return Results({name: (kept, row, unit) for name, row in rows.items()}, coords=coords, attrs=attrs)
