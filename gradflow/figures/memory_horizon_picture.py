"""How the figure memory-horizon is drawn, from its dataset alone.

Axes: span delay seed. Delays and horizons are in steps, on logarithmic axes.
"""

import json
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import NullLocator

from gradflow.figures.memory_horizon_claims import FACTOR, agreement
from gradflow.plots import style
from gradflow.plots.curves import BROAD, HALO, MEDIUM
from gradflow.plots.lines import BAND, dashes_of
from gradflow.plots.style import MARKERS, Colour, ordered_colours

CAPTION = (
    "Memory decides: a recurrent spiking layer learns delayed recall up to the horizon that theory reads off "
    "it before training. Left: accuracy on the test split after training, for one delay after another; line, "
    "median over networks, band, from the worst to the best. A delay is learned above the dashed line, "
    "halfway from chance (dotted) to 1; diamond on it, with its range over networks: the predicted horizon, "
    "the lag at which the transfer operator's curve of ‖∂u[T]/∂u[T−n]‖ falls below a thousandth of its "
    "start, from forward statistics at initialisation alone. The thousandth is the package's default, taken "
    "from no training. Right: the longest delay that each network learns before it fails two in a row, "
    "against its predicted horizon; the stroke upwards ends at the next delay of the grid; line, equality; "
    "shaded, a factor of 2. The class is shown for as many steps as the widest span has, so that no delay "
    "suits the comb of one span better than that of another; distractors go on in the wait; the loss is on "
    "the last step. Longer delays are tried until no network of the span learns two in a row. All trainings "
    "are the same but for span, delay and "
    "seed."
)
TICKS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
APART = 1.5
"""Least ratio of the places of two names above the left panel."""


def draw(data: xr.Dataset) -> Picture:
    """Draw accuracy against delay, and delay learned against horizon; everything shown is in `data`."""
    config = json.loads(str(data.attrs["config"]))
    looks = span_looks([int(span) for span in data.span.values])
    with style():
        picture = Picture(figsize=(9.6, 4.6))
        left, right = picture.subplots(1, 2, width_ratios=(1.25, 1.0))
        _accuracy(left, data, looks)
        _horizons(right, data, looks)
        what = f"delayed recall, one layer of {config['hidden']}"
        picture.suptitle(f"Longest delay learned against predicted horizon: {what}")
    return picture


def span_looks(spans: list[int]) -> dict[int, dict[str, Any]]:
    """Return colour, dashes and marker of each span."""
    colours = ordered_colours(len(spans))
    return {
        span: {
            "color": colours[place],
            "linestyle": dashes_of(place),
            "marker": MARKERS[place % len(MARKERS)],
        }
        for place, span in enumerate(spans)
    }


def _accuracy(ax: Axes, data: xr.Dataset, looks: dict[int, dict[str, Any]]) -> None:
    chance, threshold = (float(data.attrs[name]) for name in ("chance", "threshold"))
    ax.set_xscale("log", base=2)
    names = {}
    for span, look in looks.items():
        here = data.sel(span=span)
        tried = here.accuracy.dropna("delay", how="all")
        middle = tried.median("seed")
        broad = BROAD if span == 1 else 1.6
        ax.plot(tried.delay, middle, label=_name(span), linewidth=broad, markersize=3.5, zorder=2.4, **look)
        ax.fill_between(
            tried.delay, tried.min("seed"), tried.max("seed"), color=look["color"], alpha=BAND, linewidth=0
        )
        foreseen = here.predicted.where(np.isfinite(here.predicted)).dropna("seed")
        if foreseen.size:
            _diamond(ax, foreseen, threshold, look["color"])
        names[span] = max(float(here.learned.median("seed")), float(tried.delay[0]))
    ax.axhline(threshold, color="0.4", linestyle="--", linewidth=MEDIUM, zorder=1.6)
    ax.axhline(chance, color="0.4", linestyle=":", linewidth=MEDIUM, zorder=1.6)
    ax.set_ylim(0.0, 1.0 + 0.03)
    ax.set_xlabel("delay (steps)")
    ax.set_ylabel("accuracy on the test split (share)")
    for text, height in (("learned above", threshold), ("chance", chance)):
        ax.annotate(
            text, (0.0, height), xycoords=("axes fraction", "data"), xytext=(4, 2), fontsize=8,
            textcoords="offset points", ha="left", va="bottom", color="0.25",
        )  # fmt: skip
    _names_above(ax, names, looks)
    _ticks(ax)


def _diamond(ax: Axes, foreseen: xr.DataArray, height: float, colour: Colour) -> None:
    """Mark the predicted horizon, with its range over networks."""
    middle, low, high = (float(part) for part in (foreseen.median(), foreseen.min(), foreseen.max()))
    ax.errorbar(
        [middle], [height], xerr=[[middle - low], [high - middle]], marker="D", markersize=6,
        markerfacecolor="white", markeredgecolor=colour, markeredgewidth=1.5, ecolor=colour, capsize=2.5,
        linestyle="", zorder=3.2,
    )  # fmt: skip


def _names_above(ax: Axes, places: dict[int, float], looks: dict[int, dict[str, Any]]) -> None:
    """Write each span above where its curve falls, from left to right and never over another."""
    before = 0.0
    for span, place in sorted(places.items(), key=lambda item: item[1]):
        at = max(place, APART * before)
        before = at
        text = "λ = 1\nvanilla" if span == 1 else str(span)
        ax.annotate(
            text, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3), ha="center", va="bottom",
            textcoords="offset points", color=_dark(looks[span]["color"]), fontsize=8.5, fontweight="bold",
            annotation_clip=False,
        )  # fmt: skip


def _horizons(ax: Axes, data: xr.Dataset, looks: dict[int, dict[str, Any]]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    delays = data.delay.values.astype(float)
    for span, look in looks.items():
        here = data.sel(span=span)
        known = here.where((here.learned > 0.0) & np.isfinite(here.predicted)).dropna(
            "seed", subset=["learned", "predicted"]
        )
        x, y = known.predicted.values, known.learned.values
        above = np.array([delays[delays > value].min(initial=2.0 * value) for value in y])
        ax.errorbar(
            x, y, yerr=[np.zeros_like(y), above - y], label=_name(span), color=look["color"],
            marker=look["marker"], markersize=7 if span == 1 else 5.5, linestyle="", elinewidth=0.8,
            markerfacecolor=look["color"] if span == 1 else "white", markeredgewidth=1.4, zorder=2.6,
        )  # fmt: skip
        if x.size:
            ax.annotate(
                _name(span), (x.max(), y[x.argmax()]), xytext=(8, -4), textcoords="offset points",
                va="top", ha="left", color=_dark(look["color"]), fontsize=8.5, fontweight="bold",
                path_effects=HALO, zorder=3.5,
            )  # fmt: skip
    ends = _ends(data)
    line = np.array(ends)
    ax.plot(line, line, color="black", linewidth=1.0, label="equality", zorder=1.6)
    ax.fill_between(line, line / FACTOR, line * FACTOR, color="0.5", alpha=0.13, linewidth=0, zorder=0.5)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_aspect("equal")
    ax.set_xlabel("horizon predicted at initialisation (steps)")
    ax.set_ylabel("longest delay learned (steps)")
    ax.annotate(
        _said(data), (0.0, 1.0), xycoords="axes fraction", xytext=(5, -4), textcoords="offset points",
        ha="left", va="top", fontsize=7.5, linespacing=1.35, color="0.15",
    )  # fmt: skip
    _ticks(ax, both=True)


def _ends(data: xr.Dataset) -> tuple[float, float]:
    """Return the least and greatest number of the right panel, with room."""
    shown = np.concatenate([data.learned.values.ravel(), data.predicted.values.ravel()])
    shown = shown[np.isfinite(shown) & (shown > 0.0)]
    return (float(shown.min()) / 1.6, float(shown.max()) * 2.4) if shown.size else (1.0, 2.0)


def _ticks(ax: Axes, *, both: bool = False) -> None:
    for axis, ends in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if axis is ax.xaxis or both:
            ticks = [tick for tick in TICKS if ends[0] <= tick <= ends[1]]
            axis.set_ticks(ticks, [str(tick) for tick in ticks])
            axis.set_minor_locator(NullLocator())


def _said(data: xr.Dataset) -> str:
    """Say how far prediction and training agree."""
    found = agreement(data)
    return "\n".join(
        [
            f"learned / predicted: {found.ratio:.2f} in the median",
            f"{found.within} of {found.networks} networks within a factor of {FACTOR:g}",
            f"rank correlation {found.rank:.2f}, within spans {found.within_spans:.2f}",
            f"level {float(data.attrs['level']):.1g}, set before (best fit {found.level:.1g})",
        ]
    )


def _name(span: int) -> str:
    return "vanilla" if span == 1 else f"λ = {span}"


def _dark(colour: Colour) -> Colour:
    """Return a darker colour: letters need more contrast than lines."""
    red, green, blue = to_rgb(colour)
    return (0.8 * red, 0.8 * green, 0.8 * blue)
