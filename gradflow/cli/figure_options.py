"""The options of `gradflow figures`, and the command that makes one figure again."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from gradflow.cli.completing import among, figure_names
from gradflow.cli.options import FORMATS, JOURNALS, count, share
from gradflow.cli.options import formats as read_formats
from gradflow.cli.options import spans as read_spans
from gradflow.cli.options import width as read_width

DEFAULT_OUT = Path("gradflow-figures")
STYLES = ("paper", "slides", "notebook")


def _style(text: str) -> str:
    """Read the name of a style, or raise a usage error."""
    if text not in STYLES:
        raise typer.BadParameter(f"got {text!r}, expected one of {', '.join(STYLES)}")
    return text


Names = Annotated[
    list[str] | None,
    typer.Argument(help="Figures to make; without any, list what exists.", autocompletion=figure_names),
]
Spans = Annotated[
    Any, typer.Option(parser=read_spans, metavar="λ,λ,…", help="Skip spans, as in 1,4,16 (1: vanilla).")
]
TaskName = Annotated[
    str | None,
    typer.Option(
        help="Task whose sequences are used: smnist or psmnist.", autocompletion=among(("smnist", "psmnist"))
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder of IDX files (MNIST, Fashion-MNIST); default: the digits shipped."),
]
Pool = Annotated[
    Any, typer.Option(parser=count, metavar="N", help="Average-pool the pixels; 2 gives 196 steps.")
]
Samples = Annotated[Any, typer.Option(parser=count, metavar="N", help="Sequences per network.")]
Seeds = Annotated[Any, typer.Option(parser=count, metavar="N", help="Networks (seeds 0, 1, …) per span.")]
Hidden = Annotated[Any, typer.Option(parser=count, metavar="N", help="Neurons of the layer.")]
Decay = Annotated[Any, typer.Option(parser=share, metavar="α", help="Decay of the potential, 0 to 1.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer samples and seeds: minutes at most.")]
Full = Annotated[bool, typer.Option("--full", help="More samples and seeds, for print.")]
Every = Annotated[bool, typer.Option("--all", help="Make every figure there is.")]
Stale = Annotated[
    bool,
    typer.Option(
        "--stale",
        help="Make those alone whose files in --out are missing, or not of today's code and options.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Compute the data anew, even where they are in the cache.")
]
Formats = Annotated[
    Any,
    typer.Option(
        "--format",
        parser=read_formats,
        autocompletion=among(FORMATS, separator=","),
        metavar="png,pdf,svg",
        help="Formats of the pictures.",
    ),
]
Style = Annotated[
    Any,
    typer.Option(
        parser=_style,
        autocompletion=among(STYLES),
        metavar="NAME",
        help="paper, slides or notebook: sizes of letters, lines and picture.",
    ),
]
Width = Annotated[
    Any,
    typer.Option(
        parser=read_width,
        autocompletion=among(JOURNALS),
        metavar="WIDTH",
        help=f"Of the pictures, as in 3.5in or 89mm, or as a journal has it: {', '.join(JOURNALS)}.",
    ),
]
Jobs = Annotated[
    Any, typer.Option(parser=count, metavar="N", help="Figures at a time, each in its own process.")
]
Redraw = Annotated[Path | None, typer.Option(help="Draw again from this netCDF file; nothing is computed.")]
Explain = Annotated[
    Path | None,
    typer.Option(help="Say where this picture, netCDF or JSON file comes from, and how to make it again."),
]
Out = Annotated[Path, typer.Option(help="Folder for the files.")]

FLAGS = {"folder": "--data"}
"""Options of figures that are called otherwise on the command line."""


def command_of(name: str, options: dict[str, Any], size: str, out: Path) -> str:
    """Return the command that makes one figure's data again.

    >>> command_of("decay-curves", {"spans": (1, 4), "seeds": 2}, "--quick", Path("pictures"))
    'gradflow figures decay-curves --spans 1,4 --seeds 2 --quick --out pictures'
    """
    words = ["gradflow", "figures", name]
    for key, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [FLAGS.get(key, f"--{key}"), text]
    words += [size] if size else []
    return shlex.join(words if out == DEFAULT_OUT else [*words, "--out", str(out)])
