"""Pictures of evaluations: accuracy against the strength of a disturbance, and what is taken for what.

Axes: strength, or actual predicted. Everything is drawn as given: bands come from `evaluation.accuracy_band`.
"""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.text import Text

from gradflow.plots.lines import band, curves, line
from gradflow.plots.shown import Shown, axes
from gradflow.plots.style import MARKERS

DARK = 0.5
"""Share of the largest count from which on white digits are read better than black ones."""
MOST_WRITTEN = 12
"""Classes up to which the counts fit into their cells."""


@dataclass(frozen=True, repr=False)
class RobustnessArtists(Shown):
    """What was drawn against strength, by label."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class ConfusionArtists(Shown):
    """What was drawn as a matrix: its cells, and the counts written into them by (actual, predicted)."""

    ax: Axes
    maps: dict[str, QuadMesh]
    colourbar: Colorbar
    counts: dict[tuple[str, str], Text] = field(default_factory=dict)


def robustness(data: xr.Dataset, ax: Axes | None = None, *, label: str = "{value}") -> RobustnessArtists:
    """Draw accuracy in percent against the strength of a disturbance, one line, marker and band per curve.

    Args:
        data: a band as `evaluation.accuracy_band` returns it: `centre`, `low`, `high` (shares) along
            strength, and at most one dimension more (group or run). The axis has the strength's own words.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Returns:
        The artists by label; where there is no interval (NaN) the band has a gap.

    Raises:
        ValueError: where more than one dimension besides strength is left.

    >>> band = {name: ("strength", [0.5, 0.25]) for name in ("centre", "low", "high")}
    >>> robustness(xr.Dataset(band, {"strength": [0.0, 0.1]}), label="run").curves["run"].get_ydata().tolist()
    [50.0, 25.0]
    """
    artists = RobustnessArtists(axes(ax))
    shares = data[["centre", "low", "high"]].reset_coords(drop=True)
    for place, curve in enumerate(curves(shares, "strength", label, "robustness")):
        low, high = curve.data.low * 100.0, curve.data.high * 100.0
        artists.bands[curve.label] = band(artists.ax, curve, low, high, "strength")
        artists.curves[curve.label] = line(
            artists.ax,
            curve,
            curve.data.centre * 100.0,
            "strength",
            marker=MARKERS[place % len(MARKERS)],
            markersize=4.0,
        )
    about = data.strength.attrs if "strength" in data.coords else {}
    units = about.get("units", "1")
    name = about.get("long_name", "strength of the disturbance")
    artists.ax.set_xlabel(name if units == "1" else f"{name}  ({units})")
    artists.ax.set_ylabel("accuracy  (%)")
    return artists


def confusion(data: xr.DataArray, ax: Axes | None = None) -> ConfusionArtists:
    """Draw a confusion matrix: rows are the classes shown, columns the classes named, counts in the cells.

    Args:
        data: counts (actual, predicted), of one run.
        ax: axes to draw on (default: those of a new figure).

    Raises:
        ValueError: for other dimensions than actual and predicted.

    >>> counts = xr.DataArray([[3, 1], [0, 4]], {"actual": ["a", "b"], "predicted": ["a", "b"]},
    ...                       ("actual", "predicted"))
    >>> confusion(counts).maps["confusion"].get_array().tolist()
    [[3.0, 1.0], [0.0, 4.0]]
    """
    if set(data.dims) != {"actual", "predicted"}:
        raise ValueError(
            f"confusion: got the dimensions {data.dims}, expected actual and predicted; select a run, as in "
            ".isel(run=0)"
        )
    counts = data.transpose("actual", "predicted").astype(float)
    shown, named = ([str(name) for name in counts[dim].values] for dim in ("actual", "predicted"))
    drawn = axes(ax)
    largest = max(float(counts.max()), 1.0)
    mesh = drawn.pcolormesh(
        np.arange(len(named)),
        np.arange(len(shown)),
        counts.values,
        norm=Normalize(0.0, largest),
        cmap="Greys",
        shading="nearest",
        rasterized=True,
    )
    drawn.grid(False)
    drawn.invert_yaxis()
    drawn.set_aspect("equal")
    for axis, names in ((drawn.xaxis, named), (drawn.yaxis, shown)):
        # labels longer than a few letters would run into each other
        sparse = max(1, len(names) // MOST_WRITTEN)
        axis.set_ticks(np.arange(0, len(names), sparse), names[::sparse])
    if max(map(len, named)) > 2:
        drawn.tick_params(axis="x", labelrotation=90)
    drawn.set_xlabel("class named")
    drawn.set_ylabel("class shown")
    bar = drawn.figure.colorbar(mesh, ax=drawn, label="answers")
    written = {}
    if max(len(shown), len(named)) <= MOST_WRITTEN:
        for (row, column), count in np.ndenumerate(counts.values):
            if count:
                colour = "white" if count > DARK * largest else "black"
                written[shown[row], named[column]] = drawn.text(
                    column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=7
                )
    return ConfusionArtists(drawn, {"confusion": mesh}, bar, written)
