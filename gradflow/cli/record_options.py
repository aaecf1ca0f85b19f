"""The options of `gradflow record` that are not the network's, and how their words are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gradflow.cli.completing import among, task_names
from gradflow.cli.options import count

KINDS = ("record", "products", "paths")
"""Gradients of the loss; Jacobian products; the same split by recurrent hops."""
KEEP = ("norms", "paths", "activity", "quantiles", "weights", "tensors", "summaries")
LOSSES = ("sum", "mean", "last")
MODES = ("soft", "hard")


def _kinds(text: str) -> tuple[str, ...]:
    return _words(text, KINDS)


def _keep(text: str) -> tuple[str, ...]:
    return _words(text, KEEP)


def _words(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Read words with commas, or raise a usage error."""
    found = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    if not set(found) <= set(known):
        raise typer.BadParameter(f"got {text!r}, expected some of {','.join(known)}")
    return found


def _one_of(known: tuple[str, ...]) -> Any:
    def read(text: str) -> str:
        if text not in known:
            raise typer.BadParameter(f"got {text!r}, expected one of {', '.join(known)}")
        return text

    return read


TaskName = Annotated[
    str | None,
    typer.Argument(
        metavar="TASK", help="As `gradflow tasks` lists them; not with --run.", autocompletion=task_names
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="netCDF file to write, as in run.nc.")]
Kind = Annotated[
    Any,
    typer.Option(
        "--kind",
        parser=_kinds,
        metavar="KIND,…",
        help="record, products or paths; of several, a file each.",
        autocompletion=among(KINDS, separator=","),
    ),
]
Run = Annotated[
    Path | None, typer.Option("--run", help="Folder of a training run: its network, best epoch, and task.")
]
Step = Annotated[
    int | None, typer.Option(min=0, help="With --run: the checkpoint after so many steps instead.")
]
Samples = Annotated[Any, typer.Option(parser=count, metavar="N", help="Sequences of the training split.")]
SampleSeed = Annotated[int, typer.Option(min=0, help="Of the sequences.")]
Loss = Annotated[
    Any,
    typer.Option(
        parser=_one_of(LOSSES), metavar="PLACE", help="Where the loss is: sum, mean or last (of the steps)."
    ),
]
SpanMode = Annotated[
    Any, typer.Option(parser=_one_of(MODES), metavar="MODE", help="soft or hard spans of ASRC.")
]
KeepWords = Annotated[
    Any,
    typer.Option("--keep", parser=_keep, metavar="WORD,…", help=f"What a record holds: {', '.join(KEEP)}."),
]
Theory = Annotated[
    bool, typer.Option("--theory", help="Of products: predict them from the run's second moments too.")
]
MaxHops = Annotated[Any, typer.Option(parser=count, metavar="N", help="Of paths: hops that are told apart.")]
