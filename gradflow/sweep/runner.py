"""Run a grid, here or on a Dask cluster, through joblib; go on where it was stopped; gather the results.

out/grid.json           what the sweep is
out/runs/NAME/          a run's folder, as `gradflow train` writes it; claim; error.json where it failed
out/sweep.nc, sweep.csv everything, labelled; a row for each run
"""

import json
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import xarray as xr

from gradflow.progress import Progress, silent
from gradflow.storage import save
from gradflow.sweep.cell import Outcome, failed, read_finished
from gradflow.sweep.claims import forget_deaths
from gradflow.sweep.grid import Grid
from gradflow.sweep.results import (
    GRID_NAME,
    RUNS_NAME,
    SWEEP_NAME,
    TABLE_NAME,
    Status,
    read_grid,
    read_sweep,
    table_of,
)
from gradflow.sweep.workers import Runs, compute
from gradflow.train import TrainConfig, stored_config
from gradflow.train.files import clear_drafts, write_whole
from gradflow.train.processes import process_count
from gradflow.train.session import require_same_run


def run_sweep(
    grid: Grid,
    out: str | PathLike[str],
    *,
    jobs: int | None = None,
    threads: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Train every run of a grid and return all results in one dataset, which is written to the folder too.

    A sweep that was stopped goes on; finished runs are left as they are, failed ones are tried again. A run
    that fails is recorded with its error, and the others go on. Values that a grid has and the sweep in the
    folder has not are added to it.

    Args:
        grid: what to run.
        out: the folder, made if need be; on a cluster one that all workers see.
        jobs: runs at a time, where there is no scheduler (default: one a processor, or one on a
            GPU).
        threads: that each run may use (default: the processors divided by the jobs; on a cluster one).
        scheduler: address of a Dask scheduler, as tcp://host:8786, whose workers do the work.
        progress: told of every finished run.

    Returns:
        As `read_sweep`.

    Raises:
        ValueError: for a grid of which no run has a valid configuration, or a folder with another sweep.
        ImportError: where the packages of the extra `cluster` are missing.
        OSError: where there is no scheduler at the address, or its workers do not see the folder.
        RuntimeError: where worker processes die whatever they do.
    """
    if process_count() > 1:
        raise ValueError(
            f"sweep: got {process_count()} processes that were started together, expected one; it starts its "
            "own (--jobs), each of which trains a network of its own"
        )
    _require_packages("joblib", *(() if scheduler is None else ("dask", "distributed")))
    folder = Path(out).resolve()
    runs, bad = _resolved(grid)
    _store(folder, grid, runs)
    for name, error in bad.items():
        failed(name, folder / RUNS_NAME / name, error)
    pending = {name: config for name, config in runs.items() if not _is_finished(config, folder, name)}
    for name in pending:
        forget_deaths(folder / RUNS_NAME / name)
    outcomes = compute(
        pending, folder / RUNS_NAME, jobs=jobs, threads=threads, scheduler=scheduler, progress=progress
    )
    data = read_sweep(folder)
    _require_seen(data, folder, outcomes)
    save(data, folder / SWEEP_NAME)
    write_whole(folder / TABLE_NAME, table_of(data).to_csv(index=False, float_format="%.9g").encode())
    return data


def _require_packages(*names: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"sweep needs {' and '.join(missing)}: install gradflow with its extra, pip install "
            "'gradflow-snn[cluster]'"
        )


def _resolved(grid: Grid) -> tuple[Runs, dict[str, str]]:
    """Return the configuration of every run, and why some have none; raise where all have none."""
    runs: Runs = {}
    bad: dict[str, str] = {}
    for cell in grid.cells():
        try:
            runs[cell.name] = grid.config(cell.values)
        except ValueError as error:
            bad[cell.name] = str(error)
    if not runs:
        raise ValueError(next(iter(bad.values())))
    return runs, bad


def _store(folder: Path, grid: Grid, runs: Runs) -> None:
    """Write what the sweep is, joined with what it was.

    Raises ValueError where the folder holds another sweep, naming what differs, or something else.
    """
    whole = grid
    if (folder / GRID_NAME).exists():
        stored = read_grid(folder)
        before = Grid(grid.axes, stored.base, stored.preset)
        try:
            whole = stored.extended(grid)
            for cell in grid.cells():
                if cell.name in runs:
                    require_same_run(runs[cell.name], before.config(cell.values), cell.name)
        except ValueError as error:
            raise ValueError(f"{folder}: holds another sweep: {error}") from None
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty and holds no sweep; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    clear_drafts(folder)
    write_whole(folder / GRID_NAME, json.dumps(whole.as_json(), indent=1, ensure_ascii=False).encode())


def _is_finished(config: TrainConfig, folder: Path, name: str) -> bool:
    """Return whether a run is finished; one that is not this run's is left to fail."""
    if read_finished(folder / RUNS_NAME / name) is None:
        return False
    try:
        require_same_run(config, stored_config(folder / RUNS_NAME / name), name)
    except (ValueError, FileNotFoundError):
        return False
    return True


def _require_seen(data: xr.Dataset, folder: Path, outcomes: list[Outcome]) -> None:
    """Raise OSError where workers finished runs that are not here."""
    done = {str(name) for name in data.run.values[data.status.values == Status.DONE]}
    lost = [o.name for o in outcomes if o.accuracy is not None and o.name not in done]
    if lost:
        raise OSError(
            f"{folder}: the workers finished {len(lost)} runs that are not there (the first is {lost[0]}); "
            "choose a folder on a file system that all of them share"
        )
