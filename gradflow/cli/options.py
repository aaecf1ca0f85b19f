"""Options that several commands share, and how their numbers are read: one wording for all errors."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")]


def count(text: str) -> int:
    """Read a whole number of at least 1, or raise a usage error.

    >>> count("16")
    16
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise typer.BadParameter(f"got {text!r}, expected a whole number of at least 1")
    return number


def share(text: str) -> float:
    """Read a number from 0 to 1, or raise a usage error.

    >>> share("0.5")
    0.5
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:  # NaN fails this too
        raise typer.BadParameter(f"got {text!r}, expected a number from 0 to 1, as in 0.5")
    return number


def spans(text: str) -> tuple[int, ...]:
    """Read spans as in 1,4,16, or raise a usage error.

    >>> spans("1,4,16")
    (1, 4, 16)
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"got {text!r}, expected whole numbers with commas, as in 1,4,16,41"
        ) from None
    if min(found) < 1:
        raise typer.BadParameter(f"got {text!r}, expected spans of at least 1 step (1 is vanilla)")
    return found


def several(text: str) -> tuple[str, ...]:
    """Read values with commas between them; those within brackets, braces and quotes belong to a value.

    >>> several("lif,plif"), several("[8, 8],[16]"), several("0.1,")
    (('lif', 'plif'), ('[8, 8]', '[16]'), ('0.1',))
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if letter in "\"'" and quote in ("", letter):
            quote = "" if quote else letter
        if not quote:
            depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())
