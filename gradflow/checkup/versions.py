"""Python and the packages: those that gradflow rests on, with the versions it asks for, and its extras."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from gradflow.checkup.check import Check, State

DISTRIBUTION = "gradflow-snn"
PYTHON = (3, 11)
EXTRAS = {
    "cuda": "fused kernels on NVIDIA GPUs",
    "train": "gradflow train: checkpoints and event logs",
    "speech": "shd, ssc and gsc",
    "report": "gradflow report",
    "notebook": "the course's sliders",
    "cluster": "sweeps on several machines",
    "interop": "networks of other libraries",
}
"""What each extra is for; those that this version does not have are passed over."""


def checks() -> list[Check]:
    """Return the checks of Python, of every required package, and of each extra."""
    return [_python(), *_packages(), *_extras()]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < PYTHON:
        return Check("python", "python", State.FAILED, found, "use Python 3.11 or later")
    return Check("python", "python", State.FINE, found)


def _packages() -> Iterator[Check]:
    yield Check("packages", DISTRIBUTION, State.FINE, _installed(DISTRIBUTION) or "run from its folder")
    for name, least in required().items():
        found = _installed(name)
        if found is None:
            yield Check("packages", name, State.FAILED, "not installed", f"pip install '{name}>={least}'")
        elif not at_least(found, least):
            cure = f"pip install '{name}>={least}'"
            yield Check("packages", name, State.FAILED, f"{found}, expected {least} or later", cure)
        else:
            yield Check("packages", name, State.FINE, found)


def _extras() -> Iterator[Check]:
    for extra, purpose in EXTRAS.items():
        names = list(required(extra))
        if not names:
            continue
        missing = [name for name in names if _installed(name) is None]
        if missing:
            cure = f"for {purpose}: pip install '{DISTRIBUTION}[{extra}]'"
            yield Check("extras", extra, State.ABSENT, f"without {', '.join(missing)}", cure)
        else:
            listed = ", ".join(f"{name} {_installed(name)}" for name in names)
            yield Check("extras", extra, State.FINE, listed)


def required(extra: str | None = None) -> dict[str, str]:
    """Return the packages that gradflow, or one of its extras, asks for, with the least version of each.

    >>> required()["typer"]
    '0.12'
    """
    found = {}
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        wanted, _, marker = line.partition(";")
        of = marker.partition("extra ==")[2].strip().strip("\"'") or None
        if of == extra:
            name, _, least = wanted.strip().partition(">=")
            found[name.strip()] = least.strip() or "0"
    return found


def at_least(found: str, least: str) -> bool:
    """Return whether a version is at least another: by its leading numbers, `2.13.0+cpu` being 2.13.0.

    >>> at_least("2.13.0+cpu", "2.6"), at_least("1.9", "1.12")
    (True, False)
    """
    return _numbers(found) >= _numbers(least)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.partition("+")[0].split("."):
        digits = "".join(c for c in part if c.isdigit())
        if not part[:1].isdigit():
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
