"""Provenance in words: what a picture shows, of which data, and the commands that make and draw it again."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradflow.figures.provenance import digest


def explain(told: Mapping[str, Any], file: Path) -> str:
    """Return the provenance of a file in lines, as `provenance.read` returned it.

    Says too whether the data lie beside the file and are those that it was drawn from.
    """
    lines = [(str(told.get("figure") or file.name), str(told.get("title", "")))]
    lines += [("make again", str(told["command"]))]
    if "read" in told:  # a picture of `gradflow plot`
        lines += [("data", f"{one['file']}, SHA-256 {one['sha256']}") for one in told["read"]]
    else:
        lines += _of_figure(told, file)
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _of_figure(told: Mapping[str, Any], file: Path) -> list[tuple[str, str]]:
    """Return the lines on a picture that `gradflow figures` made."""
    data = told["data"]
    stored = file.parent / str(data["file"])
    lines = []
    if stored.is_file():
        words = ["gradflow", "figures", str(told["figure"]), "--redraw", str(stored)]
        lines += [("draw again", shlex.join(words))]
    lines += [(name, _listed(told[name])) for name in ("configuration", "seeds", "versions")]
    lines += [("commit", str(told["commit"])), ("look", _listed(told["look"]))]
    lines += [("conventions", _listed(told["conventions"]))]
    return [*lines, ("data", f"{data['file']}, SHA-256 {data['sha256']}: {_beside(stored, data['sha256'])}")]


def _beside(stored: Path, expected: str) -> str:
    if not stored.is_file():
        return "not beside this file"
    return "beside this file" if digest(stored) == expected else "beside this file lie other data"


def _listed(entries: Any) -> str:
    """Return entries as words; long texts and nested ones as JSON."""
    if not isinstance(entries, dict):
        return str(entries)
    return ", ".join(f"{name} {_word(value)}" for name, value in entries.items()) or "none"


def _word(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, int | float | str) for one in value):
        return ",".join(map(str, value))
    return value.replace("\n", "; ") if isinstance(value, str) else json.dumps(value)
