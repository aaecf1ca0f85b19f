"""Several figures, in turn or each in a process of its own; one that fails leaves the others whole."""

import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import torch

from gradflow.figures.registry import Config, FigureSpec, Progress
from gradflow.plots.look import PAPER, Look

if TYPE_CHECKING:
    from gradflow.figures.make import Made

PATIENCE = 20.0
"""Seconds that a figure has to put its drafts away when it is stopped."""

Report: TypeAlias = Callable[[str], Progress]
"""Returns what is told how far the figure of a name is."""


@dataclass(frozen=True)
class Order:
    """One figure to be made; see `make`."""

    spec: FigureSpec
    config: Config
    out: Path
    command: str
    formats: tuple[str, ...]
    look: Look = PAPER
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of an order: what was made, or the error and where it arose."""

    name: str
    made: "Made | None" = None
    error: Exception | None = None
    trace: str = ""


def make_all(orders: Sequence[Order], report: Report, *, jobs: int = 1) -> Iterator[Outcome]:
    """Make figures, up to `jobs` at a time, and yield each outcome as it comes.

    Several at a time share the processors: each has its part of torch's threads.
    """
    if jobs == 1 or len(orders) == 1:
        for order in orders:
            yield _outcome(order, report(order.spec.name))
        return
    yield from _in_processes(orders, report, min(jobs, len(orders)))


def _outcome(order: Order, progress: Progress) -> Outcome:
    from gradflow.figures.make import make

    try:
        made = make(
            order.spec,
            order.config,
            order.out,
            command=order.command,
            formats=order.formats,
            look=order.look,
            force=order.force,
            progress=progress,
        )
    except Exception as error:
        return Outcome(order.spec.name, error=error, trace=traceback.format_exc())
    return Outcome(order.spec.name, made)


def _in_processes(orders: Sequence[Order], report: Report, jobs: int) -> Iterator[Outcome]:
    """Give each order a new process, which leaves no memory behind."""
    context = get_context("spawn")  # threads of torch do not survive a fork
    resource_tracker.ensure_running()  # or it would be started with the first process, and lift its mask
    threads = max(1, torch.get_num_threads() // jobs)
    waiting, running = deque(orders), dict[Connection, tuple[Order, SpawnProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                order = waiting.popleft()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(order, theirs, threads))
                with _interrupts_wait():
                    process.start()
                    running[ours] = (order, process)
                theirs.close()
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                order, process = running[pipe]
                heard = _heard(pipe, order, process)
                if isinstance(heard, Outcome):
                    del running[pipe]
                    process.join()
                    yield heard
                else:
                    report(order.spec.name)(*heard)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(PATIENCE)
            process.kill()


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let an interrupt wait until a process that starts is known, and that process never have one.

    It has the mask of signals of the thread that started it, from its first import on: those take seconds.
    """
    if current_thread() is not main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    waiting: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if waiting:
        raise KeyboardInterrupt


def _heard(pipe: Connection, order: Order, process: SpawnProcess) -> "Outcome | tuple[int, int, str]":
    """Return what a process says: how far it is, or how it ended."""
    try:
        heard: Outcome | tuple[int, int, str] = pipe.recv()
    except EOFError:
        process.join()
        lost = f"its process died (exit code {process.exitcode}); if memory ran out, try fewer --jobs"
        return Outcome(order.spec.name, error=RuntimeError(lost))
    return heard


def _work(order: Order, pipe: Connection, threads: int) -> None:
    """Make one figure in a process of its own, which the one that started it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(threads)
    outcome = _outcome(order, partial(_tell, pipe))
    try:
        pickle.loads(pickle.dumps(outcome))
    except Exception:  # an error that is made otherwise than it is told cannot travel: its words can
        error = RuntimeError(f"{type(outcome.error).__name__}: {outcome.error}")
        outcome = Outcome(outcome.name, error=error, trace=outcome.trace)
    pipe.send(outcome)


def _tell(pipe: Connection, done: int, total: int, what: str) -> None:
    pipe.send((done, total, what))


def _stop(*_: object) -> NoReturn:
    """End as an error would, so that drafts are put away."""
    raise SystemExit(128 + signal.SIGTERM)
