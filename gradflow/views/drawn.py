"""A view's result, the panels it is drawn on, and how its curves are explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from textwrap import fill
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradflow.findings import Source
from gradflow.labels import choice, labels, short_names
from gradflow.plots import style
from gradflow.views.names import VIEWS

WIDTH = 6.4
"""Inches of a picture's width by default."""
SINGLE, STACKED, EXTRA = 0.62, 0.36, 0.45
"""Heights of a lone panel and of one of several, as shares of the width; inches for title and legend."""
LETTERS = 12
"""Letters of a legend or title that fit into an inch."""
COMMON = ("task", "hidden", "decay", "recurrence")
"""Choices that a title names where they are the same in all files."""
MAX_CURVES = 12
"""Files that can be told apart in one picture."""


@dataclass(frozen=True)
class Drawn:
    """A picture and the artists of each of its panels."""

    picture: Figure
    artists: tuple[Any, ...]


@dataclass(frozen=True)
class Layout:
    """How a picture is laid out.

    Attributes:
        width: inches.
        theory: draw predictions too, where there are any.
    """

    width: float = WIDTH
    theory: bool = False


def draw_view(name: str, sources: Sequence[Source], layout: Layout | None = None) -> Drawn:
    """Draw one view of some files.

    Raises ValueError for a view that does not exist, no files, or more than can be told apart.
    """
    if name not in VIEWS:
        raise ValueError(f"view {name!r}: expected one of {', '.join(VIEWS)}")
    if not 1 <= len(sources) <= MAX_CURVES:
        raise ValueError(f"{name}: got {len(sources)} files, expected 1 to {MAX_CURVES} in one picture")
    module = import_module(f"gradflow.views.{VIEWS[name].module}")
    drawn: Drawn
    with style():
        drawn = getattr(module, name.replace("-", "_"))(sources, layout or Layout())
    return drawn


def named(sources: Sequence[Source]) -> list[str]:
    """Return a label for each file, from the conventions that differ."""
    return labels([source.data.attrs for source in sources], short_names([s.path for s in sources]))


def together(parts: Sequence[xr.Dataset], names: Sequence[str]) -> xr.Dataset:
    """Return what was prepared of each file along `file`; where one is shorter, NaN (a gap)."""
    joined = xr.concat(parts, dim="file", join="outer", combine_attrs="drop_conflicts")
    return joined.assign_coords(file=list(names))


def by_layer(data: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    """Return the panels of a picture: of one file all layers together, of several a panel a layer.

    What is left besides the axis is `layer` or `file`.
    """
    if data.sizes.get("file", 1) == 1:
        single = data.isel(file=0, drop=True)
        return [("", single.squeeze("layer", drop=True) if single.sizes.get("layer") == 1 else single)]
    if data.sizes.get("layer", 1) == 1:
        return [("", data.squeeze("layer", drop=True) if "layer" in data.dims else data)]
    return [(f"layer {layer}", data.sel(layer=layer, drop=True)) for layer in data.layer.values.tolist()]


def panels(count: int, layout: Layout, *, share: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels above each other."""
    height = layout.width * (SINGLE if count == 1 else STACKED * count) + EXTRA
    picture = Figure(figsize=(layout.width, height))
    axes: list[Axes] = picture.subplots(count, 1, sharex=share, squeeze=False)[:, 0].tolist()
    return picture, axes


def finish(
    picture: Figure, axes: Sequence[Axes], titles: Sequence[str], entries: dict[str, Line2D], title: str
) -> None:
    """Write panel titles, one x label at the bottom, and above all panels the legend under the title."""
    for ax, words in zip(axes, titles, strict=True):
        ax.set_title(words, fontsize=8)
        if ax is not axes[-1]:
            ax.set_xlabel("")
    width = picture.get_figwidth()
    # no line ends within `λ = 16`
    whole = fill(title.replace(" = ", "\u00a0=\u00a0"), int(width * LETTERS)).replace("\u00a0", " ")
    shown = {text: artist for text, artist in entries.items() if text}
    if len(shown) < 2:
        picture.suptitle(whole, fontsize=9)
        return
    columns = int(np.clip(width * LETTERS // (max(map(len, shown)) + 7), 1, len(shown)))
    # a title of the figure would be drawn over a legend outside the axes
    legend = picture.legend(
        list(shown.values()),
        list(shown),
        loc="outside upper center",
        ncols=columns,
        title=whole,
        title_fontsize=9,
    )
    legend.get_title().set_multialignment("center")


def curve_label(data: xr.Dataset) -> str:
    """Return how curves are named: files by their label, layers by their number."""
    return "{value}" if "file" in data.dims else "{dim} {value}"


def panel_title(name: str, layer: int, source: Source, count: int) -> str:
    """Return the title of a panel of one file and layer; nothing where there is nothing to tell apart."""
    parts = [name] if count > 1 else []
    parts += [f"layer {layer}"] if source.data.sizes["layer"] > 1 else []
    return ", ".join(parts)


def grey(**look: Any) -> Line2D:
    """Return a line for a legend that explains a kind of line, in a grey that belongs to no curve."""
    return Line2D([], [], **{"color": "0.3", **look})


def conditions(sources: Sequence[Source]) -> str:
    """Return what is common to all files and worth a title: task, layers, decay and recurrence.

    A choice in which they differ is left to the labels.
    """
    found: list[str] = []
    for key in COMMON:
        values = {str(source.data.attrs.get(key, "")) for source in sources}
        # cells without spikes have no decay, which the others may still have in common
        words = {choice(source.data.attrs, key) for source in sources} - {""}
        if len(words) == 1 and values.isdisjoint({"", "unknown"}):
            found += words
    return ", ".join(found)
