"""Pictures like tables: one row a variant, one dot with its interval a curve.

Axes: variant, and at most one dimension more.
"""

from dataclasses import dataclass, field

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import MARKERS, ordered_colours


@dataclass(frozen=True, repr=False)
class DotArtists(Shown):
    """The dots that were drawn, by label."""

    ax: Axes
    dots: dict[str, Line2D] = field(default_factory=dict)


def dot_rows(data: xr.Dataset, *, ax: Axes | None = None, label: str = "λ = {value}") -> DotArtists:
    """Draw a dot and its interval for each variant, the first variant at the top, a marker for each span.

    Args:
        data: `value`, `low` and `high` (span, variant).
        ax: axes to draw on (default: those of a new figure).
        label: text of each span, with {value}.

    >>> one = {name: (("span", "variant"), [[-0.5, -0.4]]) for name in ("value", "low", "high")}
    >>> artists = dot_rows(xr.Dataset(one, {"span": [1], "variant": ["triangle", "rectangle"]}))
    >>> artists.dots["λ = 1"].get_data()[0].tolist(), artists.dots["λ = 1"].get_data()[1].tolist()
    ([-0.5, -0.4], [0, -1])
    """
    artists = DotArtists(axes(ax))
    rows = -xr.DataArray(range(data.sizes["variant"]), dims="variant").values
    spans = data.span.values
    for place, (span, colour) in enumerate(zip(spans, ordered_colours(len(spans)), strict=True)):
        one, text = data.sel(span=span), label.format(value=span)
        artists.ax.hlines(rows, one.low.values, one.high.values, color=colour, linewidth=1.2)
        (artists.dots[text],) = artists.ax.plot(
            one.value.values, rows, color=colour, linestyle="", markersize=4.5, label=text,
            marker=MARKERS[place % len(MARKERS)],
        )  # fmt: skip
    artists.ax.set_yticks(rows, [str(name) for name in data.variant.values])
    artists.ax.set_ylim(rows[-1] - 0.6, 0.6)
    return artists
