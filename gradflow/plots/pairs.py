"""Pictures of all pairs of times: the log-norm of ∂u[T]/∂u[t] as a map of T against the lag.

Axes: end lag.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from gradflow.plots.lines import powers
from gradflow.plots.products import LAG_LABEL
from gradflow.plots.records import NOTHING, MapArtists
from gradflow.plots.shown import axes

PAIR_LABEL = r"$\log_{10}\,\|\,\partial u[T]\,/\,\partial u[t]\,\|_F$"


def lag_map(
    data: xr.DataArray, *, ax: Axes | None = None, limits: tuple[float, float] | None = None
) -> MapArtists:
    """Draw log₁₀ ‖P(T,t)‖ as a map of the end time T against the lag T − t; what is not there is grey.

    Args:
        data: log-norms (end, lag) in nats, NaN where the lag is longer than the sequence so far.
        ax: axes to draw on (default: those of a new figure).
        limits: ends of the colours in powers of ten (default: those of the data).

    Raises:
        ValueError: for other dimensions than end and lag.

    >>> values = [[0.0, np.nan], [0.0, -2.302585]]
    >>> norms = xr.DataArray(values, {"end": [0, 1], "lag": [0, 1]}, ("end", "lag"))
    >>> lag_map(norms).maps["product"].get_array().filled(9.0).round(4).tolist()
    [[0.0, 9.0], [0.0, -1.0]]
    """
    if set(data.dims) != {"end", "lag"}:
        raise ValueError(f"lag_map: got the dimensions {data.dims}, expected end and lag")
    drawn, (low, high) = axes(ax), limits or (None, None)
    mesh = drawn.pcolormesh(
        data.lag.values,
        data.end.values,
        np.ma.masked_invalid(powers(data.transpose("end", "lag")).values),
        norm=Normalize(low, high),
        cmap="viridis",
        shading="nearest",
        rasterized=True,
    )
    drawn.set_facecolor(NOTHING)
    drawn.grid(False)
    drawn.set_xlabel(LAG_LABEL)
    drawn.set_ylabel("end time $T$  (steps)")
    return MapArtists(drawn, {"product": mesh}, drawn.figure.colorbar(mesh, ax=drawn, label=PAIR_LABEL))
