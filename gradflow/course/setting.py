"""How a notebook of the course is set: the look of its pictures, and sizes that shrink for a test."""

import os
from typing import TypeVar

import matplotlib as mpl

from gradflow.plots.style import style

SMALL = "GRADFLOW_COURSE_SMALL"
"""Set this environment variable to 1 and notebooks take their small sizes."""
DPI = 90
"""Of pictures in notebooks: letters are sharp, and a whole notebook stays small enough for a code host."""
CURVES = (6.4, 3.6)
"""Inches: a picture of curves with room for a sentence above and below it on one screen."""

Size = TypeVar("Size")


def size(full: Size, small: Size) -> Size:
    """Return `small` where GRADFLOW_COURSE_SMALL is 1, else `full`: the size of what a notebook computes.

    >>> size(784, 49) in (784, 49)
    True
    """
    return small if os.environ.get(SMALL) == "1" else full


def begin() -> None:
    """Give all pictures of a notebook gradflow's look; call it once, in the first cell.

    It changes matplotlib's settings of this process, for `with style(…)` in every cell would hide the lesson.
    """
    with style("notebook"):
        look = {key: mpl.rcParams[key] for key in mpl.rcParams if not key.startswith("backend")}
    mpl.rcParams.update({**look, "figure.figsize": CURVES, "figure.dpi": DPI, "savefig.dpi": DPI})
