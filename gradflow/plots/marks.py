"""What is written on a picture of decay curves: the floor of float32, and each curve's name at its end."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

FLOAT32_FLOOR = float(np.log10(2.0**-149))
"""log₁₀ of float32's smallest positive number, 1.4·10⁻⁴⁵."""

ROOM = 0.05
"""Share of the axes' height that a line of text needs."""


def float32_floor(ax: Axes) -> Rectangle | None:
    """Shade what lies below float32's smallest number down to the end of the axes; None if nothing does.

    The words stand at the left end, where a curve that starts at lag 0 has not yet come down so far.
    """
    bottom = ax.get_ylim()[0]
    if bottom >= FLOAT32_FLOOR:
        return None
    shade = ax.axhspan(bottom, FLOAT32_FLOOR, color="0.5", alpha=0.12, linewidth=0, zorder=0.5)
    ax.annotate(
        "below float32", (0.0, FLOAT32_FLOOR), xytext=(4, -3), textcoords="offset points",
        ha="left", va="top", color="0.25", fontsize=8,
    )  # fmt: skip
    return shade


def name_ends(
    ax: Axes, lines: dict[str, Line2D], *, room: float = ROOM, clear: bool = False
) -> dict[str, Annotation]:
    """Write each line's label where the line ends at the right, or beside where it leaves the axes below.

    Labels nearer than the share `room` of the axes' height are moved apart; a line with nothing inside the
    axes gets none. `clear` puts all of them on white, where other lines pass.
    """
    up = _upwards(ax)
    bottom, top = (up.there(limit) for limit in ax.get_ylim())
    inside, names = {}, {}
    for text, line in lines.items():
        x = np.asarray(line.get_xdata(), dtype=float)
        y = up.there(np.asarray(line.get_ydata(), dtype=float))
        seen = np.flatnonzero(np.isfinite(y) & (y >= bottom) & (y <= top))
        if not seen.size:
            continue
        last = int(seen[-1])
        if (y[last + 1 :] < bottom).any():
            at = (float(x[last]), up.back(bottom + room * (top - bottom)))
            names[text] = _name(ax, text, at, line, clear=True)
        else:
            inside[text] = (float(x[last]), float(y[last]))
    ends = sorted(inside.items(), key=lambda item: -item[1][1])
    heights = _apart([level for _, (_, level) in ends], room * (top - bottom), bottom)
    for (text, (place, _)), height in zip(ends, heights, strict=True):
        names[text] = _name(ax, text, (place, up.back(height)), lines[text], clear)
    return names


def _apart(levels: list[float], gap: float, bottom: float) -> list[float]:
    """Return levels, which fall, moved down to keep a gap, and up again where they would leave the axes.

    >>> _apart([0.5, 0.25, 0.25], 0.25, 0.0), _apart([0.5, 0.25, 0.25], 0.5, 0.0)
    ([0.5, 0.25, 0.0], [1.0, 0.5, 0.0])
    """
    found, ceiling = [], np.inf
    for level in levels:
        ceiling = min(level, ceiling - gap)
        found.append(float(ceiling))
    floor = bottom
    for place in range(len(found) - 1, -1, -1):
        found[place] = max(found[place], floor)
        floor = found[place] + gap
    return found


class _Upwards(NamedTuple):
    """Heights that grow upwards and evenly, whatever the axis' scale and direction: there and back."""

    there: Callable[[Any], Any]
    back: Callable[[float], float]


def _upwards(ax: Axes) -> _Upwards:
    scale, sign = ax.yaxis.get_transform(), -1.0 if ax.yaxis_inverted() else 1.0
    return _Upwards(
        lambda y: sign * scale.transform(np.asarray(y, dtype=float)),
        lambda height: float(scale.inverted().transform(np.asarray(sign * height, dtype=float))),
    )


def _name(ax: Axes, text: str, at: tuple[float, float], line: Line2D, clear: bool = False) -> Annotation:
    # small letters need more contrast than lines
    dark = tuple(0.8 * part for part in to_rgb(line.get_color()))
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8} if clear else None
    return ax.annotate(
        text,
        at,
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=dark,
        fontsize=8.5,
        zorder=3.5,
        bbox=box,
    )
