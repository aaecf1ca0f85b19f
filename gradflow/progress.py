"""How anything that takes long tells how far it is: a function of done, total and what is worked on."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Told how far a computation is."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take `done` of `total` parts and what is worked on."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""
