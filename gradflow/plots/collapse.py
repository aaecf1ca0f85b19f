"""Pictures of time measured in spans: curves against the lag over λ, and λ · rate against λ.

Axes: span lag.
"""

from dataclasses import dataclass, field

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gradflow.plots.lines import curves, dashes_of, line, powers
from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import MARKERS, ordered_colours


@dataclass(frozen=True, repr=False)
class CollapseArtists(Shown):
    """What was drawn, by label: curves, or the points of a decay and its neuron path."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    neuron: dict[str, Line2D] = field(default_factory=dict)


def collapsed_curves(
    data: xr.Dataset, *, ax: Axes | None = None, label: str = "λ = {value}"
) -> CollapseArtists:
    """Draw the envelope of each curve against the lag in spans, one line a span.

    Args:
        data: `relative` (span, lag), log-norms in nats, and `lag_in_spans` (span, lag).
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    >>> dims = ("span", "lag")
    >>> one = {"relative": (dims, [[0.0, -2.302585]]), "lag_in_spans": (dims, [[0.0, 0.5]])}
    >>> artists = collapsed_curves(xr.Dataset(one, {"span": [2], "lag": [0, 1]}))
    >>> [values.round(3).tolist() for values in artists.curves["λ = 2"].get_data()]
    [[0.0, 0.5], [0.0, -1.0]]
    """
    artists = CollapseArtists(axes(ax))
    for curve in curves(data[["relative", "lag_in_spans"]], "lag", label, "collapsed_curves"):
        drawn = line(artists.ax, curve, powers(curve.data.relative), "lag")
        drawn.set_xdata(curve.data.lag_in_spans.values)
        artists.curves[curve.label] = drawn
    artists.ax.set_xlabel(r"lag in spans, $(T-t)\,/\,\lambda$")
    artists.ax.set_ylabel(r"$\log_{10}\,\|P(T,t)\|_F\,/\,\|P(T,T)\|_F$")
    return artists


def span_rates(data: xr.Dataset, *, ax: Axes | None = None, label: str = "α = {value:g}") -> CollapseArtists:
    """Draw −λ · rate against λ with its interval, a line for each decay, and the neuron path dotted.

    Args:
        data: `span_rate`, `span_rate_low`, `span_rate_high` and `span_neuron_rate` (decay, span), λ times
            rates in nats per step.
        ax: axes to draw on (default: those of a new figure).
        label: text of each line, with {value}, the decay.

    >>> names = ("span_rate", "span_rate_low", "span_rate_high", "span_neuron_rate")
    >>> one = {name: (("decay", "span"), [[-0.5, -0.6]]) for name in names}
    >>> artists = span_rates(xr.Dataset(one, {"decay": [0.5], "span": [1, 2]}))
    >>> artists.curves["α = 0.5"].get_ydata().tolist()
    [0.5, 0.6]
    """
    artists = CollapseArtists(axes(ax))
    decays = [float(decay) for decay in data.decay.values]
    for place, (decay, colour) in enumerate(zip(decays, ordered_colours(len(decays)), strict=True)):
        one, text = data.sel(decay=decay), label.format(value=decay)
        span = data.span.values
        artists.ax.vlines(span, -one.span_rate_high, -one.span_rate_low, color=colour, linewidth=1.0)
        (artists.curves[text],) = artists.ax.plot(
            span, -one.span_rate.values, color=colour, label=text, markersize=4.5,
            marker=MARKERS[place % len(MARKERS)], linestyle=dashes_of(place),
        )  # fmt: skip
        (artists.neuron[text],) = artists.ax.plot(
            span, -one.span_neuron_rate.values, color=colour, linestyle=":", linewidth=1.2
        )
    artists.ax.set(xscale="log", xticks=data.span.values, xlabel=r"span $\lambda$  (steps)")
    artists.ax.set_xticklabels([str(span) for span in data.span.values])
    artists.ax.xaxis.set_minor_locator(NullLocator())
    artists.ax.set_ylabel(r"$-\lambda\,\cdot$ rate  (nats per span)")
    return artists
