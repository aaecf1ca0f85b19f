"""Norms along time of a record: their band over samples, and the same as curves against the lag.

Axes: … layer time sample. Logarithms are natural; −∞ is an exact zero and stays one.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from gradflow.analysis.curves import log_quantile
from gradflow.analysis.schema import labelled, ordered


def log_norms(record: xr.Dataset, variable: str = "grad_u") -> xr.DataArray:
    """Return the natural logarithm of a record's norms, −∞ where a norm is exactly 0.

    Raises ValueError where the record does not hold the variable along `time`, or a norm is negative or NaN.

    >>> log_norms(xr.Dataset({"grad_u": ("time", [0.0, 1.0])})).values.tolist()
    [-inf, 0.0]
    """
    norms = recorded(record, variable)
    if (norms.values < 0).any():
        raise ValueError(f"{variable}: has negative entries; expected norms")
    with np.errstate(divide="ignore"):  # log 0 = −∞ is the documented value
        logs: xr.DataArray = xr.apply_ufunc(np.log, norms)
    return logs.assign_attrs(units="nats")


def recorded(record: xr.Dataset, variable: str) -> xr.DataArray:
    """Return a variable of a record in float64, checked to run along time.

    Raises ValueError naming what the record holds, and how to record it, where it is missing.

    >>> recorded(xr.Dataset({"window": ("time", [0.5])}), "window").item()
    0.5
    """
    if variable not in record:
        raise ValueError(
            f"the record has no variable {variable!r}, only {', '.join(sorted(map(str, record.data_vars)))}; "
            "record it with a Keep that holds it (`gradflow record --keep norms,paths,activity`)"
        )
    return labelled(record, variable, "time")


def norm_band(
    record: xr.Dataset,
    variable: str = "grad_u",
    *,
    over: Sequence[str] = ("sample",),
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> xr.Dataset:
    """Return the centre (median), low and high of the norms at each time step over samples, in nats.

    Dimensions of `over` that the variable does not have are passed over.

    Raises ValueError as `log_norms` does.

    >>> record = xr.Dataset({"grad_u": (("time", "sample"), [[1.0, 1.0, 1.0], [0.0, 2.0, 4.0]])})
    >>> norm_band(record).centre.round(4).values.tolist()
    [0.0, 0.6931]
    """
    norms = log_norms(record, variable)
    pooled = [dim for dim in over if dim in norms.dims]
    table = norms.stack(curve=pooled, create_index=False) if pooled else norms.expand_dims("curve", -1)
    table = ordered(table, "time", "curve")
    found = {
        name: (table.dims[:-1], log_quantile(table.values, q), {"units": "nats"})
        for name, q in zip(("centre", "low", "high"), (0.5, *quantiles), strict=True)
    }
    coords = {name: coord for name, coord in norms.coords.items() if not set(coord.dims) & set(pooled)}
    return xr.Dataset(found, coords, {**record.attrs, "band_variable": variable})


def against_lag(record: xr.Dataset, variable: str = "grad_u") -> xr.Dataset:
    """Return a record's norms as curves against the distance to the last step, as `fit_decay` reads them.

    `log_norm` (…, lag) in nats, lag = T − t; and the weights `p` of the record's conventions. Only of a loss
    on the last step do these curves say how a gradient decays.

    Raises ValueError as `log_norms` does.

    >>> record = xr.Dataset({"grad_u": ("time", [1.0, 2.0, 4.0])}, {"time": [0, 1, 2]}, {"p": '{"3": 1.0}'})
    >>> curves = against_lag(record)
    >>> curves.log_norm.round(4).values.tolist(), curves.span.values.tolist()
    ([1.3863, 0.6931, 0.0], [3])
    """
    norms = log_norms(record, variable).isel(time=slice(None, None, -1))
    curves = norms.drop_vars("time", errors="ignore").rename(time="lag")
    curves = curves.assign_coords(lag=("lag", np.arange(curves.sizes["lag"]), {"units": "steps"}))
    data = curves.to_dataset(name="log_norm").assign_attrs(record.attrs)
    return with_weights(data)


def with_weights(data: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the weights p (layer, span) that its attribute `p` tells, where it has none.

    >>> with_weights(xr.Dataset(attrs={"p": '{"2": 0.5, "4": 0.5}'})).p.values.tolist()
    [0.5, 0.5]
    """
    if "p" in data:
        return data
    found = _weights(data.attrs)
    layers = data.sizes.get("layer", 0)
    if not found or (len(found) > 1 and len(found) != layers):
        return data
    spans = sorted({span for weights in found for span in weights})
    table = np.array([[weights.get(span, 0.0) for span in spans] for weights in found])
    weights = xr.DataArray(table, {"span": spans}, ["layer", "span"])
    return data.assign(p=weights if layers == len(found) > 1 else weights.isel(layer=0))


def _weights(attrs: Mapping[str, Any]) -> list[dict[int, float]]:
    """Return span → weight of each layer, or of all of them, from the conventions' JSON."""
    try:
        told = json.loads(str(attrs.get("p", "")))
    except ValueError:
        return []
    return [
        {int(span): float(weight) for span, weight in entry.items()}
        for entry in (told if isinstance(told, list) else [told])
        if isinstance(entry, dict)
    ]
