"""`gradflow train`: train a network, watch its gradient meanwhile, and go on where a run was killed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradflow.cli.completing import task_names
from gradflow.cli.options import AsJson, Verbose, count

if TYPE_CHECKING:
    from gradflow.train import TrainConfig

RUNS = Path("gradflow-runs")
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of parameters, order and dropout.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other key, as in optimiser.lr=0.003; repeatable."),
]


def train(
    task: Annotated[
        str | None,
        typer.Argument(help="Task to learn, as `gradflow tasks` lists them.", autocompletion=task_names),
    ] = None,
    recurrence: Annotated[
        str | None, typer.Option(help="vanilla, none, skip:SPAN or asrc:MAX_SPAN, as in asrc:51.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="snn (the default), rnn, gru, lstm, snntorch or spikingjelly.")
    ] = None,
    neuron: Annotated[str | None, typer.Option(help="lif, plif or glif.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper: as published; quick: minutes on two cores.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file; a run keeps its own as config.toml.")
    ] = None,
    epochs: Annotated[Any, typer.Option(parser=count, metavar="N", help="Passes through the data.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with the task's files.")] = None,
    seed: Seed = None,
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run (default: gradflow-runs/TASK-KIND-SEED).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Train a network: configuration, log, checkpoints, gradients over epochs, and the test at the end.

    What is said later goes before what is said earlier: preset, then --config, then options, then --set.

    Example: gradflow train psmnist --recurrence skip:8 --preset quick --out run

    Beside it an LSTM with as many parameters: gradflow train psmnist --model lstm --set
    network.parameters=63114 --preset quick

    Several processes train one network as one would: torchrun --nproc-per-node 2 -m gradflow train psmnist,
    or accelerate launch --multi_gpu --num_processes 2 -m gradflow train psmnist (without a GPU too).
    """
    options: dict[str, dict[str, Any]] = {
        "task": {"name": task, "folder": None if data is None else str(data)},
        "network": {"model": model, "recurrence": recurrence, "neuron": neuron, "seed": seed},
        "training": {"epochs": epochs, "seed": seed},
    }
    given = {
        part: {key: value for key, value in keys.items() if value is not None}
        for part, keys in options.items()
    }
    chosen = _resolved(
        {part: keys for part, keys in given.items() if keys}, preset, config, settings, out, resume
    )
    from gradflow.bars import progress_bar
    from gradflow.train import DivergedError
    from gradflow.train import train as run
    from gradflow.train.processes import end_together, is_main

    folder = out or RUNS / _name(chosen)
    try:
        with progress_bar("train", shown=is_main()) as progress:
            summary = run(chosen, folder, resume=resume, progress=progress)
    except DivergedError:
        # it diverges in all processes alike, and one says so
        if is_main():
            raise
        raise typer.Exit(1) from None
    if is_main():
        said = [summary.as_json()] if as_json else [*summary.lines(), f"wrote {folder}"]
        for line in said:
            typer.echo(line)
    end_together()


def _resolved(
    options: dict[str, Any],
    preset: str | None,
    file: Path | None,
    settings: list[str] | None,
    out: Path | None,
    resume: bool,
) -> "TrainConfig":
    """Merge all that was said, over the folder's own configuration where its run goes on."""
    from gradflow.tasks import TASKS
    from gradflow.train import merge, parse_settings, read_toml, resolve
    from gradflow.train import preset as tables_of
    from gradflow.train.sources import CONFIG_NAME

    stored = None if out is None else out / CONFIG_NAME
    below = read_toml(stored) if resume and stored is not None and stored.is_file() else {}
    said = {} if file is None else read_toml(file)
    try:
        said = merge(merge(said, options), parse_settings(settings or []))
        task = said.get("task", {}).get("name") or below.get("task", {}).get("name")
        if task is None:
            raise ValueError(f"name a task ({', '.join(TASKS)}), or a file with --config")
        if task not in TASKS:
            raise ValueError(f"task {task!r}: expected one of {', '.join(TASKS)}")
        if preset is not None:
            network = said.get("network", {})
            model = network.get("model") or below.get("network", {}).get("model", "snn")
            below = merge(below, tables_of(preset, task, network.pop("recurrence", None), model))
        return resolve(below, said)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _name(config: "TrainConfig") -> str:
    """Return the name of a run's folder: task, recurrence (or the baseline's word) and seed."""
    if config.network.model != "snn":
        return f"{config.task.name}-{config.network.model}-{config.training.seed}"
    recurrences = config.network.recurrences()
    labels = [str(one) for one in (recurrences if isinstance(recurrences, tuple) else (recurrences,))]
    words = "-".join(dict.fromkeys(labels)).replace(":", "")
    return f"{config.task.name}-{words}-{config.training.seed}"
