"""`gradflow figures`: list the figures, or make some of them."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gradflow.figures.make import Made
    from gradflow.figures.registry import FigureSpec

DEFAULT_OUT = Path("gradflow-figures")


def _spans(text: str) -> tuple[int, ...]:
    """Read `1,4,16`; what is wrong with it is said as a usage error."""
    try:
        spans = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: expected whole numbers with commas, as in 1,4,16,41") from None
    if min(spans) < 1:
        raise typer.BadParameter(f"{text!r}: a span is at least 1 step")
    return spans


def figures(
    names: Annotated[
        list[str] | None, typer.Argument(help="Figures to make; without any, list what exists.")
    ] = None,
    spans: Annotated[str | None, typer.Option(help="Skip spans λ, as in 1,4,16,41 (1 is vanilla).")] = None,
    task: Annotated[
        str | None, typer.Option(help="Task whose sequences are used: smnist or psmnist.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of IDX files (MNIST, Fashion-MNIST); default: the digits shipped."),
    ] = None,
    pool: Annotated[
        int | None, typer.Option(min=1, help="Average-pool the pixels; 2 gives 196 steps.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Sequences per network.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Networks (seeds 0, 1, …) per span.")] = None,
    hidden: Annotated[int | None, typer.Option(min=1, help="Neurons of the layer.")] = None,
    decay: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Decay α of the potential.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer samples and seeds: a minute or two.")] = False,
    full: Annotated[bool, typer.Option("--full", help="More samples and seeds, for print.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = DEFAULT_OUT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
) -> None:
    """Make figures from data: netCDF, CSV, PNG, PDF and SVG.

    Example: gradflow figures decay-curves --spans 1,4,16 --quick --out pictures
    """
    from gradflow.figures.registry import find
    from gradflow.figures.registry import names as known

    if not names:
        _list(as_json)
        return
    if quick and full:
        raise typer.BadParameter("--quick and --full exclude each other")
    unknown = [name for name in names if name not in known()]
    if unknown:
        raise typer.BadParameter(f"no figure {', '.join(unknown)}; there is: {', '.join(known())}")
    given = {
        "spans": None if spans is None else _spans(spans),
        "task": task,
        "folder": None if data is None else str(data),
        "pool": pool,
        "samples": samples,
        "seeds": seeds,
        "hidden": hidden,
        "decay": decay,
    }
    options = {key: value for key, value in given.items() if value is not None}
    results = {name: _make(find(name), options, quick, full, out, as_json) for name in dict.fromkeys(names)}
    if as_json:
        typer.echo(json.dumps({name: _as_json(made) for name, made in results.items()}, indent=2))
    failed = [claim.text for made in results.values() for claim in made.claims if not claim.holds]
    if failed:
        typer.echo(f"gradflow: the data does not bear out: {'; '.join(failed)}", err=True)
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from gradflow.figures.registry import find
    from gradflow.figures.registry import names as known

    if as_json:
        typer.echo(json.dumps({name: find(name).title for name in known()}, indent=2))
        return
    for name in known():
        typer.echo(f"{name:<16} {find(name).title}")


def _make(
    spec: "FigureSpec", options: dict[str, Any], quick: bool, full: bool, out: Path, as_json: bool
) -> "Made":
    from pydantic import ValidationError

    from gradflow.cli.progress import progress_bar
    from gradflow.figures.make import make

    size = spec.quick if quick else spec.full if full else {}
    try:
        config = spec.config.model_validate({**size, **options})
    except ValidationError as error:
        lines = [f"--{str(part['loc'][0]).replace('_', '-')}: {part['msg']}" for part in error.errors()]
        raise typer.BadParameter("; ".join(lines)) from None
    command = shlex.join(["gradflow", *sys.argv[1:]])
    with progress_bar(spec.name) as progress:
        made = make(spec, config, out, command=command, progress=progress)
    if not as_json:
        _print(spec, made)
    return made


def _print(spec: "FigureSpec", made: "Made") -> None:
    """Print the numbers, the claims and the files; plain text when piped."""
    typer.echo(spec.title)
    typer.echo(made.summary.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    for claim in made.claims:
        typer.echo(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}")
    for file in made.files:
        typer.echo(f"wrote {file}")


def _as_json(made: "Made") -> dict[str, Any]:
    return {
        "files": [str(file) for file in made.files],
        "summary": json.loads(made.summary.to_json(orient="records", double_precision=12)),
        "claims": {claim.text: claim.holds for claim in made.claims},
    }
