"""Progress bars for what takes over two seconds: on a terminal's standard error, or below a notebook's cell.

Silent where output is piped, and in a notebook without ipywidgets.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

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

from gradflow.progress import Progress as Report
from gradflow.progress import silent

PATIENCE = 2.0
"""Seconds before the bar appears."""


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, one that can show a bar (which takes ipywidgets)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None and find_spec("ipywidgets") is not None


def visible() -> bool:
    """Whether somebody would see a bar."""
    return sys.stderr.isatty() or in_notebook()


class Bars:
    """Bars, one for each thing that is at work, once two seconds have passed."""

    def __init__(self, *, shown: bool = True) -> None:
        self._lines: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        if shown and visible():
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
    """Yield a function (done, total, what) whose reports a bar shows once two seconds have passed.

    What takes long takes such a function as its argument `progress`; an interrupt takes the bar away.

    >>> with progress_bar("count") as progress:
    ...     for done in range(3):
    ...         progress(done + 1, 3, "numbers")
    """
    with Bars(shown=shown) as bars:
        yield bars.report(title)
