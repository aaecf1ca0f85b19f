"""Figure gradient-map: the gradient of a loss on the last step, by layer and time, vanilla beside skip.

Axes: span layer time.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.analysis.steps import norm_band
from gradflow.figures.cells import CellConfig, by_span, over_seeds, recurrence_of, settings, task_of
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF
from gradflow.plots import FLOAT32_FLOOR, gradient_map, style
from gradflow.plots.curves import LOG10
from gradflow.readout import Readout
from gradflow.recording import Keep, record

CAPTION = (
    "Where a gradient comes to in a network of three layers. Colour: norm of ∂L/∂u[t] of each layer against "
    "time, L the cross-entropy of the last step's logits alone, so that whatever arrives early has "
    "travelled the whole way back; median over samples and networks, computed in float64. Above vanilla, "
    "below a skip in every layer, the same weights and sequences. White ticks: the first step at which the "
    "gradient is one that float32 can hold; left of them training in float32 sees exactly 0. Grey: zero in "
    "float64 too."
)

SEEN = 0.1
"""Share of the steps that float32 may miss with a wide span: the last layer's gradient is small."""


class GradientMapConfig(CellConfig):
    """Options of the figure; the defaults draw the picture of the book. `layers` of `hidden` neurons."""

    spans: tuple[int, ...] = (1, 16)
    decay: float = Field(default=0.5, ge=0.0, le=1.0)
    samples: int = Field(default=8, ge=1)
    seeds: int = Field(default=5, ge=1)
    layers: int = Field(default=3, ge=1)


def compute(config: GradientMapConfig, progress: Progress = silent) -> xr.Dataset:
    """Record the gradient of a loss on the last step for every span and seed, on the same digits.

    Returns:
        A Dataset over span, layer and time: `gradient`, the median of log ‖∂L/∂u[t]‖ in nats, and
        `first_seen` (span, layer), the first time from which it stays above float32's smallest number.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)

    def measure(span: int, seed: int) -> xr.Dataset:
        net = RecurrentSNN(
            task,
            hidden=(config.hidden,) * config.layers,
            recurrence=recurrence_of(span),
            neuron=LIF(decay=config.decay),
            seed=seed,
            dtype=torch.float64,
        )
        batch = task.sample(config.samples, seed=seed)
        return record(net, batch, keep=Keep.NORMS, loss_placement=Readout.LAST)

    data = by_span(config, measure, lambda parts, _: medians(over_seeds(parts)), progress, "median")
    data = data.assign_coords(layer=np.arange(1, config.layers + 1))
    told = {"kind": "figure gradient-map", "figure": "gradient-map"}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def medians(records: xr.Dataset) -> xr.Dataset:
    """Return the median log-norm of each layer and time, and when it rises into float32's range for good."""
    norms = norm_band(records[["grad_u"]], over=("sample", "seed")).centre.transpose("layer", "time")
    held = (norms.values * LOG10 >= FLOAT32_FLOOR)[:, ::-1]
    last = np.logical_and.accumulate(held, axis=1).sum(axis=1)
    data = xr.Dataset({"gradient": norms.assign_attrs(units="nats")}, attrs=records.attrs)
    data["first_seen"] = ("layer", norms.sizes["time"] - last, {"units": "steps"})
    return data.reset_coords(drop=True)


def draw(data: xr.Dataset) -> Picture:
    """Draw a map for each span, with colours of the same meaning; everything is read from `data`."""
    config = json.loads(str(data.attrs["config"]))
    finite = data.gradient.where(np.isfinite(data.gradient)) * LOG10
    limits = (float(finite.min()), float(finite.max()))
    with style():
        picture = Picture(figsize=(6.4, 1.6 + 1.6 * data.sizes["span"]))
        panels = picture.subplots(data.sizes["span"], 1, sharex=True, squeeze=False)[:, 0]
        for ax, span in zip(panels, data.span.values, strict=True):
            one = data.sel(span=span)
            gradient_map(one.gradient, ax=ax, limits=limits)
            for layer, first in zip(one.layer.values, one.first_seen.values, strict=True):
                if first > 0:
                    ax.vlines(first, layer - 0.5, layer + 0.5, color="white", linewidth=2.0)
            ax.set_title("vanilla, λ = 1" if span == 1 else f"skip, λ = {span}")
            ax.label_outer()
        where = f"{config['task']}, {config['layers']} layers of {config['hidden']}, α = {config['decay']:g}"
        picture.suptitle(f"Gradient of a loss on the last step: {where}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: who reaches the first step in float32, and in which order."""
    start = data.gradient.isel(time=0)
    found = []
    spans = [int(span) for span in data.span.values]
    if len(spans) > 1:
        rising = bool((start.diff("span") > 0.0).all())
        found.append(Claim("the wider the span, the more reaches the first step, in every layer", rising))
    config = json.loads(str(data.attrs["config"]))
    if 1 in spans and config["decay"] <= 0.5 and data.sizes["time"] > 700:
        lost = bool((data.first_seen.sel(span=1) > data.sizes["time"] // 2).all())
        found.append(Claim("vanilla: float32 sees nothing of the first half, in any layer", lost))
        for span in (span for span in spans if span >= 16):
            seen = bool((data.first_seen.sel(span=span) <= SEEN * data.sizes["time"]).all())
            found.append(Claim(f"λ = {span}: float32 sees nine tenths of the sequence, in every layer", seen))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return the cells drawn as tidy rows: span, layer, time and powers of ten."""
    rows = (data.gradient * LOG10).rename("log10_gradient").to_dataset()
    frame: pd.DataFrame = rows.to_dataframe(dim_order=["span", "layer", "time"]).reset_index()
    return frame


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span and layer: powers of ten at both ends, and where float32 begins to see."""
    rows = xr.Dataset(
        {
            "log10_first_step": data.gradient.isel(time=0, drop=True) * LOG10,
            "log10_last_step": data.gradient.isel(time=-1, drop=True) * LOG10,
            "float32_sees_from": data.first_seen,
        }
    )
    frame: pd.DataFrame = rows.to_dataframe(dim_order=["span", "layer"]).reset_index()
    return frame


FIGURE = FigureSpec(
    name="gradient-map",
    title="Gradient of a loss on the last step, by layer and time",
    caption=CAPTION,
    config=GradientMapConfig,
    quick={"samples": 4, "seeds": 2},
    full={"samples": 32, "seeds": 20},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
