"""Findings of a record: activity, window, loss gradients along time, and their decay where that means one.

Axes: layer time sample.
"""

import math

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.analysis import exact_zero_lag, fit_decay
from gradflow.analysis.steps import against_lag, norm_band
from gradflow.findings.findings import Findings
from gradflow.findings.layers import (
    PerLayer,
    activity_warnings,
    growth_warnings,
    layer_names,
    per_layer,
    zero_warnings,
)

FITTED = ("rate", "rate_low", "rate_high", "half_life", "horizon")
LOG10 = math.log10(math.e)
FED = (
    "the loss is placed on {placement}: it feeds every step directly, so norms along time are no decay. "
    "Record with --loss last, or --kind products"
)


def findings(data: xr.Dataset, level: float) -> Findings:
    """Return activity and gradients of each layer.

    Columns: `firing_rate`, `window` (shares of the neurons); `zero_share` (of the elements of ∂L/∂u);
    `log10_first` and `log10_last`, powers of ten of the median ‖∂L/∂u‖ at the first and the last step. With
    the loss on the last step also `rate` with its interval (nats per step of the lag), `half_life`,
    `horizon` and `exact_zero` (steps): the decay of the loss gradient.
    """
    columns: dict[str, PerLayer] = {}
    for name in ("firing_rate", "window", "zero_share"):
        if name in data:
            columns[name] = per_layer(data[name])
    warnings = list(activity_warnings(columns.get("firing_rate"), columns.get("window")))
    notes: list[str] = []
    if "grad_u" in data:
        middle = norm_band(data).centre * LOG10
        columns["log10_first"] = per_layer(middle.isel(time=0))
        columns["log10_last"] = per_layer(middle.isel(time=-1))
        placement = str(data.attrs.get("loss_placement", "unknown"))
        if placement == "last":
            decay, found = _decay(data, level)
            columns |= decay
            warnings += found
        else:
            notes.append(FED.format(placement=f"{placement} of the steps"))
    if not columns:
        raise ValueError(
            "the record holds neither norms nor activity; record them with `gradflow record --keep "
            "norms,activity`"
        )
    rows = pd.DataFrame({"layer": layer_names(data), **columns})
    rows["last_lag"] = int(data.sizes["time"]) - 1
    return Findings("record", rows, tuple(warnings), tuple(notes))


def _decay(data: xr.Dataset, level: float) -> tuple[dict[str, PerLayer], list[str]]:
    """Return rate, horizon and zeros of the gradient of a loss on the last step, and warnings."""
    curves = against_lag(data)
    alive = np.isfinite(curves.log_norm.isel(lag=0))
    # a sample whose gradient is 0 at the last step already has no decay to speak of
    curves["log_norm"] = curves.log_norm.where(alive, -np.inf)
    fit = fit_decay(curves, variable="log_norm", level=level)
    columns = {name: per_layer(fit[name]) for name in FITTED}
    zero = exact_zero_lag(data.grad_u).where(alive.drop_vars("lag", errors="ignore"))
    columns["exact_zero"] = _all_zero(zero)
    warnings = list(growth_warnings(columns["rate"], columns["rate_low"]))
    warnings += zero_warnings(columns["exact_zero"], "the gradient of every sample is exactly 0")
    dead = per_layer(1.0 - alive)
    warnings += [
        f"layer {layer}: {100 * share:.0f} % of the samples have no gradient even at the last step"
        for layer, share in enumerate(dead)
        if share > 0
    ]
    return columns, warnings


def _all_zero(lags: xr.DataArray) -> PerLayer:
    """Return the lag from which every sample is 0, NaN where one never is."""
    pooled = [dim for dim in lags.dims if dim != "layer"]
    return per_layer(lags.max(pooled, skipna=False) if pooled else lags)
