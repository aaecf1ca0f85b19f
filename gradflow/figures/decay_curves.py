"""Figure decay-curves: how ‖∂u[T]/∂u[t]‖ falls with the lag, for several spans, with theory drawn over it.

Axes: span seed sample lag.
"""

import json

import numpy as np
import xarray as xr
from pydantic import Field, field_validator
from threadpoolctl import threadpool_limits

from gradflow.analysis import curve_band, exact_zero_lag, fit_decay
from gradflow.analysis.curves import envelope
from gradflow.figures.decay_curves_claims import claims, summary, table
from gradflow.figures.decay_curves_picture import CAPTION, draw
from gradflow.figures.registry import Config, FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF
from gradflow.readout import Readout
from gradflow.recording import Keep, record
from gradflow.recurrence import Skip, Vanilla
from gradflow.tasks import TASKS, Batch, Task, by_name
from gradflow.theory import bound, mean_square

LONGEST = 10**9
SMALL = 256
"""Neurons up to which one thread multiplies matrices fastest."""


class DecayCurvesConfig(Config):
    """Options of the figure; the defaults draw the picture of the book."""

    spans: tuple[int, ...] = (1, 4, 16, 41)
    task: str = "psmnist"
    folder: str | None = None
    pool: int = Field(default=1, ge=1)
    samples: int = Field(default=8, ge=1)
    seeds: int = Field(default=10, ge=1)
    hidden: int = Field(default=128, ge=1)
    decay: float = Field(default=0.5, ge=0.0, le=1.0)
    permutation_seed: int = Field(default=0, ge=0)

    @field_validator("spans")
    @classmethod
    def _increasing(cls, spans: tuple[int, ...]) -> tuple[int, ...]:
        if not spans or not all(1 <= span <= LONGEST for span in spans):
            raise ValueError(
                f"got {','.join(map(str, spans)) or 'none'}, expected spans of 1 to {LONGEST}, as in 1,4,16"
            )
        return tuple(sorted(set(spans)))

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"got {task!r}, expected one of {', '.join(TASKS)}")
        return task


def compute(config: DecayCurvesConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure every span and seed on real digits, and predict the same from recorded moments.

    All spans see the same networks (but for λ) and the same sequences: seed k of each is network seed k
    and sample seed k.

    Returns:
        A Dataset over span, seed, sample and lag: the log-norms in nats, their band, the fitted and
        predicted rates, the bound's smallest margin, and the lag of float32's exact zero.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = _task(config)
    cells = [(span, seed) for span in config.spans for seed in range(config.seeds)]
    measured: dict[int, list[xr.Dataset]] = {span: [] for span in config.spans}
    # a small product is done before a second thread of BLAS has woken: waiting took six times the work
    with threadpool_limits(limits=1 if config.hidden <= SMALL else None, user_api="blas"):
        for done, (span, seed) in enumerate(cells):
            progress(done, len(cells), f"span {span}, seed {seed}")
            net = RecurrentSNN(
                task,
                hidden=config.hidden,
                recurrence=Vanilla() if span == 1 else Skip(span),
                neuron=LIF(decay=config.decay),
                seed=seed,
            )
            measured[span].append(measure(net, task.sample(config.samples, seed=seed)))
    progress(len(cells), len(cells), "fit")
    per_span = [
        summarise(xr.concat(parts, dim="seed", combine_attrs="drop_conflicts")) for parts in measured.values()
    ]
    data = xr.concat(per_span, dim="span", combine_attrs="drop_conflicts")
    data = data.assign_coords(span=list(config.spans), seed=np.arange(config.seeds))
    with np.errstate(divide="ignore"):  # α = 0: log 0 = −∞, nothing stays in the neuron
        alone = float(np.log(config.decay))
    lag = data.lag.values
    beyond = np.multiply(lag, alone, out=np.zeros(lag.size), where=lag > 0)
    data["neuron_path"] = ("lag", 0.5 * np.log(config.hidden) + beyond, {"units": "nats"})
    data["neuron_path_rate"] = ((), alone, {"units": "nats per step"})
    data.span.attrs = {"long_name": "span λ", "units": "steps"}
    return data.assign_attrs({**data.attrs, **_settings(config)})


def _task(config: DecayCurvesConfig) -> Task:
    options = {"permutation_seed": config.permutation_seed} if config.task == "psmnist" else {}
    task = by_name(config.task, config.folder, pool=config.pool, **options)
    if task.steps < 2:
        raise ValueError(f"pool: got {config.pool}, expected one that leaves {task.name} more than 1 step")
    if config.samples > len(task.train):
        raise ValueError(
            f"samples: got {config.samples}, expected at most {len(task.train)}, the training examples of "
            f"{task.name} ({task.source})"
        )
    return task


def _settings(config: DecayCurvesConfig) -> dict[str, str]:
    """Return the attributes in which the cells differ, or that the figure decides."""
    seeds = ",".join(map(str, range(config.seeds)))
    return {
        "kind": "figure decay-curves",
        "figure": "decay-curves",
        "config": config.model_dump_json(),
        "recurrence": ",".join("vanilla" if span == 1 else f"skip:{span}" for span in config.spans),
        "p": json.dumps([{str(span): 1.0} for span in config.spans]),
        "network_seed": seeds,
        "sample_seed": seeds,
        "loss_placement": "none for the Jacobian products; last step for float32_zero_lag",
    }


def measure(net: RecurrentSNN, batch: Batch) -> xr.Dataset:
    """Return one network's products, and the lag from which its float32 gradient has underflowed to 0.

    A gradient that is zero by structure does not count: one that is 0 at lag 0 already, or from a lag on
    at which the product itself is exactly 0.
    """
    products = jacobian_products(net, batch).isel(layer=0)
    gradient = record(net, batch, keep=Keep.NORMS, loss_placement=Readout.LAST).isel(layer=0).grad_u
    lost = np.isfinite(products.log_frobenius) & (products.lag >= exact_zero_lag(gradient))
    began = lost.any("lag") & (gradient.isel(time=-1, drop=True) > 0.0)
    first = lost.astype(np.int64).idxmax("lag").astype(np.float64)
    return products.assign(float32_zero_lag=first.where(began))


def summarise(products: xr.Dataset) -> xr.Dataset:
    """Return band, fit and theory of one span's products over seeds and samples."""
    # a span beyond the record never acts in it: what is predicted is then the neuron path
    acting = products.p.where(products.span <= int(products.lag[-1]), 0.0)
    predicted = mean_square(products.assign(p=acting))
    theory = predicted.log_frobenius.mean("seed")
    margin = bound(products).log_bound - products.log_spectral
    fit, band = fit_decay(products), curve_band(products)
    never = products.float32_zero_lag.fillna(np.inf).median()
    kept = ("rate", "rate_low", "rate_high", "horizon", "half_life", "comb_depth")
    return xr.Dataset(
        {
            "log_frobenius": products.log_frobenius,
            **{name: band[name] for name in ("centre", "low", "high", "envelope")},
            **{name: fit[name] for name in kept},
            "theory": theory.assign_attrs(units="nats"),
            "theory_envelope": theory.copy(data=envelope(theory.values)).assign_attrs(units="nats"),
            "theory_rate": predicted.rate.mean("seed").assign_attrs(units="nats per step"),
            # +∞ where the product is exactly zero: no margin to speak of. A bound of 0 above it would be −∞
            "bound_margin": margin.where(margin < np.inf).min().assign_attrs(units="nats"),
            "float32_zero_lag": never.where(np.isfinite(never)).assign_attrs(units="steps"),
            "exact_zeros": np.isneginf(products.log_frobenius).sum().astype(np.float64),
            "window": products.window.mean().assign_attrs(units="1"),
        },
        attrs={**band.attrs, **fit.attrs},
    ).drop_vars("layer", errors="ignore")


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
)
