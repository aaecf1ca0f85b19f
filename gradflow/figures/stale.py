"""Which figures of a folder are not those of today's options and code."""

from collections.abc import Sequence
from pathlib import Path

from gradflow.figures.data_key import data_key
from gradflow.figures.provenance import digest, read
from gradflow.figures.registry import Config, FigureSpec
from gradflow.plots.look import PAPER, Look
from gradflow.storage import load


def why_stale(
    spec: FigureSpec, config: Config, out: Path, *, formats: Sequence[str], look: Look = PAPER
) -> str:
    """Return what is wrong with a figure's files in a folder, or "" where they are those of today.

    Its data must have today's key (see `data_key`), and every picture must be of them and look as asked for.
    """
    stored = out / f"{spec.name}.nc"
    missing = [file for file in (stored, out / f"{spec.name}.csv") if not file.is_file()]
    if missing:
        return f"{missing[0].name} is missing"
    try:
        attrs = load(stored).attrs
    except (ValueError, OSError):
        return f"{stored.name} is damaged"
    if attrs.get("data_key", "") != data_key(spec, config):
        same = attrs.get("config") == config.model_dump_json()
        return f"{stored.name} was computed with other {'code' if same else 'options'}"
    whole = digest(stored)
    for path in (out / f"{spec.name}.{kind}" for kind in (*formats, "json")):
        if reason := _other(path, whole, look):
            return f"{path.name} {reason}"
    return ""


def _other(picture: Path, data: str, look: Look) -> str:
    """Return how a picture is not of these data and this look."""
    if not picture.is_file():
        return "is missing"
    try:
        told = read(picture)
        if told["data"]["sha256"] != data:
            return "is of other data"
        width = "the figure's own" if look.width is None else f"{look.width:.6g} in"
        same = told["look"] == {"style": look.style, "width": width}
    except (ValueError, OSError, KeyError, TypeError):
        return "is damaged"
    return "" if same else "has another look"
