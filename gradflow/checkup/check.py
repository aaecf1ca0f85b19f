"""One thing that was looked at, and all of them in order."""

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module


class State(StrEnum):
    """How a check came out: FAILED is what gradflow cannot do without."""

    FINE = "fine"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """What was looked at and found.

    Attributes:
        topic: python, packages, extras, threads, engine, data or folders.
        name: of the thing.
        state: fine, absent (gradflow works without it, with less) or failed.
        found: what there is, in words.
        cure: what to do about it; "" where nothing need be done.
    """

    topic: str
    name: str
    state: State
    found: str
    cure: str = ""


TOPICS = ("versions", "engines", "folders")
"""Modules of this package, each with a function `checks`, in the order in which they are shown."""


def checkup() -> list[Check]:
    """Look at everything; nothing raises, what goes wrong is a failed check.

    >>> {check.topic for check in checkup()} >= {"python", "packages", "engine", "data"}
    True
    """
    found = []
    for topic in TOPICS:
        try:
            found += import_module(f"gradflow.checkup.{topic}").checks()
        except Exception as error:  # a broken installation may raise anything, and is what this is for
            words = " ".join(str(error).split())
            found.append(
                Check(
                    topic, topic, State.FAILED, f"{type(error).__name__}: {words}", "install gradflow again"
                )
            )
    return found
