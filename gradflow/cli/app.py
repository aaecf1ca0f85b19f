"""The root of the command line: version, the groups, and how errors end.

Exit codes: 0 done; 1 it could not be done, or a figure's claim does not hold; 2 the command was wrong;
130 interrupted. Heavy imports stay inside the commands, so that `gradflow --help` answers in under a second.
"""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from gradflow.caches import cache_folder
from gradflow.cli.analyze import analyze
from gradflow.cli.bench import bench
from gradflow.cli.completing import WIDE
from gradflow.cli.course import course
from gradflow.cli.doctor import doctor
from gradflow.cli.errors import told
from gradflow.cli.evaluate import evaluate
from gradflow.cli.figures import figures
from gradflow.cli.options import Verbose
from gradflow.cli.plot import plot
from gradflow.cli.record import record
from gradflow.cli.report import report
from gradflow.cli.sweep import sweep
from gradflow.cli.tasks import tasks
from gradflow.cli.train import train

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""The class of all errors in the command itself; typer has no public name for it."""
INTERRUPTED = 130

app = typer.Typer(
    name="gradflow",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Measure, explain and show how gradients vanish along time in recurrent spiking networks.",
    epilog="Example: gradflow record psmnist --recurrence skip:16 -o run.nc",
)
app.command()(record)
app.command()(analyze)
app.command()(plot)
app.command()(report)
app.command()(figures)
app.command()(tasks)
app.command()(bench)
app.command()(doctor)
app.command()(train)
app.command()(evaluate)
app.command()(sweep)
app.command()(course)


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"gradflow {version('gradflow-snn')}")
        raise typer.Exit
    return wanted


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def root(
    show_version: Version = False,
    verbose: Verbose = False,
) -> None:
    """Take the options that every command shares."""


def main() -> None:
    """Run the command; an error becomes one line on standard error and the exit code."""
    # Triton would keep its kernels in the home folder itself
    os.environ.setdefault("TRITON_CACHE_DIR", str(cache_folder() / "triton"))
    if "_GRADFLOW_COMPLETE" in os.environ:  # a shell takes a second line of help for another word
        os.environ["TERMINAL_WIDTH"] = WIDE
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="gradflow", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        # interrupted inside generated code, Python would end by the signal itself: new code makes it forget
        exec("")
        code = INTERRUPTED
    except UsageError as error:
        _fail(f"{_usage(error)} (see {_command_of(error)} --help)", 2)
    except Exception as error:
        if "--verbose" in sys.argv:
            raise
        _fail(told(error), 1)
    if code == INTERRUPTED:
        _fail("interrupted; files that were finished are whole, no other was written", INTERRUPTED)
    raise SystemExit(code if isinstance(code, int) else 0)


def _usage(error: BaseException) -> str:
    """Return what is wrong with the command, without typer's `Invalid value: ` where no option is named."""
    named = getattr(error, "param", None) is not None or not isinstance(error, typer.BadParameter)
    text = error.format_message() if named else error.message  # type: ignore[attr-defined]
    return " ".join(str(text).split())


def _command_of(error: BaseException) -> str:
    """Return the command at fault: as the error says, else as it was called."""
    context = getattr(error, "ctx", None)
    if context is not None:
        return str(context.command_path)
    names = {getattr(command.callback, "__name__", "") for command in app.registered_commands}
    return " ".join(["gradflow", *[word for word in sys.argv[1:2] if word in names]])


def _fail(line: str, code: int) -> None:
    typer.echo(f"gradflow: {line}", err=True)
    raise SystemExit(code)
