"""Findings of path products: how fast each path decays, how many hops are taken, and where the lead changes.

Axes: layer sample lag.
"""

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.analysis import fit_decay
from gradflow.analysis.steps import with_weights
from gradflow.analysis.zeros import settled
from gradflow.findings.findings import Findings
from gradflow.findings.layers import PerLayer, growth_warnings, layer_names, per_layer

PARTS = {"rate": "log_frobenius", "rate_neuron": "log_neuron", "rate_recurrent": "log_recurrent"}


def findings(data: xr.Dataset, level: float) -> Findings:
    """Return rates of the whole and of its neuron and recurrent paths, hops and the lag of the change.

    Columns: `rate` with its interval, `rate_neuron`, `rate_recurrent` (nats per step); `horizon` (steps);
    `hops` (mean number at the last lag where it is known); `recurrent_leads` (steps): the lag from which
    the recurrent path is, for good, the larger one in the median sample; NaN where it never is.
    """
    weighted = with_weights(data)
    fits = {name: fit_decay(weighted, variable=part, level=level) for name, part in PARTS.items()}
    columns: dict[str, PerLayer] = {name: per_layer(fit.rate) for name, fit in fits.items()}
    whole = fits["rate"]
    columns |= {name: per_layer(whole[name]) for name in ("rate_low", "rate_high", "horizon")}
    columns["hops"] = _last_known(data.mean_hops)
    columns["recurrent_leads"] = _lead(data)
    warnings = list(growth_warnings(columns["rate"], columns["rate_low"]))
    rows = pd.DataFrame({"layer": layer_names(data), **columns})
    rows["last_lag"] = int(data.lag[-1])
    notes = () if np.isfinite(columns["hops"]).all() else ("hops: too many to count; raise --max-hops",)
    return Findings("path products", rows, tuple(warnings), notes)


def _lead(data: xr.Dataset) -> PerLayer:
    pooled = [dim for dim in data.log_neuron.dims if dim not in ("layer", "lag")]
    ahead = (data.log_recurrent > data.log_neuron).mean(pooled) > 0.5
    lags = data.lag.values.astype(np.int64)
    return per_layer(
        xr.apply_ufunc(settled, ahead, input_core_dims=[["lag"]], kwargs={"lags": lags}, vectorize=False)
    )


def _last_known(hops: xr.DataArray) -> PerLayer:
    """Return the mean number of hops at the last lag."""
    return per_layer(hops.isel(lag=-1))
