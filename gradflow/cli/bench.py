"""`gradflow bench`: what a training step costs, beside the reference engine, other libraries, the floor."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gradflow.cli.options import AsJson, Verbose, count

Targets = Annotated[bool, typer.Option("--targets", help="Only the table of targets, each met or missed.")]
OnlyGrid = Annotated[bool, typer.Option("--grid", help="Only the grid over T, spans, H and batch.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small grid, in about a minute.")]
Short = Annotated[
    bool, typer.Option("--short", help="Ends and middle of the whole grid, in about five minutes.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for results.json, results.md and results.png.")]
Threads = Annotated[
    int | None, typer.Option("--threads", parser=count, metavar="N", help="Threads (default: torch's own).")
]


def bench(
    targets: Targets = False,
    grid: OnlyGrid = False,
    quick: Quick = False,
    short: Short = False,
    threads: Threads = None,
    out: Out = Path("out/bench"),
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Time training steps side by side, measure peak memory, and write table and picture.

    Without options: targets, then the grid, in about 20 minutes. Nothing else should run meanwhile.
    Libraries that are not installed (snntorch, spikingjelly, norse) are left out and named.

    Example: gradflow bench --quick
    """
    if (quick or short) and (targets or grid or (quick and short)):
        raise typer.BadParameter("--quick and --short are grids of their own; give one of them alone")
    import torch

    from gradflow.bars import progress_bar
    from gradflow.bench.grid import SHORT
    from gradflow.bench.run import run_sections

    if threads is not None:
        torch.set_num_threads(threads)
    both = targets == grid
    sections = (
        ("grid",)
        if quick or short
        else tuple(name for name, chosen in (("targets", targets), ("grid", grid)) if chosen or both)
    )
    command = shlex.join(["gradflow", *sys.argv[1:]])
    with progress_bar("bench") as progress:
        made = run_sections(
            sections, out, command=command, quick=quick, grid=SHORT if short else None, progress=progress
        )
    typer.echo(json.dumps(made.results, indent=2) if as_json else made.text)
    if not as_json:
        for file in made.files:
            typer.echo(f"wrote {file}")
