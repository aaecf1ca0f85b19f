"""Figure softmax-kernel: how adaptive networks weigh their spans while they learn, and what they choose.

Axes: task seed epoch layer tap.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.figures.trained import FULL, QUICK, TrainedConfig, adaptive_word, digits_of, spoken, trained
from gradflow.plots import style
from gradflow.plots.learning import kernel_over_epochs

CAPTION = (
    "How ASRC networks choose their spans. Grey: the weights p = softmax(c/τ) of the spans of each layer "
    "after each epoch, mean over networks; the darker, the heavier (√p, from 0 to 1). Lines: the span "
    "argmax c that evaluation reads, a line a network. All weights are equal at the start; the "
    "temperature τ falls with every epoch, and the softmax hardens."
)
SUM_TOLERANCE = 1e-5
"""Of float32 weights that add up to 1."""


class KernelConfig(TrainedConfig):
    """Options of the figure: those of every figure of learning, with adaptive networks among them."""

    max_span: int = Field(default=16, ge=1)


def compute(config: KernelConfig, progress: Progress = silent) -> xr.Dataset:
    """Train the networks and return the weights and spans of the adaptive ones; see `trained`."""
    data = trained(config, "softmax-kernel", progress)
    return data.sel(recurrence=[adaptive_word(data)])


def draw(data: xr.Dataset) -> Picture:
    """Draw a row for each task and a panel for each layer."""
    word = str(data.recurrence.values[0])
    with style():
        rows, columns = data.sizes["task"], data.sizes["layer"]
        picture = Picture(figsize=(1.2 + 2.1 * columns, 0.9 + 2.2 * rows))
        panels = picture.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for row, task in zip(panels, data.task.values, strict=True):
            for layer, ax in enumerate(row):
                _panel(ax, data.isel(recurrence=0, layer=layer).sel(task=task), first=layer == 0)
                ax.set_title(f"{task}, layer {layer}", fontsize=9)
                if ax not in panels[-1]:
                    ax.set_xlabel("")
        handles, names = panels[0, 0].get_legend_handles_labels()
        picture.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=min(len(names), 5),
            title="span that evaluation reads",
        )
        picture.suptitle(f"Weights of the spans, {spoken([word])[0]}: {digits_of(data)}")
    return picture


def _panel(ax: Axes, data: xr.Dataset, *, first: bool) -> None:
    seen = data.p.notnull().all(["seed", "tap"])
    shown = xr.Dataset({"p": data.p.mean("seed"), "spans": data.spans}).sel(epoch=data.epoch[seen])
    kernel_over_epochs(shown, ax=ax)
    if not first:
        ax.set_ylabel("")


def entropy(data: xr.Dataset) -> xr.DataArray:
    """Return exp(−Σ p log p), how many spans share the weight: D at the start, 1 when it is hard."""
    logs = np.log(data.p.where(data.p > 0.0, 1.0))
    shared: xr.DataArray = np.exp(-(data.p * logs).sum("tap", skipna=False))
    return shared


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: weights that add up to 1, equal at the start, ever fewer."""
    epochs = data.p.epoch[data.p.notnull().all([dim for dim in data.p.dims if dim != "epoch"])]
    p, shared = data.p.sel(epoch=epochs), entropy(data).sel(epoch=epochs)
    sums = bool((abs(p.sum("tap") - 1.0) < SUM_TOLERANCE).all())
    even = bool((abs(p.isel(epoch=0) - 1.0 / data.sizes["tap"]) < SUM_TOLERANCE).all())
    fewer = bool((shared.isel(epoch=-1) < shared.isel(epoch=0)).all())
    return [
        Claim("the weights of each layer add up to 1 after every epoch", sums),
        Claim("all spans weigh the same before training", even),
        Claim("in every layer and network fewer spans share the weight at the end than at the start", fewer),
    ]


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task, seed, layer, epoch and span: its weight, and the span that is read."""
    rows = data[["p", "spans"]].isel(recurrence=0, drop=True).to_dataframe().reset_index()
    rows = rows.dropna(subset=["p"]).rename(columns={"tap": "span", "spans": "span_read"})
    return rows[["task", "seed", "layer", "epoch", "span", "p", "span_read"]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task and network: the spans of its tested epoch, and its accuracy."""
    one = data.isel(recurrence=0, drop=True)
    read = one.spans.sel(epoch=one.best_epoch.astype(float), drop=True)
    rows = [
        {
            "task": str(task),
            "seed": int(seed),
            "spans": " ".join(f"{span:.0f}" for span in read.sel(task=task, seed=seed).values),
            "shared_by": float(entropy(one).sel(task=task, seed=seed).dropna("epoch").isel(epoch=-1).max()),
            "test_accuracy": float(one.test_accuracy.sel(task=task, seed=seed)),
        }
        for task in one.task.values
        for seed in one.seed.values
    ]
    return pd.DataFrame(rows)


FIGURE = FigureSpec(
    name="softmax-kernel",
    title="Weights of adaptive spans over epochs, and the spans that are learned",
    caption=CAPTION,
    config=KernelConfig,
    quick=QUICK,
    full=FULL,
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
