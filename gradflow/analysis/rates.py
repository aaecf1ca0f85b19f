"""Decay rates of each layer: how many nats per step a gradient loses, and how sure one can be of it.

Axes: … layer sample lag. A rate is the slope of a curve's envelope (see `fits`), in nats per step; negative
is decay.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from gradflow.analysis.fits import CurveFit, comb_period, fit_curves
from gradflow.analysis.horizons import LEVEL, half_life, horizon_at
from gradflow.analysis.schema import Array, Numbers, labelled, lag_values, ordered, span_weights
from gradflow.results import Results

COMB_DEPTH = float(np.log(2.0))
COMB_HOLES = 0.1
"""A comb lies on average a factor of 2 under its envelope, or has a tenth of its lags as holes."""
UNITS = dict.fromkeys(("rate", "rate_low", "rate_high", "rate_curve", "rate_samples"), "nats per step")
UNITS |= dict.fromkeys(("half_life", "horizon", "burn_in"), "steps") | {"comb_depth": "nats"}
UNITS |= dict.fromkeys(("hole_share", "finite_share", "r_squared", "is_comb", "curves_fitted"), "1")


def student_interval(
    values: Float[np.ndarray, "*rest n"], confidence: float = 0.95
) -> tuple[Array, Array, Array]:
    """Return mean, low and high: mean ± t · s/√n of the numbers along the last axis that are not NaN.

    t is the (1 + confidence)/2 quantile of Student's distribution with n − 1 degrees of freedom. The interval
    is NaN for n < 2, the mean for n = 0.

    >>> [round(float(value), 4) for value in student_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.4841, 4.4841]
    """
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 is the documented NaN
        mean = np.where(there, values, 0.0).sum(axis=-1) / count
        square = np.where(there, values - mean[..., None], 0.0) ** 2
        error = np.sqrt(square.sum(axis=-1) / (count - 1) / count)
    half = stats.t.ppf(0.5 + confidence / 2.0, np.maximum(count - 1, 1)) * error
    return (
        np.asarray(mean),
        np.asarray(np.where(count > 1, mean - half, np.nan)),
        np.asarray(np.where(count > 1, mean + half, np.nan)),
    )


def fit_decay(
    prod: xr.Dataset,
    *,
    variable: str = "log_frobenius",
    burn_in: int | None = None,
    confidence: float = 0.95,
    level: float = LEVEL,
) -> xr.Dataset:
    """Fit the decay rate per step of each layer, with its interval over samples and seeds.

    Every curve is fitted on its own (`fit_curve`; period and longest span from the weights p), and
    curves are then averaged. `burn_in` is the first lag of the fit (default `default_burn_in`);
    `confidence` that of the interval (default 95 %, the usual one); `level` that of the horizon.

    Returns (…, layer), in nats per step unless said: `rate`, `rate_low`, `rate_high`, `rate_curve`;
    `half_life` (steps, of `rate`); `horizon` (steps, the median of the curves'; NaN if lags do not begin
    at 0); `comb_depth` (nats), `hole_share`, `finite_share` and `r_squared` (as in `CurveFit`, means over
    curves); `is_comb` (depth ≥ log 2 or holes ≥ 10 %); `curves_fitted` (how many); `reason` (0 if any was
    fitted, else why none was); and `rate_samples`, `burn_in` (…, layer, sample).

    With two seeds or more the interval is that of Student's t over the means of the seeds, and `rate` is the
    mean of these means; otherwise over the samples, which then tells how the network's rate varies
    between inputs, not between networks. With one of them alone it is NaN.

    Raises ValueError for a missing variable or lag coordinate, NaN or +∞, a burn-in below 0, a confidence
    outside 0 … 1 or a level outside 0 < level ≤ 1.

    >>> curve = np.array([-0.2, -0.3])[:, None] * np.arange(50)
    >>> curves = xr.DataArray(curve[None], {"lag": np.arange(50)}, ["layer", "sample", "lag"])
    >>> fit = fit_decay(curves.to_dataset(name="log_frobenius"))
    >>> round(fit.rate.item(), 6), round(fit.half_life.item(), 4)
    (-0.25, 2.7726)
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: got {confidence}, expected a share between 0 and 1, such as 0.95")
    if burn_in is not None and burn_in < 0:
        raise ValueError(f"burn_in: got {burn_in}, expected a lag in steps, 0 or more")
    curves = labelled(prod, variable, "lag", log=True)
    curves = curves if "sample" in curves.dims else curves.expand_dims("sample")
    pooled: list[str] = [dim for dim in ("sample", "seed") if dim in curves.dims]
    fitted = _fit_labelled(prod, curves, burn_in)
    horizons = xr.full_like(fitted["rate"], np.nan)
    if lag_values(curves)[0] == 0:
        horizons = horizon_at(curves.to_dataset(name=variable), level, variable=variable)["horizon"]
    means = ("rate_curve", "comb_depth", "hole_share", "finite_share", "r_squared")
    parts = _interval(fitted["rate"], pooled, confidence)
    parts |= {name: _pool(fitted[name], pooled, _mean) for name in means}
    parts["half_life"] = xr.apply_ufunc(half_life, parts["rate"])
    parts["horizon"] = _pool(horizons, pooled, _median)
    parts["is_comb"] = (parts["comb_depth"] >= COMB_DEPTH) | (parts["hole_share"] >= COMB_HOLES)
    parts["curves_fitted"] = fitted["rate"].notnull().sum(pooled)
    parts["reason"] = fitted["reason"].max(pooled).astype(np.int64).where(parts["curves_fitted"] == 0, 0)
    parts |= {"rate_samples": fitted["rate"], "burn_in": fitted["burn_in"].astype(np.int64)}
    result = xr.Dataset({name: ordered(part, "layer", "sample") for name, part in parts.items()})
    for name, units in UNITS.items():
        result[name].attrs = {"units": units}
    result["reason"].attrs = {"flag_meanings": "0 fitted, 1 fewer than 3 finite lags, 2 no phase seen twice"}
    told = {"fit_variable": variable, "fit_confidence": confidence, "horizon_level": level}
    return Results.of(result.assign_attrs({**prod.attrs, **told}))


def _fit_labelled(prod: xr.Dataset, curves: xr.DataArray, burn_in: int | None) -> dict[str, xr.DataArray]:
    """Fit every curve with the period of its own span weights (1 where the dataset has none)."""
    lags = lag_values(curves)
    period = longest = xr.DataArray(1.0)
    if "p" in prod:
        weights, spans = span_weights(prod)
        period, longest = xr.apply_ufunc(
            comb_period,
            weights,
            input_core_dims=[["span"]],
            output_core_dims=[[], []],
            kwargs={"spans": spans, "last": int(lags[-1])},
        )

    def fit(values: Array, span: Numbers, wide: Numbers) -> tuple[Array, ...]:
        return tuple(fit_curves(values, lags, period=span, longest=wide, burn_in=burn_in).values())

    outputs: list[list[str]] = [[] for _ in CurveFit._fields]
    fields = xr.apply_ufunc(
        fit, curves, period, longest, input_core_dims=[["lag"], [], []], output_core_dims=outputs
    )
    return dict(zip(CurveFit._fields, fields, strict=True))


def _interval(rates: xr.DataArray, pooled: list[str], confidence: float) -> dict[str, xr.DataArray]:
    """Return rate, rate_low and rate_high over seeds (their means) where there are two, else over samples."""
    if rates.sizes.get("seed", 0) > 1:
        rates, pooled = _pool(rates, ["sample"], _mean), ["seed"]
    bounds = xr.apply_ufunc(
        student_interval,
        rates.stack(curve=pooled, create_index=False),
        input_core_dims=[["curve"]],
        output_core_dims=[[], [], []],
        kwargs={"confidence": confidence},
    )
    return dict(zip(("rate", "rate_low", "rate_high"), bounds, strict=True))


def _pool(array: xr.DataArray, dims: list[str], reduce: Callable[[Array], Array]) -> xr.DataArray:
    pooled = array.stack(curve=dims, create_index=False)
    reduced: xr.DataArray = xr.apply_ufunc(reduce, pooled, input_core_dims=[["curve"]])
    return reduced


def _mean(values: Float[np.ndarray, "*rest n"]) -> Array:
    return student_interval(values)[0]


def _median(values: Float[np.ndarray, "*rest n"]) -> Array:
    return np.asarray(np.median(values, axis=-1))
