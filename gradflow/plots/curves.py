"""Decay curves: log-norm of the Jacobian product against lag: line and band, and theory as broken lines."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from gradflow.analysis import curve_band
from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import DASHES, DOTS, MARKERS, Colour, ordered_colours

LOG10 = math.log10(math.e)
"""Nats to powers of ten."""

FINE, THIN, MEDIUM, THICK = 0.7, 0.8, 1.2, 1.9
BROAD, PALE = 2.7, 0.45
"""Width and opacity of what is measured where theory lies on it: a dark dash is seen on a pale line."""
HALO = [patheffects.withStroke(linewidth=2.6, foreground="white")]
"""A white edge, by which a dashed line is seen on a band or a line of its own colour."""


@dataclass(frozen=True, repr=False)
class CurveArtists(Shown):
    """What was drawn, by label, so that a test or a reader can ask a picture for its data."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)
    envelopes: dict[str, Line2D] = field(default_factory=dict)
    theory: dict[str, Line2D] = field(default_factory=dict)
    rough: dict[str, Line2D] = field(default_factory=dict)
    zeros: dict[str, Line2D] = field(default_factory=dict)


def decay_curves(
    data: xr.Dataset,
    *,
    theory: xr.Dataset | None = None,
    rough: xr.Dataset | None = None,
    zero_lag: xr.DataArray | None = None,
    ax: Axes | None = None,
    label: str = "{dim} {value}",
    envelopes: bool = False,
) -> CurveArtists:
    """Draw log₁₀ ‖P(T,t)‖ against the lag T − t, one line and band per curve.

    Args:
        data: Jacobian products (pooled over samples and seeds by `curve_band` first), or such a band
            with `centre`, `low`, `high` and `envelope` in nats; at most one dimension besides lag.
        theory: a dataset whose `log_frobenius` (same dimension, lag; in nats) is drawn dashed.
        rough: one more, of a coarser theory, drawn as fine dots.
        zero_lag: for each curve, the lag from which float32 backpropagation returns exactly 0; marked.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.
        envelopes: draw each curve's envelope thick and the curve itself thin: combs and envelopes apart.

    Returns:
        The artists by label. Exact zeros (−∞) are gaps.

    Raises:
        ValueError: where more than one dimension besides lag is left.

    >>> band = {name: ("lag", [0.0, -2.302585]) for name in ("centre", "low", "high", "envelope")}
    >>> artists = decay_curves(xr.Dataset(band, {"lag": [0, 1]}), label="one")
    >>> artists.curves["one"].get_ydata().round(3).tolist()
    [0.0, -1.0]
    """
    band = data if "centre" in data else curve_band(data)
    dims = [str(dim) for dim in band.centre.dims if dim != "lag"]
    if len(dims) > 1:
        raise ValueError(
            f"decay_curves: got the dimensions {dims} besides lag, expected one; select, as in .sel(layer=0)"
        )
    artists = CurveArtists(axes(ax))
    for place, (name, curve, colour) in enumerate(_curves(band, dims)):
        text = label.format(dim=dims[0] if dims else "", value=name).strip()
        _measured(artists, text, curve, colour, envelopes, pale=theory is not None)
        if rough is not None:
            look = {"linestyle": DOTS, "linewidth": FINE, "zorder": 2.3, "path_effects": HALO}
            artists.rough[text] = _predicted(artists.ax, _select(rough, dims, name), colour, look)
        if theory is not None:
            look = {"linestyle": DASHES[place % len(DASHES)], "linewidth": MEDIUM, "zorder": 2.4}
            artists.theory[text] = _predicted(artists.ax, _select(theory, dims, name), colour, look)
        if zero_lag is not None:
            _zero(artists, text, curve, float(_select(zero_lag, dims, name)), place, colour)
    artists.ax.set_xlabel("lag $T-t$  (steps)")
    artists.ax.set_ylabel(r"$\log_{10}\,\|\,\partial u[T]\,/\,\partial u[t]\,\|_F$")
    return artists


def _measured(
    artists: CurveArtists, text: str, curve: xr.Dataset, colour: Colour, envelopes: bool, *, pale: bool
) -> None:
    lag = curve.lag.values
    artists.bands[text] = artists.ax.fill_between(
        lag, _drawable(curve.low), _drawable(curve.high), color=colour, alpha=0.22, linewidth=0
    )
    width, opacity = (BROAD, PALE) if pale else (THICK if envelopes else MEDIUM, 1.0)
    look: dict[str, Any] = {"color": colour, "alpha": opacity}
    (artists.curves[text],) = artists.ax.plot(
        lag, _drawable(curve.centre), label=text, linewidth=THIN if envelopes else width, **look
    )
    if envelopes:
        (artists.envelopes[text],) = artists.ax.plot(lag, _drawable(curve.envelope), linewidth=width, **look)


def _predicted(ax: Axes, theory: xr.Dataset, colour: Colour, look: dict[str, Any]) -> Line2D:
    curve = theory.log_frobenius
    (line,) = ax.plot(curve.lag.values, _drawable(curve), color=colour, **look)
    return line


def _zero(
    artists: CurveArtists, text: str, curve: xr.Dataset, lag: float, place: int, colour: Colour
) -> None:
    """Mark the lag of float32's zero on the curve; there is no mark where there is none, or no curve."""
    height = float(curve.centre.sel(lag=lag, method="nearest")) * LOG10 if np.isfinite(lag) else np.nan
    if np.isfinite(height):
        (artists.zeros[text],) = artists.ax.plot(
            [lag],
            [height],
            marker=MARKERS[place % len(MARKERS)],
            color=colour,
            markerfacecolor="white",
            markeredgewidth=1.6,
            markersize=6.5,
            linestyle="",
            zorder=3,
        )


def _curves(band: xr.Dataset, dims: list[str]) -> Iterator[tuple[Any, xr.Dataset, Colour]]:
    names = [value.item() for value in band[dims[0]].values] if dims else [""]
    for name, colour in zip(names, ordered_colours(len(names)), strict=True):
        yield name, _select(band, dims, name), colour


def _select(data: Any, dims: list[str], name: Any) -> Any:
    return data.sel({dims[0]: name}) if dims and dims[0] in data.dims else data


def _drawable(values: xr.DataArray) -> np.ndarray:
    """Return powers of ten, with gaps where the product is exactly zero (−∞)."""
    powers = values.values * LOG10
    return np.where(np.isfinite(powers), powers, np.nan)
