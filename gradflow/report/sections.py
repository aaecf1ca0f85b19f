"""A section of a report, and the still pictures that stand in for its charts where scripts are off."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

from gradflow.findings import Source
from gradflow.report.charts import Chart
from gradflow.report.subjects import Line, Subject
from gradflow.views.drawn import Layout, draw_view

DPI = 160
WIDTH = 6.4


@dataclass(frozen=True)
class Section:
    """Charts under one heading, with what a reader must know; `slider`: they change with the epoch."""

    key: str
    title: str
    text: str
    charts: tuple[Chart, ...]
    slider: bool = False


def heading(parts: Sequence[str]) -> str:
    """Return the parts there are, with commas.

    >>> heading(["Norm against lag", ""])
    'Norm against lag'
    """
    return ", ".join(part for part in parts if part)


def still_panel(view: str, lines: Sequence[Line]) -> bytes:
    """Return what one panel shows as PNG: all layers of a file, or one layer of several files."""
    subjects = list({id(line.subject): line.subject for line in lines}.values())
    return still(view, subjects, lines[0].layer if len(subjects) > 1 else None)


def still(view: str, subjects: Sequence[Subject], layer: int | None = None) -> bytes:
    """Return a view of some files, or of one of their layers, as PNG."""
    sources = [one.source for one in subjects]
    if layer is not None:
        sources = [Source(one.path, one.data.sel(layer=[layer])) for one in sources]
    return png(draw_view(view, sources, Layout(WIDTH, theory=True)).picture)


def png(picture: Figure) -> bytes:
    """Return a picture as PNG, the same bytes whenever it is drawn."""
    from gradflow.plots.style import style

    content = BytesIO()
    with style():
        picture.savefig(content, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return content.getvalue()
