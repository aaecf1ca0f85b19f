"""Pictures of spectra: singular values and their participation against the lag, and Lyapunov exponents.

Axes: rank lag, span rank.
"""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gradflow.analysis.spectra import spectrum_band
from gradflow.plots.lines import band, curves, line, powers
from gradflow.plots.products import LAG_LABEL
from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import MARKERS


@dataclass(frozen=True, repr=False)
class SpectrumArtists(Shown):
    """What was drawn, by label: lines with their bands, the neuron path, and measured rates."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)
    neuron: dict[str, Line2D] = field(default_factory=dict)
    rates: dict[str, Line2D] = field(default_factory=dict)


def singular_values(
    data: xr.Dataset, *, ax: Axes | None = None, decay: float | None = None, label: str = "i = {value}"
) -> SpectrumArtists:
    """Draw log₁₀ σ_i of the Jacobian product against the lag, a line and band for each rank i.

    Exact zeros and values that are not known are gaps.

    Args:
        data: as of `gradflow.singular_values`, or `centre`, `low` and `high` (rank, lag) in nats, as of
            `spectrum_band`.
        ax: axes to draw on (default: those of a new figure).
        decay: α, for the neuron path αⁿ, dotted.
        label: text of each line, with {value}, the rank.

    Raises:
        ValueError: where more dimensions than rank and lag are left.

    >>> one = xr.Dataset({"log_singular": (("lag", "index"), [[0.0], [-2.302585]])}, {"lag": [0, 1]})
    >>> singular_values(one).curves["i = 1"].get_ydata().round(4).tolist()
    [0.0, -1.0]
    """
    shown = data if "centre" in data else spectrum_band(data)
    artists = SpectrumArtists(axes(ax))
    for curve in curves(shown[["centre", "low", "high"]], "lag", label, "singular_values"):
        low, high = powers(curve.data.low), powers(curve.data.high)
        artists.bands[curve.label] = band(artists.ax, curve, low, high, "lag")
        artists.curves[curve.label] = line(artists.ax, curve, powers(curve.data.centre), "lag")
    if decay is not None:
        lag = shown.lag.values
        (artists.neuron["neuron path"],) = artists.ax.plot(
            lag, lag * np.log10(decay), color="black", linestyle=":", linewidth=1.4, label="neuron path"
        )
    artists.ax.set_xlabel(LAG_LABEL)
    artists.ax.set_ylabel(r"$\log_{10}\,\sigma_i$ of $\partial u[T]\,/\,\partial u[t]$")
    return artists


def participation(
    data: xr.Dataset, *, ax: Axes | None = None, label: str = "{dim} {value}"
) -> SpectrumArtists:
    """Draw how many directions carry a product, (Σσ²)²/Σσ⁴, against the lag, on a logarithmic scale.

    Args:
        data: `centre`, `low` and `high` along lag, and at most one dimension more.
        ax: axes to draw on (default: those of a new figure).
        label: text of each line, with {dim} and {value}.

    Raises:
        ValueError: where more than one dimension besides lag is left.

    >>> one = xr.Dataset({name: ("lag", [8.0, 2.0]) for name in ("centre", "low", "high")}, {"lag": [0, 1]})
    >>> participation(one, label="run").curves["run"].get_ydata().tolist()
    [8.0, 2.0]
    """
    artists = SpectrumArtists(axes(ax))
    for curve in curves(data[["centre", "low", "high"]], "lag", label, "participation"):
        artists.bands[curve.label] = band(artists.ax, curve, curve.data.low, curve.data.high, "lag")
        artists.curves[curve.label] = line(artists.ax, curve, curve.data.centre, "lag")
    artists.ax.set_yscale("log", base=2)
    artists.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    artists.ax.set_xlabel(LAG_LABEL)
    artists.ax.set_ylabel("directions that carry $P$")
    return artists


def lyapunov_exponents(
    data: xr.Dataset,
    *,
    rate: xr.DataArray | None = None,
    decay: float | None = None,
    ax: Axes | None = None,
    label: str = "{dim} {value}",
) -> SpectrumArtists:
    """Draw Lyapunov exponents in descending order against their rank, both on logarithmic scales.

    Up is slower decay. What does not decay (an exponent of 0 or more), is lost (−∞) or is not known is a gap.

    Args:
        data: `centre`, `low` and `high` along rank in nats per step, and at most one dimension more.
        rate: measured rates of decay along the same dimension, in nats per step: open markers at rank 1.
        decay: α, for the neuron path's log α, dotted.
        ax: axes to draw on (default: those of a new figure).
        label: text of each line, with {dim} and {value}.

    Raises:
        ValueError: where more than one dimension besides rank is left.

    >>> one = xr.Dataset({name: ("rank", [-0.5, -2.0]) for name in ("centre", "low", "high")}, {"rank": [1, 2]})
    >>> lyapunov_exponents(one, label="run").curves["run"].get_ydata().tolist()
    [0.5, 2.0]
    """  # noqa: E501
    artists = SpectrumArtists(axes(ax))
    shown = -data[["centre", "low", "high"]]
    for place, curve in enumerate(curves(shown, "rank", label, "lyapunov_exponents")):
        kept = curve.data.where(np.isfinite(curve.data.centre) & (curve.data.high > 0.0))
        artists.bands[curve.label] = band(artists.ax, curve, kept.low, kept.high, "rank")
        artists.curves[curve.label] = line(artists.ax, curve, kept.centre, "rank")
        if rate is not None:
            height = -float(rate.values.ravel()[place])
            (artists.rates[curve.label],) = artists.ax.plot(
                [float(curve.data["rank"][0])], [height], color=curve.colour, markerfacecolor="white",
                marker=MARKERS[place % len(MARKERS)], markersize=7.0, markeredgewidth=1.4, linestyle="",
                zorder=3,
            )  # fmt: skip
    if decay is not None:
        artists.neuron["neuron path"] = artists.ax.axhline(
            -np.log(decay), color="black", linestyle=":", linewidth=1.4, label="neuron path"
        )
    artists.ax.set(xscale="log", yscale="log")
    artists.ax.invert_yaxis()
    for axis in (artists.ax.xaxis, artists.ax.yaxis):
        _plain(axis)
    artists.ax.set_xlabel("rank $i$ of the exponent")
    artists.ax.set_ylabel(r"$-$ exponent  (nats per step)")
    return artists


def _plain(axis: Axis) -> None:
    """Name 1, 2 and 5 of each power of ten, in plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
