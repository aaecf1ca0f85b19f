"""What `gradflow figures` prints: numbers, claims and files of each figure, as text or for machines."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from gradflow.figures.make import Made
    from gradflow.figures.several import Outcome


def list_figures(as_json: bool) -> None:
    """Print names and titles of all figures."""
    from gradflow.figures.registry import find
    from gradflow.figures.registry import names as known

    if as_json:
        typer.echo(json.dumps({name: find(name).title for name in known()}, indent=2))
        return
    width = max(map(len, known()))
    for name in known():
        typer.echo(f"{name:<{width}}  {find(name).title}")


def print_made(title: str, made: "Made") -> None:
    """Print the numbers, the claims and the files; plain text when piped."""
    typer.echo(title)
    typer.echo(made.summary.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    for claim in made.claims:
        typer.echo(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}")
    for file in made.files:
        typer.echo(f"wrote {file}")


def print_failed(outcome: "Outcome", verbose: bool) -> None:
    """Print the error of a figure in one line on standard error; with `verbose` its traceback too."""
    from gradflow.cli.errors import told

    assert outcome.error is not None
    if verbose and outcome.trace:
        typer.echo(outcome.trace.rstrip(), err=True)
    typer.echo(f"gradflow: {outcome.name}: {told(outcome.error)}", err=True)


def as_json(outcomes: Mapping[str, "Outcome"]) -> str:
    """Return all results for machines."""
    return json.dumps({name: _result(outcome) for name, outcome in outcomes.items()}, indent=2)


def end(outcomes: Mapping[str, "Outcome"]) -> None:
    """Say what went wrong with which figures, and then end with exit code 1."""
    failed = [name for name, outcome in outcomes.items() if outcome.made is None]
    broken = [
        claim.text
        for outcome in outcomes.values()
        for claim in (outcome.made.claims if outcome.made else ())
        if not claim.holds
    ]
    if broken:
        typer.echo(f"gradflow: the data does not bear out: {'; '.join(broken)}", err=True)
    if failed:
        whole = "the others are whole; the same command goes on from here"
        typer.echo(
            f"gradflow: {len(failed)} of {len(outcomes)} figures failed: {', '.join(failed)}; {whole}",
            err=True,
        )
    if broken or failed:
        raise typer.Exit(1)


def _result(outcome: "Outcome") -> dict[str, Any]:
    """Return one result; NaN and infinity are null."""
    from gradflow.cli.errors import told

    if outcome.made is None:
        return {"error": "" if outcome.error is None else told(outcome.error)}
    return {
        "files": [str(file) for file in outcome.made.files],
        "summary": json.loads(outcome.made.summary.to_json(orient="records", double_precision=12)),
        "claims": {claim.text: claim.holds for claim in outcome.made.claims},
    }
