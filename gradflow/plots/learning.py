"""Pictures of what training came to: learning curves, accuracy against span, the spans' weights over epochs.

Axes: epoch span seed tap (a span that is read with weight p).
"""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from gradflow.plots.epochs import EpochArtists
from gradflow.plots.lines import band, curves, line
from gradflow.plots.shown import Shown, axes

EPOCHS = "training  (epochs)"


@dataclass(frozen=True, repr=False)
class AccuracyArtists(Shown):
    """What was drawn against the span: every network, the means, and what has no single span."""

    ax: Axes
    points: dict[str, Line2D] = field(default_factory=dict)
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class KernelArtists(Shown):
    """The map of the spans' weights, and the span that evaluation reads, a line a network."""

    ax: Axes
    maps: dict[str, QuadMesh]
    curves: dict[str, Line2D] = field(default_factory=dict)


def learning_curves(
    data: xr.Dataset, *, ax: Axes | None = None, label: str = "{value}", scale: float = 100.0
) -> EpochArtists:
    """Draw what is learned against epochs, one line and band a curve.

    Args:
        data: `centre`, `low` and `high` along epoch, and at most one dimension more.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.
        scale: factor on all values; 100 makes percent of shares.

    Raises:
        ValueError: where more than one dimension besides epoch is left.

    >>> shares = {name: ("epoch", [0.1, 0.5]) for name in ("centre", "low", "high")}
    >>> learning_curves(xr.Dataset(shares), label="run").curves["run"].get_ydata().tolist()
    [10.0, 50.0]
    """
    artists = EpochArtists(axes(ax))
    for curve in curves(data, "epoch", label, "learning_curves"):
        low, high = curve.data.low * scale, curve.data.high * scale
        artists.bands[curve.label] = band(artists.ax, curve, low, high, "epoch")
        artists.curves[curve.label] = line(artists.ax, curve, curve.data.centre * scale, "epoch")
    artists.ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    artists.ax.set_xlabel(EPOCHS)
    return artists


def accuracy_against_span(
    data: xr.Dataset, *, ax: Axes | None = None, adaptive: str = "adaptive"
) -> AccuracyArtists:
    """Draw the share of right answers against the span: every network as a point, their means as a line.

    Args:
        data: `accuracy` (span, seed), shares; where adaptive spans are compared with them,
            `adaptive_accuracy` (seed), drawn as a level with a band from the worst to the best network.
        ax: axes to draw on (default: those of a new figure).
        adaptive: label of that level.

    >>> share = xr.DataArray([[0.5, 0.6]], {"span": [4]}, ("span", "seed"))
    >>> accuracy_against_span(share.to_dataset(name="accuracy")).curves["mean"].get_ydata().round(3).tolist()
    [55.0]
    """
    artists = AccuracyArtists(axes(ax))
    here, spans = artists.ax, data.span.values
    if "adaptive_accuracy" in data:
        several = data.adaptive_accuracy.values * 100.0
        ends = [spans[0] / 1.3, spans[-1] * 1.3]
        artists.bands[adaptive] = here.fill_between(
            ends, several.min(), several.max(), color="0.5", alpha=0.25, linewidth=0
        )
        (artists.curves[adaptive],) = here.plot(
            ends, [several.mean()] * 2, color="0.25", linestyle="--", linewidth=1.3, label=adaptive
        )
    shares = data.accuracy.transpose("span", "seed").values * 100.0
    for place in range(shares.shape[1]):
        (artists.points[f"network {place}"],) = here.plot(
            spans, shares[:, place], marker="o", markersize=3.4, linestyle="", color="black", alpha=0.55
        )
    (artists.curves["mean"],) = here.plot(spans, shares.mean(axis=1), color="black", label="mean", zorder=2.5)
    here.set_xscale("log", base=2)
    here.set_xticks(spans, ["1\n(vanilla)" if span == 1 else f"{span:g}" for span in spans])
    here.xaxis.set_minor_locator(NullLocator())
    here.set_xlabel("span λ  (steps)")
    here.set_ylabel("right answers  (%)")
    return artists


def kernel_over_epochs(data: xr.Dataset, *, ax: Axes | None = None) -> KernelArtists:
    """Draw the spans' weights p as a map of span against epochs, and the spans that are read as lines.

    Args:
        data: `p` (epoch, tap), from 0 to 1, and `spans` (epoch, seed) in steps.
        ax: axes to draw on (default: those of a new figure).

    Returns:
        The artists; the map's colour goes with √p, so that small weights can be told from none.

    >>> p = xr.DataArray([[0.5, 0.5], [0.0, 1.0]], {"epoch": [0, 1], "tap": [1, 2]}, ("epoch", "tap"))
    >>> spans = xr.DataArray([[1], [2]], {"epoch": [0, 1]}, ("epoch", "seed"))
    >>> kernel_over_epochs(xr.Dataset({"p": p, "spans": spans})).curves["0"].get_ydata().tolist()
    [1, 2]
    """
    here = axes(ax)
    weights = data.p.transpose("tap", "epoch")
    mesh = here.pcolormesh(
        data.epoch.values, data.tap.values, weights.values**0.5, norm=Normalize(0.0, 1.0), cmap="Greys",
        shading="nearest", rasterized=True,
    )  # fmt: skip
    lines = {}
    looks = (("C3", "-"), ("C0", (0, (4.0, 1.5))), ("C2", (0, (1.5, 1.0))))
    for place in range(data.sizes["seed"]):
        colour, dashes = looks[place % len(looks)]
        (lines[str(place)],) = here.plot(
            data.epoch.values, data.spans.isel(seed=place).values, color=colour, linestyle=dashes,
            linewidth=1.3, drawstyle="steps-mid", label=f"network {place}",
        )  # fmt: skip
    here.grid(False)
    here.set_ylim(0.5, float(np.max(data.tap)) + 0.5)
    here.xaxis.set_major_locator(MaxNLocator(integer=True))
    here.yaxis.set_major_locator(MaxNLocator(integer=True))
    here.set_xlabel(EPOCHS)
    here.set_ylabel("span d  (steps)")
    return KernelArtists(here, {"√p": mesh}, lines)
