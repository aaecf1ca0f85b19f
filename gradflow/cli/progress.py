"""A progress bar on standard error for anything longer than two seconds; silent when it is piped."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gradflow.figures.registry import Progress as Report

PATIENCE = 2.0
"""Seconds before the bar appears."""


@contextmanager
def progress_bar(title: str) -> Iterator[Report]:
    """Yield a function (done, total, what) that draws the bar once two seconds have passed."""
    bar = Progress(
        TextColumn("{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
    )
    begun = time.monotonic()
    line = bar.add_task("", title=title, total=None)

    def report(done: int, total: int, what: str) -> None:
        bar.update(line, completed=done, total=total, description=what)
        if bar.console.is_terminal and not bar.live.is_started and time.monotonic() - begun > PATIENCE:
            bar.start()

    try:
        yield report
    finally:
        bar.stop()
