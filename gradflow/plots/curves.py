"""Decay curves: log-norm of the Jacobian product against lag, measured as line and band, theory dashed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradflow.analysis import curve_band
from gradflow.plots.style import MARKERS, ordered_colours

LOG10 = float(np.log10(np.e))
"""Nats to powers of ten."""

FLOAT32_FLOOR = float(np.log10(1.401298464324817e-45))
"""log₁₀ of float32's smallest positive number."""


@dataclass(frozen=True)
class CurveArtists:
    """What was drawn, by label, so that a test or a reader can ask a picture for its data."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)
    theory: dict[str, Line2D] = field(default_factory=dict)
    zeros: dict[str, Line2D] = field(default_factory=dict)


def decay_curves(
    data: xr.Dataset,
    *,
    theory: xr.Dataset | None = None,
    zero_lag: xr.DataArray | None = None,
    ax: Axes | None = None,
    label: str = "{dim} {value}",
) -> CurveArtists:
    """Draw log₁₀ ‖P(T,t)‖ against the lag T − t, one line and band per curve.

    Args:
        data: Jacobian products (pooled over samples and seeds by `curve_band` first), or such a band
            with `centre`, `low` and `high` in nats; at most one dimension besides lag (layer, span).
        theory: a dataset whose `log_frobenius` (same dimension, lag; in nats) is drawn dashed.
        zero_lag: for each curve, the lag from which float32 backpropagation returns exactly 0; marked.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Raises:
        ValueError: where more than one dimension besides lag is left.
    """
    band = data if "centre" in data else curve_band(data)
    axes = Figure().subplots() if ax is None else ax
    dims = [str(dim) for dim in band.centre.dims if dim != "lag"]
    if len(dims) > 1:
        raise ValueError(
            f"decay_curves: got the dimensions {dims} besides lag, expected one; select, as in .sel(layer=0)"
        )
    artists = CurveArtists(axes)
    curves = _curves(band, dims)
    for (name, curve), colour, marker in zip(
        curves.items(), ordered_colours(len(curves)), _cycle(MARKERS, len(curves)), strict=True
    ):
        text = label.format(dim=dims[0] if dims else "", value=name).strip()
        lag = curve.lag.values
        artists.bands[text] = axes.fill_between(
            lag, _drawable(curve.low), _drawable(curve.high), color=colour, alpha=0.22, linewidth=0
        )
        (artists.curves[text],) = axes.plot(lag, _drawable(curve.centre), color=colour, label=text)
        if theory is not None:
            predicted = _select(theory, dims, name).log_frobenius
            (artists.theory[text],) = axes.plot(
                predicted.lag.values, _drawable(predicted), color="0.15", linestyle=(0, (4, 3)), linewidth=1.0
            )
        if zero_lag is not None:
            at = float(_select(zero_lag, dims, name))
            if np.isfinite(at):
                height = float(curve.centre.sel(lag=round(at))) * LOG10
                (artists.zeros[text],) = axes.plot(
                    [at],
                    [height],
                    marker=marker,
                    color=colour,
                    markeredgecolor="black",
                    markersize=6,
                    linestyle="",
                )
    axes.set_xlabel("lag $T-t$  (steps)")
    axes.set_ylabel(r"$\log_{10}\,\|\,\partial u[T]\,/\,\partial u[t]\,\|_F$")
    return artists


def _curves(band: xr.Dataset, dims: list[str]) -> Mapping[Any, xr.Dataset]:
    if not dims:
        return {"": band}
    return {value.item(): band.sel({dims[0]: value}) for value in band[dims[0]].values}


def _select(data: Any, dims: list[str], name: Any) -> Any:
    return data.sel({dims[0]: name}) if dims and dims[0] in data.dims else data


def _drawable(values: xr.DataArray) -> np.ndarray:
    """Return powers of ten, with gaps where the product is exactly zero (−∞)."""
    powers = values.values * LOG10
    return np.where(np.isfinite(powers), powers, np.nan)


def _cycle(items: tuple[str, ...], count: int) -> list[str]:
    return [items[k % len(items)] for k in range(count)]
