"""Pictures of records: loss gradients and activity along time, one curve a file or layer, or as a map.

Axes: layer time. Everything is drawn as given: bands come from `analysis.steps.norm_band`.
"""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradflow.plots.lines import band, curves, line, powers
from gradflow.plots.shown import Shown, axes

GRADIENT_LABEL = r"$\log_{10}\,\|\,\partial L\,/\,\partial u[t]\,\|$"
TIME_LABEL = "time $t$  (steps)"
PATHS = ("neuron", "recurrent", "direct")
NOTHING = "0.85"
"""Grey of cells that are exactly zero; no colour of the map."""


@dataclass(frozen=True, repr=False)
class TimeArtists(Shown):
    """What was drawn along time, by label."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class MapArtists(Shown):
    """What was drawn as a map."""

    ax: Axes
    maps: dict[str, QuadMesh]
    colourbar: Colorbar


def gradient_norms(data: xr.Dataset, *, ax: Axes | None = None, label: str = "{dim} {value}") -> TimeArtists:
    """Draw log₁₀ ‖∂L/∂u[t]‖ against time, one line and band per curve.

    Args:
        data: a band as `norm_band` returns it: `centre`, `low`, `high` in nats along time, and at most one
            dimension more.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Returns:
        The artists by label. Exact zeros (−∞) are gaps.

    Raises:
        ValueError: where more than one dimension besides time is left.

    >>> band = {name: ("time", [0.0, 2.302585]) for name in ("centre", "low", "high")}
    >>> gradient_norms(xr.Dataset(band), label="run").curves["run"].get_ydata().round(4).tolist()
    [0.0, 1.0]
    """
    artists = TimeArtists(axes(ax))
    for curve in curves(data, "time", label, "gradient_norms"):
        low, high = powers(curve.data.low), powers(curve.data.high)
        artists.bands[curve.label] = band(artists.ax, curve, low, high, "time")
        artists.curves[curve.label] = line(artists.ax, curve, powers(curve.data.centre), "time")
    return _labelled(artists, GRADIENT_LABEL)


def gradient_paths(data: xr.Dataset, *, ax: Axes | None = None) -> TimeArtists:
    """Draw the norms of the neuron, recurrent and direct part of ∂L/∂u[t] against time, each with its band.

    `data` is a band with a dimension `path`, as `norm_band` gives for `grad_u_neuron` and its siblings.

    Raises ValueError where more than one dimension besides time is left.

    >>> band = {name: (("path", "time"), [[0.0], [-1.0], [-2.0]]) for name in ("centre", "low", "high")}
    >>> list(gradient_paths(xr.Dataset(band, {"path": list(PATHS)})).curves)
    ['neuron path', 'recurrent path', 'direct path']
    """
    artists = gradient_norms(data, ax=ax, label="{value} path")
    artists.ax.set_ylabel(r"$\log_{10}\,\|$ part of $\partial L\,/\,\partial u[t]\,\|$")
    return artists


def activity(data: xr.Dataset, *, ax: Axes | None = None, label: str = "{dim} {value}") -> TimeArtists:
    """Draw the firing rate (bold) and the share of neurons in the window (thin) against time, in percent.

    Args:
        data: `firing_rate` and `window` along time, shares, and at most one dimension more.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Returns:
        The artists; those of the window have their label with `, window` behind it.

    Raises:
        ValueError: where more than one dimension besides time is left.

    >>> shares = xr.Dataset({"firing_rate": ("time", [0.0, 0.5]), "window": ("time", [0.1, 0.2])})
    >>> activity(shares, label="run").curves["run"].get_ydata().tolist()
    [0.0, 50.0]
    """
    artists = TimeArtists(axes(ax))
    for curve in curves(data, "time", label, "activity"):
        rate, window = curve.data.firing_rate * 100.0, curve.data.window * 100.0
        artists.curves[curve.label] = line(artists.ax, curve, rate, "time", linewidth=1.6)
        thin = line(artists.ax, curve, window, "time", linewidth=0.7, label="_window", alpha=0.8)
        artists.curves[f"{curve.label}, window".removeprefix(", ")] = thin
    artists.ax.set_ylim(bottom=0.0)
    return _labelled(artists, "share of neurons  (%)")


def gradient_map(
    data: xr.DataArray, *, ax: Axes | None = None, limits: tuple[float, float] | None = None
) -> MapArtists:
    """Draw log₁₀ ‖∂L/∂u[t]‖ as a map of layer against time; cells that are exactly zero are grey.

    Args:
        data: log-norms (layer, time) in nats.
        ax: axes to draw on (default: those of a new figure).
        limits: ends of the colours in powers of ten (default: those of the data).

    Raises:
        ValueError: for other dimensions than layer and time.

    >>> norms = xr.DataArray([[0.0, -2.302585]], {"layer": [0], "time": [0, 1]}, ("layer", "time"))
    >>> gradient_map(norms).maps["gradient"].get_array().round(4).tolist()
    [[0.0, -1.0]]
    """
    if set(data.dims) != {"layer", "time"}:
        raise ValueError(f"gradient_map: got the dimensions {data.dims}, expected layer and time")
    artists_ax = axes(ax)
    values = powers(data.transpose("layer", "time"))
    low, high = limits or (None, None)
    mesh = artists_ax.pcolormesh(
        data["time"].values,
        data["layer"].values,
        np.ma.masked_invalid(values.values),
        norm=Normalize(low, high),
        cmap="viridis",
        shading="nearest",
        rasterized=True,
    )
    artists_ax.set_facecolor(NOTHING)
    artists_ax.grid(False)
    artists_ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    artists_ax.set_ylabel("layer")
    artists_ax.set_xlabel(TIME_LABEL)
    figure = artists_ax.figure
    bar = figure.colorbar(mesh, ax=artists_ax, label=GRADIENT_LABEL)
    return MapArtists(artists_ax, {"gradient": mesh}, bar)


def _labelled(artists: TimeArtists, words: str) -> TimeArtists:
    artists.ax.set_xlabel(TIME_LABEL)
    artists.ax.set_ylabel(words)
    return artists
