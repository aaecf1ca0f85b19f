"""Progress bars on standard error for anything longer than two seconds; silent when it is piped."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gradflow.figures.registry import Progress as Report
from gradflow.figures.registry import silent

PATIENCE = 2.0
"""Seconds before the bar appears."""


class Bars:
    """Bars on standard error, one for each thing that is at work, once two seconds have passed."""

    def __init__(self, *, shown: bool = True) -> None:
        self._lines: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        if shown and sys.stderr.isatty():
            self._bars = Progress(
                TextColumn("{task.fields[title]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,  # what is printed goes where it is sent
            )
            self._appear = threading.Timer(PATIENCE, self._bars.start)
            self._appear.daemon = True

    def __enter__(self) -> "Bars":
        if self._bars is not None:
            self._appear.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._appear.cancel()
            self._appear.join()
            self._bars.stop()

    def report(self, title: str) -> Report:
        """Return the function whose reports the bar of this title shows."""
        if self._bars is None:
            return silent
        if title not in self._lines:
            self._lines[title] = self._bars.add_task("", title=title, total=None)
        bars, line = self._bars, self._lines[title]

        def told(done: int, total: int, what: str) -> None:
            bars.update(line, completed=done, total=total, description=what)

        return told

    @contextmanager
    def hidden(self, title: str) -> Iterator[None]:
        """Take a bar away that has come to its end, and all of them while something is printed."""
        if self._bars is None:
            yield
            return
        if title in self._lines:
            self._bars.remove_task(self._lines.pop(title))
        shown = self._bars.live.is_started
        self._bars.stop()
        try:
            yield
        finally:
            if shown:
                self._bars.start()


@contextmanager
def progress_bar(title: str, *, shown: bool = True) -> Iterator[Report]:
    """Yield a function (done, total, what) whose reports a bar shows once two seconds have passed."""
    with Bars(shown=shown) as bars:
        yield bars.report(title)
