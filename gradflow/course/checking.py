"""Exercises and their checks: a quiet green line where the answer is right, one line of hint where it is not.

A check computes the truth from the library on inputs of its own; it never compares with a typed number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from gradflow.course.saying import Words

HOMES = ("neuron", "product", "spans", "learning_the_span", "training", "your_network")
"""Modules of `gradflow.course.exercises`, one a notebook, in order."""
EMPTY = "nothing to check yet"
GREEN = "\x1b[32m"
RED = "\x1b[31m"
PLAIN = "\x1b[0m"


class NotYet(Exception):  # noqa: N818  not an error of the program: an answer on its way
    """An answer that is not right yet; its text is one line of hint. Jupyter shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{RED}Not yet.{PLAIN} {self}"]


class Right(Words):
    """What a passed check returns: a green line."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<span style="color:#1a7f37">✓ {self}</span>'


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name, a hint that helps without telling, and the check of its answers.

    `truth` takes the answers and raises NotYet, or any error, where they are wrong.
    """

    name: str
    hint: str
    truth: Callable[..., None]


_KNOWN: dict[str, Exercise] = {}


def exercise(name: str, hint: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the check that follows under the name of its exercise.

    Raises ValueError for a name that is taken.
    """

    def register(truth: Callable[..., None]) -> Callable[..., None]:
        known = _KNOWN.get(name)
        if known is not None and known.truth.__module__ != truth.__module__:
            raise ValueError(f"exercise {name!r}: got two checks, expected one; choose another name")
        _KNOWN[name] = Exercise(name, hint, truth)
        return truth

    return register


def exercises() -> dict[str, Exercise]:
    """Return all exercises by name, in the order of the notebooks."""
    from importlib.util import find_spec

    for home in HOMES:
        where = f"gradflow.course.exercises.{home}"
        if find_spec(where) is not None:
            import_module(where)
    return dict(_KNOWN)


def check(name: str, *answers: Any) -> Right:
    """Check the answers to an exercise: return a green line, or raise NotYet with a hint.

    Raises ValueError for an exercise that does not exist.

    >>> check("rheobase", lambda decay, threshold: threshold * (1 - decay))
    Right: rheobase
    """
    found = exercises().get(name)
    if found is None:
        raise ValueError(f"check({name!r}): got no such exercise, expected one of {', '.join(exercises())}")
    if not answers or any(map(_untouched, answers)):
        raise NotYet(f"{EMPTY}: {found.hint}")
    try:
        found.truth(*answers)
    except NotYet as wrong:
        raise NotYet(f"{wrong} Hint: {found.hint}") from None
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise NotYet(f"your answer stops with {told}. Hint: {found.hint}") from None
    return Right(f"Right: {name}")


def _untouched(answer: Any) -> bool:
    """Say whether an answer is still the stub: None, `...`, or a function that does nothing."""
    code = getattr(answer, "__code__", None)
    return answer is None or answer is ... or (code is not None and code.co_code == _NOTHING)


_NOTHING = (lambda: None).__code__.co_code
"""The code of a function that does nothing."""


def close(got: Any, expected: Any, *, what: str, rtol: float = 1e-6, atol: float = 1e-9) -> None:
    """Raise NotYet unless two numbers or arrays agree; the message shows the first place where they do not.

    The tolerances (1e-6 relative, 1e-9 absolute) forgive the order of sums in float64, and nothing else.

    >>> close(1.0, 2.0, what="the rate")
    Traceback (most recent call last):
        ...
    gradflow.course.checking.NotYet: the rate: got 1, expected 2.
    """
    import numpy as np

    if got is None or got is ...:
        raise NotYet(f"{what}: got nothing; does your function return it?")
    mine, truth = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if mine.shape != truth.shape:
        raise NotYet(f"{what}: got the shape {mine.shape}, expected {truth.shape}.")
    wrong = ~np.isclose(mine, truth, rtol=rtol, atol=atol, equal_nan=True)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        at = f" at {place if len(place) > 1 else place[0]}" if place else ""
        raise NotYet(f"{what}{at}: got {mine[place]:.6g}, expected {truth[place]:.6g}.")
