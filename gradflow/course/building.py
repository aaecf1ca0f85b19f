"""From one source to notebooks: the teacher's with folded solutions, the student's with stubs.

Tags of a source's cells: `solution` (the student gets a stub), `prediction` (the student gets None), `check`,
`sliders`, `hide-input`.
"""

import base64
import copy
import hashlib
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from gradflow.course.lessons import lesson
from gradflow.course.setting import SMALL
from gradflow.course.stubs import blank_prediction, stub

if TYPE_CHECKING:
    from nbformat import NotebookNode

WIDGET = "application/vnd.jupyter.widget-view+json"
COLOURS = 256  # fewer would draw steps into maps
TIMEOUT = 600
"""Seconds for one cell: five times what a whole notebook may take, for a machine that is busy otherwise."""


def build(name: str) -> "NotebookNode":
    """Return the notebook that a lesson's source describes, with ids that stay the same from build to build.

    Raises ValueError for a name that does not exist, ImportError where jupytext is missing.
    """
    try:
        import jupytext
    except ImportError:
        raise ImportError(
            "the course needs jupytext, nbformat and nbclient: pip install 'gradflow-snn[course]'"
        ) from None
    found: NotebookNode = jupytext.reads(lesson(name).text, fmt="py:percent")
    found.metadata = type(found.metadata)(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for place, cell in enumerate(found.cells):
        cell["id"] = hashlib.sha256(f"{name} {place}".encode()).hexdigest()[:8]
    found.nbformat, found.nbformat_minor = 4, 5
    return found


def tags(cell: Any) -> list[str]:
    """Return a cell's tags."""
    return list(cell.metadata.get("tags", ()))


def teacher(notebook: "NotebookNode") -> "NotebookNode":
    """Return the teacher's version: solutions and helpers folded, nothing left out."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if {"solution", "hide-input"} & set(tags(cell)):
            fold(cell)
    return made


def student(notebook: "NotebookNode") -> "NotebookNode":
    """Return the student's version: stubs, no predictions, and checks that let Run All go on."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        cell.update(_for_student(cell))
    return made


def _for_student(cell: "NotebookNode") -> dict[str, Any]:
    """Return what changes in a cell for the student."""
    marked = tags(cell)
    if "solution" in marked:
        kept = [tag for tag in marked if tag != "solution"]
        return {"source": stub(cell.source), "metadata": {**cell.metadata, "tags": [*kept, "exercise"]}}
    if "prediction" in marked:
        return {"source": blank_prediction(cell.source)}
    if "check" in marked:
        return {"metadata": {**cell.metadata, "tags": [*marked, "raises-exception"]}}
    if "hide-input" in marked:
        fold(cell)
    return {}


def fold(cell: Any) -> None:
    """Fold a cell's source, for JupyterLab (source_hidden) and for the documentation site (hide-input)."""
    cell.metadata["jupyter"] = {"source_hidden": True}
    if "hide-input" not in tags(cell):
        cell.metadata["tags"] = [*tags(cell), "hide-input"]


def execute(notebook: "NotebookNode", *, small: bool = False, folder: str = ".") -> "NotebookNode":
    """Run a notebook from scratch in a kernel of its own and return it with its outputs.

    Args:
        notebook: as `teacher` or `student` makes it.
        small: take the small sizes (environment variable GRADFLOW_COURSE_SMALL=1).
        folder: where the kernel runs.

    Returns:
        A copy with outputs, without anything that differs from run to run but what was computed; widgets
        leave their static picture.

    Raises:
        RuntimeError: for a cell that fails and is not tagged raises-exception, with the cell.
        ImportError: where nbclient is missing.
    """
    try:
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError:
        raise ImportError(
            "running the course needs nbclient and ipykernel: pip install 'gradflow-snn[course]'"
        ) from None
    made = copy.deepcopy(notebook)
    client = NotebookClient(
        made,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": folder}},
        record_timing=False,
        store_widget_state=False,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],
    )
    settings = {"PYTHONHASHSEED": "0", "PYTHONWARNINGS": "default", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    found = {key: value for key, value in os.environ.items() if key != SMALL}
    try:
        client.execute(env={**found, **settings, SMALL: "1" if small else "0"})
    except CellExecutionError as error:
        raise RuntimeError(f"a cell stops with {error.ename}: {error.evalue}\n{error}") from error
    for cell in made.cells:
        _clean(cell)
    made.metadata.pop("widgets", None)
    made.metadata["language_info"] = {"name": "python", "version": ".".join(map(str, sys.version_info[:2]))}
    return made


def _clean(cell: Any) -> None:
    """Leave of a cell's outputs what a reader sees; a widget without its kernel is not seen."""
    cell.metadata.pop("execution", None)
    for output in cell.get("outputs", ()):
        output.get("metadata", {}).pop(WIDGET, None)
        data = output.get("data", {})
        data.pop(WIDGET, None)
        if "image/png" in data:
            data["image/png"] = light(data["image/png"])


def light(picture: str) -> str:
    """Return a PNG (base64) in 256 colours: half of the size, or less."""
    from PIL import Image

    full = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    buffer = io.BytesIO()
    # the default averages colours of few pixels away, such as a typed prediction's
    few = full.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def as_text(notebook: "NotebookNode") -> str:
    """Return the notebook as a file's text: JSON with one space of indentation, as Jupyter writes it."""
    import nbformat

    nbformat.validate(notebook)
    plain = json.loads(nbformat.writes(notebook))  # type: ignore[no-untyped-call]
    return json.dumps(plain, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
