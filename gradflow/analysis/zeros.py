"""Two kinds of zero along a curve: those of the structure, and those of a number format's underflow.

Axes: … lag. A share is of the H×H elements of a product; lags are in steps, NaN where a zero never comes.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from gradflow.analysis.schema import Lags, labelled, lag_values, ordered
from gradflow.results import Results

FORMATS = ("float16", "bfloat16", "float32", "float64")
ALL = 1.0 - 1e-12
"""A share above this is all of them: one element of a layer of 10⁵ neurons is 10⁻¹⁰ of the matrix."""


def settled(mask: Bool[np.ndarray, "*rest lag"], lags: Lags | None = None) -> Float[np.ndarray, "*rest"]:
    """Return the lag from which `mask` is true to the end, NaN where it is not true at the end.

    >>> settled(np.array([False, True, False, True, True])).item()
    3.0
    """
    lag = np.arange(mask.shape[-1]) if lags is None else lags
    to_the_end = np.logical_and.accumulate(mask[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(
        np.where(to_the_end.any(axis=-1), lag[to_the_end.argmax(axis=-1)], np.nan), dtype=np.float64
    )


def first_exact_zero(
    norms: Float[np.ndarray, "*rest lag"], lags: Lags | None = None
) -> Float[np.ndarray, "*rest"]:
    """Return the lag from which norms stay exactly 0, NaN where the last one is not 0.

    `norms` are norms, not their logarithms; `lags` the lags of the entries (default 0, 1, …).

    Raises ValueError for NaN or a negative norm, or no lag at all.

    >>> first_exact_zero(np.array([1.0, 0.0, 1e-45, 0.0, 0.0])).item()
    3.0
    """
    if not norms.shape[-1] or not (norms >= 0).all():
        raise ValueError(
            f"norms: shape {norms.shape}, {np.count_nonzero(~(norms >= 0))} entries negative or NaN; "
            "expected norms >= 0 along a last axis lag (take exp of log-norms first)"
        )
    return settled(norms == 0, lags)


def exact_zero_lag(norms: xr.DataArray) -> xr.DataArray:
    """Return the lag from which labelled gradient norms stay exactly 0 (NaN where they never do).

    Along `lag`, or along `time`, where the lag is the distance to the last time step.

    Raises ValueError where neither dimension has a coordinate, or as `first_exact_zero` does.

    >>> norms = xr.DataArray([0.0, 0.0, 1e-30, 1.0], {"time": [0, 1, 2, 3]}, ["time"])
    >>> exact_zero_lag(norms).item()
    2.0
    """
    if "lag" not in norms.dims and "time" in norms.coords and norms.sizes["time"]:
        norms = norms.assign_coords(lag=norms["time"][-1] - norms["time"]).swap_dims(time="lag")
        norms = norms.drop_vars("time").isel(lag=slice(None, None, -1))
    lags = lag_values(norms)
    curves = ordered(norms, "lag")
    coords = {name: coord for name, coord in curves.coords.items() if "lag" not in coord.dims}
    values = first_exact_zero(curves.values, lags)
    return xr.DataArray(values, coords, curves.dims[:-1], "exact_zero_lag", {"units": "steps"})


def zero_summary(prod: xr.Dataset) -> xr.Dataset:
    """Return where a product is nothing but zeros, by structure and in each number format.

    An element is zero in a format if the format's nearest number, ties going to the even one, is 0: if it is
    at most half of the smallest subnormal number, which is 2⁻²⁵ in float16, 2⁻¹³⁴ in bfloat16, 2⁻¹⁵⁰ in
    float32 and 2⁻¹⁰⁷⁵ in float64. Backpropagation in that format "returns zero" at a lag if every element of
    the product of every sample is zero in it, for a gradient of 1 at the end; a loss scaled by 2^k gains k
    powers of two. The exact product is rounded, once: arithmetic that rounds at every step, or flushes
    subnormal numbers to 0, loses it some steps earlier or later.

    Shares (…, layer, lag), means over samples: `share_structural` (exact by structure), `share_float16`,
    `share_bfloat16`, `share_float32` and `share_float64` (lost to underflow in that format alone). Lags in
    steps, NaN where it does not happen within the record: `lag_structural`, `lag_float16`, … (…, layer), from
    which, for good, every element of every sample is zero by structure, or by structure or underflow in that
    format; with the ending `_samples` (…, layer, sample) the same for each sample. Formats that the dataset
    does not have (files written before they were counted) are left out. Products of a stack have theirs for
    every target too, NaN for layers above it.

    Raises ValueError where `share_structural` or every format is missing, or a coordinate, or where a share
    lies outside 0 … 1.

    >>> dims = ("layer", "sample", "lag")
    >>> shares = {"structural": [0.0, 0.5, 0.5], "float32": [0.0, 0.0, 0.5], "float64": [0.0, 0.0, 0.0]}
    >>> prod = xr.Dataset({f"share_{k}": (dims, [[v]]) for k, v in shares.items()}, {"lag": [0, 1, 2]})
    >>> zero_summary(prod).lag_float32.values.tolist()
    [2.0]
    """
    lags = lag_values(prod)
    formats = [name for name in FORMATS if f"share_{name}" in prod] or FORMATS[-1:]
    shares = {name: _share(prod, f"share_{name}") for name in ("structural", *formats)}
    zero = {"structural": shares["structural"]}
    zero |= {name: shares["structural"] + shares[name] for name in formats}
    summary = xr.Dataset(attrs=prod.attrs)
    for name, share in shares.items():
        summary[f"share_{name}"] = share.mean("sample")
    for name, share in zero.items():
        every = xr.apply_ufunc(settled, share > ALL, input_core_dims=[["lag"]], kwargs={"lags": lags})
        together = (share > ALL).all("sample")
        summary[f"lag_{name}_samples"] = every.assign_attrs(units="steps")
        settled_lag = xr.apply_ufunc(settled, together, input_core_dims=[["lag"]], kwargs={"lags": lags})
        summary[f"lag_{name}"] = settled_lag.assign_attrs(units="steps")
    return Results.of(summary.where(prod.layer <= prod.target) if "target" in prod.dims else summary)


def _share(prod: xr.Dataset, name: str) -> xr.DataArray:
    if "target" in prod.dims:
        # above the target there is no product: nothing there is known to be zero
        prod = prod.assign({name: prod[name].where(prod.layer <= prod.target, 0.0)})
    share = ordered(labelled(prod, name, "sample", "lag"), "layer", "sample", "lag")
    if float(share.min()) < 0.0 or float(share.max()) > 1.0:
        raise ValueError(
            f"{name}: got values from {share.min().item()} to {share.max().item()}, expected 0 to 1"
        )
    return share
