"""How the figure decay-rate is drawn, from its dataset alone.

Axes: decay span rung.
"""

import json
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from gradflow.figures.decay_rate_claims import OPERATOR_ERROR, TYPICAL
from gradflow.plots import decay_rates, name_ends, rate_errors, rung_looks, style

CAPTION = (
    "How fast the Jacobian product of a recurrent spiking layer decays per step, against its span λ, for "
    "several decays α of the potential. Above: points, the measured rate with its 95 % interval over "
    "networks; lines, what the rungs of the theory predict. There are two regimes: the neuron path decays at "
    "log α whatever the span (dotted), the recurrent path about as 1/λ (grey); the slower one is what is "
    "measured. They cross, in steps, at the diamond: where a power law through the two narrowest spans of "
    "the recurrent path meets log α, mean over networks and 95 % interval; predicted: the same read from "
    "the rates of the last rung. Below 1 the recurrent path wins at every span. Middle: how far each rung "
    "is from the measured rate; shaded, 5 %. Below: the bound, which no product ever exceeds, but which "
    "allows growth where it is positive. The characteristic root takes the mean factors, a = E a, b = E φ; "
    "mean square takes their mean squares; variance propagation each neuron's own, with V drawn anew at each "
    "step; the transfer operator all second moments, with the one V there is: the rate of the average "
    "product. The typical product, up to span 8, adds what its log-norms scatter and what steps remember."
)
BOUND = "bound"
NEURON: dict[str, Any] = {"color": "black", "linestyle": ":", "linewidth": 1.4, "zorder": 2.6}
RECURRENT: dict[str, Any] = {"color": "0.6", "linewidth": 1.0, "zorder": 1.8}


def draw(data: xr.Dataset) -> Picture:
    """Draw a column for each decay: rates, errors and the bound; everything shown is read from `data`."""
    decays = list(data.decay.values)
    with style():
        picture = Picture(figsize=(2.0 + 1.75 * len(decays), 7.0))
        panels = picture.subplots(
            3, len(decays), sharex=True, sharey="row", squeeze=False, height_ratios=(3.2, 2.4, 1.0)
        )
        for place, column in enumerate(panels.T):
            panel = data.isel(decay=place)
            _rates(column[0], panel, first=place == 0)
            _errors(column[1], panel, last=place == len(decays) - 1)
            _bound(column[2], panel, last=place == len(decays) - 1)
            column[0].set_title(_regimes(panel), fontsize=8)
            column[2].set_xlabel("span λ (steps)")
        for ax in panels[:, 1:].ravel():
            ax.set_ylabel("")
        picture.suptitle(_title(data))
    return picture


def _rates(ax: Axes, panel: xr.Dataset, *, first: bool) -> None:
    """Draw the rates, the two paths, and where they cross."""
    decay_rates(panel, ax=ax, skip=(BOUND,))
    alone = -float(panel.neuron_path_rate)
    ax.axhline(alone, label="neuron path: log α", **NEURON)
    ax.plot(panel.span, -panel.recurrent_path_rate, label="recurrent path: 1/λ", **RECURRENT)
    ax.plot(
        [float(panel.crossing)], [alone], marker="D", markersize=5.5, markerfacecolor="white",
        color="black", linestyle="", label="where they cross", zorder=2.9,
    )  # fmt: skip
    ax.set_xlim(float(panel.span[0]) / 1.25, float(panel.span[-1]) * 1.25)
    if first:
        paths = [line for line in ax.lines if " path: " in str(line.get_label()) or line.get_marker() == "D"]
        ax.legend(handles=[ax.containers[0], *paths], loc="lower left", handlelength=1.6, borderpad=0.1)


def _errors(ax: Axes, panel: xr.Dataset, *, last: bool) -> None:
    artists = rate_errors(panel, ax=ax, skip=(BOUND,))
    allowed = 100.0 * OPERATOR_ERROR
    ax.axhspan(-allowed, allowed, color="0.5", alpha=0.15, linewidth=0, zorder=0.5)
    if last:
        whole = {rung: line for rung, line in artists.rungs.items() if rung != TYPICAL}
        name_ends(ax, whole, room=0.08)  # the panel is low
        if TYPICAL in artists.rungs:
            _name_above(ax, artists.rungs[TYPICAL], TYPICAL)


def _name_above(ax: Axes, line: Line2D, text: str) -> None:
    """Name a line that ends within the panel, above its last point."""
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    known = np.flatnonzero(np.isfinite(y))
    if known.size:
        place, colour = (x[known[-1]], y[known[-1]]), line.get_color()
        ax.annotate(
            text, place, xytext=(3, 10), textcoords="offset points", ha="left", va="center", color=colour,
            fontsize=8.5, zorder=3.5,
        )  # fmt: skip


def _bound(ax: Axes, panel: xr.Dataset, *, last: bool) -> None:
    look = rung_looks([str(rung) for rung in panel.rung.values])[BOUND]
    ax.plot(panel.span, panel.predicted.sel(rung=BOUND), label=BOUND, **look)
    ax.axhline(0.0, color="black", linewidth=0.8, zorder=1.5)
    ax.set_ylabel("bound\n(nats per step)")
    if last:
        ax.annotate(
            "bound: above 0\nit allows growth", (1.03, 0.5), xycoords="axes fraction", va="center",
            fontsize=8.5, color="0.25",
        )  # fmt: skip


def _regimes(panel: xr.Dataset) -> str:
    """Say which path carries the gradient, and where the two cross."""
    where, low, high, predicted = (
        float(panel[name]) for name in ("crossing", "crossing_low", "crossing_high", "crossing_predicted")
    )
    alone = [str(span) for span, on in zip(panel.span.values, panel.recurrent.values, strict=True) if not on]
    carried = f"neuron path at λ = {', '.join(alone)}" if alone else "recurrent path at every span"
    interval = f" ({low:#.2g} … {high:#.2g})" if np.isfinite(low) else ""
    crossing = f"crossing {where:#.2g}{interval}" if np.isfinite(where) else "no crossing"
    expected = f"predicted {predicted:#.2g}" if np.isfinite(predicted) else "none predicted"
    return "\n".join([f"α = {float(panel.decay):g}", carried, crossing, expected])


def _title(data: xr.Dataset) -> str:
    config = json.loads(str(data.attrs["config"]))
    return f"Rate of decay against span: {config['task']}, one layer of {config['hidden']}"
