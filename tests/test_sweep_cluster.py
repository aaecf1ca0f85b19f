"""A sweep on a real Dask scheduler with two worker processes, of which one is killed while it trains."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from gradflow.sweep import Grid, run_sweep
from gradflow.sweep.claims import unended
from gradflow.train import train

pytest.importorskip("distributed", reason="needs dask and distributed: pip install 'gradflow-snn[cluster]'")

BASE = {
    "task": {"name": "delayed-recall", "options": {"delay": 8, "examples": 100}},
    "network": {"hidden": [8]},
    "training": {"epochs": 12, "batch": 40, "device": "cpu"},
    "watch": {"every": 0},
    "logging": {"tensorboard": False},
}
GRID = Grid({"span": (1, 4), "seed": (0, 1)}, BASE)
PATIENCE = 120.0


def started(tmp_path, *arguments):
    """Start a command of Dask's; what it says goes to a file, which is shown when a test fails."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s",
    }
    command = [sys.executable, "-m", "dask", *map(str, arguments), "--no-dashboard"]
    with (tmp_path / f"{arguments[0]}.log").open("a") as log:
        return subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)


@pytest.fixture
def cluster(tmp_path):
    """The address of a scheduler, and its two workers by process id."""
    file = tmp_path / "scheduler.json"
    processes = [started(tmp_path, "scheduler", "--port", 0, "--host", "127.0.0.1", "--scheduler-file", file)]
    try:
        until(file.exists, "the scheduler starts")
        address = json.loads(file.read_text())["address"]
        # no nanny, which would start a killed worker again; one thread, as torch's belong to the process
        workers = [started(tmp_path, "worker", address, "--nthreads", 1, "--no-nanny") for _ in range(2)]
        processes += workers
        yield address, {worker.pid: worker for worker in workers}
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait(30)


def until(true, what):
    """Wait until something is true, and say what did not come where it never is."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s in vain until {what}"
        time.sleep(0.01)


def at_work(runs):
    """Return the process of a run that is under way, has ended an epoch, and is far from its end."""
    for run in runs.glob("*"):
        claim = (run / "claim").read_text() if (run / "claim").exists() else ""
        lines = (run / "log.csv").read_text().count("\n") if (run / "log.csv").exists() else 0
        if unended(claim) and 2 <= lines <= 5:
            return int(claim.splitlines()[-1].split()[1]), run
    return None


def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(cluster, tmp_path):
    from threading import Thread

    address, workers = cluster
    killed, runs = [], tmp_path / "far" / "runs"

    def kill():
        found = []
        until(lambda: found.append(at_work(runs)) or found[-1], "a run is under way")
        pid, run = found[-1]
        killed.append((pid, run.name))
        if pid in workers:
            os.kill(pid, signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    far = run_sweep(GRID, tmp_path / "far", scheduler=address)
    killer.join()
    (pid, victim) = killed[0]
    assert workers[pid].wait(10) == -signal.SIGKILL
    assert (far.status == "done").all()
    # what was begun by one worker was finished by the other, to the same bits as if never killed
    cell = next(cell for cell in GRID.cells() if cell.name == victim)
    summary = train(GRID.config(cell.values), tmp_path / "near")
    ended = far.sel(cell.values)
    assert (ended.test_accuracy, ended.test_loss) == (summary.test_accuracy, summary.test_loss)
    with (tmp_path / "near" / "log.csv").open() as file:
        expected = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert ended.train_loss.values.tolist() == expected

    starts = {run.name: (run / "claim").read_text().count("start") for run in runs.iterdir()}
    assert sorted(starts) == sorted(str(name) for name in far.run.values.flat)
    assert starts.pop(victim) == 2
    assert set(starts.values()) == {1}
    for run in runs.iterdir():
        rows = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
        assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
        assert not list(run.rglob(".part-*"))


def test_no_scheduler_is_said_with_what_to_start(tmp_path, monkeypatch):
    monkeypatch.setattr("gradflow.sweep.workers.PATIENCE", 0.5)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with pytest.raises(OSError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there .*dask scheduler"):
        run_sweep(GRID, tmp_path / "sweep", scheduler="tcp://127.0.0.1:9")
