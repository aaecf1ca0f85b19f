"""Docstrings for the terminal as reStructuredText: nothing in them is markup but `code` and examples."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Examples?|Note|Notes):$")
KEPT = re.compile(r"(``?[^`]+``?|\*\*\w[^*]*\*\*|\*\w[^*]*\w\*(?!\w))")
"""Code and emphasis; all else is text."""


def escaped(text: str) -> str:
    r"""Return text in which `code` is a literal, and |, *, _ are themselves.

    >>> print(escaped("the norm |P_k|, `P_k` in code, *once*"))
    the norm \|P\_k\|, ``P_k`` in code, *once*
    """
    parts = KEPT.split(text)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            parts[place] = re.sub(r"([|*_\\])", r"\\\1", part)
        elif part.startswith("`") and not part.startswith("``"):
            parts[place] = f"`{part}`"
    return "".join(parts)


def blocks(lines: list[str]) -> list[list[str]]:
    """Return the paragraphs of a docstring, without the empty lines between them.

    >>> blocks(["One.", "", "  x = 1", "", "Two."])
    [['One.'], ['  x = 1'], ['Two.']]
    """
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [block for block in found if block]


def rewritten(lines: list[str]) -> list[str]:
    r"""Return a docstring as reStructuredText: set-off equations become literal blocks, text is escaped.

    >>> rewritten(["Return x_1:", "", "    x_1 = 2 * y", "", "and `y`."])
    ['Return x\\_1:', '', '.. code-block:: text', '', '    x_1 = 2 * y', '', 'and ``y``.', '']
    """
    done: list[str] = []
    section = False
    for block in blocks(lines):
        indented = block[0].startswith("    ")
        section = bool(SECTION.match(block[0])) or (section and indented)
        if block[0].lstrip().startswith(">>>"):
            done += [*block, ""]
        elif indented and not section:
            done += [".. code-block:: text", "", *block, ""]
        else:
            done += [*escaped("\n".join(block)).split("\n"), ""]
    return done


def _process(_app: Sphinx, _what: str, _name: str, _of: object, _options: Any, lines: list[str]) -> None:
    lines[:] = rewritten(lines)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Rewrite every docstring before napoleon reads its sections."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
