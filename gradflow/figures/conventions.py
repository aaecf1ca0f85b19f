"""Figure conventions: how the decay rate changes with surrogate, α and reset, everything else being equal.

Axes: span variant seed. A rate is in nats per step; negative is decay.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.analysis import fit_decay
from gradflow.figures.cells import (
    CellConfig,
    along_spans,
    blas_threads,
    over_seeds,
    recurrence_of,
    settings,
    task_of,
)
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF, Reset
from gradflow.plots import dot_rows, style
from gradflow.surrogate import ArcTangent, Exponential, MultiGaussian, Rectangle, Sigmoid

CAPTION = (
    "The same network under other conventions. Fitted rate of decay of ‖∂u[T]/∂u[t]‖ times the span λ, for "
    "a vanilla layer and a skip; every row changes one thing of the first: the surrogate derivative, the "
    "decay α of the potential, what a spike does to it (soft: θ is subtracted; hard: it is set to 0), or "
    "whether the gradient passes through the reset (attached) or not (detached). Dots: mean over networks, "
    "with its 95 % interval; dotted: the first row. The same weights and sequences in all rows."
)
BASE = "triangle, α = 0.5, soft, attached"
VARIANTS: dict[str, LIF] = {
    BASE: LIF(),
    "rectangle": LIF(surrogate=Rectangle()),
    "exponential": LIF(surrogate=Exponential()),
    "multi-Gaussian": LIF(surrogate=MultiGaussian()),
    "sigmoid": LIF(surrogate=Sigmoid()),
    "arc tangent": LIF(surrogate=ArcTangent()),
    "α = 0.3": LIF(decay=0.3),
    "α = 0.7": LIF(decay=0.7),
    "α = 0.9": LIF(decay=0.9),
    "soft, detached": LIF(detach_reset=True),
    "hard, attached": LIF(reset=Reset.HARD),
    "hard, detached": LIF(reset=Reset.HARD, detach_reset=True),
}
"""Neurons in their defaults but for what the name says."""


class ConventionsConfig(CellConfig):
    """Options of the figure; the defaults draw the picture of the book."""

    spans: tuple[int, ...] = (1, 16)
    samples: int = Field(default=1, ge=1)
    seeds: int = Field(default=4, ge=1)


def compute(config: ConventionsConfig, progress: Progress = silent) -> xr.Dataset:
    """Fit the rate of every span, variant and seed on the same digits.

    Returns:
        A Dataset over span and variant: `value`, λ times the rate, and its 95 % interval `low` and `high`, in
        nats per span.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)
    total, done, cells = len(config.spans) * len(VARIANTS) * config.seeds, 0, []
    with blas_threads(config):
        for span in config.spans:
            row = []
            for name, neuron in VARIANTS.items():
                parts = []
                for seed in range(config.seeds):
                    progress(done, total, f"span {span}, {name}, seed {seed}")
                    net = RecurrentSNN(
                        task,
                        hidden=config.hidden,
                        recurrence=recurrence_of(span),
                        neuron=neuron,
                        seed=seed,
                    )
                    batch = task.sample(config.samples, seed=seed)
                    found = jacobian_products(net, batch, norms=("frobenius",))
                    parts.append(found.isel(layer=0, drop=True))
                    done += 1
                fit = fit_decay(over_seeds(parts))
                rates = {"value": fit.rate, "low": fit.rate_low, "high": fit.rate_high}
                scaled = {
                    key: (value * span).assign_attrs(units="nats per span") for key, value in rates.items()
                }
                row.append(xr.Dataset(scaled, attrs=fit.attrs).reset_coords(drop=True))
            cells.append(xr.concat(row, dim="variant", combine_attrs="drop_conflicts"))
    progress(total, total, "fit")
    data = along_spans(cells, config).assign_coords(variant=list(VARIANTS))
    told = {"kind": "figure conventions", "figure": "conventions", "loss_placement": "none"}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def draw(data: xr.Dataset) -> Picture:
    """Draw one row for each variant; everything is read from `data`."""
    config = json.loads(str(data.attrs["config"]))
    with style():
        picture = Picture(figsize=(6.4, 4.6))
        ax = picture.subplots()
        artists = dot_rows(data, ax=ax)
        for line, base in zip(artists.dots.values(), data.value.sel(variant=BASE).values, strict=True):
            ax.axvline(float(base), color=line.get_color(), linestyle=":", linewidth=1.0)
        ax.set_xlabel(r"$\lambda\,\cdot$ rate  (nats per span)")
        ax.legend(loc="best")
        where = f"{config['task']}, one layer of {config['hidden']}"
        picture.suptitle(f"Decay under other conventions: {where}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: detaching the reset slows the decay most, and α = 0.9 decides alone."""
    found = []
    for span in data.span.values:
        rate = data.value.sel(span=span)
        soft = float(rate.sel(variant="soft, detached") / rate.sel(variant=BASE))
        hard = float(rate.sel(variant="hard, detached") / rate.sel(variant="hard, attached"))
        text = f"λ = {span}: detached, a soft reset decays at less than half the rate, a hard one slower too"
        found.append(Claim(text, soft < 0.5 and hard < 1.0))
    if 1 in data.span.values:
        alone = abs(float(data.value.sel(span=1, variant="α = 0.9")) / float(np.log(0.9)) - 1.0)
        found.append(Claim("λ = 1, α = 0.9: the rate is log α, the neuron path's, within 5 %", alone <= 0.05))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: span, variant, λ · rate and its interval."""
    named = data.rename(value="span_rate", low="span_rate_low", high="span_rate_high")
    frame: pd.DataFrame = named.to_dataframe(dim_order=["span", "variant"]).reset_index()
    return frame


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return the rows that are drawn."""
    return table(data)


FIGURE = FigureSpec(
    name="conventions",
    title="The decay rate under other surrogates, decays and resets",
    caption=CAPTION,
    config=ConventionsConfig,
    quick={"seeds": 3, "pool": 2},
    full={"samples": 4, "seeds": 10},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
