"""`gradflow figures`: list the figures, make some of them, or say where a picture comes from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gradflow.cli import figure_options as has
from gradflow.cli.figure_output import as_json as results_as_json
from gradflow.cli.figure_output import end, list_figures, print_failed, print_made
from gradflow.cli.options import AsJson, Verbose

if TYPE_CHECKING:
    from gradflow.figures.registry import Config, FigureSpec
    from gradflow.figures.several import Order, Outcome
    from gradflow.plots.look import Look


def figures(
    names: has.Names = None,
    spans: has.Spans = None,
    task: has.TaskName = None,
    data: has.Data = None,
    pool: has.Pool = None,
    samples: has.Samples = None,
    seeds: has.Seeds = None,
    hidden: has.Hidden = None,
    decay: has.Decay = None,
    quick: has.Quick = False,
    full: has.Full = False,
    every: has.Every = False,
    stale: has.Stale = False,
    force: has.Force = False,
    formats: has.Formats = "png,pdf,svg",
    style: has.Style = "paper",
    width: has.Width = None,
    jobs: has.Jobs = "1",
    redraw: has.Redraw = None,
    explain: has.Explain = None,
    out: has.Out = has.DEFAULT_OUT,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make figures from data: netCDF, CSV, PNG, PDF, SVG and a JSON that says where they come from.

    Without a name, list them. Data are computed once and kept in the platform's cache folder, until options
    or code change; so a run that was stopped goes on. A figure that fails leaves the others whole, and the
    exit code is then 1.

    Example: gradflow figures decay-curves --spans 1,4,16 --quick --out pictures

    Example: gradflow figures --all --quick --jobs 2; gradflow figures --stale --quick

    Example: gradflow figures decay-rate --format pdf --width nature-single; … --style slides --format png

    Example: gradflow figures --explain gradflow-figures/decay-curves.png
    """
    from gradflow.figures.registry import names as known

    wanted = known() if every else list(dict.fromkeys(names or (known() if stale else ())))
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
    _refuse(wanted, known(), quick and full, bool(options or quick or full))
    if explain is not None:
        _explain(explain, as_json, alone=not (wanted or options or redraw))
        return
    if redraw is not None and (len(wanted) != 1 or options or quick or full or stale or force):
        raise typer.BadParameter(
            "--redraw takes one figure and no options but --out, --format, --style and --width: the file has "
            "the rest"
        )
    if not wanted:
        list_figures(as_json)
        return
    from gradflow.plots.look import Look

    look = Look(style, width)
    _warn_of_narrow(wanted, width)
    if redraw is not None:
        outcomes = {wanted[0]: _redrawn(wanted[0], redraw, out, formats, look)}
        if not as_json:
            _print(outcomes[wanted[0]], verbose)
    else:
        size = "--quick" if quick else "--full" if full else ""
        orders = _orders(wanted, options, size, out, formats, look, force)
        if stale:
            orders = _stale(orders, quiet=as_json)
        outcomes = {}
        for outcome in _made(orders, jobs):
            outcomes[outcome.name] = outcome
            if len(wanted) == 1 and outcome.error is not None:
                raise outcome.error
            if not as_json:
                _print(outcome, verbose)
    if as_json:
        typer.echo(results_as_json(outcomes))
    end(outcomes)


def _refuse(wanted: list[str], known: list[str], both: bool, options: bool) -> None:
    """Raise a usage error for names and options that do not go together."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise typer.BadParameter(f"got {', '.join(unknown)}, expected a figure: {', '.join(known)}")
    if both:
        raise typer.BadParameter("got --quick and --full, expected one of them")
    if not wanted and options:
        raise typer.BadParameter(f"got options but no figure; name one: {', '.join(known)}")


def _explain(file: Path, as_json: bool, *, alone: bool) -> None:
    """Print where a file comes from."""
    if not alone:
        raise typer.BadParameter("--explain takes a file and no figures or options: the file has them")
    from gradflow.figures.explain import explain
    from gradflow.figures.provenance import read

    told = read(file)
    typer.echo(json.dumps(told, indent=2, ensure_ascii=False) if as_json else explain(told, file))


def _warn_of_narrow(wanted: list[str], width: float | None) -> None:
    """Say which figures have no room for their labels at a width."""
    from gradflow.figures.registry import find

    if width is None:
        return
    for name in wanted:
        room = find(name).narrowest
        if width < room:
            cure = f"give it {room:g} in or more, or look at it first"
            typer.echo(f"{name}: at {width:.3g} in its labels crowd; {cure}", err=True)


def _redrawn(name: str, file: Path, out: Path, formats: tuple[str, ...], look: "Look") -> "Outcome":
    from gradflow.figures.make import draw_from
    from gradflow.figures.registry import find
    from gradflow.figures.several import Outcome

    return Outcome(name, draw_from(find(name), file, out, formats=formats, look=look))


def _orders(
    wanted: list[str],
    options: dict[str, Any],
    size: str,
    out: Path,
    formats: tuple[str, ...],
    look: "Look",
    force: bool,
) -> "list[Order]":
    """Return an order for each figure: all options are read before anything is computed."""
    from gradflow.figures.registry import find
    from gradflow.figures.several import Order

    found = []
    for name in wanted:
        spec = find(name)
        config = _config(spec, options, size)
        command = has.command_of(name, options, size, out)
        found.append(Order(spec, config, out, command, formats, look, force))
    return found


def _config(spec: "FigureSpec", options: dict[str, Any], size: str) -> "Config":
    from pydantic import ValidationError

    sized = {"--quick": spec.quick, "--full": spec.full}.get(size, {})
    try:
        return spec.config.model_validate({**sized, **options})
    except ValidationError as error:
        lines = [
            f"--{part['loc'][0]}: {part['msg'].removeprefix('Value error, ')}" for part in error.errors()
        ]
        raise typer.BadParameter("; ".join(lines)) from None


def _stale(orders: "list[Order]", *, quiet: bool) -> "list[Order]":
    """Return the orders whose files are missing or of other code and options, and say why."""
    from gradflow.figures.stale import why_stale

    found = []
    for order in orders:
        why = why_stale(order.spec, order.config, order.out, formats=order.formats, look=order.look)
        if why:
            found.append(order)
        if not quiet:
            typer.echo(f"{order.spec.name}: {why or 'up to date'}")
    return found


def _made(orders: "list[Order]", jobs: int) -> "Iterator[Outcome]":
    """Make the figures and yield each outcome, with a bar for each that is at work."""
    from gradflow.bars import Bars
    from gradflow.figures.several import make_all

    with Bars() as bars:
        for outcome in make_all(orders, bars.report, jobs=jobs):
            with bars.hidden(outcome.name):
                yield outcome


def _print(outcome: "Outcome", verbose: bool) -> None:
    from gradflow.figures.registry import find

    if outcome.made is None:
        print_failed(outcome, verbose)
    else:
        print_made(find(outcome.name).title, outcome.made)
