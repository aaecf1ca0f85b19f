"""What a picture shows, handed back as numbers: from artists to a table."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.lines import Line2D

COLUMNS = ("part", "label", "x", "y", "low", "high", "value")


def data(artists: Any) -> pd.DataFrame:
    """Return what was drawn, in the units of the axes, one row a point.

    Args:
        artists: what a plot of this package returned, or a list of them (a panel each).

    Returns:
        A table: `part` (curves, bands, maps, …), `label`, `x`, and `y` of lines, `low` and `high` of bands,
        `y` and `value` of the cells of maps; and `panel` where a list was given. Gaps are NaN.

    Raises:
        ValueError: for anything else.

    >>> from matplotlib.figure import Figure
    >>> from gradflow.plots.records import TimeArtists
    >>> ax = Figure().subplots()
    >>> data(TimeArtists(ax, {"run": ax.plot([0, 1], [2.0, 3.0])[0]}))[["label", "x", "y"]].values.tolist()
    [['run', 0.0, 2.0], ['run', 1.0, 3.0]]
    """
    if isinstance(artists, list | tuple):
        tables = [data(panel).assign(panel=place) for place, panel in enumerate(artists)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS, "panel"])
    if not hasattr(artists, "__dataclass_fields__"):
        raise ValueError(f"data: got {type(artists).__name__}, expected what a plot returned")
    rows = [
        {"part": field.name, "label": str(label), **point}
        for field in fields(artists)
        for label, artist in _named(getattr(artists, field.name))
        for point in _points(artist)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).dropna(axis="columns", how="all")


def _named(part: Any) -> Iterable[tuple[Any, Any]]:
    return part.items() if isinstance(part, Mapping) else ()


def _points(artist: Any) -> Iterable[dict[str, float]]:
    """Yield the points of a line, the edges of a band, or the cells of a map."""
    if isinstance(artist, Line2D):
        x, y = (np.asarray(values, dtype=float) for values in artist.get_data())
        return [{"x": at, "y": height} for at, height in zip(x.tolist(), y.tolist(), strict=True)]
    if isinstance(artist, PolyCollection):
        return _edges(artist)
    if isinstance(artist, QuadMesh):
        return _cells(artist)
    return []


def _edges(artist: PolyCollection) -> list[dict[str, float]]:
    """Return the band at each x; a band with gaps is several polygons."""
    edges: dict[float, tuple[float, float]] = {}
    for path in artist.get_paths():
        for x, y in np.asarray(path.vertices, dtype=float).tolist():
            low, high = edges.get(x, (y, y))
            edges[x] = (min(low, y), max(high, y))
    return [{"x": x, "low": low, "high": high} for x, (low, high) in sorted(edges.items())]


def _cells(artist: QuadMesh) -> list[dict[str, float]]:
    """Return the centre of each cell and its value."""
    corners = np.asarray(artist.get_coordinates(), dtype=float)
    centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2.0
    values = np.ma.filled(np.ma.asarray(artist.get_array(), dtype=float), np.nan).reshape(centres.shape[:2])
    return [
        {"x": float(x), "y": float(y), "value": float(value)}
        for (x, y), value in zip(centres.reshape(-1, 2), values.ravel(), strict=True)
    ]
