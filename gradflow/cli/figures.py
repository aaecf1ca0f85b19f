"""`gradflow figures`: list the figures, or make some of them."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradflow.cli.options import AsJson, Verbose, count, share
from gradflow.cli.options import spans as read_spans

if TYPE_CHECKING:
    from gradflow.figures.make import Made
    from gradflow.figures.registry import Config, FigureSpec

DEFAULT_OUT = Path("gradflow-figures")


def figures(
    names: Annotated[
        list[str] | None, typer.Argument(help="Figures to make; without any, list what exists.")
    ] = None,
    spans: Annotated[
        Any,
        typer.Option(parser=read_spans, metavar="λ,λ,…", help="Skip spans, as in 1,4,16 (1: vanilla)."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task whose sequences are used: smnist or psmnist.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of IDX files (MNIST, Fashion-MNIST); default: the digits shipped."),
    ] = None,
    pool: Annotated[
        Any, typer.Option(parser=count, metavar="N", help="Average-pool the pixels; 2 gives 196 steps.")
    ] = None,
    samples: Annotated[Any, typer.Option(parser=count, metavar="N", help="Sequences per network.")] = None,
    seeds: Annotated[
        Any, typer.Option(parser=count, metavar="N", help="Networks (seeds 0, 1, …) per span.")
    ] = None,
    hidden: Annotated[Any, typer.Option(parser=count, metavar="N", help="Neurons of the layer.")] = None,
    decay: Annotated[
        Any, typer.Option(parser=share, metavar="α", help="Decay of the potential, 0 to 1.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer samples and seeds: minutes at most.")] = False,
    full: Annotated[bool, typer.Option("--full", help="More samples and seeds, for print.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Make every figure there is.")] = False,
    redraw: Annotated[
        Path | None, typer.Option(help="Draw again from this netCDF file; nothing is computed.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = DEFAULT_OUT,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Make figures from data: netCDF, CSV, PNG, PDF and SVG. Without a name, list them.

    Example: gradflow figures decay-curves --spans 1,4,16 --quick --out pictures
    """
    from gradflow.figures.registry import find
    from gradflow.figures.registry import names as known

    wanted = list(dict.fromkeys(known() if every else names or ()))
    given = {
        "spans": spans,
        "task": task,
        "folder": None if data is None else str(data),
        "pool": pool,
        "samples": samples,
        "seeds": seeds,
        "hidden": hidden,
        "decay": decay,
    }
    options = {key: value for key, value in given.items() if value is not None}
    _refuse(wanted, known(), quick and full, redraw is not None, bool(options or quick or full))
    if not wanted:
        _list(as_json)
        return
    if redraw is not None:
        from gradflow.figures.make import draw_from

        results = {wanted[0]: draw_from(find(wanted[0]), redraw, out)}
    else:
        # all options are read before anything is computed
        configs = {name: _config(find(name), options, quick, full) for name in wanted}
        results = {name: _make(find(name), config, out) for name, config in configs.items()}
    if as_json:
        typer.echo(json.dumps({name: _as_json(made) for name, made in results.items()}, indent=2))
    else:
        for name, made in results.items():
            _print(find(name), made)
    failed = [claim.text for made in results.values() for claim in made.claims if not claim.holds]
    if failed:
        typer.echo(f"gradflow: the data does not bear out: {'; '.join(failed)}", err=True)
        raise typer.Exit(1)


def _refuse(wanted: list[str], known: list[str], both: bool, redrawn: bool, options: bool) -> None:
    """Raise a usage error for names and options that do not go together."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise typer.BadParameter(f"got {', '.join(unknown)}, expected a figure: {', '.join(known)}")
    if both:
        raise typer.BadParameter("got --quick and --full, expected one of them")
    if redrawn and (len(wanted) != 1 or options):
        raise typer.BadParameter("--redraw takes one figure and no options but --out: the file has the rest")
    if not wanted and options:
        raise typer.BadParameter(f"got options but no figure; name one: {', '.join(known)}")


def _list(as_json: bool) -> None:
    from gradflow.figures.registry import find
    from gradflow.figures.registry import names as known

    if as_json:
        typer.echo(json.dumps({name: find(name).title for name in known()}, indent=2))
        return
    for name in known():
        typer.echo(f"{name:<16} {find(name).title}")


def _config(spec: "FigureSpec", options: dict[str, Any], quick: bool, full: bool) -> "Config":
    from pydantic import ValidationError

    size = spec.quick if quick else spec.full if full else {}
    try:
        return spec.config.model_validate({**size, **options})
    except ValidationError as error:
        lines = [
            f"--{part['loc'][0]}: {part['msg'].removeprefix('Value error, ')}" for part in error.errors()
        ]
        raise typer.BadParameter("; ".join(lines)) from None


def _make(spec: "FigureSpec", config: "Config", out: Path) -> "Made":
    from gradflow.cli.progress import progress_bar
    from gradflow.figures.make import make

    command = shlex.join(["gradflow", *sys.argv[1:]])
    with progress_bar(spec.name) as progress:
        return make(spec, config, out, command=command, progress=progress)


def _print(spec: "FigureSpec", made: "Made") -> None:
    """Print the numbers, the claims and the files; plain text when piped."""
    typer.echo(spec.title)
    typer.echo(made.summary.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    for claim in made.claims:
        typer.echo(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}")
    for file in made.files:
        typer.echo(f"wrote {file}")


def _as_json(made: "Made") -> dict[str, Any]:
    """Return the result for machines; NaN and infinity are null."""
    return {
        "files": [str(file) for file in made.files],
        "summary": json.loads(made.summary.to_json(orient="records", double_precision=12)),
        "claims": {claim.text: claim.holds for claim in made.claims},
    }
