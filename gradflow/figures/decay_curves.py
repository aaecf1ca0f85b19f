"""Figure decay-curves: how ‖∂u[T]/∂u[t]‖ falls with the lag, for several spans, with theory drawn over it."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field, field_validator

from gradflow.analysis import curve_band, exact_zero_lag, fit_decay
from gradflow.figures.registry import Claim, Config, FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF
from gradflow.plots import decay_curves, style
from gradflow.plots.curves import FLOAT32_FLOOR, LOG10
from gradflow.readout import Readout
from gradflow.recording import Keep, record
from gradflow.recurrence import Skip, Vanilla
from gradflow.tasks import TASKS, Batch, by_name
from gradflow.theory import bound, mean_square

CAPTION = (
    "How the gradient vanishes along time in a recurrent spiking layer, for several spans λ. Solid: "
    "Frobenius norm of the Jacobian product ∂u[T]/∂u[t] against the lag T − t, median over samples and "
    "network seeds, band from the 10th to the 90th percentile, computed in float64 with rescaling, so that "
    "it is exact far below the range of float32. Dashed: the mean-square prediction from recorded moments. "
    "Dotted: the neuron path alone, αⁿ. Markers: the lag from which float32 backpropagation of a loss on "
    "the last step returns exactly 0; the grey band is the range float32 cannot hold. Between multiples of "
    "λ the curve of a wide span is a comb."
)


class DecayCurvesConfig(Config):
    """Options of the figure; the defaults draw the picture of the book."""

    spans: tuple[int, ...] = (1, 4, 16, 41)
    task: str = "psmnist"
    folder: str | None = None
    pool: int = Field(default=1, ge=1)
    samples: int = Field(default=8, ge=1)
    seeds: int = Field(default=3, ge=1)
    hidden: int = Field(default=128, ge=1)
    decay: float = Field(default=0.5, ge=0.0, le=1.0)
    permutation_seed: int = Field(default=0, ge=0)

    @field_validator("spans")
    @classmethod
    def _increasing(cls, spans: tuple[int, ...]) -> tuple[int, ...]:
        if not spans or any(span < 1 for span in spans):
            raise ValueError(
                f"got {','.join(map(str, spans)) or 'none'}; expected spans of at least 1, as in 1,4,16"
            )
        return tuple(sorted(set(spans)))

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"got {task!r}; expected one of {', '.join(TASKS)}")
        return task


def compute(config: DecayCurvesConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure every span and seed on real digits, and predict the same from recorded moments.

    Returns:
        A Dataset over span, seed, sample and lag: the log-norms in nats, their band, the fitted and
        predicted rates, the bound's smallest margin, and the lag of float32's exact zero.
    """
    options = {"permutation_seed": config.permutation_seed} if config.task == "psmnist" else {}
    task = by_name(config.task, config.folder, pool=config.pool, **options)
    cells = [(span, seed) for span in config.spans for seed in range(config.seeds)]
    measured: dict[int, list[xr.Dataset]] = {span: [] for span in config.spans}
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
    lag = data.lag.values
    with np.errstate(divide="ignore"):
        data["neuron_path"] = (
            "lag",
            0.5 * np.log(config.hidden) + lag * np.log(config.decay),
            {"units": "nats"},
        )
    data.span.attrs = {"long_name": "span λ", "units": "steps"}
    settings = {"kind": "figure decay-curves", "figure": "decay-curves", "config": config.model_dump_json()}
    return data.assign_attrs(
        {**data.attrs, **settings, "recurrence": ",".join(f"skip:{s}" for s in config.spans)}
    )


def measure(net: RecurrentSNN, batch: Batch) -> xr.Dataset:
    """Return one network's products, and where its float32 gradient is exactly zero."""
    products = jacobian_products(net, batch).isel(layer=0)
    gradient = record(net, batch, keep=Keep.NORMS, loss_placement=Readout.LAST).isel(layer=0)
    return products.assign(float32_zero_lag=exact_zero_lag(gradient.grad_u))


def summarise(products: xr.Dataset) -> xr.Dataset:
    """Return band, fit and theory of one span's products over seeds and samples."""
    predicted = mean_square(products)
    margin = bound(products).log_bound - products.log_spectral
    fit = fit_decay(products)
    band = curve_band(products)
    # a curve at an exact zero lies infinitely far under the bound, which is no margin to speak of
    finite = margin.where(np.isfinite(margin))
    return xr.Dataset(
        {
            "log_frobenius": products.log_frobenius,
            **{name: band[name] for name in ("centre", "low", "high")},
            **{
                name: fit[name]
                for name in ("rate", "rate_low", "rate_high", "horizon", "half_life", "comb_depth")
            },
            "theory": predicted.log_frobenius.mean("seed"),
            "theory_rate": predicted.rate.mean("seed"),
            "bound_margin": finite.min(),
            "float32_zero_lag": products.float32_zero_lag.median(),
            "float32_zero_share": np.isfinite(products.float32_zero_lag).mean(),
            "structural_zeros": np.isneginf(products.log_frobenius).sum().astype(np.float64),
            "underflow_zeros": (np.isneginf(products.log_frobenius) & (products.share_structural < 1.0))
            .sum()
            .astype(np.float64),
            "firing_window": products.window.mean(),
        },
        attrs=products.attrs,
    ).drop_vars("layer", errors="ignore")


def draw(data: xr.Dataset) -> Picture:
    """Draw the curves; everything shown is read from `data`."""
    with style():
        picture = Picture(figsize=(6.3, 4.1))
        ax = picture.subplots()
        theory = xr.Dataset({"log_frobenius": data.theory})
        artists = decay_curves(
            data, theory=theory, zero_lag=data.float32_zero_lag, ax=ax, label="λ = {value}"
        )
        finite = np.concatenate([np.asarray(line.get_ydata()) for line in artists.curves.values()])
        lowest = float(np.nanmin(finite)) if np.isfinite(finite).any() else -1.0
        bottom = 1.06 * lowest - 1.0
        (path,) = ax.plot(data.lag, data.neuron_path * LOG10, color="0.35", linestyle=":", linewidth=1.2)
        if bottom < FLOAT32_FLOOR:
            ax.axhspan(bottom, FLOAT32_FLOOR, color="0.5", alpha=0.10, linewidth=0)
            ax.text(
                0.99 * float(data.lag[-1]),
                FLOAT32_FLOOR,
                "below float32",
                ha="right",
                va="top",
                color="0.35",
                fontsize=8,
            )
        ax.set_ylim(bottom, 4.0)
        ax.set_xlim(0, float(data.lag[-1]) * 1.12)
        for text, line in artists.curves.items():
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            seen = np.flatnonzero(np.isfinite(y))
            if seen.size:
                ax.annotate(
                    text, (x[seen[-1]], y[seen[-1]]), xytext=(4, 0), textcoords="offset points",
                    va="center", color=line.get_color(), fontsize=8,
                )  # fmt: skip
        handles = [next(iter(artists.curves.values())), next(iter(artists.theory.values())), path]
        texts = ["measured (median, 10–90 %)", "mean-square theory", "neuron path $\\alpha^n$"]
        if artists.zeros:
            handles.append(next(iter(artists.zeros.values())))
            texts.append("float32 gradient exactly 0")
        ax.legend(handles, texts, loc="lower left")
        config = json.loads(str(data.attrs["config"]))
        ax.set_title(
            f"Vanishing gradients along time: {config['task']}, one layer of {config['hidden']}, "
            f"α = {config['decay']:g}"
        )
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: ordered rates, finite curves, and the bound never violated."""
    rate, low, high = data.rate.values, data.rate_low.values, data.rate_high.values
    width = np.nan_to_num((high - low) / 2)
    ordered = all(
        rate[k + 1] >= rate[k] - np.hypot(width[k], width[k + 1]) for k in range(len(rate) - 1)
    ) and bool(rate[-1] >= rate[0])
    return [
        Claim("decay rates are ordered by span (within their intervals)", ordered),
        Claim("no curve is lost to underflow", bool((data.underflow_zeros == 0).all())),
        Claim("the bound holds at every lag", bool((data.bound_margin >= -1e-9).all())),
    ]


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: span, lag, and powers of ten of median, band and theory."""
    drawn = data[["centre", "low", "high", "theory"]] * LOG10
    rows = drawn.rename(centre="log10_median", low="log10_low", high="log10_high", theory="log10_theory")
    return rows.to_dataframe().reset_index()[["span", "lag", *map(str, rows.data_vars)]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: rate with its 95 % interval, theory's, λ · rate, horizon, float32's zero."""
    names = ["rate", "rate_low", "rate_high", "theory_rate", "horizon", "float32_zero_lag"]
    rows = data[names].to_dataframe().reset_index()[["span", *names]]
    rows.insert(4, "span_times_rate", rows["span"] * rows["rate"])
    last = data.isel(lag=-1).centre.values * LOG10
    rows.insert(1, "log10_norm_at_longest_lag", last)
    return rows


FIGURE = FigureSpec(
    name="decay-curves",
    title="Norm of the Jacobian product against lag, per span, with theory",
    caption=CAPTION,
    config=DecayCurvesConfig,
    quick={"samples": 4, "seeds": 2},
    full={"samples": 32, "seeds": 5},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
