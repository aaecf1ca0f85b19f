"""Where a picture comes from: what it carries in its metadata, and reading that back.

Two forms: flat, as pictures carry it (all attributes of the data, its file's name and SHA-256), and told, as
NAME.json holds it: command, configuration, seeds, versions, commit, data, look, conventions.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import xarray as xr
from PIL import Image

from gradflow.plots.look import PAPER, Look
from gradflow.storage import load

DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
DATA = ("data_file", "data_sha256", "data_key")
APART = ("command", "figure", "config", "versions", "commit", "kind", "style", "width", *DATA)
"""Attributes that are no conventions: they are told under names of their own."""


def carried(data: xr.Dataset, stored: Path, look: Look = PAPER) -> dict[str, Any]:
    """Return what a picture of these data carries; its command makes the same look too."""
    found = {key: value for key, value in data.attrs.items() if key not in ("caption", "title")}
    if look != PAPER:
        found["command"] = " ".join([str(found.get("command", "")), *look.words()])
        found["style"] = look.style
        found.update({} if look.width is None else {"width": f"{look.width:.6g} in"})
    return {**found, "data_file": stored.name, "data_sha256": digest(stored)}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def told(flat: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Return what a picture carries in the order in which it is read."""
    seeds = {key: value for key, value in flat.items() if "seed" in key}
    data = {key.removeprefix("data_"): flat[key] for key in DATA if key in flat}
    kept = {key: value for key, value in flat.items() if key not in APART and key not in seeds}
    return {
        "figure": flat.get("figure", ""),
        "title": title,
        "command": flat.get("command", ""),
        "configuration": _parsed(flat.get("config", "{}")),
        "seeds": seeds,
        "versions": _parsed(flat.get("versions", "{}")),
        "commit": flat.get("commit", "unknown"),
        "data": data,
        "look": {"style": flat.get("style", PAPER.style), "width": flat.get("width", "the figure's own")},
        "conventions": kept,
    }


def read(file: Path) -> dict[str, Any]:
    """Return what a picture, its data file or its JSON tells; of a picture of `gradflow plot` what it read.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file carries no provenance of gradflow.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected one that `gradflow figures` wrote")
    try:
        found = _read(file)
    except (ValueError, KeyError, SyntaxError, TypeError, Image.DecompressionBombError):
        found = None  # another's picture holds anything, or it is cut short
    except OSError as error:
        if error.errno is not None:  # PIL's own have no number
            raise
        found = None
    if not isinstance(found, dict) or "command" not in found:
        raise ValueError(
            f"{file}: carries no provenance of gradflow, or is cut short; expected a PNG, PDF, SVG, netCDF "
            "or JSON file that `gradflow figures` wrote"
        )
    return found


def _read(file: Path) -> dict[str, Any] | None:
    """Return what a file tells, by what it begins with; None where nothing is known of its kind."""
    with file.open("rb") as content:
        start = content.read(512).lstrip()
    if start.startswith(b"\x89PNG"):
        with Image.open(file) as picture:
            return _told(str(picture.info["Description"]), str(picture.info.get("Title", "")))
    if start.startswith(b"%PDF"):
        whole = file.read_bytes()
        return _told(_pdf_text(whole, b"Subject"), _pdf_text(whole, b"Title"))
    if start.startswith(b"\x89HDF"):
        data = load(file)
        if "figure" not in data.attrs:
            return None
        return told(carried(data, file), str(data.attrs.get("title", "")))
    if start.startswith(b"<"):
        tree = ElementTree.parse(file)
        return _told(str(tree.findtext(f".//{DUBLIN_CORE}description")), _svg_title(tree))
    return dict(json.loads(file.read_bytes())) if start.startswith(b"{") else None


def _told(text: str, title: str) -> dict[str, Any] | None:
    """Return the told form of what a picture carries as JSON; None where it is not gradflow's."""
    flat = json.loads(text)
    if not isinstance(flat, dict) or "command" not in flat:
        return None
    return told(flat, title) if "figure" in flat else {"title": title, **flat}


def _svg_title(tree: "ElementTree.ElementTree[Any]") -> str:
    return str(tree.findtext(f".//{DUBLIN_CORE}title") or "")


def _pdf_text(whole: bytes, name: bytes) -> str:
    """Return a text of a PDF's document information, in which matplotlib compresses nothing.

    Raises ValueError where there is none.
    """
    found = re.search(rb"/" + name + rb"\s*\(((?:\\.|[^\\()])*)\)", whole, re.DOTALL)
    if found is None:
        raise ValueError(f"no {name.decode()}")
    letters = {b"n": b"\n", b"r": b"\r"}
    plain = re.sub(rb"\\(.)", lambda part: letters.get(part[1], part[1]), found[1], flags=re.DOTALL)
    return plain[2:].decode("utf-16-be") if plain.startswith(b"\xfe\xff") else plain.decode("latin-1")


def _parsed(text: Any) -> Any:
    """Return JSON as what it says, and anything else as it is."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return text
