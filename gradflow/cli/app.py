"""The root of the command line: version, the groups, and how errors end.

Exit codes: 0 done; 1 it could not be done, or a figure's claim does not hold; 2 the command was wrong.
Heavy imports stay inside the commands, so that `gradflow --help` answers in under a second.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from gradflow.cli.figures import figures
from gradflow.cli.tasks import tasks

app = typer.Typer(
    name="gradflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Measure, explain and show how gradients vanish along time in recurrent spiking networks.",
    epilog="Start with: gradflow figures decay-curves --quick",
)
app.command()(figures)
app.command()(tasks)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gradflow {version('gradflow-snn')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the traceback of an error: gradflow --verbose figures …")
    ] = False,
) -> None:
    """Take the options that every command shares."""


def main() -> None:
    """Run the command; an error becomes one line on standard error and exit code 1."""
    try:
        app()
    except KeyboardInterrupt:
        _fail("interrupted; files that were finished are whole, nothing else was written", 130)
    except (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError, ImportError) as error:
        if "--verbose" in sys.argv:
            raise
        _fail(describe(error), 1)


def describe(error: BaseException) -> str:
    """Return an error as one line: pydantic's field by field, the system's with its file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}; name another with --out, --data or make it accessible"
    if isinstance(error, MemoryError):
        return "not enough memory; use fewer --samples or a smaller --hidden"
    return " ".join(str(error).split()) or type(error).__name__


def _fail(line: str, code: int) -> None:
    typer.echo(f"gradflow: {line}", err=True)
    raise SystemExit(code)
