"""Spectra over networks: centre and band of single singular values, and of exponents in descending order.

Axes: … lag rank, … rank. Values are natural logarithms; −∞ is an exact zero, NaN a value that is not known.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.curves import log_quantile
from gradflow.analysis.schema import Array

POOLED = ("seed", "sample")
NAMES = ("centre", "low", "high")


def spectrum_band(
    data: xr.Dataset, ranks: Sequence[int] | None = None, *, quantiles: tuple[float, float] = (0.1, 0.9)
) -> xr.Dataset:
    """Return centre (median), low and high of log σ_i at each lag, for the ranks i that are asked for.

    Where σ_i of any network or sample is not known (NaN), neither are they.

    Args:
        data: as of `singular_values`: `log_singular` (…, lag, index), with sample, and seed where there is
            one.
        ranks: i, from 1, the largest (default: 1, an eighth, a quarter, a half and three quarters of all, and
            all).
        quantiles: those of low and high.

    Raises:
        ValueError: without `log_singular` along lag and index, or for ranks outside 1 … as many as there are.

    >>> logs = xr.DataArray([[[0.0, -1.0]], [[0.0, -3.0]]], dims=("sample", "lag", "index"))
    >>> spectrum_band(xr.Dataset({"log_singular": logs}), [1, 2]).centre.values.tolist()
    [[0.0], [-2.0]]
    """
    if "log_singular" not in data or not {"lag", "index"} <= set(data.log_singular.dims):
        raise ValueError("spectrum_band: expected log_singular along lag and index, as of singular_values")
    values = data.sizes["index"]
    chosen = default_ranks(values) if ranks is None else list(ranks)
    if not chosen or not all(1 <= rank <= values for rank in chosen):
        raise ValueError(f"spectrum_band: got the ranks {chosen}, expected some of 1 … {values}")
    picked = data.log_singular.isel(index=[rank - 1 for rank in chosen]).rename(index="rank")
    found = quantiles_of(picked.assign_coords(rank=chosen), quantiles).transpose(..., "rank", "lag")
    return found.assign_attrs({**data.attrs, "band_low": quantiles[0], "band_high": quantiles[1]})


def default_ranks(values: int) -> list[int]:
    """Return 1, an eighth, a quarter, a half, three quarters and the whole of a number of values, once each.

    >>> default_ranks(128), default_ranks(2)
    ([1, 16, 32, 64, 96, 128], [1, 2])
    """
    parts = (1, values // 8, values // 4, values // 2, 3 * values // 4, values)
    return sorted({max(1, part) for part in parts})


def descending(exponents: Float[np.ndarray, "*rest index"]) -> Array:
    """Return each row from its largest value to its least; what is not known comes last.

    >>> descending(np.array([-0.5, np.nan, -0.4, -np.inf])).tolist()
    [-0.4, -0.5, -inf, nan]
    """
    return np.asarray(-np.sort(-exponents, axis=-1))


def quantiles_of(values: xr.DataArray, quantiles: tuple[float, float] = (0.1, 0.9)) -> xr.Dataset:
    """Return centre, low and high of values over samples and seeds; NaN where any value is NaN.

    >>> quantiles_of(xr.DataArray([1.0, 3.0], dims="sample")).centre.item()
    2.0
    """
    pooled = [dim for dim in POOLED if dim in values.dims]
    kept = [dim for dim in values.dims if dim not in pooled]
    laid = values.transpose(*kept, *pooled)
    table = laid.values.reshape(*(values.sizes[dim] for dim in kept), -1)
    known = ~np.isnan(table).any(axis=-1)
    safe = np.where(known[..., None], table, 0.0)
    coords = {name: coord for name, coord in values.coords.items() if not set(coord.dims) & set(pooled)}
    found = {
        name: (kept, np.where(known, log_quantile(safe, q), np.nan), values.attrs)
        for name, q in zip(NAMES, (0.5, *quantiles), strict=True)
    }
    return xr.Dataset(found, coords=coords)
