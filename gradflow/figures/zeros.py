"""Figure zeros: elements of the product that are 0 by structure or lost to a number format, and the windows.

Axes: span format lag time.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.analysis import zero_summary
from gradflow.analysis.zeros import ALL
from gradflow.figures.cells import CellConfig, by_span, network, over_seeds, settings, task_of
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.plots import format_shares, style
from gradflow.plots.lines import curves, line
from gradflow.plots.records import TIME_LABEL
from gradflow.recording import Keep, record

CAPTION = (
    "Two kinds of zero, and where they come from. Above: the share of the elements of the Jacobian product "
    "∂u[T]/∂u[t] that are 0 against the lag T − t, T the last step; left vanilla, right a skip. Grey area: "
    "zero by structure, where no path connects two neurons. Lines: zero in a number format, by structure or "
    "because the element, computed exactly, rounds to 0 there: at most half of the smallest number of "
    "float16, bfloat16 and float32. Where a line reaches 100 %, backpropagation of a gradient of 1 in that "
    "format returns nothing. The teeth of a skip are the steps that no hop reaches: between multiples of λ "
    "the neuron path alone is left. Below: the share of neurons inside the surrogate's window, outside of "
    "which φ = 0 and no hop leaves, against time. Means over networks and samples."
)
FORMATS = ("float16", "bfloat16", "float32")
"""Of which float16 has the largest least number, 6·10⁻⁸; bfloat16's is 9·10⁻⁴¹, and float32's 1.4·10⁻⁴⁵."""


class ZerosConfig(CellConfig):
    """Options of the figure; the defaults draw the picture of the book."""

    spans: tuple[int, ...] = (1, 16)
    decay: float = Field(default=0.5, gt=0.0, le=1.0)
    samples: int = Field(default=2, ge=1)
    seeds: int = Field(default=6, ge=1)


def compute(config: ZerosConfig, progress: Progress = silent) -> xr.Dataset:
    """Count the zeros of every span's products, and the neurons in their window, on the same digits.

    Returns:
        A Dataset over span: `structural` (lag) and `zero` (format, lag), shares of elements, `lag_all`
        (format), the median lag from which all of a sample's are 0 (NaN: never), and `window` (time).

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)

    def measure(span: int, seed: int) -> tuple[xr.Dataset, xr.DataArray]:
        net = network(config, task, span=span, decay=config.decay, seed=seed)
        batch = task.sample(config.samples, seed=seed)
        window = record(net, batch, keep=Keep.ACTIVITY).window.isel(layer=0).mean("sample")
        return jacobian_products(net, batch, norms=("frobenius",)), window

    def gather(parts: list[tuple[xr.Dataset, xr.DataArray]]) -> xr.Dataset:
        products, windows = zip(*parts, strict=True)
        return shares(over_seeds(list(products)), xr.concat(windows, dim="seed"))

    data = by_span(config, measure, lambda parts, _: gather(parts), progress, "mean")
    told = {"kind": "figure zeros", "figure": "zeros", "loss_placement": "none"}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def shares(products: xr.Dataset, windows: xr.DataArray) -> xr.Dataset:
    """Return the shares of zeros and of neurons in their window, over seeds and samples."""
    found = zero_summary(products).isel(layer=0)
    structural = found.share_structural.mean("seed")
    formats = xr.Coordinates({"format": list(FORMATS)})
    lost = xr.concat([found[f"share_{name}"].mean("seed") for name in FORMATS], dim="format")
    lags = xr.concat([found[f"lag_{name}_samples"] for name in FORMATS], dim="format")
    # a zero that never comes is later than all others: the median of most that never come is never
    middle = lags.fillna(np.inf).median(("seed", "sample"))
    data = xr.Dataset(
        {
            "structural": structural.assign_attrs(units="1"),
            "zero": (structural + lost).transpose("format", "lag").assign_attrs(units="1"),
            "lag_all": middle.where(np.isfinite(middle)).assign_attrs(units="steps"),
            "window": windows.mean("seed").assign_attrs(units="1"),
        },
        attrs=products.attrs,
    )
    return data.reset_coords(drop=True).assign_coords(formats)


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel of zeros for each span, and the windows below; everything is read from `data`."""
    config = json.loads(str(data.attrs["config"]))
    spans = [int(span) for span in data.span.values]
    with style():
        picture = Picture(figsize=(6.4, 5.6))
        grid = picture.add_gridspec(2, len(spans), height_ratios=(1.8, 1.0))
        first = None
        for place, span in enumerate(spans):
            ax = first = picture.add_subplot(grid[0, place], sharey=first)
            format_shares(data.sel(span=span)[["structural", "zero"]], ax=ax)
            ax.set_title("vanilla, λ = 1" if span == 1 else f"skip, λ = {span}")
            ax.set_xlim(0.0, float(data.lag[-1]))
            if place:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            else:
                ax.legend(loc="center right", bbox_to_anchor=(1.0, 0.65))
        below = picture.add_subplot(grid[1, :])
        for curve in curves(data[["window"]], "time", "λ = {value}", "window"):
            line(below, curve, curve.data.window * 100.0, "time", linewidth=0.8)
        below.set(xlabel=TIME_LABEL, ylabel="neurons in the window  (%)")
        below.set_xlim(0.0, float(data.time[-1]))
        below.set_ylim(bottom=0.0)
        below.legend(loc="lower right", ncols=len(spans))
        where = f"{config['task']}, one layer of {config['hidden']}, α = {config['decay']:g}"
        picture.suptitle(f"Zeros of the Jacobian product: {where}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: what each format loses, and that a skip keeps it longer."""
    reach = data.lag_all.fillna(np.inf)
    order = reach.transpose("span", "format").values
    ordered = bool((order[:, :-1] <= order[:, 1:]).all())
    alive = bool((data.structural < ALL).all()) and bool((data.window.mean("time") > 0.0).all())
    found = [
        Claim("float16 returns nothing first, then bfloat16, then float32", ordered),
        Claim("structure alone never empties the product, nor all windows", alive),
    ]
    config = json.loads(str(data.attrs["config"]))
    spans = config["spans"]
    if len(spans) > 1:
        half = reach.sel(format="float16").values
        later = bool((half[1:] > half[:-1]).all())
        found.append(Claim("the wider the span, the later float16 returns nothing", later))
    if spans[0] == 1 and config["decay"] == 0.5 and int(data.lag[-1]) > 700:
        lost = bool(np.isfinite(reach.sel(span=1)).all())
        found.append(Claim("vanilla: every format returns nothing before the sequence is over", lost))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return the shares drawn as tidy rows: span, lag, by structure and in each format."""
    rows = data[["structural"]]
    for name in data.format.values:
        rows[f"zero_{name}"] = data.zero.sel(format=name, drop=True)
    return rows.to_dataframe(dim_order=["span", "lag"]).reset_index()


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: the lag from which each format returns nothing, and the mean window."""
    lags = {f"{name}_zero_lag": data.lag_all.sel(format=name).values for name in data.format.values}
    window = data.window.mean("time").values
    return pd.DataFrame({"span": data.span.values, **lags, "mean_window": window})


FIGURE = FigureSpec(
    name="zeros",
    title="Zeros of the Jacobian product, by structure and by underflow, and window occupancy",
    caption=CAPTION,
    config=ZerosConfig,
    quick={"samples": 1, "seeds": 3},
    full={"samples": 8, "seeds": 20},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
