"""What is left between theory and measurement: of the rate, and of the whole curve.

Axes: … layer lag. What the measurement was pooled over (sample, seed) is pooled in the theory too.
"""

import numpy as np
import xarray as xr

from gradflow.analysis.curves import curve_band
from gradflow.analysis.schema import labelled, ordered
from gradflow.results import Results

UNITS = {
    "relative_error": "1",
    "difference": "nats per step",
    "rate_theory": "nats per step",
    "inside": "1",
}


def residual(fit: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Compare the rate of `theory` with the measured one of `fit` (the result of fit_decay).

    `relative_error` = theory / measured − 1: −0.1 says that the theory decays 10 % too slowly; NaN where the
    measured rate is NaN or 0. `difference` = theory − measured, nats per step. `inside`: whether the theory
    lies within the measured interval. `rate_theory` is the theory's rate, a mean over samples and seeds where
    `fit` has none.

    Raises ValueError where `rate` is missing on either side.

    >>> fit, theory = (xr.Dataset({"rate": ("layer", [rate])}) for rate in (-0.10, -0.11))
    >>> residual(fit, theory).relative_error.round(4).values.tolist()
    [0.1]
    """
    for name, dataset in (("fit", fit), ("theory", theory)):
        if "rate" not in dataset:
            raise ValueError(f"{name}: has no variable 'rate', only {sorted(map(str, dataset.data_vars))}")
    measured = fit["rate"].astype(np.float64)
    predicted = theory["rate"].astype(np.float64)
    pooled = [dim for dim in ("sample", "seed") if dim in predicted.dims and dim not in measured.dims]
    predicted = predicted.mean(pooled)
    parts = {
        "relative_error": predicted / measured.where(measured != 0.0) - 1.0,
        "difference": predicted - measured,
        "rate_theory": predicted,
    }
    if "rate_low" in fit and "rate_high" in fit:
        parts["inside"] = (fit["rate_low"] <= predicted) & (predicted <= fit["rate_high"])
    found = {name: ordered(part, "layer").assign_attrs(units=UNITS[name]) for name, part in parts.items()}
    return Results(found, attrs=theory.attrs)


def curve_residual(prod: xr.Dataset, theory: xr.Dataset, *, variable: str = "log_frobenius") -> xr.Dataset:
    """Compare the predicted curve of `theory` with the measured centre (curve_band of `prod`), lag by lag.

    `difference` (…, layer, lag) = theory − centre in nats, NaN where either is −∞; `rms` (…, layer) its
    root mean square over the lags where both are finite, in nats; `lags` how many these are; `mismatched` the
    share of lags at which one is an exact zero and the other is not.

    Raises ValueError where the variable is missing on either side or is not a number.

    >>> prod = xr.Dataset({"log_frobenius": (("sample", "lag"), [[0.0, -1.0]])}, {"lag": [0, 1]})
    >>> theory = xr.Dataset({"log_frobenius": ("lag", [0.0, -2.0])}, {"lag": [0, 1]})
    >>> round(curve_residual(prod, theory).rms.item(), 4)
    0.7071
    """
    centre = curve_band(prod, variable=variable)["centre"]
    predicted = labelled(theory, variable, "lag", log=True)
    if any(dim in predicted.dims and dim not in centre.dims for dim in ("sample", "seed")):
        predicted = curve_band(theory, variable=variable)["centre"]
    measured_zero, predicted_zero = np.isneginf(centre), np.isneginf(predicted)
    both = ~(measured_zero | predicted_zero)
    difference = predicted.where(both) - centre.where(both)
    parts = {
        "difference": difference,
        "rms": np.sqrt((difference**2).mean("lag")),
        "lags": difference.count("lag"),
        "mismatched": (measured_zero != predicted_zero).mean("lag"),
    }
    result = xr.Dataset({name: ordered(part, "layer", "lag") for name, part in parts.items()})
    for name in ("difference", "rms"):
        result[name].attrs = {"units": "nats"}
    return Results.of(result.assign_attrs(theory.attrs))
