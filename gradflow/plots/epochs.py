"""Pictures over epochs of training: how fast the gradient decays while the network learns.

Axes: epoch.
"""

from dataclasses import dataclass, field

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradflow.plots.lines import band, curves, line
from gradflow.plots.shown import Shown, axes

THEORY = 0.8  # width of lines of theory


@dataclass(frozen=True, repr=False)
class EpochArtists(Shown):
    """What was drawn over epochs, by label."""

    ax: Axes
    curves: dict[str, Line2D] = field(default_factory=dict)
    bands: dict[str, PolyCollection] = field(default_factory=dict)
    theory: dict[str, Line2D] = field(default_factory=dict)


def rates_over_epochs(
    data: xr.Dataset, *, ax: Axes | None = None, label: str = "{dim} {value}"
) -> EpochArtists:
    """Draw the decay rate of the Jacobian product against epochs, with its interval as a band.

    Args:
        data: `rate`, `rate_low` and `rate_high` along epoch, nats per step, and at most one dimension more;
            where there is `rate_mean_square`, that is drawn thin.
        ax: axes to draw on (default: those of a new figure).
        label: text of each curve, with {dim} and {value}.

    Raises:
        ValueError: where more than one dimension besides epoch is left.

    >>> rates = {name: ("epoch", [-0.5, -0.1]) for name in ("rate", "rate_low", "rate_high")}
    >>> rates_over_epochs(xr.Dataset(rates), label="run").curves["run"].get_ydata().tolist()
    [-0.5, -0.1]
    """
    artists = EpochArtists(axes(ax))
    for curve in curves(data, "epoch", label, "rates_over_epochs"):
        low, high = curve.data.rate_low, curve.data.rate_high
        artists.bands[curve.label] = band(artists.ax, curve, low, high, "epoch")
        artists.curves[curve.label] = line(artists.ax, curve, curve.data.rate, "epoch", marker=".")
        if "rate_mean_square" in curve.data:
            predicted = curve.data.rate_mean_square
            artists.theory[curve.label] = line(
                artists.ax, curve, predicted, "epoch", linewidth=THEORY, label="_theory", alpha=0.7
            )
    artists.ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    artists.ax.set_xlabel("training  (epochs)")
    artists.ax.set_ylabel("decay rate  (nats per step)")
    return artists
