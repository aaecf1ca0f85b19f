"""Disturbances in the words of the command line: `delete=0,0.1,0.2`."""

import difflib
from collections.abc import Sequence

from gradflow.evaluation.disturbances import DISTURBANCES, Disturbance


def parse_disturbances(texts: Sequence[str]) -> list[Disturbance]:
    """Return the disturbances that words name, each as in `delete=0,0.1`.

    Raises ValueError for a kind that does not exist (with the nearest), and strengths that are no numbers of
    that kind or are given twice.

    >>> parse_disturbances(["delete=0,.1", "span-shift=-2"])
    [SpikeDeletion(strength=0.0), SpikeDeletion(strength=0.1), SpanShift(strength=-2)]
    """
    found = [disturbance for text in texts for disturbance in _parse(text)]
    twice = sorted({f"{one.word}={one.strength:g}" for one in found if found.count(one) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: given twice")
    return found


def _parse(text: str) -> list[Disturbance]:
    word, equals, strengths = text.partition("=")
    if not equals or not strengths:
        raise ValueError(f"{text!r}: expected KIND=STRENGTH,…, as in delete=0,0.1,0.2")
    kind = DISTURBANCES.get(word.strip().lower())
    if kind is None:
        near = difflib.get_close_matches(word, DISTURBANCES, n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise ValueError(f"{word!r}: expected one of {', '.join(DISTURBANCES)}{hint}")
    try:
        numbers = [float(part) for part in strengths.split(",")]
    except ValueError:
        raise ValueError(f"{text!r}: expected numbers with commas, as in {word}=0,1,2") from None
    return [kind(number) for number in numbers]
