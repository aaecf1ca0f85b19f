"""`gradflow doctor`: whether gradflow can work here, what it would use and why, and what to do if not."""

import json
from dataclasses import asdict

import typer

from gradflow.cli.options import AsJson, Verbose

MARKS = {"fine": " ", "absent": "-", "failed": "!"}


def doctor(
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Look at versions, threads, engines, GPU, data and caches; a line each, with the cure where one is due.

    Lines with ! are what gradflow cannot do without, and end in exit code 1; lines with - are optional.

    Example: gradflow doctor --json
    """
    from gradflow.checkup import State, checkup

    found = checkup()
    failed = [check for check in found if check.state is State.FAILED]
    if as_json:
        typer.echo(json.dumps({"fine": not failed, "checks": [asdict(check) for check in found]}, indent=2))
    else:
        width = max(len(check.name) for check in found)
        for place, check in enumerate(found):
            if place == 0 or check.topic != found[place - 1].topic:
                typer.echo(check.topic)
            cure = f"  → {check.cure}" if check.cure else ""
            typer.echo(f"{MARKS[check.state]} {check.name:<{width}}  {check.found}{cure}")
    if failed:
        names = ", ".join(check.name for check in failed)
        typer.echo(f"gradflow: cannot do without: {names}; gradflow doctor says what to do", err=True)
        raise typer.Exit(1)
