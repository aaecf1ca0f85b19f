"""What a sweep found, in one labelled dataset: learning curves, accuracies, spans, rates, kernels, status.

Axes: a dimension for each key that is swept, then epoch layer tap (a span that is read with weight p).
"""

import csv
import json
from collections.abc import Mapping
from enum import StrEnum
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.results import Results
from gradflow.storage import load
from gradflow.sweep.cell import read_error, read_finished
from gradflow.sweep.grid import Cell, Grid, label
from gradflow.sweep.stacking import coordinate, stack
from gradflow.train.checkpoint import CheckpointStore
from gradflow.train.logs import LOG_NAME
from gradflow.train.loop import CHECKPOINTS_NAME, GRADIENTS_NAME, LOOKS_NAME
from gradflow.train.sources import CONFIG_NAME
from gradflow.train.watch import read_watch

GRID_NAME, RUNS_NAME, SWEEP_NAME, TABLE_NAME = "grid.json", "runs", "sweep.nc", "sweep.csv"
KIND = "sweep"
WATCHED = (
    "rate",
    "rate_low",
    "rate_high",
    "rate_mean_square",
    "half_life",
    "horizon",
    "share_structural",
    "share_float32",
    "firing_rate",
    "window",
    "span_mean",
    "p",
)
"""What is taken from the looks at the gradient; whole curves stay in the runs' own files."""
SUMMED: Mapping[str, str] = {
    "test_accuracy": "test_accuracy",
    "test_loss": "test_loss",
    "test_examples": "test_examples",
    "best_epoch": "best_epoch",
    "validation_accuracy": "best_validation_accuracy",
    "validation_loss": "best_validation_loss",
    "parameters": "parameters",
    "seconds": "seconds",
}
"""What is taken from the summary, under which name."""
RENAMED: Mapping[str, str] = {"seconds": "elapsed"}
"""Columns of the log that have another name here."""


class Status(StrEnum):
    """How far a run is: finished, failed, begun and stopped (or at work), or not begun."""

    DONE = "done"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    MISSING = "missing"


def read_grid(out: str | PathLike[str]) -> Grid:
    """Return the grid of the sweep in a folder.

    Raises FileNotFoundError where there is none, ValueError where its file is damaged.
    """
    path = Path(out) / GRID_NAME
    try:
        return Grid.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; `gradflow sweep … --out FOLDER` makes one") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a sweep's grid, or damaged ({error})") from None


def read_sweep(out: str | PathLike[str]) -> xr.Dataset:
    """Return all there is of a sweep, finished or not, read from the folders of its runs.

    Returns:
        A Dataset with a dimension for each key that is swept, whose coordinate has its values. By run: `run`
        (its folder), `status` (done, failed, unfinished, missing), `error`, `test_accuracy`, `test_loss`,
        `best_epoch`, `parameters`, `seconds` and more. By epoch too, from 0 (before training) on:
        `train_loss`, `validation_accuracy` and all else that the log has, and by layer `spans` (that
        evaluation reads), `rate` and what else is seen of the gradient, and `p`, the weights of the spans,
        along `tap`. What is not there is NaN, or "".

    Raises:
        FileNotFoundError: where there is no sweep.
        ValueError: where a file is damaged.
    """
    folder = Path(out)
    grid = read_grid(folder)
    cells = {cell.place: read_run(folder / RUNS_NAME / cell.name, cell) for cell in grid.cells()}
    coordinates = {key: coordinate([label(v) for v in values], values) for key, values in grid.axes.items()}
    data = stack(cells, coordinates)
    described = [json.loads(str(one.attrs["conventions"])) for one in cells.values()]
    data.attrs = {
        **_common([one for one in described if one]),
        "kind": KIND,
        "grid": json.dumps(grid.as_json()),
    }
    return Results.of(data)


def table_of(data: xr.Dataset) -> pd.DataFrame:
    """Return what a sweep says of each run as a whole: a row a run."""
    whole = [str(name) for name in data if data[name].dims == data.run.dims]
    found = data[whole]
    rows = found.drop_vars(set(found.coords) - set(found.dims)).to_dataframe().reset_index()
    return rows[[*map(str, data.run.dims), *whole]]


def read_run(folder: Path, cell: Cell) -> xr.Dataset:
    """Return what there is of one run, as `read_sweep` names it; its conventions as JSON."""
    error = read_error(folder)
    summary = None if error else read_finished(folder)
    begun = (folder / CONFIG_NAME).exists()
    status = (
        Status.DONE if summary else Status.FAILED if error else Status.UNFINISHED if begun else Status.MISSING
    )
    values: dict[str, Any] = {
        "run": cell.name,
        "status": status.value,
        "error": error,
        **{name: float("nan") for name in SUMMED.values()},
    }
    if summary is not None:
        values |= {name: float(getattr(summary, own)) for own, name in SUMMED.items()}
    parts = [xr.Dataset(values), _logged(folder), _watched(folder)]
    joined = xr.merge(parts, join="outer", compat="override", combine_attrs="drop")
    return joined.assign_attrs(conventions=json.dumps(_conventions(folder)))


def _logged(folder: Path) -> xr.Dataset:
    """Return the log's columns by epoch, and the span of each layer."""
    path = folder / LOG_NAME
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    if not rows:
        return xr.Dataset()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    epochs = [float(epoch) for epoch in columns.pop("epoch")]
    spans = np.array([[float(span) for span in text.split()] for text in columns.pop("spans", [])])
    found: dict[str, Any] = {
        RENAMED.get(name, name): ("epoch", [float(text or "nan") for text in texts])
        for name, texts in columns.items()
    }
    if spans.size:
        found["spans"] = (("epoch", "layer"), spans, {"units": "steps"})
    return xr.Dataset(
        found, {"epoch": epochs, **({"layer": np.arange(spans.shape[1])} if spans.size else {})}
    )


def _watched(folder: Path) -> xr.Dataset:
    """Return what was seen of the gradient, by epoch and layer."""
    if (folder / GRADIENTS_NAME).exists():
        data = load(folder / GRADIENTS_NAME)
    elif any((folder / LOOKS_NAME).glob("step-*")):
        data = read_watch(folder / LOOKS_NAME)
    else:
        return xr.Dataset()
    found = data[[name for name in WATCHED if name in data]]
    found = found.rename({"span": "tap"}) if "span" in found.dims else found
    return found.drop_vars(set(found.coords) - set(found.dims))


def _conventions(folder: Path) -> dict[str, Any]:
    """Return the conventions of a run, as its latest checkpoint has them; none where there is none."""
    for path in reversed(CheckpointStore(folder / CHECKPOINTS_NAME).paths()):
        try:
            found = json.loads((path / "state.json").read_text(encoding="utf-8"))["conventions"]
        except (OSError, ValueError, KeyError):
            continue
        return {key: value for key, value in found.items() if isinstance(value, str | Real)}
    return {}


def _common(described: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what all runs have in common."""
    first, *others = described or [{}]
    return {key: value for key, value in first.items() if all(o.get(key) == value for o in others)}
