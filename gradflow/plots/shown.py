"""What a plot hands back shows itself in a notebook: the picture, unless pyplot shows it anyway."""

from dataclasses import fields
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.plots.style import style


def axes(ax: Axes | None) -> Axes:
    """Return the axes, or those of a new figure of a notebook's size."""
    if ax is not None:
        return ax
    with style("notebook"):
        return Figure(figsize=(7.0, 4.0), layout="constrained").subplots()


class Shown:
    """A dataclass of artists with the axes `ax` that they are on.

    In a notebook the last line of a cell shows the picture. Axes of pyplot are drawn by the notebook itself;
    then there is one line on what was drawn, which a terminal shows too.
    """

    ax: Axes

    def __repr__(self) -> str:
        parts = {part.name: getattr(self, part.name) for part in fields(self)}  # type: ignore[arg-type]
        named = [f"{name}: {', '.join(map(str, part))}" for name, part in parts.items() if _filled(part)]
        return f"{type(self).__name__}({'; '.join(named)})"

    def _repr_mimebundle_(self, **told: Any) -> dict[str, Any]:
        figure = self.ax.get_figure(root=True)
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        if figure is not None and figure.canvas.manager is None:
            picture = BytesIO()
            figure.savefig(picture, format="png", facecolor="white")
            bundle["image/png"] = picture.getvalue()
        return bundle


def _filled(part: Any) -> bool:
    return isinstance(part, dict) and bool(part)
