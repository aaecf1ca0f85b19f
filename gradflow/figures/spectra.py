"""Figure spectra: singular values of the Jacobian product against lag, and Lyapunov exponents, by span.

Axes: span seed sample lag index; rank (of a singular value), place (of an exponent), from 1.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from pydantic import Field

from gradflow.analysis import fit_decay
from gradflow.analysis.spectra import descending, quantiles_of, spectrum_band
from gradflow.figures.cells import (
    CellConfig,
    by_span,
    network,
    only_layer,
    over_seeds,
    settings,
    task_of,
)
from gradflow.figures.paths import last_steps
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.figures.spectra_picture import draw
from gradflow.jacobian import jacobian_products, lyapunov_exponents, singular_values
from gradflow.plots.curves import LOG10
from gradflow.transition import LayerTransition, local_jacobians

CAPTION = (
    "All directions, not the largest alone. Above: singular values σᵢ of the Jacobian product ∂u[T]/∂u[t] "
    "against the lag T − t, T the last step, the i-th largest of as many as there are neurons; a panel for "
    "each span. Dotted: the neuron path αⁿ, on which neurons that stay outside of their windows leave their "
    "share of the values. A value that double precision does not vouch for to 10⁻⁴ nats is left out: the "
    "small ones of wide spans, whose lines end. Below left: how many directions carry the product, "
    "(Σσ²)²/Σσ⁴; over a long lag vanilla passes on one, a skip many. Below right: the leading Lyapunov "
    "exponents of the state, which is the last λ potentials; higher up is slower; dotted: the neuron path, "
    "log α; open markers: the fitted rate of decay of the product's norm, measured apart, which the largest "
    "exponent should meet. Lines: median over networks and samples; bands: from the 10th to the 90th "
    "percentile. Exponents are those of finite runs: what is a few nats over a whole run is not resolved."
)
EXACT = 1e-6
"""Nats, relative to the size of a sum, by which two exact ways to the same number may differ."""
KNOWN = 1e-4
"""Nats to which singular values are known (`tolerance` of `singular_values`)."""
MEETS = 0.05
"""Share by which the largest exponent may differ from the fitted rate, in the mean over networks."""


class SpectraConfig(CellConfig):
    """Options of the figure; `reach`: longest lag of singular values; `exponents`: how many of a skip."""

    spans: tuple[int, ...] = (1, 4, 16)
    decay: float = Field(default=0.5, gt=0.0, lt=1.0)
    samples: int = Field(default=1, ge=1)
    seeds: int = Field(default=6, ge=1)
    reach: int = Field(default=72, ge=1)
    exponents: int = Field(default=32, ge=1)


def compute(config: SpectraConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure spectra of every span and seed on the same digits.

    Returns:
        A Dataset over span. By network (seed, sample), in nats: `log_singular` (lag, index), `log_frobenius`
        and, of vanilla, `log_determinant` (lag); `outside` (lag), the neurons outside of their window at
        every step of the lag; `exponent` (place), descending, `mean_log_determinant`, of vanilla alone;
        `rate`, `rank_bound`, `state`. Over networks: `fitted`, the mean rate; `centre`, `low`, `high` (rank,
        lag); `participation_…` (lag); `exponent_…` (place); `unknown` (lag), the share of singular values.

    Raises:
        ValueError: for more samples than the task has training examples, a pool that leaves one step, or a
            span that leaves no step to count an exponent's growth over.
    """
    task = task_of(config)
    reach = min(config.reach, task.steps - 1)

    def measure(span: int, seed: int) -> xr.Dataset:
        net = network(config, task, span=span, decay=config.decay, seed=seed)
        run = local_jacobians(net, task.sample(config.samples, seed=seed))
        late = last_steps(run, reach + 1)
        found = singular_values(late, tolerance=KNOWN).isel(layer=0, drop=True)
        found["log_frobenius"] = jacobian_products(late, norms=("frobenius",)).log_frobenius.isel(layer=0)
        found["outside"] = ("sample", "lag"), outside(only_layer(late))
        found["log_determinant"] = ("sample", "lag"), lag_determinants(only_layer(late))
        leading = leading_of(config, span)
        grown = lyapunov_exponents(run, leading=leading).isel(layer=0, drop=True)
        padded = np.full((config.samples, widest(config)), np.nan)
        padded[:, :leading] = descending(grown.exponent.values)
        found["exponent"] = ("sample", "place"), padded, {"units": "nats per step"}
        steps = int(grown.steps)
        determinants = step_determinants(only_layer(run))[-1 - steps : -1]
        found["mean_log_determinant"] = "sample", determinants.mean(axis=0)
        found["rank_bound"], found["state"] = grown.rank_bound, grown.state
        found["rate"] = fit_decay(jacobian_products(run, norms=("frobenius",))).rate.isel(layer=0).mean()
        return found.assign_coords(place=np.arange(1, widest(config) + 1)).drop_vars("layer", errors="ignore")

    data = by_span(config, measure, lambda parts, _: gathered(over_seeds(parts)), progress, "median")
    told = {"kind": "figure spectra", "figure": "spectra", "loss_placement": "none", "end": task.steps - 1}
    return data.assign_attrs({**data.attrs, **settings(config), **told, "tolerance": KNOWN})


def leading_of(config: SpectraConfig, span: int) -> int:
    """Return how many exponents are computed: all of vanilla's, for their sum is known."""
    return config.hidden if span == 1 else min(config.exponents, span * config.hidden)


def widest(config: SpectraConfig) -> int:
    """Return the most exponents that any span has."""
    return max(leading_of(config, span) for span in config.spans)


def step_determinants(layer: LayerTransition) -> Float[np.ndarray, "time sample"]:
    """Return log |det(A_t + V Φ_t)| of every step of a vanilla layer; NaN for a skip, whose step is larger.

    >>> half = np.full((1, 1, 2), 0.5)
    >>> step_determinants(LayerTransition(half, half, np.eye(2))).item()
    0.0
    """
    if tuple(layer.spans) != (1,):
        return np.full(layer.a.shape[:2], np.nan)
    steps = np.einsum("tbj,ij->tbij", layer.a, np.eye(layer.a.shape[2])) + layer.V * layer.phi[:, :, None]
    return np.asarray(np.linalg.slogdet(steps)[1])


def lag_determinants(layer: LayerTransition) -> Float[np.ndarray, "sample lag"]:
    """Return log |det P(T,t)| of a vanilla layer at every lag, the sum over its steps; NaN for a skip."""
    steps = step_determinants(layer)[:-1][::-1]
    return np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)]).T


def outside(layer: LayerTransition) -> Float[np.ndarray, "sample lag"]:
    """Return how many neurons are outside of their window (φ = 0) at all steps t … T − 1, for every lag."""
    away = np.logical_and.accumulate((layer.phi == 0.0)[:-1][::-1], axis=0)
    counts = away.sum(axis=2, dtype=np.float64)
    return np.concatenate([np.full_like(counts[:1], layer.phi.shape[2]), counts]).T


def gathered(parts: xr.Dataset) -> xr.Dataset:
    """Return a span's networks with their medians and bands."""
    found = parts.drop_vars(["no_window", "neurons", "participation"])
    found = found.assign(spectrum_band(parts).data_vars)
    for name in ("participation", "exponent"):
        band = quantiles_of(parts[name])
        found = found.assign({f"{name}_{part}": band[part] for part in band})
    found["fitted"] = parts.rate.mean("seed").assign_attrs(units="nats per step")
    found["unknown"] = np.isnan(parts.log_singular).mean(("seed", "sample", "index")).assign_attrs(units="1")
    return found


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: identities, a theorem on the neuron path, and what a span does."""
    logs = data.log_singular
    known = data.log_singular.notnull().all("index")
    top = logs.isel(index=0)
    whole = top + 0.5 * np.log(np.exp(2.0 * (logs - top)).sum("index"))  # what is not known is small
    found = [
        Claim(
            "the squares of the singular values add up to the square of the Frobenius norm, at every lag",
            bool((abs(whole - data.log_frobenius) <= EXACT).all()),
        )
    ]
    alone = data.lag * np.log(json.loads(str(data.attrs["config"]))["decay"])
    above = ((logs >= alone - KNOWN) | logs.isnull()).sum("index")
    below = ((logs <= alone + KNOWN) | logs.isnull()).sum("index")
    found.append(
        Claim(
            "as many singular values as neurons that stay outside of their windows, or more, lie on the "
            "neuron path's αⁿ or above it, and as many on it or below",
            bool(((above >= data.outside) & (below >= data.outside)).all()),
        )
    )
    if 1 in data.span.values:
        one = data.sel(span=1)
        off = abs(one.log_singular.sum("index", skipna=False) - one.log_determinant)
        close = off <= EXACT * abs(one.log_determinant) + KNOWN
        text = "vanilla: log singular values add up to log |det ∂u[T]/∂u[t]|, at every lag"
        found.append(Claim(text, bool(close.where(known.sel(span=1), True).all())))
        total = one.exponent.sum("place", skipna=False)
        text = "vanilla: all exponents add up to the mean log |det| of a step"
        found.append(Claim(text, bool((abs(total / one.mean_log_determinant - 1.0) <= EXACT).all())))
    ratio = data.exponent.isel(place=0).mean(("seed", "sample")) / data.fitted
    text = f"the largest exponent is the fitted rate of decay within {100 * MEETS:.0f} %, at every span"
    found.append(Claim(text, bool((abs(ratio - 1.0) <= MEETS).all())))
    if data.sizes["span"] > 1:
        largest = data.exponent_centre.isel(place=0).values
        text = "the wider the span, the larger the largest exponent, strictly: λ = "
        text += ", ".join(map(str, data.span.values))
        found.append(Claim(text, bool((np.diff(largest) > 0.0).all())))
        carried = data.participation_centre.isel(lag=-1).values
        text = f"the wider the span, the more directions carry the product at lag {int(data.lag[-1])}"
        found.append(Claim(text, bool((np.diff(carried) > 0.0).all())))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: quantity, span, rank, lag, and median, low and high."""
    frames = []
    for quantity, factor, names in (
        ("log10_singular_value", LOG10, ("centre", "low", "high")),
        ("participation", 1.0, tuple(f"participation_{part}" for part in ("centre", "low", "high"))),
        ("exponent", 1.0, tuple(f"exponent_{part}" for part in ("centre", "low", "high"))),
    ):
        rows = data[list(names)].rename(dict(zip(names, ("median", "low", "high"), strict=True))) * factor
        rows = rows.rename(place="rank") if "place" in rows.dims else rows
        frames.append(rows.to_dataframe().reset_index().assign(quantity=quantity))
    columns = ["quantity", "span", "rank", "lag", "median", "low", "high"]
    whole = pd.concat(frames, ignore_index=True)[columns]
    return whole[(whole.quantity != "exponent") | whole["median"].notna()].reset_index(drop=True)


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: rate, largest exponent, and at the last lag directions and unknown values."""
    end = data.isel(lag=-1)
    return pd.DataFrame(
        {
            "span": data.span.values,
            "rate": data.fitted.values,
            "largest_exponent": data.exponent.isel(place=0).mean(("seed", "sample")).values,
            "directions": end.participation_centre.values,
            "not_known": end.unknown.values,
            "state": data.state.isel(seed=0).values,
            "finite_at_most": data.rank_bound.max(("seed", "sample")).values,
        }
    )


FIGURE = FigureSpec(
    name="spectra",
    title="Singular values of the Jacobian product, and Lyapunov exponents by span",
    caption=CAPTION,
    config=SpectraConfig,
    quick={"seeds": 2, "hidden": 64},
    full={"samples": 2, "seeds": 20},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
