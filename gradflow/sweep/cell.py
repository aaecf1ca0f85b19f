"""One run of a sweep, wherever it is computed: claimed, gone on with, and its failure written down."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from gradflow.progress import Progress, silent
from gradflow.sweep.claims import claimed
from gradflow.train import Summary, TrainConfig, train
from gradflow.train.files import write_whole

ERROR_NAME = "error.json"
DEATHS = 3
"""So many processes may die at a run before it counts as failed (Dask gives a task up after as many)."""
_alone = threading.Lock()
"""A process trains one network at a time: torch's threads and generators belong to the whole of it."""


class Outcome(NamedTuple):
    """How a run ended: its accuracy on the test split, or what went wrong."""

    name: str
    accuracy: float | None
    error: str = ""


def run_cell(
    name: str, config: TrainConfig, folder: Path, threads: int | None = None, progress: Progress = silent
) -> Outcome:
    """Train one run of a sweep to its end, going on where it is; a finished one is left as it is.

    What goes wrong is written into the folder and returned, never raised.

    Args:
        name: of the run.
        config: of the run.
        folder: of the run.
        threads: torch may use (default: as many as it does).
        progress: told of every step.
    """
    with _alone, threads_of(threads), claimed(folder) as deaths:
        (folder / ERROR_NAME).unlink(missing_ok=True)
        if deaths >= DEATHS:
            return failed(
                name,
                folder,
                f"{deaths} processes died at it, one after the other; look at their memory or try fewer jobs",
            )
        try:
            summary = train(config, folder, resume=True, progress=progress)
        except Exception as error:
            return failed(name, folder, describe(error))
        return Outcome(name, summary.test_accuracy)


def failed(name: str, folder: Path, error: str) -> Outcome:
    """Write down why a run has no result, where the folder can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ERROR_NAME, json.dumps({"error": error}, indent=1).encode())
    except OSError as second:
        error = f"{error}; nor could that be written ({second})"
    return Outcome(name, None, error)


def read_error(folder: Path) -> str:
    """Return why a run has no result, or "" where nothing went wrong."""
    try:
        said = json.loads((folder / ERROR_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    return str(said["error"])


def read_finished(folder: Path) -> Summary | None:
    """Return the summary of a finished run, or None."""
    try:
        return Summary.read(folder)
    except FileNotFoundError:
        return None


def describe(error: BaseException) -> str:
    """Return an error as one line; its class where it is none that gradflow raises.

    >>> describe(KeyError("lag")), describe(ValueError("spans: got 0"))
    ("KeyError: 'lag'", 'spans: got 0')
    """
    text = " ".join(str(error).split())
    ours = isinstance(error, ValueError | ArithmeticError | OSError | ImportError) and text
    return text if ours else f"{type(error).__name__}: {text}"


@contextmanager
def threads_of(count: int | None) -> Iterator[None]:
    """Let torch and the engine use so many threads; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
