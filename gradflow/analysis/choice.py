"""Which shape the curves of a layer have, how sure that is, and what cannot be told.

Axes: … layer shape. Any dimension but sample, seed and lag is fitted on its own.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from gradflow.analysis.fits import comb_period
from gradflow.analysis.models import Shape
from gradflow.analysis.schema import Array, labelled, lag_values, ordered, span_weights
from gradflow.analysis.selection import Plan, Selection, select
from gradflow.results import Results
from gradflow.seeds import bit_generator

SHAPES = (Shape.EXPONENTIAL, Shape.STRETCHED, Shape.POWER, Shape.COMB)
MEANINGS = (
    "0 identified, 1 too few finite lags, 2 no better than a flat curve, 3 another shape within 10 of the "
    "best AICc, 4 the parameter at its bound or its interval includes the value of a simpler shape"
)
UNITS = {"rate": "nats per step", "scale": "steps", "deviation": "nats"}


def fit_models(
    prod: xr.Dataset,
    *,
    variable: str = "log_frobenius",
    shapes: Sequence[Shape] = SHAPES,
    envelope: bool = False,
    burn_in: int | None = None,
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """Fit exponential, stretched, power-law and comb curves to each layer, and say which one it is.

    Args:
        prod: curves of log-norms, as from `jacobian_products`; the comb's period is the span of most weight.
        variable: which curves.
        shapes: those compared, as members of `Shape` (flat is always among them).
        envelope: fit the envelope of the mean curve at one lag in each period, where combs have no teeth.
        burn_in: first lag of the fit (default: that of `fit_decay`), at least 1.
        confidence: of the intervals.
        draws: bootstrap resamples; 0 for none.
        seed: of the resamples.

    Returns:
        A Dataset. For each shape (…, layer, shape): `aicc`, relative to the least (NaN where the shape cannot
        be fitted), Akaike `weight`, `support` (share of the resamples that choose it), `rate` (exponential,
        comb; nats per step), `exponent` (β of stretched, γ of power), `scale` (τ of stretched, steps) with
        `_low` and `_high`, and `correlation` and `deviation` of the residuals. For each layer: `chosen`, the
        index along `shape` of the least AICc, of nested shapes the simpler one unless the other is better by
        10, −1 where there is none; `reason`: 0 identified, 1 too few finite lags, 2 no better than a flat
        curve, 3 ambiguous (a rival that is not nested lies within 10), 4 undetermined (the exponent sits at
        the end of its range, or the interval includes the value that makes the shape another one: rate 0,
        β = 1, γ = 0); `lags_fitted`. Read parameters only where `reason` is 0.

    Intervals are percentiles of the resamples with tails widened for few curves, NaN with fewer than 2. Of
    95 % intervals of a rate about 90 % cover it with 5 curves, 94 % with 20 (measured on random walks). ρ is
    held at the fitted value in the resamples.

    Raises ValueError for a missing variable, coordinate or dimension, NaN or +∞, a confidence outside 0 … 1,
    or a burn-in or number of draws below 0.

    Cost: about 3 ms for each layer and resample.

    Source: Burnham & Anderson, Model Selection and Multimodel Inference (2002), chapter 2; Efron &
    Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Hesterberg, The American Statistician 69
    (2015) 371, the tails.

    >>> random = np.random.default_rng(0)
    >>> curves = -((np.arange(120) / 4.0) ** 0.5) + 0.05 * random.normal(size=(1, 6, 120))
    >>> prod = xr.Dataset({"log_frobenius": (("layer", "sample", "lag"), curves)}, {"lag": np.arange(120)})
    >>> fit = fit_models(prod, draws=20).isel(layer=0)
    >>> fit.shape_name[fit.chosen].item(), fit.reason.item(), round(fit.exponent[fit.chosen].item(), 1)
    ('stretched', 0, 0.5)
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: got {confidence}, expected a share between 0 and 1, such as 0.95")
    if draws < 0 or (burn_in is not None and burn_in < 0):
        raise ValueError(f"fit_models: got draws {draws}, burn_in {burn_in}; expected 0 or more")
    curves = labelled(prod, variable, "lag", log=True)
    for dim in ("sample", "seed"):
        curves = curves if dim in curves.dims else curves.expand_dims(dim)
    curves = ordered(curves, "layer", "seed", "sample", "lag")
    lags = lag_values(curves)
    wanted = tuple(Shape(shape) for shape in shapes if shape is not Shape.FLAT)
    plan = Plan(wanted, envelope, burn_in, confidence, draws)
    like = curves.isel(dict.fromkeys(("seed", "sample", "lag"), 0), drop=True)
    periods, longests = _periods(prod, like, int(lags[-1]))
    found = {}
    for index in np.ndindex(*like.shape):
        generator = np.random.Generator(bit_generator(seed, "bootstrap", *index))
        spans = {"period": int(periods[index]), "longest": int(longests[index])}
        found[index] = select(curves.values[index], lags, plan, generator, **spans)
    result = _labelled(found, like, wanted)
    options = {"fit_variable": variable, "fit_confidence": confidence, "fit_envelope": int(envelope)}
    return Results.of(result.assign_attrs({**prod.attrs, **options, "fit_draws": draws, "fit_seed": seed}))


def _periods(prod: xr.Dataset, like: xr.DataArray, last: int) -> tuple[Array, Array]:
    """Return the period of each curve's comb and its longest span (1 where the dataset has no weights)."""
    if "p" not in prod:
        return np.ones(like.shape), np.ones(like.shape)
    weights, spans = span_weights(prod)
    found = xr.apply_ufunc(
        comb_period,
        weights,
        input_core_dims=[["span"]],
        output_core_dims=[[], []],
        kwargs={"spans": spans, "last": last},
    )
    period, longest = (part.broadcast_like(like).transpose(*like.dims).values for part in found)
    return period, longest


def _labelled(
    found: dict[tuple[int, ...], Selection], like: xr.DataArray, shapes: tuple[Shape, ...]
) -> xr.Dataset:
    every = list(found.values())
    result = xr.Dataset(coords=like.coords)
    for name in every[0].values:
        units = UNITS.get(name.removesuffix("_low").removesuffix("_high"), "1")
        values = np.array([one.values[name] for one in every]).reshape(*like.shape, len(shapes))
        result[name] = (*like.dims, "shape"), values, {"units": units}
    for name in ("chosen", "reason", "lags_fitted"):
        result[name] = like.dims, np.array([getattr(one, name) for one in every]).reshape(like.shape)
    result["lags_fitted"].attrs = {"units": "1"}
    result["reason"].attrs = {"flag_meanings": MEANINGS}
    return result.assign_coords(shape_name=("shape", [str(shape) for shape in shapes]))
