"""A progress bar on standard error for anything longer than two seconds; silent when it is piped."""

import sys
import threading
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
from gradflow.figures.registry import silent

PATIENCE = 2.0
"""Seconds before the bar appears."""


@contextmanager
def progress_bar(title: str, *, shown: bool = True) -> Iterator[Report]:
    """Yield a function (done, total, what) whose reports a bar shows once two seconds have passed."""
    if not shown or not sys.stderr.isatty():
        yield silent
        return
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
    line = bar.add_task("", title=title, total=None)

    def report(done: int, total: int, what: str) -> None:
        bar.update(line, completed=done, total=total, description=what)

    appear = threading.Timer(PATIENCE, bar.start)
    appear.daemon = True
    appear.start()
    try:
        yield report
    finally:
        appear.cancel()
        appear.join()
        bar.stop()
