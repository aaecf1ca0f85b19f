"""What the figure memory-horizon asserts and tabulates, and how far prediction and training agree.

Axes: span delay seed lag. Delays and horizons are in steps.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

from gradflow.analysis import horizon
from gradflow.figures.registry import Claim

LEVELS = np.logspace(-0.5, -7.0, 261)
"""Among which the best level is sought: forty to a power of ten."""
FACTOR = 2.0
"""Within which prediction and training are called agreeing; the grid of delays has steps of 1.41."""
RANK = 0.9
"""Rank correlation over networks that is claimed of the usual options."""
ENOUGH_SEEDS = 3
ALIKE = 1e-9
"""Logarithms nearer than this differ by rounding alone."""


class Agreement(NamedTuple):
    """How far prediction and training agree.

    Attributes:
        ratio: median over networks of learned / predicted.
        within, networks: networks within a factor of 2 either way, and all that learned something.
        rank: Spearman's correlation over networks of longest delay learned and predicted horizon.
        within_spans: the same of logarithms less their mean in each span (Pearson's): whether theory also
            knows which of several networks with the same span reaches further.
        level: that fits best. left_out: median factor by which a span's networks miss what the level fitted
            to the other spans predicts, either way.
    """

    ratio: float
    within: int
    networks: int
    rank: float
    within_spans: float
    level: float
    left_out: float


def horizons_at(curves: xr.DataArray, levels: np.ndarray) -> xr.DataArray:
    """Return the horizon of every curve (…, lag) at every level: (…, level), NaN for a curve that is NaN."""

    def each(values: np.ndarray) -> np.ndarray:
        found = np.full((*values.shape[:-1], levels.size), np.nan)
        known = ~np.isnan(values).any(axis=-1)
        if known.any():
            found[known] = np.stack([horizon(values[known], float(level)) for level in levels], axis=-1)
        return found

    found: xr.DataArray = xr.apply_ufunc(
        each, curves, input_core_dims=[["lag"]], output_core_dims=[["level"]]
    )
    return found.assign_coords(level=levels)


def fit_level(data: xr.Dataset) -> xr.Dataset:
    """Return the one level that fits training best, and the horizons it predicts.

    `level_fitted` has the least mean square of log(learned / horizon) over all networks that learned a delay;
    `predicted_fitted` (span, seed) is the horizon at it, `predicted_left_out` (span, seed) that at the level
    fitted likewise to all other spans. NaN where there is nothing to fit to.
    """
    reach = horizons_at(data.predicted_curve, LEVELS)
    learned = data.learned.where(data.learned > 0.0)
    # a curve that never falls below a level predicts nothing at it
    cost = np.log(learned / reach.where(np.isfinite(reach))) ** 2
    cost = cost.where(np.isfinite(reach) | learned.isnull() | reach.isnull(), np.inf)

    def best(cells: xr.DataArray) -> float:
        known = cells.stack(cell=("span", "seed")).dropna("cell", how="all")
        return float(known.mean("cell", skipna=False).idxmin("level")) if known.cell.size else np.nan

    def at(level: float, cells: xr.DataArray) -> xr.DataArray:
        return cells.sel(level=level, drop=True) if np.isfinite(level) else cells.isel(level=0) * np.nan

    level = best(cost)
    others = [
        at(best(cost.drop_sel(span=span)), reach.sel(span=span)).drop_vars(("level",), errors="ignore")
        for span in data.span.values
    ]
    fitted = at(level, reach).drop_vars("level", errors="ignore")
    steps = {"units": "steps"}
    return xr.Dataset(
        {
            "level_fitted": ((), level, {"units": "1"}),
            "predicted_fitted": fitted.assign_attrs(steps),
            "predicted_left_out": xr.concat(others, dim="span").assign_attrs(steps),
        }
    )


def agreement(data: xr.Dataset) -> Agreement:
    """Return how far prediction and training agree; NaN where too few networks learned a delay."""
    learned = data.learned.where(data.learned > 0.0)
    ratio = learned / data.predicted
    known = ratio.notnull()
    near = known & (ratio <= FACTOR) & (ratio >= 1.0 / FACTOR)
    missed = np.exp(abs(np.log(learned / data.predicted_left_out)))
    reached, foreseen = (np.log(part.where(known)) for part in (learned, data.predicted))
    apart = [(part - part.mean("seed")).values.ravel() for part in (reached, foreseen)]
    return Agreement(
        ratio=float(ratio.median()),
        within=int(near.sum()),
        networks=int(known.sum()),
        rank=_correlation(reached.values.ravel(), foreseen.values.ravel(), ranks=True),
        within_spans=_correlation(*apart, ranks=False),
        level=float(data.level_fitted),
        left_out=float(missed.median()),
    )


def _correlation(one: np.ndarray, other: np.ndarray, *, ranks: bool) -> float:
    """Return the correlation of what is known of both; NaN for fewer than three, or values all the same."""
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    if both.sum() < 3 or min(np.ptp(one), np.ptp(other)) < ALIKE:
        return float("nan")
    return float(spearmanr(one, other).statistic if ranks else np.corrcoef(one, other)[0, 1])


def beyond_vanilla(data: xr.Dataset, span: int) -> int | None:
    """Return the shortest delay that this span learns with every seed and vanilla was tried on, with none."""
    if 1 not in data.span.values:
        return None
    good = data.accuracy > float(data.attrs["threshold"])
    tried = data.accuracy.sel(span=1).notnull().all("seed")
    fails = tried & ~good.sel(span=1).any("seed")
    delays = data.delay.where(fails & good.sel(span=span).all("seed"), drop=True).values
    return int(delays[0]) if delays.size else None


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts under the options it was made with; other claims are not made."""
    config = json.loads(str(data.attrs["config"]))
    few = {"seeds", "spans", "longest"}
    given = {key: value for key, value in config.items() if key not in few}
    usual = {
        "decay": 0.5, "hidden": 64, "samples": 8, "classes": 4, "noise": 0.05, "examples": 1000,
        "epochs": 15, "batch": 50, "lr": 3e-3,
    }  # fmt: skip
    enough = config["seeds"] >= ENOUGH_SEEDS and len(config["spans"]) > 3
    found = [*_against_vanilla(data), *_ordered(data)]
    return [*found, *(_agreeing(data) if given == usual and enough else ())]


def _against_vanilla(data: xr.Dataset) -> Iterator[Claim]:
    """Claim that a skip learns what vanilla does not."""
    wide = [int(span) for span in data.span.values if span > 1]
    if 1 not in data.span.values or not wide:
        return
    met = {span: beyond_vanilla(data, span) for span in wide}
    able = {span: delay for span, delay in met.items() if delay is not None}
    delay = min(able.values(), default=None)
    spans = ", ".join(str(span) for span, found in able.items() if found == delay)
    where = f"{delay} steps (λ = {spans})" if able else "some delay"
    yield Claim(f"vanilla fails with every seed where a skip succeeds with every: at {where}", bool(able))


def _ordered(data: xr.Dataset) -> Iterator[Claim]:
    """Claim that a wider span learns longer delays, in the median over seeds, strictly."""
    spans = [int(span) for span in data.span.values]
    if len(spans) > 1:
        middle = data.learned.median("seed")
        pairs = [bool(middle.sel(span=wide) > middle.sel(span=narrow)) for narrow, wide in pairwise(spans)]
        listed = ", ".join(map(str, spans))
        yield Claim(f"the wider the span, the longer the delay learned, strictly: λ = {listed}", all(pairs))


def _agreeing(data: xr.Dataset) -> Iterator[Claim]:
    """Claim what was found under the usual options: that the horizon is what can be learned."""
    found = agreement(data)
    middle = (data.learned / data.predicted).median("seed")
    near = bool(((middle <= FACTOR) & (middle >= 1.0 / FACTOR)).all())
    yield Claim("the median network of every span learns what is predicted, within a factor of 2", near)
    yield Claim(f"rank correlation of predicted and learned, over all networks, is {RANK:g} or more",
                bool(found.rank >= RANK))  # fmt: skip


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return all trainings as tidy rows: span, delay, seed, accuracies, and what is said of their network."""
    trained = data[["accuracy", "validation_accuracy"]]
    names = ["learned", "predicted", "predicted_fitted", "predicted_left_out", "jacobian", "firing_rate",
             "window"]  # fmt: skip
    rows = trained.to_dataframe(dim_order=["span", "delay", "seed"]).reset_index().dropna(subset="accuracy")
    networks = data[names].to_dataframe(dim_order=["span", "seed"])[names].reset_index()
    return rows.merge(networks, on=["span", "seed"], how="left")


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: longest delay learned (median, least, greatest), horizons, their ratio."""
    parts = {
        "learned": data.learned.median("seed"),
        "learned_low": data.learned.min("seed"),
        "learned_high": data.learned.max("seed"),
        "predicted": data.predicted.median("seed"),
        "predicted_low": data.predicted.min("seed"),
        "predicted_high": data.predicted.max("seed"),
        "jacobian": data.jacobian.median("seed"),
        "learned_per_predicted": (data.learned / data.predicted).median("seed"),
        "left_out": data.predicted_left_out.median("seed"),
        "learned_per_span": (data.learned / data.span).median("seed"),
        "firing_rate": data.firing_rate.mean("seed"),
        "window": data.window.mean("seed"),
    }
    return xr.Dataset(parts).to_dataframe().reset_index()
