"""What plots of several curves share: one line (and band) for each value of one dimension, told apart twice.

Colour tells curves apart on a screen, dashes in print; the order of both is that of the values.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from gradflow.plots.style import DASHES, Colour, ordered_colours

LOG10 = math.log10(math.e)
"""Nats to powers of ten."""
BAND = 0.2
"""Opacity of a band: two that overlap can still be told apart."""

LineStyle: TypeAlias = str | tuple[int | float, tuple[float, ...]]


class Curve(NamedTuple):
    """One curve to draw: its label, its data, and how it looks."""

    label: str
    data: xr.Dataset
    colour: Colour
    dashes: LineStyle


def curves(data: xr.Dataset, along: str, label: str, owner: str) -> Iterator[Curve]:
    """Yield the curves of a dataset, one for each value of its dimension besides `along`, if it has one.

    Raises ValueError where more than one dimension is left.
    """
    dims = [str(dim) for dim in data.dims if dim != along]
    if len(dims) > 1:
        raise ValueError(
            f"{owner}: got the dimensions {dims} besides {along}, expected one; select, as in .sel(layer=0)"
        )
    if not dims:
        yield Curve(label.format(dim="", value="").strip(), data, ordered_colours(1)[0], "-")
        return
    names = [value.item() for value in data[dims[0]].values]
    for place, (name, colour) in enumerate(zip(names, ordered_colours(len(names)), strict=True)):
        text = label.format(dim=dims[0], value=name).strip()
        yield Curve(text, data.isel({dims[0]: place}), colour, dashes_of(place))


def dashes_of(place: int) -> LineStyle:
    """Return solid for the first curve, and the dashes of the style for those after it."""
    cycle: tuple[LineStyle, ...] = ("-", *DASHES)
    return cycle[place % len(cycle)]


def line(ax: Axes, curve: Curve, values: xr.DataArray, along: str, **look: Any) -> Line2D:
    """Draw one line; NaN is a gap."""
    style = {"color": curve.colour, "linestyle": curve.dashes, "label": curve.label, **look}
    (drawn,) = ax.plot(values[along].values, values.values, **style)
    return drawn


def band(ax: Axes, curve: Curve, low: xr.DataArray, high: xr.DataArray, along: str) -> PolyCollection:
    """Fill from low to high in the curve's colour."""
    return ax.fill_between(
        low[along].values, low.values, high.values, color=curve.colour, alpha=BAND, linewidth=0
    )


def powers(values: xr.DataArray) -> xr.DataArray:
    """Return natural logarithms as powers of ten, with gaps at exact zeros (−∞).

    >>> powers(xr.DataArray([-np.inf, 2.302585])).round(4).values.tolist()
    [nan, 1.0]
    """
    return (values * LOG10).where(np.isfinite(values))
