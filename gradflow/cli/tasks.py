"""`gradflow tasks`: what can be measured and learned on."""

import json

import typer

from gradflow.cli.options import AsJson, Verbose


def tasks(
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """List the tasks with their sizes and where their data comes from.

    Example: gradflow tasks --json
    """
    from gradflow.tasks import TASKS, by_name

    found = {name: by_name(name) for name in TASKS}
    if as_json:
        facts = {
            name: {
                **task.provenance(),
                "inputs": task.inputs,
                "classes": task.classes,
                "train": len(task.train),
                "validation": len(task.validation),
                "test": len(task.test),
            }
            for name, task in found.items()
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, task in found.items():
        sizes = f"{task.steps} steps x {task.inputs}, {task.classes} classes"
        parts = f"{len(task.train)} / {len(task.validation)} / {len(task.test)}"
        typer.echo(f"{name:<10} {sizes}, train / validation / test {parts}  ({task.source})")
