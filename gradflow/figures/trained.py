"""The networks that figures of learning show: digits, learned with every recurrence and seed.

Axes: task recurrence seed epoch layer tap. Each network is trained once: runs lie in the platform's cache,
in a folder named after what is trained, so that figures share them and one that was stopped goes on.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pydantic import Field, field_validator

from gradflow.caches import cache_folder
from gradflow.figures.cells import recurrence_of
from gradflow.figures.data_key import sources
from gradflow.figures.registry import Config, Progress, silent
from gradflow.plots import name_ends
from gradflow.sweep import Grid, Status, run_sweep, runner
from gradflow.sweep.results import RUNS_NAME

POOLED_TASKS = ("psmnist", "smnist")
KEPT = (
    "validation_accuracy",
    "validation_loss",
    "train_loss",
    "train_accuracy",
    "temperature",
    "spans",
    "p",
    "rate",
    "rate_low",
    "rate_high",
    "firing_rate",
    "test_accuracy",
    "test_loss",
    "test_examples",
    "best_epoch",
    "parameters",
)
"""What figures read of a sweep."""


class TrainedConfig(Config):
    """Options of every figure of learning; the defaults draw the pictures of the book.

    Attributes:
        task: smnist, psmnist or both. folder: with IDX files. pool: side of the squares that are averaged.
        spans: of the SRC networks; 1 is vanilla. max_span: of the ASRC networks; 0 for none.
        hidden: neurons of each layer. epochs, seeds: of every network.
        watch_budget: what watching the gradient may cost, as a share of the time of training; small networks
            need more than the default to be watched at all.
    """

    task: tuple[str, ...] = POOLED_TASKS
    folder: str | None = None
    pool: int = Field(default=2, ge=1)
    spans: tuple[int, ...] = (1, 4, 8, 16)
    max_span: int = Field(default=16, ge=0)
    hidden: tuple[int, ...] = (64, 128, 128)
    epochs: int = Field(default=20, ge=1)
    seeds: int = Field(default=3, ge=1)
    watch_budget: float = Field(default=0.1, gt=0.0)

    @field_validator("task", "hidden", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | str) else value

    @field_validator("task")
    @classmethod
    def _known(cls, task: tuple[str, ...]) -> tuple[str, ...]:
        if not task or not set(task) <= set(POOLED_TASKS):
            raise ValueError(
                f"got {', '.join(task) or 'none'}, expected one of {', '.join(POOLED_TASKS)} or both"
            )
        return tuple(dict.fromkeys(task))

    @field_validator("spans")
    @classmethod
    def _increasing(cls, spans: tuple[int, ...]) -> tuple[int, ...]:
        if not spans or min(spans) < 1:
            raise ValueError(
                f"got {','.join(map(str, spans)) or 'none'}, expected spans of 1 or more, as in 1,4,16"
            )
        return tuple(sorted(set(spans)))


CHANCE = 10.0
"""Percent of right answers by guessing one of ten digits."""
QUICK: Mapping[str, object] = {
    "task": ("psmnist",), "pool": 4, "spans": (1, 4), "max_span": 4, "hidden": (64, 64), "epochs": 16,
    "seeds": 2, "watch_budget": 2.0,
}  # fmt: skip
FULL: Mapping[str, object] = {"pool": 1, "spans": (1, 4, 16, 41), "max_span": 41, "seeds": 5}


def grid_of(config: TrainedConfig) -> Grid:
    """Return the sweep of a configuration: the preset `quick`, by task, recurrence and seed."""
    words = [recurrence_of(span).label for span in config.spans]
    words += [f"asrc:{config.max_span}"] if config.max_span else []
    base: dict[str, Any] = {
        "task": {"options": {"pool": config.pool}},
        "network": {"hidden": list(config.hidden)},
        "training": {"epochs": config.epochs},
        "watch": {"budget": config.watch_budget},
        "logging": {"tensorboard": False},
    }
    if config.folder is not None:
        base["task"]["folder"] = config.folder
    axes = {"task.name": config.task, "recurrence": tuple(words), "seed": tuple(range(config.seeds))}
    return Grid(axes, base, "quick")


def trained(config: TrainedConfig, figure: str, progress: Progress = silent) -> xr.Dataset:
    """Train what is not trained yet, and return what figures read of all networks.

    Returns:
        A Dataset over task, recurrence and seed: accuracies (shares) and losses by epoch (0: before
        training), `test_accuracy` of the epoch that did best in validation; by layer `spans` that evaluation
        reads (steps), `rate` of the Jacobian product (nats per step); `p`, the spans' weights, by `tap`.

    Raises:
        ValueError: where a network has no result, with the reason.
    """
    grid = grid_of(config)
    found = run_sweep(grid, sweep_folder(grid), progress=progress)
    found = found.sel({axis: list(values) for axis, values in grid.axes.items()})
    bad = found.status != Status.DONE
    if bool(bad.any()):
        place = np.argwhere(bad.values)[0]
        one = found.isel(dict(zip(bad.dims, place.tolist(), strict=True)))
        raise ValueError(f"{figure}: {one.run.item()} has no result: {one.error.item()}")
    data = found[[name for name in KEPT if name in found]].rename({"task.name": "task"})
    told = {"kind": f"figure {figure}", "figure": figure, "config": config.model_dump_json()}
    words = {"task": ",".join(config.task), "recurrence": ",".join(grid.axes["recurrence"])}
    seeds = ",".join(map(str, range(config.seeds)))
    attrs = {key: value for key, value in found.attrs.items() if key not in ("grid", "kind")}
    return data.assign_attrs({**attrs, **words, "network_seed": seeds, **told})


def sweep_folder(grid: Grid) -> Path:
    """Return the folder of a sweep: the same for grids that differ in the values of their axes alone.

    Its name is made of the code that trains, too: after a change of that, networks are trained anew.
    """
    shared = {"base": grid.base, "preset": grid.preset, "axes": sorted(grid.axes), "code": sources(runner)}
    key = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:12]
    return cache_folder() / "figures" / f"trained-{key}"


def run_folders(config: TrainedConfig) -> dict[tuple[str, str, int], Path]:
    """Return the folder of every network, by task, recurrence and seed."""
    grid = grid_of(config)
    runs = sweep_folder(grid) / RUNS_NAME
    return {tuple(cell.values.values()): runs / cell.name for cell in grid.cells()}


def digits_of(data: xr.Dataset) -> str:
    """Return what the networks read, for the title of a picture."""
    pool = json.loads(str(data.attrs["config"]))["pool"]
    return "sequential digits" if pool == 1 else f"digits averaged over {pool} × {pool} pixels"


def measured(values: xr.DataArray) -> xr.DataArray:
    """Return the values at the epochs at which there is any."""
    some = values.notnull().any([dim for dim in values.dims if dim != "epoch"])
    found: xr.DataArray = values.sel(epoch=values.epoch[some])
    return found


def draw_chance(ax: Axes) -> None:
    """Draw the share of right answers, in percent, that guessing one of ten digits gives."""
    ax.axhline(CHANCE, color="black", linestyle=":", linewidth=1.0)


def seed_band(values: xr.DataArray) -> xr.Dataset:
    """Return mean, least and largest over seeds as `centre`, `low` and `high`."""
    return xr.Dataset({"centre": values.mean("seed"), "low": values.min("seed"), "high": values.max("seed")})


def name_curves(ax: Axes, lines: dict[str, Line2D], *, width: float, room: float) -> None:
    """Write the curves' names beside their ends, on axes `width` times as long; ticks end with them."""
    last = max(float(np.asarray(line.get_xdata(), dtype=float).max()) for line in lines.values())
    ticks = MaxNLocator(nbins=6, integer=True).tick_values(0.0, last)
    ax.set_xticks([tick for tick in ticks if 0.0 <= tick <= last])
    ax.set_xlim(0.0, last * width)
    name_ends(ax, lines, room=room)


def spoken(words: xr.DataArray | Any) -> list[str]:
    """Return recurrences as pictures name them.

    >>> spoken(["vanilla", "skip:8", "asrc:16"])
    ['vanilla', 'SRC λ = 8', 'ASRC, spans to 16']
    """
    kinds = {"skip": "SRC λ = {}", "asrc": "ASRC, spans to {}"}
    parts = [str(word).partition(":") for word in getattr(words, "values", words)]
    return [kinds[kind].format(size) if size else kind for kind, _, size in parts]


def adaptive_word(data: xr.Dataset) -> str:
    """Return the adaptive recurrence of a dataset, or "" where there is none."""
    return next((str(word) for word in data.recurrence.values if str(word).startswith("asrc")), "")
