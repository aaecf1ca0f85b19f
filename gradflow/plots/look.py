"""The look of a finished picture: a style's sizes, and a width to which letters and lines are fitted.

Pictures are drawn for paper; here every letter and line of one is made larger or smaller, those too whose
size a plot sets itself.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib import rcParams
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text

from gradflow.plots.style import style

SMALLEST = 0.72
"""Letters and lines of a narrow picture shrink to this share at most: 6.5 points of 9."""

OVERHANG, LEAST = 1.04, 0.7
"""How much longer than its panel a title or label may be, and the share of its size that it keeps."""


@dataclass(frozen=True)
class Look:
    """How a picture is to look.

    Attributes:
        style: paper, slides or notebook.
        width: of the picture in inches; None for as wide as the style has it.
    """

    style: str = "paper"
    width: float | None = None

    def words(self) -> list[str]:
        """Return what differs from the usual, as on the command line.

        >>> Look("slides", 3.5).words()
        ['--style', 'slides', '--width', '88.9mm']
        """
        named = [] if self.style == "paper" else ["--style", self.style]
        return named if self.width is None else [*named, "--width", f"{25.4 * self.width:.6g}mm"]


PAPER = Look()


def dress(picture: Figure, look: Look) -> None:
    """Give a picture that was drawn for paper its look; not yet laid out, for its letters change size.

    A narrower picture is less flat: its height shrinks with the ¾th power of the width, letters and lines
    with its root.
    """
    if look == PAPER:
        _narrow(picture)
        return
    paper, sheet = _sizes("paper"), _sizes(look.style)
    letters, lines, size = (new / old for new, old in zip(sheet, paper, strict=True))
    width, height = size * picture.get_figwidth(), size * picture.get_figheight()
    ratio = 1.0 if look.width is None else look.width / width
    fit = min(1.0, max(SMALLEST, ratio**0.5))
    picture.set_size_inches(ratio * width, height * (ratio if ratio > 1.0 else ratio**0.75))
    _scale_letters(picture, letters * fit)
    _scale_lines(picture, lines * fit)
    _narrow(picture)


def _sizes(name: str) -> tuple[float, float, float]:
    """Return the sizes of a style's letters, lines and pictures."""
    with style(name):
        return rcParams["font.size"], rcParams["lines.linewidth"], rcParams["figure.figsize"][0]


def _scale_letters(picture: Figure, factor: float) -> None:
    ticks = {
        id(text) for ax in picture.axes for axis in (ax.xaxis, ax.yaxis) for text in _scaled(axis, factor)
    }
    for text in picture.findobj(Text):
        if id(text) not in ticks:
            text.set_fontsize(float(text.get_fontsize()) * factor)
        if isinstance(text, Annotation) and text.anncoords == "offset points":
            across, up = text.xyann
            text.xyann = (across * factor, up * factor)


def _narrow(picture: Figure) -> None:
    """Let titles that are wider than the picture be as wide as it."""
    for title in picture.findobj(Text) if picture.get_suptitle() else []:
        if title.get_text() == picture.get_suptitle():
            share = title.get_window_extent().width / picture.bbox.width
            title.set_fontsize(float(title.get_fontsize()) / max(1.0, share / 0.97))


def fit_texts(picture: Figure) -> None:
    """Make titles and labels of panels that are longer than their panel as long as it, once it is laid out.

    Down to `LEAST` of their size: what is longer still has to be said in fewer words, or on a wider picture.
    """
    for ax in picture.axes:
        panel = ax.get_window_extent()
        labels = ((ax.title, False), (ax.xaxis.label, False), (ax.yaxis.label, True))
        for text, upright in labels:
            extent = text.get_window_extent()
            share = extent.height / panel.height if upright else extent.width / panel.width
            if text.get_text() and share > OVERHANG:
                text.set_fontsize(float(text.get_fontsize()) * max(LEAST, OVERHANG / share))


def _scaled(axis: Axis, factor: float) -> list[Text]:
    """Scale an axis' tick labels, those too that it has yet to make; return those there are."""
    for which in ("major", "minor"):
        labels = axis.get_ticklabels(which=which)
        if labels:
            axis.set_tick_params(which=which, labelsize=float(labels[0].get_fontsize()) * factor)
    return [*axis.get_ticklabels(which="both"), *(tick.label2 for tick in axis.get_major_ticks())]


def _scale_lines(picture: Figure, factor: float) -> None:
    for line in picture.findobj(Line2D):
        line.set_linewidth(line.get_linewidth() * factor)
        line.set_markersize(line.get_markersize() * factor)
        line.set_markeredgewidth(line.get_markeredgewidth() * factor)
    for drawn in picture.findobj(Collection):
        drawn.set_linewidth((np.asarray(drawn.get_linewidth()) * factor).tolist())
    for patch in picture.findobj(Patch):
        patch.set_linewidth(patch.get_linewidth() * factor)
