"""Figure decay-curves: how ‖∂u[T]/∂u[t]‖ falls with the lag, for several spans, with theory drawn over it.

Axes: span seed sample lag.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import xarray as xr
from pydantic import Field

from gradflow.analysis import curve_band, exact_zero_lag, fit_decay
from gradflow.analysis.curves import envelope
from gradflow.figures.cells import (
    CellConfig,
    blas_threads,
    network,
    over_seeds,
    overlapped,
    predicted,
    settings,
    task_of,
)
from gradflow.figures.decay_curves_claims import claims, summary, table
from gradflow.figures.decay_curves_picture import CAPTION, draw
from gradflow.figures.registry import FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.readout import Readout
from gradflow.recording import Keep, record
from gradflow.tasks import Batch
from gradflow.theory import bound, mean_square
from gradflow.transition import Transition, local_jacobians

Measured: TypeAlias = tuple[int, xr.Dataset, Transition]
"""Span and products of one network, and the local Jacobians from which they are predicted."""


class DecayCurvesConfig(CellConfig):
    """Options of the figure; the defaults draw the picture of the book."""

    spans: tuple[int, ...] = (1, 4, 16, 41)
    decay: float = Field(default=0.5, ge=0.0, le=1.0)


def compute(config: DecayCurvesConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure every span and seed on real digits, and predict the same from the forward pass alone.

    All spans see the same networks (but for λ) and the same sequences: seed k of each is network seed k
    and sample seed k.

    Returns:
        A Dataset over span, seed, sample and lag: the log-norms in nats, their band, the fitted and
        predicted rates, the bound's smallest margin, and the lag of float32's exact zero.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    measured: dict[int, list[xr.Dataset]] = {span: [] for span in config.spans}
    operator: dict[int, list[xr.Dataset]] = {span: [] for span in config.spans}
    with blas_threads(config):
        # the operator takes as long as the products: it runs while the next network is measured
        for span, products, theory in overlapped(_measured(config, progress), _predicted):
            measured[span].append(products)
            operator[span].append(theory)
    per_span = [summarise(over_seeds(measured[span]), over_seeds(operator[span])) for span in config.spans]
    data = xr.concat(per_span, dim="span", combine_attrs="drop_conflicts")
    data = data.assign_coords(span=list(config.spans), seed=np.arange(config.seeds))
    with np.errstate(divide="ignore"):  # α = 0: log 0 = −∞, nothing stays in the neuron
        alone = float(np.log(config.decay))
    lag = data.lag.values
    beyond = np.multiply(lag, alone, out=np.zeros(lag.size), where=lag > 0)
    data["neuron_path"] = ("lag", 0.5 * np.log(config.hidden) + beyond, {"units": "nats"})
    data["neuron_path_rate"] = ((), alone, {"units": "nats per step"})
    data.span.attrs = {"long_name": "span λ", "units": "steps"}
    loss = "none for the Jacobian products; last step for float32_zero_lag"
    told = {"kind": "figure decay-curves", "figure": "decay-curves", "loss_placement": loss}
    return data.assign_attrs({**data.attrs, **settings(config), **told})


def _measured(config: DecayCurvesConfig, progress: Progress) -> Iterator[Measured]:
    """Measure one network after another."""
    task = task_of(config)
    cells = [(span, seed) for span in config.spans for seed in range(config.seeds)]
    for done, (span, seed) in enumerate(cells):
        progress(done, len(cells), f"span {span}, seed {seed}")
        net = network(config, task, span=span, decay=config.decay, seed=seed)
        batch = task.sample(config.samples, seed=seed)
        found = local_jacobians(net, batch)
        yield span, measure(net, batch, found), found
    progress(len(cells), len(cells), "fit")


def _predicted(cell: Measured) -> tuple[int, xr.Dataset, xr.Dataset]:
    span, products, found = cell
    return span, products, predicted(found)


def measure(net: RecurrentSNN, batch: Batch, found: Transition) -> xr.Dataset:
    """Return one network's products, and the lag from which its float32 gradient has underflowed to 0.

    A gradient that is zero by structure does not count: one that is 0 at lag 0 already, or from a lag on
    at which the product itself is exactly 0.
    """
    products = jacobian_products(found).isel(layer=0)
    gradient = record(net, batch, keep=Keep.NORMS, loss_placement=Readout.LAST).isel(layer=0).grad_u
    lost = np.isfinite(products.log_frobenius) & (products.lag >= exact_zero_lag(gradient))
    began = lost.any("lag") & (gradient.isel(time=-1, drop=True) > 0.0)
    first = lost.astype(np.int64).idxmax("lag").astype(np.float64)
    return products.assign(float32_zero_lag=first.where(began))


def summarise(products: xr.Dataset, operator: xr.Dataset) -> xr.Dataset:
    """Return band, fit and theory of one span's products over seeds and samples.

    `operator` is what the transfer operator predicts of each seed: log_frobenius (seed, lag) and rate (seed).
    """
    # a span beyond the record never acts in it: what is predicted is then the neuron path
    acting = products.p.where(products.span <= int(products.lag[-1]), 0.0)
    margin = bound(products).log_bound - products.log_spectral
    fit, band = fit_decay(products), curve_band(products)
    never = products.float32_zero_lag.fillna(np.inf).median()
    kept = ("rate", "rate_low", "rate_high", "horizon", "half_life", "comb_depth")
    return xr.Dataset(
        {
            "log_frobenius": products.log_frobenius,
            **{name: band[name] for name in ("centre", "low", "high", "envelope")},
            **{name: fit[name] for name in kept},
            **_of_theory("transfer_operator", operator),
            **_of_theory("mean_square", mean_square(products.assign(p=acting))),
            # +∞ where the product is exactly zero: no margin to speak of. A bound of 0 above it would be −∞
            "bound_margin": margin.where(margin < np.inf).min().assign_attrs(units="nats"),
            "float32_zero_lag": never.where(np.isfinite(never)).assign_attrs(units="steps"),
            "exact_zeros": np.isneginf(products.log_frobenius).sum().astype(np.float64),
            "window": products.window.mean().assign_attrs(units="1"),
        },
        attrs={**band.attrs, **fit.attrs},
    ).drop_vars("layer", errors="ignore")


def _of_theory(name: str, theory: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the mean over seeds of a predicted curve and of its rate, and the envelope of that curve."""
    curve = theory.log_frobenius.mean("seed", skipna=False).assign_attrs(units="nats")
    above = curve.values if curve.isnull().any() else envelope(curve.values)  # NaN: not computed
    rate = theory.rate.mean("seed", skipna=False).assign_attrs(units="nats per step")
    return {name: curve, f"{name}_envelope": curve.copy(data=above), f"{name}_rate": rate}


FIGURE = FigureSpec(
    name="decay-curves",
    title="Norm of the Jacobian product against lag, per span, with theory",
    caption=CAPTION,
    config=DecayCurvesConfig,
    quick={"samples": 2, "seeds": 8},
    full={"samples": 16, "seeds": 20},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
    narrowest=4.5,
)
