"""What the figure decay-curves asserts and tabulates, from its dataset alone."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.figures.registry import Claim
from gradflow.plots.curves import LOG10

ROUNDING = 1e-9
"""Nats by which a log-norm may exceed the bound: it is reached exactly where all factors are equal."""
NEURON_PATH = 0.05
"""A rate this close to log α, relatively, is the neuron path's: there the span cannot act."""
MEAN_SQUARE_ERROR = 0.15
"""How far the mean-square rate may lie from the measured one at α = 0.5, λ ≤ 16, on digits."""
OPERATOR_ERROR = 0.05
"""How far the transfer operator's may: at α = 0.5, λ ≤ 16, and at α = 0.9, λ ≤ 2, on digits."""
COLLAPSE = 1.5
"""Largest ratio of λ · rate between spans up to 16 at α = 0.5, on digits."""
WIDEST = 16
ENOUGH_SEEDS = 4
"""Single networks differ by 20 %: what is said of the mean over networks needs some of them."""


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts under the options it was made with; other claims are not made."""
    config = json.loads(str(data.attrs["config"]))
    return [
        Claim("the bound holds at every lag", bool((data.bound_margin >= -ROUNDING).all())),
        *_finite(data, config["decay"]),
        *_ordered(data, config["decay"]),
        *_on_digits(data, config),
    ]


def in_neuron_path(data: xr.Dataset) -> xr.DataArray:
    """Return, per span, whether the measured rate is log α within 5 %.

    At α = 1, where log α = 0: whether the curve changes by less than a factor of 2 over the record. At α = 0
    nothing stays in the neuron.
    """
    alone = float(data.neuron_path_rate)
    allowed = NEURON_PATH * abs(alone) if alone else np.log(2.0) / max(float(data.lag[-1]), 1.0)
    inside: xr.DataArray = (abs(data.rate - alone) <= allowed) & bool(np.isfinite(alone))
    return inside


def error(data: xr.Dataset, theory: str) -> xr.DataArray:
    """Return, per span, the rate of `transfer_operator` or `mean_square` over the measured one, − 1."""
    relative: xr.DataArray = data[f"{theory}_rate"] / data.rate - 1.0
    return relative


def within(data: xr.Dataset, theory: str, allowed: float) -> bool:
    """Return whether this theory's rate is so near to the measured one at every span; NaN is not."""
    return bool((abs(error(data, theory)) <= allowed).all())


def _finite(data: xr.Dataset, decay: float) -> Iterator[Claim]:
    """Claim that nothing is lost to underflow; not at α = 0, where a comb has true holes."""
    if decay > 0.0:
        yield Claim("every curve is finite at every lag", bool(np.isfinite(data.log_frobenius).all()))


def _ordered(data: xr.Dataset, decay: float) -> Iterator[Claim]:
    """Claim strict order of the spans that act at least twice within the sequence; α = 1 has no decay."""
    spans = [int(span) for span in data.span.values if 2 * span <= int(data.lag[-1])]
    if len(spans) < 2 or decay == 1.0:
        return
    rate, alone = data.rate.sel(span=spans), in_neuron_path(data).sel(span=spans)
    pairs = [
        bool(rate.sel(span=wide) > rate.sel(span=narrow))
        or bool(alone.sel(span=wide) and alone.sel(span=narrow))
        for narrow, wide in pairwise(spans)
    ]
    same = [str(span) for span in spans if alone.sel(span=span)]
    note = f" (but {', '.join(same)} decay at log α, the neuron path)" if len(same) > 1 else ""
    listed = ", ".join(map(str, spans))
    yield Claim(f"the wider the span, the slower the decay, strictly: λ = {listed}{note}", all(pairs))


def _on_digits(data: xr.Dataset, config: dict[str, Any]) -> Iterator[Claim]:
    """Claim what was found on the shipped permuted digits, 784 steps, one layer of 128."""
    usual = {"task": "psmnist", "folder": None, "pool": 1, "hidden": 128}
    if any(config[name] != value for name, value in usual.items()):
        return
    few = data.sel(span=[span for span in data.span.values if span <= WIDEST])
    if config["decay"] == 0.5:
        if 1 in data.span:
            deepest = float(data.centre.sel(span=1).min()) * LOG10
            yield Claim("the curve of λ = 1 falls below 10^-100", deepest < -100.0)
        if few.span.size and config["seeds"] >= ENOUGH_SEEDS:
            near = within(few, "transfer_operator", OPERATOR_ERROR)
            yield Claim("the transfer operator is within 5 % of the measured rate for λ ≤ 16", near)
            near = within(few, "mean_square", MEAN_SQUARE_ERROR)
            yield Claim("mean-square theory is within 15 % of the measured rate for λ ≤ 16", near)
        if few.span.size > 1 and config["seeds"] >= ENOUGH_SEEDS:
            product = few.span * few.rate
            close = bool(product.min() / product.max() <= COLLAPSE)
            yield Claim("λ · rate is constant within a factor of 1.5 for λ ≤ 16", close)
    if config["decay"] == 0.9 and 1 in data.span and config["seeds"] >= ENOUGH_SEEDS:
        vanilla = data.sel(span=1)
        missed = in_neuron_path(vanilla) & (abs(error(vanilla, "mean_square")) > MEAN_SQUARE_ERROR)
        yield Claim("λ = 1 decays at log α, and mean-square theory misses it by over 15 %", bool(missed))
        narrow = data.sel(span=[span for span in data.span.values if span <= 2])
        near = within(narrow, "transfer_operator", OPERATOR_ERROR)
        yield Claim("the transfer operator is within 5 % of the measured rate for λ ≤ 2", near)


def remarks(data: xr.Dataset) -> Sequence[str]:
    """Return what the picture must not hide: who decays at log α, and where theory fails or is missing."""
    spans = [int(span) for span in data.span.values]
    alone = in_neuron_path(data)
    carried = ", ".join(str(span) for span in spans if alone.sel(span=span))
    lines = []
    if carried:
        rate = f"log α = {float(data.neuron_path_rate):.4g} per step".replace("-", "−")
        lines.append(f"The neuron path carries the gradient for λ = {carried}: it decays at {rate}.")
    if far := _further(data, "transfer_operator", OPERATOR_ERROR):
        lines.append(f"The transfer operator is off by more than 5 % for λ = {far}.")
    if far := _further(data, "mean_square", MEAN_SQUARE_ERROR):
        lines.append(f"Mean-square theory fails, by more than 15 %, for λ = {far}.")
    if wide := ", ".join(str(span) for span in spans if data.transfer_operator.sel(span=span).isnull().any()):
        lines.append(f"The transfer operator takes too much memory for λ = {wide}.")
    return lines


def _further(data: xr.Dataset, theory: str, allowed: float) -> str:
    """Return the spans at which this theory is further off than allowed, with its error in percent."""
    missed = {int(span): 100.0 * float(error(data, theory).sel(span=span)) for span in data.span.values}
    far = {span: size for span, size in missed.items() if abs(size) > 100.0 * allowed}
    # at α = 1 nothing decays, and a ratio of two rates says nothing
    sizes = {span: f" ({size:+.0f} %)" if abs(size) < 1000.0 else "" for span, size in far.items()}
    return ", ".join(f"{span}{size}" for span, size in sizes.items()).replace("-", "−")


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: span, lag, and powers of ten of each line; −inf is an exact zero."""
    names = ["centre", "low", "high", "envelope", "neuron_path"]
    names += ["transfer_operator", "transfer_operator_envelope", "mean_square", "mean_square_envelope"]
    drawn = data[names] * LOG10
    rows = drawn.rename({name: f"log10_{name}" for name in names}).rename(log10_centre="log10_median")
    return rows.to_dataframe(dim_order=["span", "lag"]).reset_index()[["span", "lag", *map(str, rows)]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: measured rate with its 95 % interval, λ · rate, theory's, reach in steps."""
    return pd.DataFrame(
        {
            "span": data.span.values,
            "rate": data.rate.values,
            "rate_low": data.rate_low.values,
            "rate_high": data.rate_high.values,
            "span_times_rate": (data.span * data.rate).values,
            "transfer_operator": data.transfer_operator_rate.values,
            "transfer_operator_error": error(data, "transfer_operator").values,
            "mean_square": data.mean_square_rate.values,
            "mean_square_error": error(data, "mean_square").values,
            "path": np.where(in_neuron_path(data), "neuron", np.where(data.rate.notnull(), "recurrent", "?")),
            "horizon": data.horizon.values,
            "float32_zero_lag": data.float32_zero_lag.values,
            "log10_norm_at_end": data.centre.isel(lag=-1).values * LOG10,
        }
    )
