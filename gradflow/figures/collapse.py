"""Figure collapse: decay curves of several spans fall on one another when the lag is measured in spans.

Axes: decay span seed sample lag.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.analysis import curve_band, fit_decay
from gradflow.figures.cells import DecaysConfig, blas_threads, network, over_seeds, settings, task_of
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.plots import collapsed_curves, name_ends, span_rates, style
from gradflow.plots.curves import LOG10

CAPTION = (
    "Time measured in spans. Above: envelope of the Frobenius norm of the Jacobian product ∂u[T]/∂u[t], "
    "relative to lag 0, against the lag divided by the span λ; median over networks and samples. Left, in "
    "the recurrent regime, the curves nearly agree, and those of wide spans fall on one another: what "
    "counts is the number of hops, (T − t)/λ. Right, at a larger α, they do not: where the span is narrow "
    "the neuron path, which knows no span, carries the gradient. Below: −λ · rate, the decay per span, with "
    "its 95 % interval over networks; dotted, that of the neuron path alone, −λ log α. The slower path "
    "wins: points lie on the dotted line or under it, and level off where the recurrent path takes over."
)
COLLAPSE = 1.5
"""Ratio of λ · rate up to which spans count as alike."""
CLOSE = 1.25
"""Ratio of the log-norms, half-way along, up to which curves fall on one another."""
WIDE = 4
"""Spans from which they do; a narrower one has routes that mix neuron steps and hops at every lag."""
NEURON_PATH = 0.05
"""A rate this close to log α, relatively, is the neuron path's."""


class CollapseConfig(DecaysConfig):
    """Options of the figure; the defaults draw the picture of the book. A panel for each decay."""

    spans: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    decay: tuple[float, ...] = Field(default=(0.5, 0.9))
    samples: int = Field(default=1, ge=1)
    seeds: int = Field(default=6, ge=1)


def compute(config: CollapseConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure the decay curve of every decay, span and seed on the same digits.

    Returns:
        A Dataset over decay, span and lag: `relative`, the envelope of the median log-norm less its value at
        lag 0, in nats; `lag_in_spans`; and λ times the rate, its interval, and the neuron path's log α.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)
    total, done = len(config.decay) * len(config.spans) * config.seeds, 0
    rows = []
    with blas_threads(config):
        for decay in config.decay:
            cells = []
            for span in config.spans:
                parts = []
                for seed in range(config.seeds):
                    progress(done, total, f"α = {decay:g}, span {span}, seed {seed}")
                    net = network(config, task, span=span, decay=decay, seed=seed)
                    batch = task.sample(config.samples, seed=seed)
                    found = jacobian_products(net, batch, norms=("frobenius",))
                    parts.append(found.isel(layer=0, drop=True))
                    done += 1
                cells.append(curve_of(over_seeds(parts), span, decay))
            rows.append(xr.concat(cells, dim="span", combine_attrs="drop_conflicts"))
    progress(total, total, "fit")
    data = xr.concat(rows, dim="decay", combine_attrs="drop_conflicts")
    data = data.assign_coords(decay=list(config.decay), span=list(config.spans))
    data.span.attrs = {"long_name": "span λ", "units": "steps"}
    data["lag_in_spans"] = (data.lag / data.span).transpose("span", "lag").assign_attrs(units="spans")
    decays = ",".join(f"{decay:g}" for decay in config.decay)
    told = {"kind": "figure collapse", "figure": "collapse", "loss_placement": "none", "decay": decays}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def curve_of(products: xr.Dataset, span: int, decay: float) -> xr.Dataset:
    """Return the envelope relative to lag 0 and λ times the rate, of one cell over seeds and samples."""
    fit, above = fit_decay(products), curve_band(products).envelope
    rates = {name: fit[name] * span for name in ("rate", "rate_low", "rate_high")}
    found = xr.Dataset(
        {
            "relative": (above - above.sel(lag=0)).assign_attrs(units="nats"),
            **{f"span_{name}": value.assign_attrs(units="nats per span") for name, value in rates.items()},
            "span_neuron_rate": ((), span * np.log(decay), {"units": "nats per span"}),
        },
        attrs=fit.attrs,
    )
    return found.reset_coords(drop=True)


def shared_lag(data: xr.Dataset) -> float:
    """Return the lag in spans that the curves of all spans reach, but for the last tooth of the widest."""
    return max(float(data.lag[-1]) / float(data.span[-1]) - 1.0, 1.0)


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel of curves for each decay, and λ · rate below; everything is read from `data`."""
    config = json.loads(str(data.attrs["config"]))
    decays, end = [float(decay) for decay in data.decay.values], shared_lag(data)
    with style():
        picture = Picture(figsize=(6.4, 6.0))
        grid = picture.add_gridspec(2, len(decays), height_ratios=(1.25, 1.0))
        first = None
        for place, decay in enumerate(decays):
            ax = first = picture.add_subplot(grid[0, place], sharey=first)
            shown = data.sel(decay=decay)
            artists = collapsed_curves(shown.where(shown.lag_in_spans <= end), ax=ax)
            ax.set_title(f"α = {decay:g}")
            ax.set_xlim(0.0, end)
            if place:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
        ax.legend(handles=list(artists.curves.values()), loc="lower left", ncols=2)
        below = picture.add_subplot(grid[1, :])
        points = span_rates(data, ax=below)
        highest = float((-data.span_rate_low).max())
        below.set_ylim(0.0, 1.25 * highest)
        below.set_xlim(float(data.span[0]) * 0.85, float(data.span[-1]) * 1.45)
        name_ends(below, points.curves, room=0.08)
        words = below.plot([], [], color="0.3", linestyle=":", label="neuron path alone")
        below.legend(handles=words, loc="lower right")
        picture.suptitle(f"Time in spans: {config['task']}, one layer of {config['hidden']}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: who collapses, and that the slower path wins."""
    spans, end = ", ".join(map(str, data.span.values)), shared_lag(data)
    found = []
    for decay in data.decay.values:
        one, word = data.sel(decay=decay), f"α = {decay:g}"
        alone = abs(one.span_rate / one.span_neuron_rate - 1.0) <= NEURON_PATH
        spread = float(one.span_rate.min() / one.span_rate.max())
        if bool(alone.any()):
            found.append(
                Claim(f"{word}: λ · rate differs by more than a factor of {COLLAPSE}", spread > COLLAPSE)
            )
        else:
            text = f"{word}: λ · rate of λ = {spans} agrees within a factor of {COLLAPSE}"
            found.append(Claim(text, spread <= COLLAPSE))
            wide = [span for span in data.span.values if span >= WIDE]
            heights = [float(one.relative.sel(span=span, lag=int(0.5 * end * span))) for span in wide]
            if len(wide) > 1:
                text = f"{word}: curves of λ ≥ {WIDE} fall on one another, within a factor of {CLOSE}"
                found.append(Claim(text, min(heights) >= CLOSE * max(heights)))
        slow = bool((one.span_rate >= (1.0 + NEURON_PATH) * one.span_neuron_rate).all())
        found.append(Claim(f"{word}: no span decays faster than the neuron path alone", slow))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return the curves drawn as tidy rows: decay, span, lag, lag in spans, and powers of ten."""
    rows = (data.relative * LOG10).rename("log10_relative").to_dataset()
    rows["lag_in_spans"] = data.lag_in_spans
    frame = rows.to_dataframe(dim_order=["decay", "span", "lag"]).reset_index()
    drawn: pd.DataFrame = frame[frame.lag_in_spans <= shared_lag(data)].reset_index(drop=True)
    return drawn


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per decay and span: λ · rate with its interval, and that of the neuron path."""
    names = ["span_rate", "span_rate_low", "span_rate_high", "span_neuron_rate"]
    return data[names].to_dataframe(dim_order=["decay", "span"]).reset_index()


FIGURE = FigureSpec(
    name="collapse",
    title="Decay curves against the lag in spans, and the decay per span",
    caption=CAPTION,
    config=CollapseConfig,
    quick={"seeds": 4},
    full={"samples": 4, "seeds": 20},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
