"""Figure lag-matrix: the product's norm for all pairs of times, and how much it varies with the end T.

Axes: span end lag.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.analysis.curves import log_quantile
from gradflow.figures.cells import CellConfig, by_span, network, over_seeds, settings, task_of
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.jacobian import lag_matrix
from gradflow.plots import decay_curves, lag_map, name_ends, style
from gradflow.plots.curves import LOG10

CAPTION = (
    "Not only from the last step. Above: Frobenius norm of ∂u[T]/∂u[t] for every end time T and lag T − t "
    "of one sequence and one network; left vanilla, right a skip; grey: before the sequence begins. The "
    "columns are nearly even: how far a gradient comes depends on the lag, hardly on the time it starts "
    "from. Below: median over T, sequences and networks, band from the 10th to the 90th percentile. Norms "
    "are estimated by 16 random probes, with a standard error of at most 0.18 nats, 0.08 powers of ten."
)
PROBES = 16
EVEN = 0.25
"""Share of the fall over the longest lags by which the middle 80 % of the ends may differ."""


class LagMatrixConfig(CellConfig):
    """Options of the figure; the defaults draw the book's picture, pooled to 196 steps: the cost is T²."""

    spans: tuple[int, ...] = (1, 16)
    decay: float = Field(default=0.5, ge=0.0, le=1.0)
    pool: int = Field(default=2, ge=1)
    samples: int = Field(default=1, ge=1)
    seeds: int = Field(default=3, ge=1)


def compute(config: LagMatrixConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure all pairs of times for every span and seed on the same digits.

    Returns:
        A Dataset over span, end and lag, in nats: `one`, the log-norms of the first network and sequence; and
        `centre`, `low` and `high` (lag), their quantiles over ends, sequences and networks.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)

    def measure(span: int, seed: int) -> xr.Dataset:
        net = network(config, task, span=span, decay=config.decay, seed=seed)
        found = lag_matrix(net, task.sample(config.samples, seed=seed), probes=PROBES)
        return found.isel(layer=0, drop=True)[["log_frobenius"]]

    data = by_span(config, measure, lambda parts, _: quantiles(over_seeds(parts)), progress, "quantiles")
    told = {"kind": "figure lag-matrix", "figure": "lag-matrix", "loss_placement": "none", "probes": PROBES}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def quantiles(parts: xr.Dataset) -> xr.Dataset:
    """Return the first network's pairs, and the quantiles of all pairs of the same lag."""
    pairs = parts.log_frobenius.transpose("lag", "seed", "sample", "end")
    rows = [values[~np.isnan(values)] for values in pairs.values.reshape(pairs.sizes["lag"], -1)]
    found = {
        name: ("lag", np.array([float(log_quantile(row, q)) for row in rows]), {"units": "nats"})
        for name, q in (("centre", 0.5), ("low", 0.1), ("high", 0.9))
    }
    one = pairs.isel(seed=0, sample=0, drop=True).transpose("end", "lag").assign_attrs(units="nats")
    data = xr.Dataset({"one": one, **found}, attrs=parts.attrs)
    return data.reset_coords(drop=True)


def draw(data: xr.Dataset) -> Picture:
    """Draw a map for each span, with colours of the same meaning, and the curves below."""
    config = json.loads(str(data.attrs["config"]))
    finite = data.one.where(np.isfinite(data.one)) * LOG10
    limits = (float(finite.min()), float(finite.max()))
    with style():
        picture = Picture(figsize=(7.0, 6.0))
        grid = picture.add_gridspec(2, data.sizes["span"], height_ratios=(1.2, 1.0))
        for place, span in enumerate(data.span.values):
            ax = picture.add_subplot(grid[0, place])
            artists = lag_map(data.one.sel(span=span), ax=ax, limits=limits)
            ax.set_title("vanilla, λ = 1" if span == 1 else f"skip, λ = {span}")
            if place:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            if place < data.sizes["span"] - 1:
                artists.colourbar.remove()
        below = picture.add_subplot(grid[1, :])
        band = data[["centre", "low", "high"]].assign(envelope=data.centre)
        curves = decay_curves(band, ax=below, label="λ = {value}")
        below.set_xlim(0.0, 1.1 * float(data.lag[-1]))
        name_ends(below, curves.curves)
        steps = data.sizes["end"]
        where = f"{config['task']}, {steps} steps, one layer of {config['hidden']}, α = {config['decay']:g}"
        picture.suptitle(f"The product for all pairs of times: {where}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: the lag decides, not the time; and a skip decays more slowly."""
    half = int(data.lag[-1]) // 2
    at = data.sel(lag=half)
    found = []
    spans = [int(span) for span in data.span.values]
    if 1 in spans:
        one = at.sel(span=1)
        fall = float(data.centre.sel(span=1, lag=0) - one.centre)
        even = float(one.high - one.low) <= EVEN * fall
        found.append(
            Claim(f"vanilla: at lag {half} the ends differ by less than a quarter of the fall", even)
        )
    if len(spans) > 1:
        teeth = [
            float(data.centre.sel(span=span, lag=slice(half - half % span, None)).max()) for span in spans
        ]
        found.append(
            Claim("the wider the span, the slower the decay, whatever the end", teeth == sorted(teeth))
        )
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return the curves drawn as tidy rows: span, lag and powers of ten (the maps are in the netCDF file)."""
    rows = data[["centre", "low", "high"]] * LOG10
    named = rows.rename({"centre": "log10_median", "low": "log10_low", "high": "log10_high"})
    frame: pd.DataFrame = named.to_dataframe(dim_order=["span", "lag"]).reset_index()
    return frame


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: median and band at half the longest lag, in powers of ten."""
    half = int(data.lag[-1]) // 2
    rows = data[["centre", "low", "high"]].sel(lag=half) * LOG10
    frame: pd.DataFrame = rows.to_dataframe().reset_index()
    return frame


FIGURE = FigureSpec(
    name="lag-matrix",
    title="The Jacobian product for all pairs of times, and its variation with the end",
    caption=CAPTION,
    config=LagMatrixConfig,
    quick={"seeds": 1, "hidden": 64},
    full={"samples": 2, "seeds": 10},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
