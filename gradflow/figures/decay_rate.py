"""Figure decay-rate: the rate of decay against the span, measured, and as every rung of the theory has it.

Axes: decay span rung seed. A rate is in nats per step; negative is decay.
"""

from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

import numpy as np
import xarray as xr
from pydantic import Field

from gradflow.analysis import fit_decay, student_interval
from gradflow.figures.cells import (
    DecaysConfig,
    blas_threads,
    network,
    only_layer,
    over_seeds,
    overlapped,
    predicted,
    settings,
    task_of,
)
from gradflow.figures.decay_rate_claims import OPERATOR, TYPICAL, claims, summary, table
from gradflow.figures.decay_rate_picture import CAPTION, draw
from gradflow.figures.registry import FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.theory import bound, log_root, mean_square, typical_product, variance_propagation
from gradflow.theory.factors import acting
from gradflow.theory.regimes import measured_crossing
from gradflow.theory.typical import WINDOW, WINDOWS
from gradflow.transition import Transition, local_jacobians

WIDEST_TYPICAL = 8
"""Span up to which the typical product is computed; beyond, the operator stands for it."""
NEURON_PATH = 0.05
"""A rate this close to log α, relatively, is the neuron path's."""

Key: TypeAlias = tuple[float, int]
"""Decay and span of a cell."""


class DecayRateConfig(DecaysConfig):
    """Options of the figure; the defaults draw the picture of the book. A panel for each decay.

    One sequence a network: networks differ more than sequences do, and the moments of several together are
    those of none of them. `typical`: with the typical product, which takes longer than all the rest.
    """

    spans: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    decay: tuple[float, ...] = Field(default=(0.3, 0.5, 0.9))
    samples: int = Field(default=1, ge=1)
    typical: bool = True


def compute(config: DecayRateConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure the rate for every decay, span and seed on real digits, and predict it by every rung.

    Networks of one seed have the same weights and see the same sequences, whatever their span and decay.

    Returns:
        A Dataset over decay, span, rung and seed: measured rates with their 95 % interval over networks,
        predicted rates and their relative errors, and the span at which the two paths cross (`crossings`).

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    keys = [(decay, span) for decay in config.decay for span in config.spans]
    measured: dict[Key, list[xr.Dataset]] = {key: [] for key in keys}
    theory: dict[Key, list[xr.DataArray]] = {key: [] for key in keys}
    with blas_threads(config):
        # the operator takes as long as the products: it runs while the next network is measured
        for key, products, rates in overlapped(_measured(config, progress), partial(_with_theory, config)):
            measured[key].append(products)
            theory[key].append(rates)
    cells = [rates_of(over_seeds(measured[key]), xr.concat(theory[key], dim="seed")) for key in keys]
    data = xr.concat(cells, dim="cell", combine_attrs="drop_conflicts")
    index = xr.Coordinates(
        {
            "decay": ("cell", [decay for decay, _ in keys], {"long_name": "decay α", "units": "1"}),
            "span": ("cell", [span for _, span in keys], {"long_name": "span λ", "units": "steps"}),
        }
    )
    data = data.assign_coords(index).set_index(cell=["decay", "span"]).unstack("cell")
    data = data.assign_coords(seed=np.arange(config.seeds))
    data["neuron_path_rate"] = np.log(data.decay).assign_attrs(units="nats per step")
    data = data.merge(crossings(data))
    told = {"kind": "figure decay-rate", "figure": "decay-rate", "loss_placement": "none"}
    decays = ",".join(f"{decay:g}" for decay in config.decay)
    return data.assign_attrs({**data.attrs, **settings(config), **told, "decay": decays})


def _measured(config: DecayRateConfig, progress: Progress) -> Iterator[tuple[Key, xr.Dataset, Transition]]:
    """Measure one network after another."""
    task = task_of(config)
    cells = [
        (decay, span, seed) for decay in config.decay for span in config.spans for seed in range(config.seeds)
    ]
    for done, (decay, span, seed) in enumerate(cells):
        progress(done, len(cells), f"decay {decay:g}, span {span}, seed {seed}")
        net = network(config, task, span=span, decay=decay, seed=seed)
        found = local_jacobians(net, task.sample(config.samples, seed=seed))
        yield (decay, span), jacobian_products(found, norms=("frobenius",)), found
    progress(len(cells), len(cells), "fit")


def _with_theory(
    config: DecayRateConfig, cell: tuple[Key, xr.Dataset, Transition]
) -> tuple[Key, xr.Dataset, xr.DataArray]:
    key, products, found = cell
    rates = rungs(products, found, typical=config.typical)
    return key, products[["log_frobenius", "p"]].isel(layer=0, drop=True), rates


def rungs(products: xr.Dataset, found: Transition, *, typical: bool) -> xr.DataArray:
    """Return the rate that each rung of the ladder predicts for one network, in nats per step."""
    # a span beyond the record never acts in it
    products = products.assign(p=products.p.where(products.span <= int(products.lag[-1]), 0.0))
    rates = {
        "bound": bound(products).rate.mean(),
        "characteristic root": mean_root(found, products),
        "mean square": mean_square(products).rate.mean(),
        "variance propagation": variance_propagation(found).rate.mean(),
        OPERATOR: predicted(found).rate,
    }
    if typical:
        rates[TYPICAL] = typical_rate(found)
    return xr.DataArray([float(rate) for rate in rates.values()], {"rung": list(rates)}, ["rung"])


def typical_rate(found: Transition) -> float:
    """Return the rate of the typical product; NaN beyond span `WIDEST_TYPICAL`, where it takes λ³ H³.

    Windows are fewer the wider the span.
    """
    layer = only_layer(found)
    depth = max(acting(layer, len(layer.a) - 1), default=1)
    if depth > WIDEST_TYPICAL:
        return float("nan")
    window = min(WINDOW, len(layer.a) - 1)
    theory = typical_product(found, window=window, windows=max(min(2 * WINDOWS // depth, WINDOWS), 20))
    return float(theory.rate.item())


def mean_root(found: Transition, products: xr.Dataset) -> float:
    """Return log ρ for the mean factors: a = E a[t], b = g E φ[t], with g² = ‖V‖_F² / H."""
    layer = only_layer(found)
    before = slice(0, len(layer.a) - 1)
    gain = np.linalg.norm(layer.V) / np.sqrt(len(layer.V)) * layer.phi[before].mean()
    weights = products.p.isel(layer=0).values
    return float(log_root(layer.a[before].mean(), gain, products.span.values, weights))


def rates_of(products: xr.Dataset, theory: xr.DataArray) -> xr.Dataset:
    """Return measured and predicted rates of one decay and span over seeds."""
    fit = fit_decay(products)
    mean = theory.mean("seed", skipna=False)
    parts = {name: fit[name] for name in ("rate", "rate_low", "rate_high")}
    parts |= {"rate_seed": fit.rate_samples.mean("sample"), "predicted": mean, "predicted_seed": theory}
    parts = {name: part.assign_attrs(units="nats per step") for name, part in parts.items()}
    parts["error"] = (mean / fit.rate - 1.0).assign_attrs(units="1", long_name="predicted / measured − 1")
    return xr.Dataset(parts, attrs=fit.attrs)


def crossings(data: xr.Dataset) -> xr.Dataset:
    """Return the span at which neuron path and recurrent path decay equally fast.

    `crossing` (decay) is the mean over networks of what `measured_crossing` reads off their rates, with its
    95 % interval; `crossing_predicted` the mean of what it reads off those of the last rung, or of the one
    before where that is not known. `recurrent`
    (decay, span): whether the measured rate is not within 5 % of log α. `recurrent_path_rate` (decay, span):
    −c/λ, c the geometric mean of λ |rate| over those that are not.
    """
    alone = data.neuron_path_rate
    rungs = [data.predicted_seed.sel(rung=rung, drop=True) for rung in data.rung.values[-2:]]
    shown = {"measured": data.rate_seed, "predicted": rungs[-1].fillna(rungs[0])}
    spans = [int(span) for span in data.span.values]
    found = {
        name: xr.apply_ufunc(
            lambda rate, decay: measured_crossing(spans, rate, float(decay)).span,
            rates,
            data.decay,
            input_core_dims=[["span"], []],
            vectorize=True,
        )
        for name, rates in shown.items()
    }
    bounds = xr.apply_ufunc(
        student_interval, found["measured"], input_core_dims=[["seed"]], output_core_dims=[[], [], []]
    )
    names = ("crossing", "crossing_low", "crossing_high")
    parts = dict(zip(names, bounds, strict=True)) | {"crossing_predicted": found["predicted"].mean("seed")}
    told = {"units": "steps", "long_name": "span at which neuron path and recurrent path decay equally fast"}
    parts = {name: part.assign_attrs(told) for name, part in parts.items()}
    parts["recurrent"] = data.rate.notnull() & (abs(data.rate - alone) > NEURON_PATH * abs(alone))
    inside = (data.span * -data.rate).where(parts["recurrent"] & (data.rate < 0.0))
    along = -np.exp(np.log(inside).mean("span")) / data.span
    parts["recurrent_path_rate"] = along.assign_attrs(units="nats per step")
    return xr.Dataset(parts)


FIGURE = FigureSpec(
    name="decay-rate",
    title="Rate of decay against span, measured and by every rung of the theory",
    caption=CAPTION,
    config=DecayRateConfig,
    quick={"seeds": 3, "spans": (1, 2, 4, 8, 16), "typical": False},
    full={"seeds": 30},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
    narrowest=6.0,
)
