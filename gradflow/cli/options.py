"""Options that several commands share, and how their numbers are read: one wording for all errors."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")]

FORMATS = ("png", "pdf", "svg")
INCHES = {"in": 1.0, "mm": 1.0 / 25.4, "cm": 1.0 / 2.54, "pt": 1.0 / 72.27}
NARROWEST, WIDEST = 1.5, 40.0
"""Inches: less holds no axes, more is a slip of the unit."""
JOURNALS = {
    "nature-single": "89mm",
    "nature-double": "183mm",
    "pnas-single": "87mm",
    "pnas-double": "178mm",
    "plos": "7.5in",
    "ieee-single": "3.5in",
    "ieee-double": "7.16in",
    "neurips": "5.5in",
    "iclr": "5.5in",
    "icml-single": "3.25in",
    "icml-double": "6.75in",
}
"""Widths of columns and pages, as the guides for authors have them."""


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


def width(text: str) -> float:
    """Read a width in inches from a journal's name or a number with its unit, or raise a usage error.

    >>> width("neurips"), width("3.5in"), round(width("nature-single"), 3)
    (5.5, 3.5, 3.504)
    """
    length = JOURNALS.get(text, text)
    unit = next((unit for unit in INCHES if length.endswith(unit)), "")
    try:
        inches = float(length.removesuffix(unit)) * INCHES.get(unit, 1.0)
    except ValueError:
        inches = -1.0
    if not NARROWEST <= inches <= WIDEST:
        raise typer.BadParameter(
            f"got {text!r}, expected 1.5in to 40in, as in 3.5in, 89mm or 8.9cm, or one of "
            f"{', '.join(JOURNALS)}"
        )
    return inches


def formats(text: str) -> tuple[str, ...]:
    """Read formats of pictures with commas, or raise a usage error.

    >>> formats("pdf,PNG")
    ('pdf', 'png')
    """
    found = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    if not set(found) <= set(FORMATS):
        raise typer.BadParameter(f"got {text!r}, expected some of {','.join(FORMATS)}")
    return found
