"""`gradflow sweep`: train a grid of networks, here or on a Dask cluster; go on where it was stopped."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradflow.cli.completing import task_names
from gradflow.cli.options import AsJson, Verbose, count, several, spans

if TYPE_CHECKING:
    import xarray as xr

    from gradflow.sweep import Grid

FOLDER = Path("gradflow-runs")
TABLE = {"test_accuracy": "test", "best_validation_accuracy": "validation"}
"""Columns of the table: what is averaged over seeds."""


def _seeds(text: str) -> tuple[int, ...]:
    """Read seeds as in 0,1,2, or raise a usage error."""
    try:
        found = tuple(int(part) for part in several(text))
    except ValueError:
        found = (-1,)
    if min(found, default=-1) < 0:
        raise typer.BadParameter(f"got {text!r}, expected whole numbers with commas, as in 0,1,2")
    return found


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUES",
        help="Any other key: one value for all runs, or several as in optimiser.lr=0.001,0.003; repeatable.",
    ),
]


def sweep(
    task: Annotated[
        str | None,
        typer.Argument(help="Task to learn, as `gradflow tasks` lists them.", autocompletion=task_names),
    ] = None,
    span: Annotated[
        Any, typer.Option("--spans", parser=spans, metavar="λ,…", help="Skip spans, as in 1,2,4.")
    ] = None,
    recurrence: Annotated[
        Any, typer.Option(parser=several, metavar="WORD,…", help="As in vanilla,skip:8,asrc:51.")
    ] = None,
    neuron: Annotated[Any, typer.Option(parser=several, metavar="WORD,…", help="As in lif,plif.")] = None,
    model: Annotated[Any, typer.Option(parser=several, metavar="WORD,…", help="As in snn,lstm,gru.")] = None,
    seed: Annotated[
        Any,
        typer.Option("--seeds", parser=_seeds, metavar="N,…", help="Of parameters, order and dropout."),
    ] = None,
    settings: Settings = None,
    preset: Annotated[str | None, typer.Option(help="paper or quick, under everything else.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file that all runs share.")] = None,
    epochs: Annotated[Any, typer.Option(parser=count, metavar="N", help="Passes through the data.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the task's files.")] = None,
    jobs: Annotated[
        Any,
        typer.Option(
            parser=count, metavar="N", help="Runs at a time (default: one a processor; 1 on a GPU)."
        ),
    ] = None,
    threads: Annotated[
        Any, typer.Option(parser=count, metavar="N", help="Of each run (default: processors / jobs).")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers do it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep (default: gradflow-runs/sweep-TASK).")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Train every combination of the values given; gather curves, accuracies, spans and rates in one file.

    The same command goes on with a sweep that was stopped, and so does --out FOLDER alone; finished runs are
    left as they are. A run that fails is recorded, the others go on, and the exit code is then 1.

    Example: gradflow sweep psmnist --spans 1,2,4,8 --seeds 0,1,2 --preset quick --out spans

    On a cluster: dask scheduler; dask worker ADDRESS --nthreads 1 (several); then --scheduler ADDRESS.
    """
    axes = {"span": span, "recurrence": recurrence, "neuron": neuron, "model": model, "seed": seed}
    base: dict[str, dict[str, Any]] = {
        "task": {"name": task, "folder": None if data is None else str(data.resolve())},
        "training": {"epochs": epochs},
    }
    grid = _grid(axes, base, settings or [], preset, config, out)
    folder = out or FOLDER / f"sweep-{grid.base['task']['name']}"
    from gradflow.bars import progress_bar
    from gradflow.sweep import run_sweep

    with progress_bar("sweep") as progress:
        found = run_sweep(grid, folder, jobs=jobs, threads=threads, scheduler=scheduler, progress=progress)
    asked = [cell.name for cell in grid.cells()]
    errors = {str(n): str(e) for n, e in zip(found.run.values.flat, found.error.values.flat, strict=True)}
    failed = [name for name in asked if errors[name]]
    _print(found, folder, as_json)
    for name in failed:
        typer.echo(f"failed {name}: {errors[name]}", err=True)
    if failed:
        typer.echo(f"gradflow: {len(failed)} of {len(asked)} runs failed; the others are whole", err=True)
        raise typer.Exit(1)


def _grid(
    axes: dict[str, Any],
    base: dict[str, dict[str, Any]],
    settings: list[str],
    preset: str | None,
    file: Path | None,
    out: Path | None,
) -> "Grid":
    """Return the grid that was asked for: that of the folder, where nothing was."""
    from gradflow.sweep import Grid, read_grid
    from gradflow.tasks import TASKS
    from gradflow.train import merge, parse_settings, read_toml

    given = {part: {k: v for k, v in keys.items() if v is not None} for part, keys in base.items()}
    swept = {key: values for key, values in axes.items() if values is not None}
    nothing = not (swept or settings or file or preset or any(given.values()))
    if nothing and out is not None:
        return read_grid(out)
    said = merge(
        {} if file is None else read_toml(file), {part: keys for part, keys in given.items() if keys}
    )
    try:
        for setting in settings:
            key, equals, text = setting.partition("=")
            values = several(text) if equals else ()
            if len(values) > 1 or text.rstrip().endswith(","):
                swept[key.strip()] = tuple(_value(key.strip(), value) for value in values)
            else:
                said = merge(said, parse_settings([setting]))
        task = said.get("task", {}).get("name")
        if task is None:
            raise ValueError(f"name a task ({', '.join(TASKS)}), or a file with --config")
        if task not in TASKS:
            raise ValueError(f"task {task!r}: expected one of {', '.join(TASKS)}")
        return Grid(swept, said, preset)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _value(key: str, text: str) -> Any:
    """Return one value of a key, as `--set` reads it."""
    from gradflow.train import parse_settings

    found: Any = parse_settings([f"{key}={text}"])
    for part in key.split("."):
        found = found[part]
    return found


def _print(found: "xr.Dataset", folder: Path, as_json: bool) -> None:
    """Print a line for each combination, averaged over seeds; or everything of every run as JSON."""
    from gradflow.sweep import table_of

    rows = table_of(found)
    if as_json:
        typer.echo(rows.to_json(orient="records", indent=2, double_precision=12))
        return
    from gradflow.cli.tables import print_table

    keys = [str(key) for key in found.run.dims if key != "seed"]
    lines = []
    for values, part in rows.groupby(keys, sort=False) if keys else [((), rows)]:
        of = part[part.status == "done"]
        cells = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
        lines.append([*cells, *(_share(of[name]) for name in TABLE), f"{len(of)}/{len(part)}"])
    print_table("sweep: mean ± standard deviation over seeds", [*keys, *TABLE.values(), "done"], lines)
    typer.echo(f"wrote {folder / 'sweep.nc'} and {folder / 'sweep.csv'}")


def _share(values: Any) -> str:
    """Return the mean of shares in per cent, with their spread where there are several.

    >>> import pandas as pd
    >>> _share(pd.Series([0.5, 0.6])), _share(pd.Series([0.5])), _share(pd.Series([], dtype=float))
    ('55.0 ± 7.1 %', '50.0 %', '-')
    """
    if not len(values):
        return "-"
    spread = float(values.std())
    return f"{100 * values.mean():.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}") + " %"
