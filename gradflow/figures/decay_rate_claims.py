"""What the figure decay-rate asserts and tabulates, from its dataset alone.

Axes: decay span rung.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.figures.registry import Claim

OPERATOR, TYPICAL = "transfer operator", "typical product"
RUNGS = ("bound", "characteristic root", "mean square", "variance propagation", OPERATOR, TYPICAL)
"""The ladder, from what is always true to what is nearest; the last rung is not always computed."""
ROUNDING = 1e-9
"""Nats per step by which a fitted slope may exceed the bound's: where all factors are equal it is reached."""
OPERATOR_ERROR = 0.05
"""How far the transfer operator may be from the measured rate for α ≤ 0.5, on digits."""
NEAR_CROSSING = 0.1
"""How far it may be at α = 0.9, where the paths cross: a and φ remember, which the operator does not know."""
TYPICAL_ERROR = 0.03
"""How far the typical product may be from the measured rate, on digits."""
COLLAPSE = 1.5
"""Largest ratio of λ · rate between the recurrent path's spans up to 16, on digits."""
CROSSING_ERROR = 0.2
"""How far the predicted crossing may be from the measured one, on digits: spans are factors of 2 apart."""
WIDEST = 16
ENOUGH_SEEDS = 3
"""Single networks differ by 20 %: what is said of the mean over networks needs some of them."""


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts under the options it was made with; other claims are not made."""
    config = json.loads(str(data.attrs["config"]))
    usual = {"task": "psmnist", "folder": None, "pool": 1, "hidden": 128}
    digits = all(config[name] == value for name, value in usual.items()) and config["seeds"] >= ENOUGH_SEEDS
    slower = data.rate_seed <= data.predicted_seed.sel(rung="bound", drop=True) + ROUNDING
    return [
        Claim("no network decays more slowly than the bound", bool((slower | data.rate_seed.isnull()).all())),
        *_ordered(data),
        *(_on_digits(data) if digits else ()),
    ]


def _ordered(data: xr.Dataset) -> Iterator[Claim]:
    """Claim strict order of the spans of the recurrent path."""
    for decay in data.decay.values:
        panel = data.sel(decay=decay)
        spans = [int(span) for span in data.span.values if bool(panel.recurrent.sel(span=span))]
        if len(spans) > 1:
            pairs = [bool(panel.rate.sel(span=w) > panel.rate.sel(span=n)) for n, w in pairwise(spans)]
            listed = ", ".join(map(str, spans))
            yield Claim(f"α = {decay:g}: the wider the span, the slower, strictly: λ = {listed}", all(pairs))


def _on_digits(data: xr.Dataset) -> Iterator[Claim]:
    """Claim what was found on the shipped permuted digits, 784 steps, one layer of 128."""
    few = data.sel(span=[span for span in data.span.values if span <= WIDEST])
    for decay in data.decay.values:
        panel, some = data.sel(decay=decay), few.sel(decay=decay)
        last = str(data.rung.values[-1])
        known = panel.error.sel(rung=last, drop=True).notnull()
        if not bool(known.any()):
            continue
        nearest = bool(abs(panel.error.where(known)).median("span").idxmin("rung") == last)
        yield Claim(f"α = {decay:g}: the {last} is nearest of all rungs, in the median", nearest)
        if last == TYPICAL:
            near = bool((abs(panel.error.sel(rung=last).where(known, 0.0)) <= TYPICAL_ERROR).all())
            yield Claim(f"α = {decay:g}: the {last} is within 3 % wherever it is computed", near)
        if decay in (0.3, 0.5, 0.9):
            allowed = NEAR_CROSSING if decay == 0.9 else OPERATOR_ERROR
            near = bool((abs(panel.error.sel(rung=OPERATOR)) <= allowed).all())
            yield Claim(
                f"α = {decay:g}: the transfer operator is within {100 * allowed:.0f} % at every span", near
            )
        if decay in (0.3, 0.5) and int(some.recurrent.sum()) > 1:
            product = (some.span * some.rate).where(some.recurrent)
            close = bool(product.min() / product.max() <= COLLAPSE)
            text = f"α = {decay:g}: λ · rate is constant within a factor of 1.5 for λ ≤ 16"
            yield Claim(text, close and bool(some.recurrent.all()))
        if decay == 0.9:
            yield from _two_regimes(panel)


def _two_regimes(panel: xr.Dataset) -> Iterator[Claim]:
    """Claim of α = 0.9 that narrow spans decay by the neuron path, wide ones not, and where they cross."""
    narrow = [span for span in panel.span.values if span <= 2]
    wide = [span for span in panel.span.values if span >= 8]
    if narrow:
        alone = not bool(panel.recurrent.sel(span=narrow).any())
        yield Claim("α = 0.9: the neuron path carries the gradient for λ ≤ 2, at log α within 5 %", alone)
    if wide:
        yield Claim("α = 0.9: the recurrent path does for λ ≥ 8", bool(panel.recurrent.sel(span=wide).all()))
    if narrow and wide:
        near = bool(abs(panel.crossing_predicted / panel.crossing - 1.0) <= CROSSING_ERROR)
        yield Claim("α = 0.9: the predicted crossing is within 20 % of the measured one", near)


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: decay, span, and each rate in nats per step; errors are relative."""
    names = ["rate", "rate_low", "rate_high", "neuron_path_rate", "recurrent_path_rate"]
    columns = {name: data[name] for name in names}
    for rung in data.rung.values:
        word = str(rung).replace(" ", "_")
        columns[word] = data.predicted.sel(rung=rung, drop=True)
        columns[f"{word}_error"] = data.error.sel(rung=rung, drop=True)
    rows = xr.Dataset(columns).to_dataframe(dim_order=["decay", "span"]).reset_index()
    return rows[["decay", "span", *columns]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per decay and span: rate with interval, λ · rate, every rung's error, the path."""
    rows = table(data)
    errors = [f"{str(rung).replace(' ', '_')}_error" for rung in data.rung.values]
    rows["span_times_rate"] = rows.span * rows.rate
    recurrent = data.recurrent.transpose("decay", "span").values.ravel()
    rows["path"] = np.where(rows.rate.isna(), "?", np.where(recurrent, "recurrent", "neuron"))
    for name in ("crossing", "crossing_predicted"):
        rows[name] = data[name].sel(decay=rows.decay.to_numpy()).values
    first = ["decay", "span", "rate", "rate_low", "rate_high", "span_times_rate"]
    return rows[[*first, "transfer_operator", *errors, "path", "crossing", "crossing_predicted"]]
