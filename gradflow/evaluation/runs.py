"""Finished training runs side by side: each with its best weights, on the same split, under the same noise.

Axes: run, and those of `evaluate` and `robustness`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from gradflow.evaluation.answers import BATCH, evaluate
from gradflow.evaluation.bands import groups_of
from gradflow.evaluation.disturbances import Disturbance
from gradflow.evaluation.operations import EnergyModel
from gradflow.evaluation.resistance import require_all_applicable, robustness
from gradflow.labels import labels, short_names
from gradflow.progress import Progress, silent
from gradflow.results import Results
from gradflow.tasks import Split
from gradflow.train import Session, TrainConfig, load_run
from gradflow.train.sources import CONFIG_NAME
from gradflow.train.summary import SUMMARY_NAME

MANY_RUNS = "evaluation of runs"


def evaluate_runs(
    folders: Sequence[str | PathLike[str]],
    disturbances: Sequence[Disturbance] = (),
    *,
    split: Split = Split.VALIDATION,
    repetitions: int = 5,
    seed: int = 0,
    batch: int = BATCH,
    energy: EnergyModel | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Evaluate the best weights of finished training runs, and their robustness where disturbances are named.

    Args:
        folders: of the runs, all of one task.
        disturbances: as for `robustness`; may be none.
        split: which part of the task.
        repetitions: of each random disturbance.
        seed: of the random numbers.
        batch: examples computed together.
        energy: of the operations.
        progress: told of every pass of every run.

    Returns:
        What those return, along `run`: labelled by the choices in which runs differ, with `group` (runs that
        differ by seeds alone share one), `folder` and `conventions` (JSON) beside; what is common to all runs
        is in the attributes.

    Raises:
        FileNotFoundError: for a folder that is not there, or holds no run.
        ValueError: for a run that is not finished or is damaged, a folder twice, runs of several tasks, and
            disturbances that do not apply.
    """
    places = [Path(folder) for folder in folders]
    if not places or len({place.resolve() for place in places}) < len(places):
        raise ValueError(f"runs: got {', '.join(map(str, places)) or 'none'}, expected folders, each once")
    # all are looked at before the first is computed
    sessions = [load_finished(place) for place in places]
    _require_one_task(places, sessions)
    for place, session in zip(places, sessions, strict=True):
        with _named(place):
            require_all_applicable(disturbances, session.net)
    found = []
    for place, session in zip(places, sessions, strict=True):
        part = evaluate(session.net, session.task, split=split, batch=batch, energy=energy, progress=progress)
        if disturbances:
            with _named(place):
                disturbed = robustness(
                    session.net,
                    session.task,
                    disturbances,
                    split=split,
                    repetitions=repetitions,
                    seed=seed,
                    batch=batch,
                    progress=progress,
                )
            part = xr.merge([part, disturbed], combine_attrs="no_conflicts")
        # of a network that is no RecurrentSNN, what training knows of it
        found.append(part.assign_attrs({**session.conventions, **part.attrs}))
    return Results.of(_side_by_side(places, [choices_of(session.config) for session in sessions], found))


def load_finished(folder: Path) -> Session:
    """Return a finished run with its best weights.

    Raises FileNotFoundError where there is no run, ValueError where it is not finished or is damaged.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise FileNotFoundError(
            f"{folder}: {what}; expected the folder of a run, as `gradflow train` makes it"
        )
    if not (folder / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{folder}: holds no {CONFIG_NAME}, so no run; expected a folder that `gradflow train` made"
        )
    if not (folder / SUMMARY_NAME).is_file():
        raise ValueError(
            f"{folder}: the run is not finished; go on with `gradflow train --resume --out {folder}`"
        )
    return load_run(folder)


def _require_one_task(places: list[Path], sessions: list[Session]) -> None:
    first = sessions[0].task
    for place, session in zip(places, sessions, strict=True):
        task = session.task
        if (task.name, task.classes, task.class_names) != (first.name, first.classes, first.class_names):
            raise ValueError(
                f"{place} learned {task.name} with {task.classes} classes, {places[0]} learned {first.name} "
                f"with {first.classes}; evaluate runs of different tasks apart"
            )


@contextmanager
def _named(place: Path) -> Iterator[None]:
    """Put the folder before the words of an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def choices_of(config: TrainConfig) -> str:
    """Return all that a configuration chooses but the seeds of network and training, as JSON.

    How a run is watched, kept and logged is no choice: no number depends on it.

    >>> one, two = (TrainConfig(network={"seed": seed}) for seed in (0, 1))
    >>> choices_of(one) == choices_of(two)
    True
    """
    chosen = config.model_dump(mode="json", exclude={"watch", "checkpoint", "logging"})
    for part in ("network", "training"):
        chosen[part].pop("seed")
    return json.dumps(chosen, sort_keys=True)


def _side_by_side(places: list[Path], choices: list[str], found: list[xr.Dataset]) -> xr.Dataset:
    """Return the evaluations along `run`, with names, groups and what they do not share."""
    attributes: list[dict[Any, Any]] = [part.attrs for part in found]
    names = short_names(places)
    joined = xr.concat(
        found,
        xr.Variable("run", labels(attributes, names)),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="drop_conflicts",
    )
    return joined.assign_coords(
        group=("run", groups_of(choices, attributes, names)),
        folder=("run", [str(place) for place in places]),
        conventions=("run", [json.dumps(one, ensure_ascii=False, default=str) for one in attributes]),
    ).assign_attrs(kind=MANY_RUNS)
