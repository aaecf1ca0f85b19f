"""Findings of a training run: the gradient's decay, spans and activity of each layer, epoch after epoch.

Axes: epoch layer.
"""

import numpy as np
import xarray as xr

from gradflow.findings.findings import Findings
from gradflow.findings.layers import activity_warnings, growth_warnings, zero_warnings

COLUMNS = {
    "rate": "rate",
    "rate_low": "rate_low",
    "rate_high": "rate_high",
    "rate_mean_square": "rate_mean_square",
    "half_life": "half_life",
    "horizon": "horizon",
    "span_mean": "span",
    "span_hard": "span_hard",
    "firing_rate": "firing_rate",
    "window": "window",
    "lag_structural": "zero_structural",
    "lag_float32": "zero_float32",
}
"""Variables of the run's file, and the columns they become; the names are those of other kinds of file."""


def findings(data: xr.Dataset, level: float) -> Findings:
    """Return a row for each epoch looked at and layer, warnings for the last epoch, and what has changed.

    The horizons are those that were taken while training, at the level in the file's attributes.

    Raises ValueError where the file lacks the epochs or the rates.
    """
    if "epoch" not in data.dims or "rate" not in data:
        raise ValueError("the file has no rates over epochs: expected `gradients.nc` of a training run")
    table = data[[name for name in COLUMNS if name in data]].rename(
        {name: column for name, column in COLUMNS.items() if name in data and name != column}
    )
    kept = [column for column in COLUMNS.values() if column in table]
    frame = table[kept].to_dataframe().reset_index()
    rows = frame[["epoch", "layer", *kept]].sort_values(["epoch", "layer"], ignore_index=True)
    rows["last_lag"] = int(data.lag[-1]) if "lag" in data.coords else np.nan
    last = rows[rows.epoch == rows.epoch.max()]
    columns = {name: last[name].to_numpy(dtype=np.float64) for name in kept}
    warnings = list(activity_warnings(columns.get("firing_rate"), columns.get("window")))
    if "rate_low" in columns:
        warnings += growth_warnings(columns["rate"], columns["rate_low"])
    if "zero_float32" in columns:
        words = "float32 backpropagation returns 0, by underflow or structure,"
        warnings += zero_warnings(columns["zero_float32"], words)
    stored = data.attrs.get("horizon_level")
    other = stored is not None and float(stored) != level
    notes = (f"horizons are those at level {stored:g}, taken while training",) if other else ()
    return Findings("gradient while training", rows, tuple(warnings), notes)
