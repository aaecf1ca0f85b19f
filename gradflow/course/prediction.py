"""Predictions: what a reader types before a run, drawn over what comes out.

A guess is a number, or one number for each of several places. Being wrong costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from types import EllipsisType
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text

from gradflow.analysis.schema import Numbers
from gradflow.course.saying import Words

Guess: TypeAlias = Numbers | EllipsisType | None
COLOUR = "#c2410c"
"""A dark orange: no colour of viridis, and darker than its yellow, so that a guess stands out in grey too."""
DASHED = (0, (5, 2))
LOOK: dict[str, Any] = {"color": COLOUR, "label": "your prediction", "zorder": 5}
NOTHING = "no prediction typed yet: put a number in place of None above and run again"
CLOSE = 1.25
"""A guess within a quarter counts as right: the point is the size, not the digits."""


@dataclass(frozen=True)
class Prediction:
    """A typed guess, or none; `values` are its numbers."""

    values: tuple[float, ...] | None
    what: str
    unit: str = ""

    def draw(
        self,
        ax: Axes,
        at: Numbers | None = None,
        *,
        along: Literal["x", "y"] = "y",
        scale: Callable[[Any], Any] | None = None,
    ) -> list[Line2D | Text]:
        """Draw the guess over a picture, and say kindly when nothing was typed.

        Args:
            ax: the axes of the result.
            at: where the guesses belong on the other axis, one for each; then they are points. Without it
                every guess is a line across the picture.
            along: the axis on which the guess is read: y (a horizontal line) or x (a vertical one).
            scale: from a guess to the units of the axis, as np.log10 where the axis has powers of ten.

        Returns:
            What was drawn.

        Raises:
            ValueError: where there is not one place for each guess.

        >>> from matplotlib.figure import Figure
        >>> predict(0.5, what="rate").draw(Figure().subplots())[0].get_ydata()
        [0.5, 0.5]
        """
        if self.values is None:
            return [_nothing(ax)]
        with np.errstate(all="ignore"):  # the logarithm of a guess of 0 has no place on the axis
            heights = self.values if scale is None else [float(scale(value)) for value in self.values]
        drawn: list[Line2D | Text] = []
        if at is None:
            across = ax.axhline if along == "y" else ax.axvline
            drawn += [across(value, linestyle=DASHED, linewidth=1.8, **LOOK) for value in heights]
            for line in drawn[1:]:
                line.set_label("_again")
        else:
            places = np.atleast_1d(np.asarray(at, dtype=np.float64))
            if len(places) != len(heights):
                raise ValueError(
                    f"predict({self.what!r}): got {len(heights)} guesses for {len(places)} places, "
                    "expected one for each"
                )
            pair = (places, heights) if along == "y" else (heights, places)
            drawn += ax.plot(*pair, marker="X", markersize=10, markeredgecolor="white", linestyle="", **LOOK)
        ax.legend()
        return drawn

    def draw_slope(
        self, ax: Axes, start: tuple[Any, Any], until: Any, *, scale: float = 1.0
    ) -> list[Line2D | Text]:
        """Draw a guessed rate as a straight line from `start` on, up to x = `until`.

        `scale` times the guess is the slope on these axes: 1 / log 10 for nats per step over powers of ten.

        >>> from matplotlib.figure import Figure
        >>> predict(-2, what="rate").draw_slope(Figure().subplots(), (0, 1), 3)[0].get_ydata().tolist()
        [1.0, -5.0]
        """
        if self.values is None:
            return [_nothing(ax)]
        x = np.array([start[0], until], dtype=np.float64)
        drawn: list[Line2D | Text] = []
        for value in self.values:
            y = start[1] + scale * value * (x - x[0])
            drawn += ax.plot(x, y, linestyle=DASHED, linewidth=1.6, **LOOK)
        for line in drawn[1:]:
            line.set_label("_again")
        ax.legend()
        return drawn

    def against(self, measured: Numbers, *, powers: bool = False) -> Words:
        """Return a sentence: the guess, what was measured, and how far apart they are.

        Args:
            measured: one number for each guess.
            powers: both are powers of ten, so that their difference counts, not their ratio.

        >>> predict(20, what="lag", unit="steps").against(40.0)
        **lag**: you said 20 steps, it is 40 steps. Your guess is too small by a factor of 2.
        """
        values = np.atleast_1d(np.asarray(measured, dtype=np.float64)).tolist()
        if self.values is None:
            return Words(f"**{self.what}**: it is {_listed(values, self.unit)}. ({NOTHING})")
        if len(values) != len(self.values):
            raise ValueError(
                f"predict({self.what!r}): got {len(self.values)} guesses and {len(values)} measured numbers, "
                "expected as many"
            )
        tell = _apart if powers else _ratio
        verdicts = list(map(tell, self.values, values))
        worst = max(verdicts, key=lambda verdict: verdict[0])[1]
        said = f"you said {_listed(self.values, self.unit)}, it is {_listed(values, self.unit)}"
        return Words(f"**{self.what}**: {said}. {worst}")


def _nothing(ax: Axes) -> Text:
    """Say in the picture that there was no guess."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    return ax.text(0.02, 0.02, NOTHING, transform=ax.transAxes, color=COLOUR, fontsize=8, zorder=5, bbox=box)


def predict(value: Guess, *, what: str, unit: str = "") -> Prediction:
    """Take a guess down before the run: a number, several, or None where nothing was typed yet.

    Args:
        value: the guess; `...` and None are none.
        what: what is guessed, in a few words.
        unit: its unit, as in "steps".

    Raises:
        ValueError: for a guess that is no number.

    >>> predict([0.5, 0.25], what="spikes").values
    (0.5, 0.25)
    """
    if value is None or value is ...:
        return Prediction(None, what, unit)
    flat = np.ndim(value) == 0  # a word too
    several: list[Any] = [value] if flat else list(cast("Sequence[Any]", value))
    for one in several:
        if isinstance(one, bool) or not isinstance(one, Real) or not np.isfinite(float(one)):
            raise ValueError(f"predict({what!r}): got {one!r}, expected a number, or None if you have none")
    return Prediction(tuple(float(one) for one in several), what, unit)


def _listed(values: Sequence[float], unit: str) -> str:
    return " ".join([", ".join(f"{value:.3g}" for value in values), unit]).strip()


def _ratio(guess: float, measured: float) -> tuple[float, str]:
    """Return how far apart two numbers are, as a factor, and say it."""
    if guess == measured:
        return 1.0, "Exactly."
    if guess * measured <= 0.0:
        side = ": not even the sign is the same" if guess * measured < 0.0 else ""
        return np.inf, f"They differ by {abs(guess - measured):.3g}{side}."
    factor = measured / guess
    big = max(factor, 1.0 / factor)
    if big <= CLOSE:
        return big, f"Well guessed: within {100.0 * (big - 1.0):.0f} %."
    side = "small" if abs(factor) > 1.0 else "large"
    return big, f"Your guess is too {side} by a factor of {big:.3g}."


def _apart(guess: float, measured: float) -> tuple[float, str]:
    """Return how far apart two powers of ten are, and say it."""
    apart = abs(guess - measured)
    if apart < 0.5:
        return apart, "Well guessed: the power of ten is right."
    side = "larger" if guess > measured else "smaller"
    return apart, f"Your number is {side} by {apart:.3g} powers of ten."
