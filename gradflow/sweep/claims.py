"""Who works on a run: one process at a time, whatever a scheduler believes; and how many died at it.

A claim is a lock on a file in the run's folder. The system gives it back when its process ends, however it
ends, so that nothing has to time out. What a process wrote into the file tells whether it came to an end.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLAIM_NAME = "claim"


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Hold a run's folder, made if need be, once no other thread or process holds it.

    Yields how many processes that held it before came to no end since the last that did.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM_NAME).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        deaths = unended(file.read())
        _say(file.fileno(), f"start {os.getpid()} {socket.gethostname()}")
        yield deaths
        # not where an error passes through: what is no Exception is the end of the process
        _say(file.fileno(), f"end {os.getpid()}")


def forget_deaths(folder: Path) -> None:
    """Count deaths anew, unless a process is at work there."""
    path = folder / CLAIM_NAME
    if not path.exists():
        return
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        file.seek(0)
        if unended(file.read()):
            _say(file.fileno(), "forgotten")


def unended(text: str) -> int:
    r"""Return how many starts at the end of a claim's file have no end.

    >>> unended("start 1 here\nend 1\nstart 2 here\nstart 3 there\n")
    2
    """
    count = 0
    for line in text.splitlines():
        count = count + 1 if line.startswith("start ") else 0
    return count


def _say(handle: int, line: str) -> None:
    os.write(handle, f"{line}\n".encode())
