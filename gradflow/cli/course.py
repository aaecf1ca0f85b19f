"""`gradflow course`: list the notebooks of the course, and write them, with solutions or without."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradflow.cli.files import printed_path, require_writable
from gradflow.cli.options import AsJson, Verbose

if TYPE_CHECKING:
    from gradflow.course.lessons import Lesson

Names = Annotated[
    list[str] | None, typer.Argument(help="Notebooks, as in 1-neuron; without any, all of them.")
]
Out = Annotated[Path | None, typer.Option(help="Folder for the notebooks; without it, list them.")]
Teacher = Annotated[bool, typer.Option("--teacher", help="With solutions (folded) and sensible predictions.")]
Execute = Annotated[bool, typer.Option("--execute", help="Run them, each in a kernel of its own.")]
Slides = Annotated[
    Path | None, typer.Option(help="Folder for pictures of the course in the style of slides.")
]
Crib = Annotated[Path | None, typer.Option(help="File for the crib sheet of formulas: .pdf, .html or .md.")]


def course(
    names: Names = None,
    out: Out = None,
    teacher: Teacher = False,
    execute: Execute = False,
    slides: Slides = None,
    crib: Crib = None,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Write the notebooks of the course, or list them with what they teach and how long they take.

    Students get stubs for the solutions and empty predictions; teachers get both filled in.

    Example: gradflow course --slides slides --crib crib-sheet.pdf

    Example: gradflow course --out course; gradflow course 1-neuron --teacher --execute --out lesson
    """
    from gradflow.course.lessons import NAMES, lessons

    there = {found.name: found for found in lessons()}
    wanted = list(dict.fromkeys(names or there))
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise typer.BadParameter(f"got {', '.join(unknown)}, expected a notebook: {', '.join(NAMES)}")
    if slides is not None or crib is not None:
        if names or out is not None or teacher or execute:
            raise typer.BadParameter("--slides and --crib go with one another and --json alone")
        _print_paths(_materials(slides, crib), as_json)
        return
    if out is None:
        if teacher or execute:
            raise typer.BadParameter("--teacher and --execute go with --out FOLDER")
        _list([there[name] for name in wanted], as_json)
        return
    _print_paths([_write(name, out, teacher, execute) for name in wanted], as_json)


def _print_paths(paths: list[Path], as_json: bool) -> None:
    if as_json:
        import json

        typer.echo(json.dumps([str(path) for path in paths]))


def _materials(slides: Path | None, crib: Path | None) -> list[Path]:
    """Write the slides and the crib sheet that are asked for, and say where."""
    from gradflow.course.materials import write_crib, write_slides

    if crib is not None:
        require_writable(crib)
    if slides is not None:
        require_writable(slides / "01.png")
    paths = [] if crib is None else [write_crib(crib)]
    for path in () if slides is None else write_slides(slides):
        paths.append(path)
        typer.echo(f"wrote {path}", err=True)
    if crib is not None:
        typer.echo(f"wrote {crib}", err=True)
    return paths


def _list(found: "list[Lesson]", as_json: bool) -> None:
    """Print what the lessons promise."""
    if as_json:
        import json

        facts = [
            {"name": each.name, "title": each.title, "minutes": each.minutes, "aims": each.aims}
            for each in found
        ]
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for each in found:
        typer.echo(f"{each.name:<20} {each.title} ({each.minutes} minutes)")
        for aim in each.aims:
            typer.echo(f"{'':<20}   {aim}")


def _write(name: str, folder: Path, teacher: bool, execute: bool) -> Path:
    """Write one notebook, whole or not at all, and say where."""
    from gradflow.course import building
    from gradflow.plots.writing import write_text

    path = folder / f"{name}.ipynb"
    there = require_writable(path)
    made = (building.teacher if teacher else building.student)(building.build(name))
    if execute:
        typer.echo(f"{name}: running", err=True)
        made = building.execute(made)
    written = write_text(path, building.as_text(made)), there
    typer.echo(printed_path(written), err=True)
    return path
