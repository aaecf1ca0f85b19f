"""`gradflow plot`: one picture of saved records, products or training runs, several overlaid."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gradflow.cli.files import as_csv, printed_path, require_writable
from gradflow.cli.options import FORMATS, Verbose
from gradflow.cli.options import formats as read_formats
from gradflow.cli.options import width as read_width
from gradflow.views.names import VIEWS

if TYPE_CHECKING:
    from gradflow.findings import Source


def _kind(text: str) -> str:
    """Read a kind of picture, or raise a usage error."""
    if text not in VIEWS:
        raise typer.BadParameter(f"got {text!r}, expected one of {', '.join(VIEWS)}")
    return text


def _complete(incomplete: str) -> list[tuple[str, str]]:
    return [(name, view.title) for name, view in VIEWS.items() if name.startswith(incomplete)]


Kind = Annotated[
    Any,
    typer.Argument(
        parser=_kind,
        metavar="KIND",
        autocompletion=_complete,
        help=f"{', '.join(VIEWS)}; without any, list them with the files they read.",
    ),
]
Files = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE…", help="netCDF files, or folders of training runs.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="File of the picture (default: KIND.png here).")
]
Formats = Annotated[
    Any,
    typer.Option(
        "--format", parser=read_formats, metavar="png,pdf,svg", help="Formats (default: the suffix of --out)."
    ),
]
Width = Annotated[
    Any,
    typer.Option(
        parser=read_width, metavar="WIDTH", help="Of the picture, as in 3.5in, 89mm or nature-single."
    ),
]
Theory = Annotated[bool, typer.Option("--theory", help="Draw predictions too, where there are any.")]
Csv = Annotated[bool, typer.Option("--csv", help="Write what is drawn as CSV beside the picture.")]


def plot(
    kind: Kind = None,
    files: Files = None,
    out: Out = None,
    formats: Formats = None,
    width: Width = "6.4in",
    theory: Theory = False,
    csv: Csv = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Draw saved files; several are overlaid and labelled by the conventions in which they differ.

    Example: gradflow plot decay-curves vanilla.nc skip.nc --theory -o curves.pdf
    """
    if kind is None:
        for name, view in VIEWS.items():
            typer.echo(f"{name:<16} {view.title}  ({view.reads})")
        return
    if not files:
        raise typer.BadParameter(f"got no files; {kind} reads files of the kind {VIEWS[kind].reads!r}")
    for written in _draw(kind, files, out or Path(f"{kind}.png"), formats, Size(width, theory, csv)):
        typer.echo(printed_path(written))


class Size(NamedTuple):
    """What is drawn beside the curves, how wide, and whether as numbers too."""

    width: float
    theory: bool
    csv: bool


def _draw(
    kind: str, files: list[Path], target: Path, formats: tuple[str, ...] | None, size: Size
) -> list[tuple[Path, bool]]:
    """Draw and write all files of one picture; return their paths and whether they were there before."""
    suffix = target.suffix.removeprefix(".").lower()
    if formats is None and suffix not in FORMATS:
        raise typer.BadParameter(
            f"--out: got {str(target)!r}, expected a name that ends in .png, .pdf or .svg, or --format"
        )
    from gradflow.findings import read_source
    from gradflow.plots.drawn import data
    from gradflow.plots.writing import write_picture
    from gradflow.views.drawn import Layout, draw_view

    stem = target.with_suffix("") if suffix in FORMATS else target
    paths = [stem.with_name(f"{stem.name}.{form}") for form in formats or (suffix,)]
    there = [require_writable(path) for path in paths]
    view = VIEWS[kind]
    sources = [read_source(file, kinds=(view.reads,), needs=view.needs) for file in files]
    drawn = draw_view(kind, sources, Layout(size.width, size.theory))
    about = _provenance(sources)
    written = []
    for path, replaced in zip(paths, there, strict=True):
        write_picture(drawn.picture, path, title=view.title, provenance=about)
        written.append((path, replaced))
    if size.csv:
        written.append(as_csv(data(drawn.artists), stem.with_name(f"{stem.name}.csv")))
    return written


def _provenance(sources: "list[Source]") -> str:
    """Return the command, and the hash and conventions of every file read, as JSON."""
    read = [
        {"file": str(source.path), "sha256": source.sha256(), "attributes": source.data.attrs}
        for source in sources
    ]
    about = {"command": shlex.join(["gradflow", *sys.argv[1:]]), "read": read}
    return json.dumps(about, ensure_ascii=True, default=str)
