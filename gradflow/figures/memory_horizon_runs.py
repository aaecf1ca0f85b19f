"""The networks that figure memory-horizon trains: one run a span, delay and seed, and which delays are tried.

Axes: span delay seed. Delays and spans are in steps.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from pydantic import Field, field_validator

from gradflow.conventions import package_versions, source_commit
from gradflow.figures.cells import recurrence_of
from gradflow.figures.registry import Config
from gradflow.train import DivergedError, TrainConfig, resolve, train, write_toml
from gradflow.train.loop import CHECKPOINTS_NAME

SHORTEST = 4
"""First delay of the grid; each of the others is √2 times the one before, rounded."""
START = 4
"""Spans that the first delay tried is long; shorter ones follow where none from there on is learned."""
FAILURES = 2
"""So many delays in a row that are not learned, and longer ones do not count."""
LONGEST_SPAN = 10**4


class MemoryHorizonConfig(Config):
    """Options of the figure; the defaults draw the picture of the book.

    Attributes:
        spans: of the recurrence; 1 is vanilla.
        decay: of the potential, α. hidden: neurons of the layer. seeds: networks of each span.
        samples: sequences from which the horizon of a network is predicted.
        longest: no delay beyond this is tried, and no horizon beyond it seen, in steps.
        classes, noise: what is to be told apart, and how often an input of the wait is a distractor.
        examples, epochs, batch: of each training. lr: peak of its one-cycle schedule, AdamW.
    """

    spans: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    decay: float = Field(default=0.5, ge=0.0, le=1.0)
    hidden: int = Field(default=64, ge=1)
    seeds: int = Field(default=3, ge=1)
    samples: int = Field(default=8, ge=1)
    longest: int = Field(default=1024, ge=8)
    classes: int = Field(default=4, ge=2)
    noise: float = Field(default=0.05, ge=0.0, lt=1.0)
    examples: int = Field(default=1000, ge=5)
    epochs: int = Field(default=15, ge=1)
    batch: int = Field(default=50, ge=1)
    lr: float = Field(default=3e-3, gt=0.0)

    @field_validator("spans")
    @classmethod
    def _increasing(cls, spans: tuple[int, ...]) -> tuple[int, ...]:
        if not spans or not all(1 <= span <= LONGEST_SPAN for span in spans):
            came = ",".join(map(str, spans)) or "none"
            raise ValueError(f"got {came}, expected spans of 1 to {LONGEST_SPAN}, as in 1,4,16")
        return tuple(sorted(set(spans)))

    @property
    def chance(self) -> float:
        """Return the accuracy without memory."""
        return 1.0 / self.classes

    @property
    def threshold(self) -> float:
        """Return the accuracy above which a delay counts as learned: halfway from chance to 1."""
        return 0.5 * (1.0 + self.chance)

    def recall(self, delay: int, seed: int) -> dict[str, Any]:
        """Return the options of the task.

        The class is shown for as long as the widest span: every residue of every span is then in sight, and
        no delay suits the comb of one span better than that of another.
        """
        return {
            "delay": delay,
            "shown": max(self.spans),
            "classes": self.classes,
            "noise": self.noise,
            "examples": self.examples,
            "data_seed": seed,
        }


Cell: TypeAlias = tuple[int, int, int]
"""Span, delay and seed of a run."""


class Trial(NamedTuple):
    """What became of a run: accuracy on the test split, and on the validation split, by the best epoch."""

    accuracy: float
    validation_accuracy: float


def grid(longest: int) -> list[int]:
    """Return the delays that may be tried, in steps.

    >>> grid(50)
    [4, 6, 8, 11, 16, 23, 32, 45]
    """
    delays = (round(SHORTEST * 2.0 ** (k / 2)) for k in range(2 * longest.bit_length()))
    return [delay for delay in delays if delay <= longest]


def climb(
    span: int, delays: Sequence[int], attempt: Callable[[int], Sequence[bool]]
) -> Iterator[tuple[int, Sequence[bool]]]:
    """Yield delay and `attempt(delay)`, which says of every seed whether it learns that delay.

    From the first delay of at least 4 λ upwards, until no seed learns two in a row; then, where a seed has
    learned none of these, downwards from there until each has learned one.

    >>> list(climb(1, grid(50), lambda delay: [delay < 9, delay < 7]))
    [(4, [True, True]), (6, [True, True]), (8, [True, False]), (11, [False, False]), (16, [False, False])]
    """
    first = next((place for place, delay in enumerate(delays) if delay >= START * span), len(delays) - 1)
    failures, met = 0, set[int]()
    for delay in delays[first:]:
        found = attempt(delay)
        yield delay, found
        met.update(np.flatnonzero(found).tolist())
        failures = 0 if any(found) else failures + 1
        if failures == FAILURES:
            break
    for delay in reversed(delays[:first]):
        if len(met) == len(found):
            break
        found = attempt(delay)
        yield delay, found
        met.update(np.flatnonzero(found).tolist())


def reach(delays: Sequence[int], learned: Sequence[bool]) -> int:
    """Return the longest of the delays tried that a network learns before it fails two in a row; 0 for none.

    >>> reach([4, 6, 8, 11, 16, 23], [True, False, True, False, False, True])
    8
    """
    longest = failures = 0
    for delay, good in zip(delays, learned, strict=True):
        failures = 0 if good else failures + 1
        if failures == FAILURES:
            break
        longest = delay if good else longest
    return longest


def run_config(config: MemoryHorizonConfig, cell: Cell) -> TrainConfig:
    """Return the training of one cell; all but span, delay and seeds is the same for all."""
    span, delay, seed = cell
    return resolve(
        {
            "task": {"name": "delayed-recall", "options": config.recall(delay, seed)},
            "network": {
                "hidden": (config.hidden,),
                "recurrence": recurrence_of(span).label,
                "neuron": {"kind": "lif", "decay": config.decay},
                "readout": "last",
                "seed": seed,
            },
            "optimiser": {"lr": config.lr},
            "training": {"epochs": config.epochs, "batch": config.batch, "seed": seed, "device": "cpu"},
            "watch": {"every": 0},
            "logging": {"tensorboard": False},
        }
    )


def run_folder(folder: Path, config: TrainConfig, cell: Cell) -> Path:
    """Return where a run is kept: under another name if its options, the versions or the commit differ."""
    told = f"{write_toml(config)}{package_versions()}{source_commit()}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return folder / "-".join(["span", str(cell[0]), "delay", str(cell[1]), "seed", str(cell[2]), digest])


def trained(config: TrainConfig, folder: Path) -> Trial:
    """Train one network, or go on where it was left; of a finished run what it says is kept.

    A run that diverges has learned nothing: its accuracies are 0.
    """
    with one_thread():
        try:
            summary = train(config, folder, resume=True)
        except DivergedError:
            return Trial(0.0, 0.0)
    shutil.rmtree(folder / CHECKPOINTS_NAME, ignore_errors=True)
    return Trial(summary.test_accuracy, summary.validation_accuracy)


@contextmanager
def one_thread() -> Iterator[None]:
    """Give torch one thread: small layers are fastest so, and the last digits are the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def trainers(workers: int) -> Iterator[Callable[[list[TrainConfig], list[Path]], list[Trial]]]:
    """Return a function that trains several networks, on as many processes; with one worker in this one."""
    if workers == 1:
        yield lambda configs, folders: list(map(trained, configs, folders))
        return
    # threads of torch do not survive a fork
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield lambda configs, folders: list(pool.map(trained, configs, folders))
    finally:
        pool.shutdown(cancel_futures=True)
