"""Findings of Jacobian products: rates with intervals beside theory, horizons, zeros, window.

Axes: layer sample lag.
"""

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.analysis import fit_decay, zero_summary
from gradflow.findings.findings import Findings
from gradflow.findings.layers import (
    PerLayer,
    activity_warnings,
    growth_warnings,
    layer_names,
    per_layer,
    zero_warnings,
)
from gradflow.theory import bound, mean_square

FITTED = ("rate", "rate_low", "rate_high", "half_life", "horizon", "comb_depth")
FACTORS = ("a_square", "a_max", "V_frobenius", "leak", "p")
"""What the theory reads; files of dense transitions do not have it."""
MARGIN = -1e-9
"""Nats by which rounding may lift a product above its bound (see `theory.bound`)."""
REASONS = {1: "fewer than 3 lags are finite", 2: "no phase of the comb is seen twice; record more lags"}


def findings(data: xr.Dataset, level: float) -> Findings:
    """Return rates, horizons, zeros and theory of each layer.

    Columns: `rate` with its interval, `rate_mean_square`, `rate_bound`, `rate_neuron_path` and, where the
    file was recorded with it, `rate_transfer` (nats per step); `half_life`, `horizon`, `zero_structural` and
    `zero_float32` (steps); `comb_depth` (nats); `window`, `span` (mean of p, steps); `last_lag`.
    """
    fit = fit_decay(data, level=level)
    columns: dict[str, PerLayer] = {name: per_layer(fit[name]) for name in FITTED}
    warnings = [
        f"layer {layer}: no rate, {REASONS[int(reason)]}"
        for layer, reason in enumerate(per_layer(fit.reason))
        if reason
    ]
    warnings += growth_warnings(columns["rate"], columns["rate_low"])
    notes = []
    if all(name in data for name in FACTORS):
        predicted, limit = mean_square(_acting(data)), bound(data)
        columns["rate_mean_square"] = per_layer(predicted.rate)
        columns["rate_bound"] = per_layer(limit.rate)
        columns["rate_neuron_path"] = per_layer(predicted.neuron_path_rate)
        columns["span"] = per_layer((data.p * data.span).sum("span"))
        warnings += _above_bound(data, limit)
        if "rate_transfer" in data:
            columns["rate_transfer"] = per_layer(data.rate_transfer)
        else:
            notes.append("rate_transfer needs the run itself: record with `gradflow record --theory`")
    if "share_structural" in data:
        zeros = zero_summary(data)
        columns["zero_structural"] = per_layer(zeros.lag_structural)
        columns["zero_float32"] = _underflow(zeros)
        warnings += zero_warnings(columns["zero_structural"], "exactly zero by structure")
        warnings += zero_warnings(
            columns["zero_float32"], "float32 backpropagation returns 0, by underflow or structure,"
        )
    if "window" in data:
        columns["window"] = per_layer(data.window)
    warnings += activity_warnings(None, columns.get("window"))
    rows = pd.DataFrame({"layer": layer_names(data), **columns})
    rows["last_lag"] = int(data.lag[-1])
    return Findings("jacobian products", rows, tuple(warnings), tuple(notes))


def _acting(data: xr.Dataset) -> xr.Dataset:
    """Return the dataset without spans beyond its lags: they never act in it."""
    return data.assign(p=data.p.where(data.span <= int(data.lag[-1]), 0.0))


def _underflow(zeros: xr.Dataset) -> PerLayer:
    """Return the lag of float32's zeros, or NaN for files that did not count them."""
    name = "lag_float32"
    return per_layer(zeros[name] if name in zeros else xr.full_like(zeros.lag_structural, np.nan))


def _above_bound(data: xr.Dataset, limit: xr.Dataset) -> list[str]:
    """Return a warning for products above their bound: a theorem, so the file must be at fault."""
    pairs = (("log_bound", "log_spectral"), ("log_bound_frobenius", "log_frobenius"))
    worst = np.inf
    for upper, lower in pairs:
        if lower in data:
            finite = np.isfinite(data[lower])
            worst = min(worst, float((limit[upper] - data[lower]).where(finite, np.inf).min()))
    if worst >= MARGIN:
        return []
    return [f"products exceed their bound by {-worst:.3g} nats: the moments in the file are of another run"]
