"""Slider panels: curves drawn anew with each move, and a static picture where there are no widgets.

A panel is a function from numbers to a picture. In a live notebook ipywidgets move the numbers; a code host,
a page or a kernel without widgets shows the picture at a few settings side by side.
"""

import gc
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from gradflow.course.setting import DPI
from gradflow.plots.style import style

Draw = Callable[..., None]
WIDE = (7.2, 3.2)
"""Inches of a live picture: two panels beside each other."""
MARGINS = {"left": 0.09, "right": 0.985, "bottom": 0.17, "top": 0.89, "wspace": 0.27}
HIGH = 2.9
"""Inches a row of the static picture is high."""


@dataclass(frozen=True)
class Slider:
    """One number that can be moved, from `low` to `high`.

    Attributes:
        name: keyword of the drawing function.
        text: what stands beside the slider, with its symbol and unit.
        values: the stops, in order.
        start: the stop to begin with.
    """

    name: str
    text: str
    values: tuple[float | int, ...]
    start: float | int

    def __post_init__(self) -> None:
        if self.start not in self.values:
            raise ValueError(f"Slider({self.name!r}): starts at {self.start}, expected one of {self.values}")


@dataclass(frozen=True)
class Panel:
    """Sliders and the picture they move.

    Attributes:
        sliders: the numbers, in the order of the panel.
        draw: called as draw(axes, **numbers); draws on a row of axes.
        columns: how many axes a row has.
        settings: numbers of the static picture, a row each; what they leave out is at its start.
        alt: the picture in words, for those who cannot see it.
    """

    sliders: tuple[Slider, ...]
    draw: Draw
    columns: int
    settings: tuple[Mapping[str, float | int], ...]
    alt: str
    found: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def numbers(self, given: Mapping[str, float | int]) -> dict[str, float | int]:
        """Return all numbers: those given, and the others at their start.

        Raises ValueError for a name that is no slider.
        """
        starts = {slider.name: slider.start for slider in self.sliders}
        unknown = set(given) - set(starts)
        if unknown:
            raise ValueError(f"panel: got {', '.join(sorted(unknown))}, expected {', '.join(starts)}")
        return {**starts, **given}

    def figure(self, **given: float | int) -> Figure:
        """Draw the picture at these numbers."""
        # margins that fit all panels: to work them out anew would take a third of a move
        with style("notebook"), rc_context({"figure.constrained_layout.use": False}):
            picture = Figure(figsize=WIDE, dpi=DPI)
            picture.subplots_adjust(**MARGINS)
            self.draw(picture.subplots(1, self.columns, squeeze=False)[0], **self.numbers(given))
        return picture

    def still(self) -> Figure:
        """Draw the static picture: a row for each of the settings, with its numbers above."""
        rows = len(self.settings)
        with style("notebook"):
            picture = Figure(figsize=(WIDE[0], HIGH * rows), dpi=DPI, layout="constrained")
            parts = picture.subfigures(rows, 1, squeeze=False)[:, 0]
            for part, given in zip(parts, self.settings, strict=True):
                numbers = self.numbers(given)
                said = [f"{slider.text} = {numbers[slider.name]:g}" for slider in self.sliders]
                part.suptitle(",   ".join(said), fontsize=9)
                self.draw(part.subplots(1, self.columns, squeeze=False)[0], **numbers)
        return picture

    def live(self) -> Any:
        """Return the widget: sliders above, the picture below, drawn anew with each move.

        Raises ImportError where ipywidgets is missing.
        """
        import ipywidgets

        # or the collector goes through torch and all else that is loaded at every twentieth move, .4 s long
        gc.collect()
        gc.freeze()
        controls = {slider.name: _control(slider) for slider in self.sliders}
        image = ipywidgets.Image(value=png(self.figure()), format="png")
        image.add_class("gradflow-panel")

        def move(_: Any) -> None:
            image.value = png(self.figure(**{name: each.value for name, each in controls.items()}))

        for control in controls.values():
            control.observe(move, names="value")
        return ipywidgets.VBox([*controls.values(), image])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return the static picture, and the widget beside it where there is one to show."""
        data: dict[str, Any] = {"image/png": png(self.still()), "text/plain": self.alt}
        try:
            widget = self.live()
        except ImportError:
            return data
        self.found["widget"] = widget  # a widget that nothing holds is gone before its first move
        return {**data, **(widget._repr_mimebundle_() or {}), "text/plain": self.alt}


def _control(slider: Slider) -> Any:
    import ipywidgets

    return ipywidgets.SelectionSlider(
        options=[(f"{value:g}", value) for value in slider.values],
        value=slider.start,
        description=slider.text,
        continuous_update=True,
        style={"description_width": "11em"},
        layout={"width": "32em"},
    )


def png(picture: Figure) -> bytes:
    """Return a figure as the bytes of a PNG at a notebook's dots per inch."""
    buffer = io.BytesIO()
    with style("notebook"):
        picture.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def stops(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return evenly spaced stops of a slider, rounded to three digits.

    >>> stops(0.0, 1.0, 5)
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    return tuple(round(low + (high - low) * k / (count - 1), 3) for k in range(count))
