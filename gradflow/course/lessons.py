"""The lessons of the course: their sources, and what each promises in its first cell."""

import re
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).with_name("sources")
NAMES = (
    "1-neuron",
    "2-product",
    "3-spans",
    "4-learning-the-span",
    "5-training",
    "6-your-network",
)


@dataclass(frozen=True)
class Lesson:
    """One notebook as it presents itself: title, what one can do afterwards, and how long it takes."""

    name: str
    title: str
    aims: tuple[str, ...]
    minutes: int
    text: str

    def promise(self) -> str:
        """Return the aims as one sentence."""
        return f"After this you can {'; '.join(self.aims)}."


def lesson(name: str) -> Lesson:
    """Read one lesson's source (jupytext, percent format).

    Raises ValueError for a name that does not exist, or a first cell without title, aims and minutes.

    >>> lesson("1-neuron").title
    'A spiking neuron and its gradient'
    """
    path = SOURCES / f"{name}.py"
    if name not in NAMES or not path.exists():
        known = [each for each in NAMES if (SOURCES / f"{each}.py").exists()]
        raise ValueError(f"lesson {name!r}: expected one of {', '.join(known)}")
    text = path.read_text(encoding="utf-8")
    opening = text.split("# %%", 2)[1]
    title = re.search(r"^# # \d · (.+)$", opening, re.MULTILINE)
    minutes = re.search(r"^# \*\*Time\*\*: about (\d+) minutes", opening, re.MULTILINE)
    aims = re.findall(r"^# - (.+?)[.;,]?$", opening.partition("**After this you can**")[2], re.MULTILINE)
    if title is None or minutes is None or not aims:
        raise ValueError(
            f"{path.name}: expected a first cell with '# N · Title', a list after '**After this you can**' "
            "and '**Time**: about N minutes'"
        )
    return Lesson(name, title[1], tuple(aims), int(minutes[1]), text)


def lessons() -> tuple[Lesson, ...]:
    """Return all lessons in order."""
    return tuple(lesson(name) for name in NAMES if (SOURCES / f"{name}.py").exists())
