"""The grid: one axis at a time (T, recurrence, H, batch) around one shape, with every subject that can."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradflow.bench.memory import peak_memory
from gradflow.bench.subjects import (
    FLOOR,
    FLOOR_WHOLE,
    FUSED,
    PEERS,
    REFERENCE,
    SUBJECTS,
    build,
    can_express,
    installed,
)
from gradflow.bench.timing import Job, Rounds, interleave
from gradflow.bench.workload import HIDDEN, Workload
from gradflow.figures.registry import Progress, silent

RATE = 0.2
"""Firing rate of every layer; networks in training on psmnist fire at 1 to 16 %, as initialised 0 to 12 %."""


@dataclass(frozen=True)
class Grid:
    """The values of every axis, and what may be spent on them.

    Attributes:
        steps, widths, batches: T, H (layers H/2, H, H) and samples.
        recurrences: along their own axis; the first of `everywhere` is where the others stay meanwhile.
        everywhere: recurrences whose T, H and batch are varied.
        base: T, H and batch where they are not varied.
        budget: seconds for the rounds of one subject at one point.
        patience: a step expected to take longer, in seconds, is left out.
        memory_everywhere: measure the fused engine's memory at every point, or at the base only.
    """

    steps: tuple[int, ...] = (100, 196, 392, 784, 1568, 3136)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)
    recurrences: tuple[str, ...] = ("vanilla", "skip:4", "skip:12", "skip:16", "skip:41", "asrc:51")
    everywhere: tuple[str, ...] = ("vanilla", "skip:12", "asrc:51")
    base: tuple[int, int, int] = (784, HIDDEN[-1], 64)
    rate: float = RATE
    budget: float = 1.5
    patience: float = 8.0
    memory_everywhere: bool = True

    def workloads(self) -> list[Workload]:
        """Return every point once, small before large."""
        steps, width, batch = self.base
        points = [
            *((steps, width, batch, recurrence) for recurrence in self.recurrences),
            *((T, width, batch, recurrence) for recurrence in self.everywhere for T in self.steps),
            *((steps, H, batch, recurrence) for recurrence in self.everywhere for H in self.widths),
            *((steps, width, B, recurrence) for recurrence in self.everywhere for B in self.batches),
        ]
        unique = [Workload(T, layers(H), B, recurrence) for T, H, B, recurrence in dict.fromkeys(points)]
        return sorted(unique, key=_size)

    def is_base(self, work: Workload) -> bool:
        """Say whether T, H and batch are the base's."""
        return (work.steps, work.hidden[-1], work.batch) == self.base


QUICK = Grid(
    steps=(50, 100, 200),
    widths=(32, 64),
    batches=(4, 16),
    recurrences=("vanilla", "skip:4", "asrc:16"),
    everywhere=("vanilla", "skip:4"),
    base=(100, 64, 16),
    budget=0.3,
    patience=2.0,
    memory_everywhere=False,
)
"""The same in about a minute: small enough that fixed costs show, so not what to quote."""


SHORT = Grid(
    steps=(100, 784, 3136),
    widths=(64, 128, 512),
    batches=(1, 16, 256),
    recurrences=("vanilla", "skip:4", "skip:12", "skip:16", "skip:41", "asrc:51"),
    everywhere=("skip:12",),
    budget=0.6,
    patience=3.0,
    memory_everywhere=False,
)
"""The ends and the middle of the whole grid, for one span, in about five minutes."""


def layers(width: int) -> tuple[int, ...]:
    """Return the layers of a network of width H.

    >>> layers(128)
    (64, 128, 128)
    """
    return (max(1, width // 2), width, width)


def run_grid(grid: Grid, *, progress: Progress = silent) -> list[dict[str, Any]]:
    """Measure every point; return one row per point and subject.

    A row has the workload's fields, the subject, `seconds` (median, least, greatest, count) or None with
    `left_out` saying why, `to_floor` and `to_fused` (ratios of neighbours in a round), and where it was
    measured `peak_bytes` of the whole process, with `start_bytes` before the step.
    """
    points = grid.workloads()
    paces = Paces(grid.patience)
    rows: list[dict[str, Any]] = []
    for done, point in enumerate(points):
        progress(done, 2 * len(points), point.label)
        rows += measure(point.at_rate(grid.rate), paces, grid)
        gc.collect()
    wanted = [row for row in rows if row["seconds"] and _weighed(row, grid)]
    add_memory(wanted, len(points), progress)
    return rows


class Paces:
    """Seconds per neuron and step of every subject and recurrence, to foresee what would take too long."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._seen: dict[tuple[str, str], float] = {}

    def too_slow(self, subject: str, work: Workload) -> bool:
        """Say whether a step is expected to take longer than the patience."""
        return self._seen.get((subject, work.recurrence), 0.0) * _size(work) > self.patience

    def learn(self, subject: str, work: Workload, seconds: float) -> None:
        """Take a measured step as the pace for larger ones."""
        self._seen[subject, work.recurrence] = seconds / _size(work)


def _size(work: Workload) -> int:
    return work.steps * work.batch * sum(work.hidden)


def measure(work: Workload, paces: Paces, grid: Grid) -> list[dict[str, Any]]:
    """Time all subjects at one point in interleaved rounds."""
    reasons = {subject: _reason(subject, work, paces, grid) for subject in SUBJECTS}
    chosen = [subject for subject, reason in reasons.items() if not reason]
    jobs: dict[str, Job] = {subject: build(subject, work) for subject in chosen}
    short = replace(work, steps=min(work.steps, 20))
    # a slow subject has nothing to compile: a short sequence warms it up
    warm: dict[str, Job] = {
        subject: build(subject, short) for subject in chosen if subject in (REFERENCE, *PEERS)
    }
    rounds = interleave(jobs, budget=grid.budget, warm=warm)
    for subject in chosen:
        paces.learn(subject, work, rounds.spread(subject).median)
    return [
        _row(subject, work, reasons[subject], rounds) for subject in SUBJECTS if can_express(subject, work)
    ]


def _reason(subject: str, work: Workload, paces: Paces, grid: Grid) -> str:
    """Say why a subject is left out here, or nothing."""
    if not can_express(subject, work) or not installed(subject):
        return "not installed"
    if subject == REFERENCE and work.recurrence.startswith("asrc") and not grid.is_base(work):
        return "measured at the base only"
    slow = subject in (REFERENCE, *PEERS) and paces.too_slow(subject, work)
    return f"over {grid.patience:g} s a step" if slow else ""


def _row(subject: str, work: Workload, reason: str, rounds: Rounds) -> dict[str, Any]:
    row: dict[str, Any] = {**work.as_dict(), "subject": subject, "left_out": reason, "seconds": None}
    if not reason:
        row["seconds"] = vars(rounds.spread(subject))
        row["to_floor"] = vars(rounds.ratio(subject, FLOOR))
        row["to_fused"] = vars(rounds.ratio(subject, FUSED))
    return row


def _weighed(row: dict[str, Any], grid: Grid) -> bool:
    """Say whether memory is measured: every network's at the base, the fused engine's elsewhere if wanted."""
    at = (row["steps"], row["hidden"][-1], row["batch"]) == grid.base
    if row["subject"] == FUSED:
        return at or grid.memory_everywhere
    return at and row["subject"] not in (FLOOR, FLOOR_WHOLE)


def add_memory(rows: list[dict[str, Any]], done: int, progress: Progress) -> None:
    """Measure the peak memory of these rows, each in a process of its own, and write it into them."""
    threads = torch.get_num_threads()
    # nothing is timed here, so as many processes as threads may run
    with ThreadPoolExecutor(threads) as pool:
        for number, (row, peak) in enumerate(_peaks(rows, threads, pool)):
            progress(done + done * number // len(rows), 2 * done, "memory")
            row["start_bytes"], row["peak_bytes"] = peak


def _peaks(
    rows: list[dict[str, Any]], threads: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[dict[str, Any], tuple[int, int]]]:
    names = ("steps", "hidden", "batch", "recurrence", "rate", "gains")

    def one(row: dict[str, Any]) -> tuple[int, int]:
        work = Workload.from_dict({name: row[name] for name in names})
        peak = peak_memory(row["subject"], work, threads=threads)
        return peak.before, peak.after

    yield from zip(rows, pool.map(one, rows), strict=True)
