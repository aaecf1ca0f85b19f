"""Pictures of Jacobian products beside their decay curves: shares of zeros, and the norms of their paths.

Axes: lag hop.
"""

from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from gradflow.plots.lines import band, curves, line, powers
from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import ordered_colours

LAG_LABEL = "lag $T-t$  (steps)"
HOPS_DRAWN = 6
"""Numbers of hops drawn one by one: more lines cannot be told apart."""


@dataclass(frozen=True, repr=False)
class ZeroArtists(Shown):
    """Shares of zeros that were drawn, by label: those of the structure, and those with underflow."""

    ax: Axes
    structural: dict[str, Line2D] = field(default_factory=dict)
    underflow: dict[str, Line2D] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class PathArtists(Shown):
    """Parts of a product that were drawn, by label."""

    ax: Axes
    parts: dict[str, Line2D] = field(default_factory=dict)
    hops: dict[int, Line2D] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class HopArtists(Shown):
    """Numbers of hops that were drawn, by label: measured with their band, and the most there can be."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)
    most: dict[str, Line2D] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class FormatArtists(Shown):
    """Shares of zeros that were drawn: one line a number format, and the area of the structure."""

    ax: Axes
    formats: dict[str, Line2D] = field(default_factory=dict)
    structural: PolyCollection | None = None


def zero_shares(data: xr.Dataset, *, ax: Axes | None = None, label: str = "{dim} {value}") -> ZeroArtists:
    """Draw which share of a product's elements is zero: by structure (thin), and in float32 at all (bold).

    Args:
        data: `share_structural` and `share_float32` along lag (as in `zero_summary`), and at most one
            dimension more.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Raises:
        ValueError: where more than one dimension besides lag is left.

    >>> shares = {"share_structural": ("lag", [0.0, 0.25]), "share_float32": ("lag", [0.0, 0.5])}
    >>> zero_shares(xr.Dataset(shares), label="run").underflow["run"].get_ydata().tolist()
    [0.0, 75.0]
    """
    artists = ZeroArtists(axes(ax))
    for curve in curves(data, "lag", label, "zero_shares"):
        structural, lost = curve.data.share_structural, curve.data.share_float32
        both = (structural + lost) * 100.0
        artists.underflow[curve.label] = line(artists.ax, curve, both, "lag", linewidth=1.6)
        artists.structural[curve.label] = line(
            artists.ax, curve, structural * 100.0, "lag", linewidth=0.7, label="_structural"
        )
    artists.ax.set_ylim(-2.0, 102.0)
    artists.ax.set_xlabel(LAG_LABEL)
    artists.ax.set_ylabel("elements of $P$ that are 0  (%)")
    return artists


def path_norms(data: xr.Dataset, *, ax: Axes | None = None) -> PathArtists:
    """Draw the norms of the whole product, its neuron path, its recurrent path, and of single hops (thin).

    `data` holds `whole`, `neuron` and `recurrent` along lag and `hops` (hop, lag), in nats: medians over
    samples. Exact zeros are gaps.

    >>> parts = {name: ("lag", [0.0, 2.302585]) for name in ("whole", "neuron", "recurrent")}
    >>> hops = xr.DataArray([[0.0, 0.0], [0.0, -1.0]], {"hop": [0, 1]}, ("hop", "lag"))
    >>> path_norms(xr.Dataset({**parts, "hops": hops})).parts["whole"].get_ydata().round(4).tolist()
    [0.0, 1.0]
    """
    artists = PathArtists(axes(ax))
    hops = [int(hop) for hop in data.hop.values if hop > 0][:HOPS_DRAWN]
    for hop, colour in zip(hops, ordered_colours(len(hops)), strict=True):
        values = powers(data.hops.sel(hop=hop))
        (artists.hops[hop],) = artists.ax.plot(
            data.lag.values, values.values, color=colour, linewidth=0.7, label=f"_{hop}"
        )
    looks: dict[str, dict[str, Any]] = {
        "whole": {"color": "black", "linewidth": 1.8},
        "neuron": {"color": "black", "linewidth": 1.4, "linestyle": ":"},
        "recurrent": {"color": "0.45", "linewidth": 1.6, "linestyle": "--"},
    }
    for name, look in looks.items():
        text = "all paths" if name == "whole" else f"{name} path"
        (artists.parts[name],) = artists.ax.plot(
            data.lag.values, powers(data[name]).values, label=text, **look
        )
    artists.ax.set_xlabel(LAG_LABEL)
    artists.ax.set_ylabel(r"$\log_{10}\,\|$ part of $\partial u[T]\,/\,\partial u[t]\,\|_F$")
    return artists


def hop_counts(data: xr.Dataset, *, ax: Axes | None = None, label: str = "{dim} {value}") -> HopArtists:
    """Draw how many recurrent hops carry a product, against the lag, and the most there can be (dotted).

    Args:
        data: `mean_hops`, `mean_hops_low`, `mean_hops_high` and `most_hops` along lag, and at most one
            dimension more.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Raises:
        ValueError: where more than one dimension besides lag is left.

    >>> names = ("mean_hops", "mean_hops_low", "mean_hops_high", "most_hops")
    >>> one = xr.Dataset({name: ("lag", [0.0, 1.0]) for name in names}, {"lag": [0, 1]})
    >>> hop_counts(one, label="run").curves["run"].get_ydata().tolist()
    [0.0, 1.0]
    """
    artists = HopArtists(axes(ax))
    shown = data[["mean_hops", "mean_hops_low", "mean_hops_high", "most_hops"]]
    for curve in curves(shown, "lag", label, "hop_counts"):
        low, high = curve.data.mean_hops_low, curve.data.mean_hops_high
        artists.bands[curve.label] = band(artists.ax, curve, low, high, "lag")
        artists.curves[curve.label] = line(artists.ax, curve, curve.data.mean_hops, "lag")
        artists.most[curve.label] = line(
            artists.ax, curve, curve.data.most_hops, "lag", linestyle=":", linewidth=1.0, label="_most"
        )
    artists.ax.set_xlabel(LAG_LABEL)
    artists.ax.set_ylabel("recurrent hops $k$")
    return artists


def format_shares(data: xr.Dataset, *, ax: Axes | None = None) -> FormatArtists:
    """Draw which share of a product's elements is zero: by structure (area), and in each format (lines).

    Args:
        data: `structural` (lag) and `zero` (format, lag), shares; `zero` has the structural ones in it.
        ax: axes to draw on (default: those of a new figure).

    >>> shares = {"structural": ("lag", [0.0, 0.25]), "zero": (("format", "lag"), [[0.0, 0.5]])}
    >>> artists = format_shares(xr.Dataset(shares, {"format": ["float16"], "lag": [0, 1]}))
    >>> artists.formats["float16"].get_ydata().tolist()
    [0.0, 50.0]
    """
    drawn = axes(ax)
    lines = {}
    for curve in curves(data[["zero"]], "lag", "{value}", "format_shares"):
        lines[curve.label] = line(drawn, curve, curve.data.zero * 100.0, "lag")
    area = drawn.fill_between(
        data.lag.values, 0.0, data.structural.values * 100.0, color="0.75", linewidth=0, label="structure"
    )
    drawn.set_ylim(0.0, 102.0)
    drawn.set_xlabel(LAG_LABEL)
    drawn.set_ylabel("elements of $P$ that are 0  (%)")
    return FormatArtists(drawn, lines, area)
