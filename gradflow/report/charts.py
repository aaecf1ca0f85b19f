"""Interactive charts as data: the files' own numbers in full, and how a script is to show them.

Axes: x, or epoch x; of maps y x, or epoch y x. What is drawn is `shown` of the numbers; a hover says both.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from gradflow.plots.lines import dashes_of
from gradflow.plots.style import ordered_colours

Values = Any
"""An array of numbers; mypy cannot know that xarray's are float64."""

PALEST, BRIGHTEST = 0.42, 1.0
"""Part of viridis used on a dark page, where its dark end cannot be seen."""
BAND_LIMIT = 200_000
"""Numbers in a chart above which its bands are left out: the page would take seconds to open."""


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        label: as the legend has it.
        x: (x).
        values: (x), or (epoch, x) where there are `epochs`.
        place: its number, and of how many; gives colour and dashes.
        low, high: of its band, as `values`.
        look: measured, thin, theory or points.
        epochs: of training, at which `values` were taken.
    """

    label: str
    x: Values
    values: Values
    place: tuple[int, int] = (0, 1)
    low: Values | None = None
    high: Values | None = None
    look: str = "measured"
    epochs: Values | None = None


@dataclass(frozen=True)
class Heat:
    """A map: `values` (y, x), or (epoch, y, x) where there are `epochs`; `bar` names its colours."""

    x: Values
    y: Values
    values: Values
    bar: str
    epochs: Values | None = None


@dataclass(frozen=True)
class Chart:
    """One chart, with its still picture for readers without scripts.

    Attributes:
        key: of its element, unique in a page.
        title: its heading; `caption`: what is drawn, and how to read it.
        x, y: titles of the axes, with units.
        hover: template of what a hover says.
        curves, heat: what is drawn.
        shown: how numbers are drawn: same, powers (of nats), log10, percent or root.
        floor: of a number format, drawn where curves fall below it.
        marker: say by a vertical line which epoch is chosen.
        picture: the still one, as PNG; `alt`: in words.
    """

    key: str
    title: str
    caption: str
    x: str
    y: str
    hover: str
    picture: bytes
    alt: str
    curves: tuple[Curve, ...] = ()
    heat: Heat | None = None
    shown: str = "same"
    floor: float | None = None
    marker: bool = False

    @property
    def heavy(self) -> bool:
        """Whether the chart goes without its bands."""
        banded = any(curve.low is not None for curve in self.curves)
        return banded and sum(np.size(curve.values) for curve in self.curves) > BAND_LIMIT

    def said(self) -> str:
        """Return the caption, and what the chart leaves out."""
        left_out = (
            " So many numbers are in this chart that its bands are left out here." if self.heavy else ""
        )
        return self.caption + left_out

    def as_data(self) -> dict[str, Any]:
        """Return the chart as JSON has it; what is not finite is null, a gap."""
        return {
            "key": self.key,
            "x": self.x,
            "y": self.y,
            "hover": self.hover,
            "shown": self.shown,
            "floor": self.floor,
            "marker": self.marker,
            "curves": [_curve(curve, bands=not self.heavy) for curve in self.curves],
            "heat": None if self.heat is None else _heat(self.heat),
        }


def colours(place: tuple[int, int]) -> tuple[str, str]:
    """Return a curve's colour on a light page, that of the pictures, and on a dark one.

    >>> colours((0, 2)), colours((1, 2))
    (('#440154', '#287d8e'), ('#6ece58', '#fde725'))
    """
    k, count = place
    bright = PALEST + (BRIGHTEST - PALEST) * k / max(count - 1, 1)
    return to_hex(ordered_colours(count)[k]), to_hex(mpl.colormaps["viridis"](bright))


def viridis() -> list[tuple[float, str]]:
    """Return the colours of maps, as the pictures have them."""
    return [(k / 16.0, to_hex(mpl.colormaps["viridis"](k / 16.0))) for k in range(17)]


def numbers(values: Values) -> Any:
    """Return nested lists with the numbers in full; null for what is not finite.

    >>> numbers(np.array([0.1, -np.inf]))
    [0.1, None]
    """
    array = np.asarray(values)
    if array.ndim > 1:
        return [numbers(part) for part in array]
    finite = np.isfinite(array)
    return [value if good else None for value, good in zip(array.tolist(), finite.tolist(), strict=True)]


def _curve(curve: Curve, *, bands: bool) -> dict[str, Any]:
    dashes = dashes_of(curve.place[0])
    pattern = "solid" if isinstance(dashes, str) else ",".join(f"{2 * part:g}px" for part in dashes[1])
    return {
        "label": curve.label,
        "look": curve.look,
        "colour": colours(curve.place),
        "dash": pattern,
        "x": numbers(curve.x),
        "values": numbers(curve.values),
        **(
            {"low": numbers(curve.low), "high": numbers(curve.high)}
            if bands and curve.low is not None
            else {}
        ),
        "epochs": None if curve.epochs is None else numbers(curve.epochs),
    }


def _heat(heat: Heat) -> dict[str, Any]:
    return {
        "x": numbers(heat.x),
        "y": numbers(heat.y),
        "values": numbers(heat.values),
        "bar": heat.bar,
        "epochs": None if heat.epochs is None else numbers(heat.epochs),
    }
