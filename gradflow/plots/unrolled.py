"""Drawings of a layer unrolled in time, its edges by span, and of the routes they make, by hops.

Axes: span, hop. In a drawing: x, the step from t on; y, 0 for potentials and 1 for spikes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import Colour, ordered_colours

THINNEST, WIDEST = 0.35, 2.3
"""Widths of an edge of weight 0 and of weight 1."""
HEAD = 0.62
"""Part of an edge at which its arrowhead lies: the ends are crowded."""
NODE = 5.0

Edge = tuple[float, float, float, float]


@dataclass(frozen=True, repr=False)
class UnrolledArtists(Shown):
    """What was drawn: one line for all edges of a kind (gaps between them), their heads, and the nodes."""

    ax: Axes
    edges: dict[str, Line2D] = field(default_factory=dict)
    heads: dict[str, Line2D] = field(default_factory=dict)
    nodes: dict[str, Line2D] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class RouteArtists(Shown):
    """Numbers of routes that were drawn."""

    ax: Axes
    counts: dict[str, Line2D] = field(default_factory=dict)


def unrolled(data: xr.Dataset, *, ax: Axes | None = None, hop_label: str = "$V$") -> UnrolledArtists:
    """Draw a layer unrolled in time: neuron path, spikes, and hops of each span, as wide as its weight.

    Args:
        data: `weight` along span, p_d, and a coordinate lag, 0 … the steps drawn.
        ax: axes to draw on (default: those of a new figure).
        hop_label: what stands beside a hop.

    Raises:
        ValueError: for other dimensions of `weight` than span, or no step to draw.

    >>> one = xr.Dataset({"weight": ("span", [1.0])}, {"span": [1], "lag": [0, 1, 2]})
    >>> sorted(unrolled(one).edges)
    ['neuron path', 'span 1', 'spikes']
    """
    steps = int(data.lag[-1])
    if data.weight.dims != ("span",) or steps < 1:
        raise ValueError(
            f"unrolled: got weight along {data.weight.dims} and {steps} steps, expected span and at least 1"
        )
    artists = UnrolledArtists(axes(ax))
    spans = [int(span) for span in data.span.values]
    for span, weight, colour in zip(spans, data.weight.values, ordered_colours(len(spans)), strict=True):
        if weight > 0.0 and span <= steps:
            hops = [(float(k), 1.0, float(k + span), 0.0) for k in range(steps - span + 1)]
            width = THINNEST + (WIDEST - THINNEST) * float(weight)
            _edges(artists, f"span {span}", hops, colour, width)
    _edges(artists, "spikes", [(float(k), 0.0, float(k), 1.0) for k in range(steps)], (0.6, 0.6, 0.6), 1.0)
    _edges(
        artists,
        "neuron path",
        [(float(k), 0.0, float(k + 1), 0.0) for k in range(steps)],
        (0.0, 0.0, 0.0),
        1.6,
    )
    _nodes(artists, steps)
    drawn = [span for span, weight in zip(spans, data.weight.values, strict=True) if weight > 0.0]
    _letter(artists.ax, 0.5, 0.0, "$a$", below=True)
    _letter(artists.ax, 0.0, 0.5, r"$\varphi$")
    if drawn and min(drawn) <= steps:  # the last hop of the narrowest span has room beside it
        _letter(artists.ax, steps - 0.5 * min(drawn), 0.5, hop_label, aside=True)
    _frame(artists.ax, steps)
    return artists


def route_counts(counts: xr.DataArray, *, ax: Axes | None = None) -> RouteArtists:
    """Draw how many routes take k hops, each with its number; none is a gap.

    >>> counts = xr.DataArray([1.0, 2.0], {"hop": [0, 1]}, "hop")
    >>> route_counts(counts).counts["routes"].get_ydata().tolist()
    [1.0, 2.0]
    """
    drawn = axes(ax)
    hops = counts.hop.values
    values = counts.where(counts > 0.0).values
    drawn.vlines(hops, 0.0, np.nan_to_num(values), color="0.3", linewidth=1.2)
    (line,) = drawn.plot(hops, values, color="0.15", marker="o", markersize=4.0, linestyle="", label="routes")
    for hop, value in zip(hops, values, strict=True):
        if np.isfinite(value):
            drawn.annotate(
                f"{value:.0f}", (hop, value), xytext=(0, 4), textcoords="offset points", ha="center",
                fontsize=7.5,
            )  # fmt: skip
    drawn.set_ylim(0.0, 1.25 * float(np.nanmax(values)))
    drawn.set_yticks([])
    drawn.grid(False)
    drawn.spines["left"].set_visible(False)
    drawn.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawn.set_xlim(float(hops[0]) - 0.5, float(hops[-1]) + 0.5)
    drawn.set_xlabel("hops $k$ of a route")
    return RouteArtists(drawn, {"routes": line})


def _edges(artists: UnrolledArtists, name: str, edges: Sequence[Edge], colour: Colour, width: float) -> None:
    """Draw edges as one line with gaps, and a head on each, turned as edges are: both axes have one scale."""
    x = np.array([[x0, x1, np.nan] for x0, _, x1, _ in edges]).ravel()
    y = np.array([[y0, y1, np.nan] for _, y0, _, y1 in edges]).ravel()
    (artists.edges[name],) = artists.ax.plot(
        x, y, color=colour, linewidth=width, zorder=2, solid_capstyle="butt"
    )
    x0, y0, x1, y1 = edges[0]
    turned = MarkerStyle(">").rotated(rad=math.atan2(y1 - y0, x1 - x0))
    places = [(x0 + HEAD * (x1 - x0), y0 + HEAD * (y1 - y0)) for x0, y0, x1, y1 in edges]
    (artists.heads[name],) = artists.ax.plot(
        *zip(*places, strict=True), color=colour, marker=turned, markersize=2.2 + 1.1 * width, linestyle="",
        markeredgewidth=0.0, zorder=2.2,
    )  # fmt: skip


def _nodes(artists: UnrolledArtists, steps: int) -> None:
    """Draw potentials as circles, those of both ends filled, and spikes as grey ones."""
    times = np.arange(steps + 1)
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": NODE, "zorder": 3}
    (artists.nodes["spikes"],) = artists.ax.plot(
        times[:-1], np.ones(steps), markerfacecolor="0.85", markeredgecolor="0.35", **look
    )
    faces = {"potentials": (times[1:-1], "white"), "ends": (times[[0, -1]], "black")}
    for name, (at, face) in faces.items():
        (artists.nodes[name],) = artists.ax.plot(
            at, np.zeros(len(at)), markerfacecolor=face, markeredgecolor="black", **look
        )


def _letter(ax: Axes, x: float, y: float, text: str, *, below: bool = False, aside: bool = False) -> None:
    away = (0.0, -4.0) if below else (4.0, 4.0) if aside else (-4.0, 0.0)
    ax.annotate(
        text, (x, y), xytext=away, textcoords="offset points", fontsize=8.5, zorder=4,
        ha="center" if below else "left" if aside else "right", va="top" if below else "center",
    )  # fmt: skip


def _frame(ax: Axes, steps: int) -> None:
    """Give both axes one scale, and name the steps and the two rows."""
    words = ["$t$", *(f"$t+{k}$" for k in range(1, steps)), "$T$"]
    ax.set_aspect("equal")
    ax.set_xlim(-0.45, steps + 0.3)
    ax.set_ylim(-0.28, 1.15)
    ax.set_xticks(range(steps + 1), words)
    ax.set_yticks([0.0, 1.0], ["potentials $u$", "spikes $s$"])
    ax.tick_params(length=0)
    ax.grid(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
