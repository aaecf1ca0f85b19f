"""Figure training-curves: right answers in validation and loss in training, epoch by epoch.

Axes: task recurrence seed epoch.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.figures.trained import (
    CHANCE,
    FULL,
    QUICK,
    TrainedConfig,
    digits_of,
    draw_chance,
    measured,
    name_curves,
    seed_band,
    spoken,
    trained,
)
from gradflow.plots import style
from gradflow.plots.learning import learning_curves

CAPTION = (
    "What the same network learns with each recurrence, on digits read pixel by pixel. Left: right "
    "answers in validation after each epoch, evaluated with hard spans; right: mean loss in training. "
    "Lines: mean over networks that differ in their seed; bands: from the worst network to the best. "
    "Dotted: chance."
)
ROOM = 1.42
"""Width of a panel over that of its curves: their names stand beside them."""


def compute(config: TrainedConfig, progress: Progress = silent) -> xr.Dataset:
    """Train the networks and return their learning curves; see `trained`."""
    return trained(config, "training-curves", progress)


def draw(data: xr.Dataset) -> Picture:
    """Draw a row for each task: accuracy in validation, and loss in training."""
    shown = data.assign_coords(recurrence=spoken(data.recurrence))
    with style():
        picture = Picture(figsize=(7.2, 0.5 + 2.7 * data.sizes["task"]))
        panels = picture.subplots(data.sizes["task"], 2, squeeze=False)
        for row, task in zip(panels, data.task.values, strict=True):
            _accuracy(row[0], shown.sel(task=task, drop=True), str(task))
            _loss(row[1], shown.sel(task=task, drop=True), str(task))
        picture.suptitle(f"Learning with each recurrence: {digits_of(data)}")
    return picture


def _accuracy(ax: Axes, data: xr.Dataset, task: str) -> None:
    values = measured(data.validation_accuracy)
    artists = learning_curves(seed_band(values), ax=ax)
    draw_chance(ax)
    ax.set_ylim(0.0, 100.0)
    ax.set_ylabel("right answers in validation  (%)")
    ax.set_title(task)
    name_curves(ax, artists.curves, width=ROOM, room=0.075)


def _loss(ax: Axes, data: xr.Dataset, task: str) -> None:
    values = measured(data.train_loss)
    learning_curves(seed_band(values), ax=ax, scale=1.0)
    ax.set_yscale("log")
    ax.set_xlim(left=0.0)
    ax.set_ylabel("loss in training  (nats)")
    ax.set_title(task)


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts of any networks: that they learn."""
    last = data.validation_accuracy.max("epoch").mean("seed")
    best = over_chance(data)
    found = [Claim("every network has a learning curve", bool(last.notnull().all()))]
    if int(data.sizes["epoch"]) > 10:
        found.append(Claim("every recurrence learns: its best epoch is far above chance", bool(best.all())))
    return found


def over_chance(data: xr.Dataset) -> xr.DataArray:
    """Return by task and recurrence whether the worst network's best epoch exceeds twice chance."""
    above: xr.DataArray = data.validation_accuracy.max("epoch").min("seed") > 2.0 * CHANCE / 100.0
    return above


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task, recurrence, seed and epoch."""
    names = ["validation_accuracy", "validation_loss", "train_accuracy", "train_loss"]
    rows = data[names].to_dataframe().reset_index().dropna(subset=names)
    return rows[["task", "recurrence", "seed", "epoch", *names]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task and recurrence: test accuracy of its networks, mean, least and largest."""
    shares = seed_band(data.test_accuracy).rename(centre="test_accuracy", low="worst", high="best")
    shares["standard_error"] = data.test_accuracy.std("seed", ddof=1) / np.sqrt(data.sizes["seed"])
    shares["parameters"] = data.parameters.max("seed")
    rows = shares.to_dataframe().reset_index()
    return rows[["task", "recurrence", "test_accuracy", "worst", "best", "standard_error", "parameters"]]


FIGURE = FigureSpec(
    name="training-curves",
    title="Learning curves of every recurrence on sequential digits",
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
