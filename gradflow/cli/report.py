"""`gradflow report`: one self-contained page about saved files and training runs."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gradflow.cli.files import printed_path, require_writable
from gradflow.cli.options import Verbose

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN…", help="netCDF files, or folders of training runs.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="File of the page.")]
Title = Annotated[str | None, typer.Option(help="Of the page (default: what is common to the files).")]


def report(
    runs: Runs,
    out: Out = Path("report.html"),
    title: Title = None,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Write one page about saved files: warnings, conventions, curves, maps, theory, provenance.

    It needs no network and no server: open it in a browser, send it, put it anywhere. Several files of a kind
    are overlaid; of training runs a slider chooses the epoch. Without scripts it shows still pictures.

    Example: gradflow report run vanilla.nc skip.nc -o report.html
    """
    there = require_writable(out)
    from gradflow.report import write_report

    command = shlex.join(["gradflow", *sys.argv[1:]])
    typer.echo(printed_path((write_report(runs, out, title, command=command), there)))
