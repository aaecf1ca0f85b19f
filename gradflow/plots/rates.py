"""Decay rates against span: measured with their interval, and what every rung of the theory predicts.

Axes: span, and rung.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gradflow.plots.curves import HALO, MEDIUM, THICK
from gradflow.plots.shown import Shown
from gradflow.plots.shown import axes as new_axes
from gradflow.plots.style import DASHES, ordered_colours

MEASURED = "measured"


@dataclass(frozen=True, repr=False)
class RateArtists(Shown):
    """What was drawn, by rung, so that a test or a reader can ask a picture for its data."""

    ax: Axes
    rungs: dict[str, Line2D] = field(default_factory=dict)
    measured: ErrorbarContainer | None = None


def rung_looks(rungs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how each rung of a ladder is drawn: from light to dark, the last one thick, no two alike.

    >>> looks = rung_looks(["bound", "mean square", "transfer operator"])
    >>> [look["linewidth"] for look in looks.values()]
    [1.2, 1.2, 1.9]
    """
    patterns = ["-", *DASHES[1:]]
    colours = ordered_colours(len(rungs))[::-1]
    return {
        rung: {
            "color": colours[place],
            "linestyle": DASHES[0] if place == len(rungs) - 1 else patterns[place % len(patterns)],
            "linewidth": THICK if place == len(rungs) - 1 else MEDIUM,
        }
        for place, rung in enumerate(rungs)
    }


def decay_rates(data: xr.Dataset, *, ax: Axes | None = None, skip: Sequence[str] = ()) -> RateArtists:
    """Draw −rate against span, both logarithmic: what is measured as points, every rung as a line.

    Args:
        data: `rate`, `rate_low`, `rate_high` (span) and `predicted` (span, rung), in nats per step.
        ax: axes to draw on (default: those of a new figure).
        skip: rungs that are not drawn, such as a bound that allows growth.

    Rates that do not decay have no place on the axis and are gaps.

    >>> one = {name: ("span", [-0.5]) for name in ("rate", "rate_low", "rate_high")}
    >>> one |= {"predicted": (("span", "rung"), [[-0.4]])}
    >>> artists = decay_rates(xr.Dataset(one, {"span": [1], "rung": ["mean square"]}))
    >>> artists.rungs["mean square"].get_ydata().tolist()
    [0.4]
    """
    axes = new_axes(ax)
    axes.set_yscale("log")
    lines = _lines(axes, data, -data.predicted.where(data.predicted < 0.0), skip)
    rate = -data.rate.where(data.rate < 0.0)
    # an interval that reaches growth ends at the rate itself: nothing below can be drawn
    slow = (rate + data.rate_high).where(data.rate_high < 0.0, 0.0)
    fast = -data.rate_low - rate
    measured = axes.errorbar(
        data.span.values,
        rate.values,
        yerr=np.nan_to_num([slow.values, fast.values]),
        color="black",
        linestyle="",
        marker="o",
        markersize=3.6,
        capsize=2.2,
        elinewidth=0.9,
        zorder=3,
        label=MEASURED,
    )
    axes.set_ylabel("decay rate (nats per step)")
    return RateArtists(axes, lines, measured)


def rate_errors(data: xr.Dataset, *, ax: Axes | None = None, skip: Sequence[str] = ()) -> RateArtists:
    """Draw every rung's relative error, predicted / measured − 1 in percent, against the span.

    Args:
        data: `error` (span, rung).
        ax: axes to draw on (default: those of a new figure).
        skip: rungs that are not drawn.

    >>> error = xr.DataArray([[0.25]], {"span": [1], "rung": ["mean square"]}, ["span", "rung"])
    >>> rate_errors(error.to_dataset(name="error")).rungs["mean square"].get_ydata().tolist()
    [25.0]
    """
    axes = new_axes(ax)
    lines = _lines(axes, data, 100.0 * data.error, skip)
    axes.axhline(0.0, color="black", linewidth=0.8, zorder=1.5)
    axes.set_ylabel("predicted / measured − 1 (%)")
    return RateArtists(axes, lines)


def _lines(ax: Axes, data: xr.Dataset, values: xr.DataArray, skip: Sequence[str]) -> dict[str, Line2D]:
    """Draw one line for each rung, over a logarithmic axis of spans with a tick at each."""
    lines = {}
    for rung, look in rung_looks([str(name) for name in data.rung.values]).items():
        if rung not in skip:
            (lines[rung],) = ax.plot(
                data.span, values.sel(rung=rung), label=rung, path_effects=HALO, zorder=2.4, **look
            )
    ax.set_xscale("log", base=2)
    ax.set_xticks(data.span.values, [str(span) for span in data.span.values])
    ax.xaxis.set_minor_locator(NullLocator())
    return lines
