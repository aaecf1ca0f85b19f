"""Figure gradient-over-training: how fast the Jacobian product decays while the network learns.

Axes: task recurrence seed epoch layer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import NullLocator

from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.figures.trained import (
    FULL,
    QUICK,
    TrainedConfig,
    digits_of,
    measured,
    name_curves,
    seed_band,
    spoken,
    trained,
)
from gradflow.plots import rates_over_epochs, style

CAPTION = (
    "How fast the gradient vanishes along time while the network learns: rate of decay of the Jacobian "
    "product of each layer, measured after each epoch on sequences of the training split, the weights "
    "being those of training (soft spans for ASRC). Lines: mean over networks; bands: from the fastest to "
    "the slowest. Epoch 0 is the network as initialised."
)
ROOM = 1.62
"""Width of the last panel over that of its curves: their names stand beside them."""
LINEAR, TICKS = 0.01, (-1.0, -0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0)
"""The axis is logarithmic beyond the first; a rate may also become 0 or more."""


def compute(config: TrainedConfig, progress: Progress = silent) -> xr.Dataset:
    """Train the networks and return the rates of their layers; see `trained`."""
    return trained(config, "gradient-over-training", progress)


def draw(data: xr.Dataset) -> Picture:
    """Draw a row for each task and a panel for each layer."""
    shown = data.assign_coords(recurrence=spoken(data.recurrence))
    with style():
        rows, columns = data.sizes["task"], data.sizes["layer"]
        picture = Picture(figsize=(1.8 + 2.0 * columns, 0.6 + 2.5 * rows))
        panels = picture.subplots(
            rows, columns, squeeze=False, sharey="row", width_ratios=[1.0] * (columns - 1) + [ROOM]
        )
        ends = _ends(measured(data.rate))
        for row, task in zip(panels, data.task.values, strict=True):
            for layer, ax in enumerate(row):
                band = seed_band(measured(shown.rate).sel(task=task, layer=layer, drop=True))
                names = {"centre": "rate", "low": "rate_low", "high": "rate_high"}
                artists = rates_over_epochs(band.rename(names), ax=ax, label="{value}")
                ax.set_title(f"{task}, layer {layer}", fontsize=9)
                ax.set_yscale("symlog", linthresh=LINEAR, linscale=0.4)
                ax.set_yticks(TICKS, [f"−{-tick:g}" if tick else "0" for tick in TICKS])
                ax.yaxis.set_minor_locator(NullLocator())
                ax.set_xlim(left=0.0)
                ax.set_ylim(*ends)
                if layer:
                    ax.set_ylabel("")
                if ax not in panels[-1]:
                    ax.set_xlabel("")
                if layer == columns - 1:
                    name_curves(ax, artists.curves, width=ROOM, room=0.02)
        picture.suptitle(f"Decay of the gradient while learning: {digits_of(data)}")
    return picture


def _ends(rates: xr.DataArray) -> tuple[float, float]:
    """Return where the axis of rates ends."""
    low, high = float(rates.min()), float(rates.max())
    return 1.2 * low if low < 0.0 else -LINEAR, 0.7 * high if high < -LINEAR else max(1.2 * high, LINEAR)


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts of the fixed spans as initialised: the wider, the slower the decay."""
    rate = measured(data.rate).isel(epoch=0).mean("seed")
    fixed = [word for word in data.recurrence.values if not str(word).startswith("asrc")]
    steps = rate.sel(recurrence=fixed).diff("recurrence")
    found = [
        Claim(
            "every layer's gradient vanishes before training: all rates are negative", bool((rate < 0).all())
        )
    ]
    if len(fixed) > 1:
        found.append(
            Claim(
                "before training: the wider the span, the slower the decay, in every layer",
                bool((steps > 0).all()),
            )
        )
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task, recurrence, seed, layer and epoch: the rate, its interval."""
    names = ["rate", "rate_low", "rate_high"]
    rows = data[names].to_dataframe().reset_index().dropna(subset=["rate"])
    return rows[["task", "recurrence", "seed", "layer", "epoch", *names]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task, recurrence and layer: the rate before training, after it, their ratio."""
    rate = measured(data.rate).mean("seed")
    rows = xr.Dataset({"before": rate.isel(epoch=0, drop=True), "after": rate.isel(epoch=-1, drop=True)})
    rows["after / before"] = rows.after / rows.before.where(rows.before != 0.0, np.nan)
    frame = rows.to_dataframe().reset_index()
    return frame[["task", "recurrence", "layer", "before", "after", "after / before"]]


FIGURE = FigureSpec(
    name="gradient-over-training",
    title="Rate of decay of every layer over epochs",
    caption=CAPTION,
    config=TrainedConfig,
    quick=QUICK,
    full=FULL,
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
