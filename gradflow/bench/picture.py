"""The picture of the grid: seconds of a training step against T, λ, H and batch, both axes logarithmic."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, ScalarFormatter

from gradflow.bench.subjects import FLOOR, FUSED, PEERS, REFERENCE
from gradflow.plots.style import Colour, ordered_colours, style

Row = dict[str, Any]
CLOSEST = 1.3
"""Ratio of neighbouring ticks whose labels still fit beside each other."""


@dataclass(frozen=True)
class Curve:
    """Who is drawn, on which recurrence, and how."""

    subject: str
    recurrence: str
    look: dict[str, Any]

    @property
    def label(self) -> str:
        """The words of the legend."""
        return f"{self.subject}, {word_of(self.recurrence)}"


def word_of(recurrence: str) -> str:
    """Return a recurrence as figures name it.

    >>> word_of("skip:12")
    'SRC λ = 12'
    """
    kind, _, number = recurrence.partition(":")
    return {"skip": f"SRC λ = {number}", "asrc": f"ASRC D = {number}"}.get(kind, kind)


def draw(rows: list[Row], base: tuple[int, int, int]) -> Picture:
    """Draw four panels from the rows of a grid; `base` is T, H and batch where they are not varied."""
    found = [row for row in rows if row["seconds"]]
    curves = _curves(found)
    with style():
        picture = Picture(figsize=(7.2, 6.6))
        panels = picture.subplots(2, 2).ravel()
        for place, (ax, name) in enumerate(
            zip(panels, ("time steps T", "", "neurons H", "batch"), strict=True)
        ):
            if place == 1:
                _spans(ax, found, base)
                continue
            for curve in curves:
                _line(
                    ax, [row for row in found if _is(row, curve) and _varies(row, base, place)], place, curve
                )
            _logarithmic(ax, name)
        handles = [Line2D([], [], **curve.look) for curve in curves]
        picture.legend(handles, [curve.label for curve in curves], loc="outside lower center", ncols=3)
        width = base[1]
        picture.suptitle(
            "Seconds of a training step (forward, loss, backward), medians with least and greatest;\n"
            f"where not varied: T = {base[0]}, layers {width // 2}-{width}-{width}, batch {base[2]}",
            fontsize=9,
        )
    return picture


def _curves(rows: list[Row]) -> list[Curve]:
    """Return one curve per subject and recurrence: dashes tell subjects apart, markers recurrences."""
    recurrences = ["vanilla", *sorted({row["recurrence"] for row in rows} - {"vanilla"})]
    varied = [
        word for word in recurrences if len({_place(row) for row in rows if row["recurrence"] == word}) > 1
    ]
    dark, middle, light, _ = ordered_colours(4)
    markers = dict(zip(varied, ("o", "s", "D", "v"), strict=False))
    curves = [Curve(FUSED, word, _look(dark, "-", markers[word], 1.8)) for word in varied]
    curves += [
        Curve(FLOOR, word, _look(("0.45"), ":", markers[word], 1.4)) for word in varied if "asrc" not in word
    ]
    curves += [
        Curve(REFERENCE, word, _look(middle, "--", markers[word], 1.2))
        for word in varied
        if "asrc" not in word
    ]
    looks = (("P", light), ("X", light), ("*", light))
    curves += [
        Curve(peer, "vanilla", {**_look(colour, "-.", marker, 1.0), "markersize": 6.5, "zorder": 3})
        for peer, (marker, colour) in zip(PEERS, looks, strict=True)
    ]
    return [curve for curve in curves if any(_is(row, curve) for row in rows)]


def _look(colour: Colour | str, dash: str, marker: str, width: float) -> dict[str, Any]:
    return {"color": colour, "linestyle": dash, "marker": marker, "linewidth": width, "markersize": 3.6}


def _place(row: Row) -> tuple[int, int, int]:
    return row["steps"], row["hidden"][-1], row["batch"]


def _is(row: Row, curve: Curve) -> bool:
    return (row["subject"], row["recurrence"]) == (curve.subject, curve.recurrence)


AXES = {0: 0, 2: 1, 3: 2}
"""Which of T, H and batch a panel varies."""


def _varies(row: Row, base: tuple[int, int, int], place: int) -> bool:
    """Say whether a row lies on the axis of this panel."""
    at = _place(row)
    return all(at[k] == base[k] for k in range(3) if k != AXES[place])


def _line(ax: Axes, rows: list[Row], place: int, curve: Curve) -> None:
    points = (
        sorted((_place(row)[AXES[place]], row["seconds"]) for row in rows if row["seconds"]) if rows else []
    )
    _errorbar(ax, points, curve.look)


def _errorbar(ax: Axes, points: list[tuple[int, dict[str, float]]], look: dict[str, Any]) -> None:
    """Draw medians, with a bar from the least to the greatest."""
    if not points:
        return
    at = [x for x, _ in points]
    medians = [seconds["median"] for _, seconds in points]
    below = [seconds["median"] - seconds["least"] for _, seconds in points]
    above = [seconds["greatest"] - seconds["median"] for _, seconds in points]
    ax.errorbar(at, medians, yerr=(below, above), elinewidth=0.7, **look)


def _spans(ax: Axes, rows: list[Row], base: tuple[int, int, int]) -> None:
    """Draw cost against the span λ, vanilla as λ = 1, and ASRC apart, at its D with open markers."""
    here = [row for row in rows if _place(row) == base]
    dark, middle, _, _ = ordered_colours(4)
    looks: dict[str, tuple[Colour | str, str, float]] = {
        FUSED: (dark, "-", 1.8),
        REFERENCE: (middle, "--", 1.2),
        FLOOR: ("0.45", ":", 1.4),
    }
    for subject, (colour, dash, width) in looks.items():
        own = [row for row in here if row["subject"] == subject]
        skips = sorted((_span(row), row["seconds"]) for row in own if "asrc" not in row["recurrence"])
        mixtures = sorted((_span(row), row["seconds"]) for row in own if "asrc" in row["recurrence"])
        _errorbar(ax, skips, _look(colour, dash, ".", width))
        _errorbar(ax, mixtures, {**_look(colour, "none", "D", width), "markerfacecolor": "white"})
        if skips:
            ax.annotate(
                subject, (skips[0][0], skips[0][1]["median"]), (3, 5), textcoords="offset points", fontsize=8
            )
    largest = sorted({str(_span(row)) for row in here if "asrc" in row["recurrence"]})
    _logarithmic(ax, f"span λ (open: ASRC, D = {', '.join(largest)})" if largest else "span λ")


def _span(row: Row) -> int:
    return int(row["recurrence"].partition(":")[2] or 1)


def _logarithmic(ax: Axes, name: str) -> None:
    ax.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds a step")
    ticks = sorted({float(x) for line in ax.lines for x in np.asarray(line.get_xdata()).tolist()})
    ax.set_xticks([x for k, x in enumerate(ticks) if k == 0 or x > CLOSEST * ticks[k - 1]])
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
