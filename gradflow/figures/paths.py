"""Figure paths: the Jacobian product split by its recurrent hops, vanilla beside skip, and how many carry it.

Axes: span seed sample hop lag.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.analysis import curve_band
from gradflow.figures.cells import (
    CellConfig,
    by_span,
    network,
    only_layer,
    over_seeds,
    settings,
    task_of,
)
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.jacobian import path_products
from gradflow.plots import hop_counts, name_ends, path_norms, style
from gradflow.plots.curves import LOG10
from gradflow.plots.products import HOPS_DRAWN
from gradflow.transition import Transition, local_jacobians

CAPTION = (
    "What a skip is for. Above: the Jacobian product ∂u[T]/∂u[t] split by its paths, Frobenius norms "
    "against the lag T − t, T the last step; left vanilla, right a skip. Black: all paths; dotted: the "
    "neuron path, without any recurrent hop; grey, dashed: all paths with at least one hop; coloured: those "
    "of exactly k = 1, 2 … hops. Every single number of hops decays at the neuron path's rate in the end: "
    "what is left over a long lag has taken many hops. Median over networks and samples. Below: the mean "
    "number of hops, weighted by the norms of the parts (line: median; band: 10th to 90th percentile), and "
    "the most that fit into the lag, (T − t)/λ (dotted). Each hop costs a factor: with a span λ there are "
    "about λ times fewer."
)
CARRIED = np.log(100.0)
"""Nats by which the neuron path lies below the whole at the longest lag, where the hops carry the product."""
NEARLY = 0.9
"""Share of the most hops that paths of a span wide enough take, at multiples of it."""
WIDE = 8
"""Span from which neuron steps between hops cost too much at α ≤ ½: α⁸ = 0.004."""
ROUNDING = 1e-9


class PathsConfig(CellConfig):
    """Options of the figure; the defaults draw the picture of the book. `reach`: longest lag in steps."""

    spans: tuple[int, ...] = (1, 16)
    decay: float = Field(default=0.5, gt=0.0, lt=1.0)
    samples: int = Field(default=1, ge=1)
    seeds: int = Field(default=3, ge=1)
    reach: int = Field(default=96, ge=1)


def compute(config: PathsConfig, progress: Progress = silent) -> xr.Dataset:
    """Split the products of every span and seed over the last `reach` steps of the same digits.

    Returns:
        A Dataset over span, hop and lag: medians of log-norms of all paths (`whole`), of the neuron path,
        the recurrent path and of single hops, in nats; the mean number of hops, its quantiles, and the most.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)
    reach = min(config.reach, task.steps - 1)

    def measure(span: int, seed: int) -> xr.Dataset:
        net = network(config, task, span=span, decay=config.decay, seed=seed)
        run = local_jacobians(net, task.sample(config.samples, seed=seed))
        found = path_products(last_steps(run, reach + 1), max_hops=max(reach // span, HOPS_DRAWN))
        return found.isel(layer=0, drop=True).drop_dims("span")

    data = by_span(config, measure, lambda parts, span: medians(over_seeds(parts), span), progress, "median")
    told = {"kind": "figure paths", "figure": "paths", "loss_placement": "none", "end": task.steps - 1}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def last_steps(run: Transition, steps: int) -> Transition:
    """Return the last steps of a run of one layer: products that end at T need no others."""
    layer = only_layer(run)
    window = None if layer.window is None else layer.window[-steps:]
    return Transition(
        (replace(layer, a=layer.a[-steps:], phi=layer.phi[-steps:], window=window),), run.conventions
    )


def medians(parts: xr.Dataset, span: int) -> xr.Dataset:
    """Return the medians of the parts' norms and of the mean number of hops, over seeds and samples."""
    names = {"whole": "frobenius", "neuron": "neuron", "recurrent": "recurrent", "hops": "hops"}
    found = {name: curve_band(parts, variable=f"log_{log}").centre for name, log in names.items()}
    found["hops"] = found["hops"].sel(hop=slice(0, HOPS_DRAWN))
    hops = parts.mean_hops
    for name, q in (("mean_hops", 0.5), ("mean_hops_low", 0.1), ("mean_hops_high", 0.9)):
        found[name] = hops.quantile(q, ("seed", "sample")).drop_vars("quantile").assign_attrs(units="1")
    found["most_hops"] = (parts.lag / span).assign_attrs(units="1")
    return xr.Dataset(found, attrs=parts.attrs).reset_coords(drop=True)


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel of parts for each span, and the numbers of hops below; all is read from `data`."""
    config = json.loads(str(data.attrs["config"]))
    spans = [int(span) for span in data.span.values]
    last = float(data.lag[-1])
    with style():
        picture = Picture(figsize=(7.0, 6.4))
        grid = picture.add_gridspec(2, len(spans), height_ratios=(1.5, 1.0))
        first = None
        for place, span in enumerate(spans):
            ax = first = picture.add_subplot(grid[0, place], sharey=first)
            artists = path_norms(data.sel(span=span), ax=ax)
            ax.set_title("vanilla, λ = 1" if span == 1 else f"skip, λ = {span}")
            ax.set_xlim(0.0, 1.28 * last)
            names = {f"k = {hop}": line for hop, line in artists.hops.items()}
            if span < WIDE and len(names) > 1:  # they end side by side: one name for all
                names = {f"k = 1 … {len(names)}": list(names.values())[-1]}
            name_ends(ax, names, room=0.035)
            if place:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            else:
                ax.legend(loc="lower left")
        below = picture.add_subplot(grid[1, :])
        counts = hop_counts(data, ax=below, label="λ = {value}")
        below.set_xlim(0.0, 1.1 * last)
        below.set_ylim(0.0, 1.02 * float(data.most_hops.max()))
        name_ends(below, counts.curves, room=0.08)
        words = below.plot([], [], color="0.3", linestyle=":", label=r"most hops, $(T-t)\,/\,\lambda$")
        below.legend(handles=words, loc="upper left")
        where = f"{config['task']}, one layer of {config['hidden']}, α = {config['decay']:g}"
        picture.suptitle(f"The product by its recurrent hops: {where}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: who carries the product, and with how many hops."""
    config = json.loads(str(data.attrs["config"]))
    spans = [int(span) for span in data.span.values]
    counted = bool((data.mean_hops <= data.most_hops + ROUNDING).all())
    found = [Claim("no product takes more than (T − t)/λ hops", counted)]
    end = data.isel(lag=-1)
    if len(spans) > 1:
        hops = [float(end.mean_hops.sel(span=span)) for span in spans]
        text = f"the wider the span, the fewer hops over {int(end.lag)} steps"
        found.append(Claim(text, hops == sorted(hops, reverse=True)))
    if config["decay"] <= 0.5:
        carried = bool((end.whole - end.neuron >= CARRIED).all())
        text = f"the neuron path is below a hundredth of the whole at lag {int(end.lag)}"
        found.append(Claim(text, carried))
        for span in (span for span in spans if WIDE <= span <= int(end.lag)):
            teeth = data.sel(span=span, lag=np.arange(span, int(end.lag) + 1, span))
            near = bool((teeth.mean_hops >= NEARLY * teeth.most_hops).all())
            found.append(
                Claim(
                    f"λ = {span}: at multiples of λ, {100 * NEARLY:.0f} % of the hops that fit are taken",
                    near,
                )
            )
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: span, lag, powers of ten of each part, and numbers of hops."""
    parts = data[["whole", "neuron", "recurrent"]] * LOG10
    for hop in data.hop.values[1:]:
        parts[f"hops_{hop}"] = data.hops.sel(hop=hop, drop=True) * LOG10
    rows = parts.rename({name: f"log10_{name}" for name in parts})
    for name in ("mean_hops", "mean_hops_low", "mean_hops_high", "most_hops"):
        rows[name] = data[name]
    return rows.to_dataframe(dim_order=["span", "lag"]).reset_index()


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span, at the longest lag: norms in powers of ten, and numbers of hops."""
    end = data.isel(lag=-1)
    return pd.DataFrame(
        {
            "span": data.span.values,
            "lag": int(end.lag),
            "log10_whole": end.whole.values * LOG10,
            "log10_neuron": end.neuron.values * LOG10,
            "mean_hops": end.mean_hops.values,
            "most_hops": end.most_hops.values,
        }
    )


FIGURE = FigureSpec(
    name="paths",
    title="The Jacobian product split by recurrent hops, and how many hops carry it",
    caption=CAPTION,
    config=PathsConfig,
    quick={"seeds": 2, "reach": 64},
    full={"samples": 2, "seeds": 10, "reach": 160},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
    narrowest=4.5,
)
