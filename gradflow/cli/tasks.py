"""`gradflow tasks`: what can be measured and learned on, and fetching what is not shipped."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradflow.cli.options import AsJson, Verbose

if TYPE_CHECKING:
    from gradflow.tasks import Downloaded, Task

Fetched = Annotated[
    str | None, typer.Option("--download", metavar="NAME", help="Fetch this task's data: shd, ssc or gsc.")
]
Place = Annotated[
    Path | None,
    typer.Option("--folder", help="Where to fetch it to (default: gradflow's own folder, $GRADFLOW_DATA)."),
]


def tasks(
    download: Fetched = None,
    folder: Place = None,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """List the tasks with their sizes and where their data comes from, or fetch the data of one.

    Example: gradflow tasks --download shd
    """
    from gradflow.tasks import DOWNLOADED, TASKS, by_name

    if download is None:
        if folder is not None:
            raise typer.BadParameter("--folder goes with --download NAME")
        facts = {
            name: _known(DOWNLOADED[name]) if name in DOWNLOADED else _facts(by_name(name)) for name in TASKS
        }
    elif download in DOWNLOADED:
        facts = {download: _facts(by_name(download, folder, download=True))}
    else:
        raise typer.BadParameter(f"--download: got {download!r}, expected {', '.join(DOWNLOADED)}")
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, known in facts.items():
        typer.echo(f"{name:<14} {_line(known)}")


Facts = dict[str, str | int | float | bool]


def _facts(task: "Task") -> Facts:
    """Return the facts of a task that is there."""
    return {
        **task.provenance(),
        "inputs": task.inputs,
        "classes": task.classes,
        "train": len(task.train),
        "validation": len(task.validation),
        "test": len(task.test),
    }


def _known(data: "Downloaded") -> Facts:
    """Return what is known of a task before its files are read."""
    return {
        "task": data.name,
        "task_source": str(data.folder),
        "steps": data.sizes.steps or 0,
        "inputs": data.sizes.inputs,
        "classes": data.sizes.classes,
        "found": data.is_here(),
    }


def _line(facts: Facts) -> str:
    """Return the facts of a task as one line."""
    wanted = "a number" if facts["classes"] == 1 else f"{facts['classes']} classes"
    sizes = f"{facts['steps']} steps x {facts['inputs']}, {wanted}"
    if "found" in facts:
        here = "found in" if facts["found"] else f"fetch it with --download {facts['task']}; not in"
        return f"{sizes}  ({here} {facts['task_source']})"
    demand = f", memory demand {facts['memory_demand']} steps" if "memory_demand" in facts else ""
    parts = f"{facts['train']} / {facts['validation']} / {facts['test']}"
    return f"{sizes}, train / validation / test {parts}{demand}  ({facts['task_source']})"
