"""One look for all pictures: the style sheet, and the colours, dashes and markers of ordered curves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import matplotlib as mpl

Colour: TypeAlias = tuple[float, float, float]
Dashes: TypeAlias = tuple[float, tuple[float, ...]]

DARKEST, LIGHTEST = 0.0, 0.78
"""Part of the palette used: its yellow end cannot be read on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Dashes, ...] = (
    (0, (7.0, 2.2)),
    (0, (2.8, 1.7)),
    (0, (7.0, 1.8, 2.2, 1.8)),
    (0, (4.5, 1.8, 1.6, 1.8, 1.6, 1.8)),
)
"""A second code beside colour, for prints in grey. No dash is a dot: dots are the neuron path's."""
DOTS: Dashes = (0, (1.0, 1.3))
"""Fine dots of a rough prediction, closer than those of the neuron path."""


STYLES = ("paper", "slides", "notebook")
"""Names of styles; those after the first change the sizes of paper's letters and lines."""


@contextmanager
def style(name: str = "paper") -> Iterator[None]:
    """Give a context in which figures are drawn in one of gradflow's styles (global settings come back).

    Raises ValueError for a style other than paper, slides or notebook.
    """
    if name not in STYLES:
        raise ValueError(f"style: got {name!r}, expected one of {', '.join(STYLES)}")
    sheet = Path(__file__).with_name("gradflow.mplstyle")
    with mpl.rc_context(fname=sheet):
        if name != "paper":
            over = sheet.with_name(f"gradflow-{name}.mplstyle")
            mpl.rcParams.update(mpl.rc_params_from_file(over, use_default_template=False))
        yield


def ordered_colours(count: int) -> Sequence[Colour]:
    """Return `count` colours from dark to light, ordered alike in colour, in grey and for the colour-blind.

    They are taken from viridis (van der Walt & Smith 2015), whose lightness grows evenly.

    >>> [round(sum(colour) / 3, 2) for colour in ordered_colours(3)]
    [0.2, 0.4, 0.53]
    """
    places = [DARKEST + (LIGHTEST - DARKEST) * k / max(count - 1, 1) for k in range(count)]
    viridis = mpl.colormaps["viridis"]
    return [(float(red), float(green), float(blue)) for red, green, blue, _ in map(viridis, places)]
