"""Notebooks for the site: every picture gets a text alternative, of the words in the code that draws it."""

import json
import re
from collections.abc import Callable
from typing import Any

TITLE = re.compile(r"""\b(?:title=|set_title\()\s*"([^"]+)\"""")
ACROSS = re.compile(r"""\b(?:xlabel=|set_xlabel\()\s*r?"([^"]+)\"""")
UP = re.compile(r"""\b(?:ylabel=|set_ylabel\()\s*r?"([^"]+)\"""")


def described(text: str, moved: Callable[[str], str] = str) -> str:
    """Return a notebook in which each cell that shows a picture says what is in it, and links are `moved`.

    >>> cell = {"cell_type": "code", "source": 'ax.set(ylabel="rate", title="A staircase")', "metadata": {}}
    >>> cell["outputs"] = [{"data": {"image/png": ""}}]
    >>> json.loads(described(json.dumps({"cells": [cell]})))["cells"][0]["metadata"]["mystnb"]["image"]["alt"]
    'Diagram: A staircase; up: rate'
    """
    book = json.loads(text)
    heading = ""
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = moved(source)
            heading = [heading, *re.findall(r"^#+ +(.+)$", source, re.MULTILINE)][-1]
        elif any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            image = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
            image.setdefault("alt", _words(source, heading))
    return json.dumps(book, ensure_ascii=False)


def _words(source: str, heading: str) -> str:
    """Return titles and axes, where the code has them as plain text; else what section the picture is in."""
    parts = [" and ".join(TITLE.findall(source)) or f"to the section “{heading}”"]
    for word, pattern in (("across", ACROSS), ("up", UP)):
        labels: list[Any] = pattern.findall(source)
        if labels:
            parts.append(f"{word}: {', '.join(dict.fromkeys(labels))}")
    return "Diagram: " + "; ".join(parts).replace("$", "").replace("\\", "")
