"""Files for the teacher: slides and the crib sheet, whole or not at all, the same bytes each time."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from gradflow.course import crib
from gradflow.course.slides import SLIDES, picture
from gradflow.plots.look import Look
from gradflow.plots.writing import write_picture, write_text

KINDS = {".pdf", ".html", ".md"}


def write_crib(path: Path) -> Path:
    """Write the crib sheet in the format of its suffix.

    Raises ValueError for a suffix other than pdf, html or md.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"{path}: got the suffix {path.suffix!r}, expected .pdf, .html or .md")
    if kind == ".pdf":
        return write_picture(crib.as_page(), path, title=crib.TITLE, provenance=_provenance("--crib"))
    return write_text(path, crib.as_markdown() if kind == ".md" else crib.as_html())


def write_slides(folder: Path) -> Iterator[Path]:
    """Write all slides as PNG, and yield each file when it is there."""
    for slide in SLIDES:
        path = folder / f"{slide.name}.png"
        look = Look("slides")
        yield write_picture(
            picture(slide), path, title=slide.title, provenance=_provenance("--slides"), look=look
        )


def _provenance(option: str) -> str:
    """Return which command of which version makes the file."""
    return json.dumps({"command": f"gradflow course {option}", "gradflow": version("gradflow-snn")})
