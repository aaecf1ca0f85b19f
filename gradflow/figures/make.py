"""Make one figure: compute → netCDF and CSV → PNG, PDF and SVG that carry where they come from."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture

from gradflow.figures.registry import Claim, Config, FigureSpec, Progress, silent
from gradflow.plots import style
from gradflow.storage import load, save

FORMATS = ("png", "pdf", "svg")


@dataclass(frozen=True)
class Made:
    """What was written, what it says, and whether its data bears the claims out."""

    files: tuple[Path, ...]
    summary: pd.DataFrame
    claims: tuple[Claim, ...]


def make(
    spec: FigureSpec,
    config: Config,
    out: Path,
    *,
    command: str,
    formats: Sequence[str] = FORMATS,
    progress: Progress = silent,
) -> Made:
    """Compute a figure's dataset, write it, and draw the pictures from the file alone.

    Args:
        spec: the figure.
        config: its options.
        out: folder, made if it does not exist.
        command: what to run to make the figure again; written into every file.
        formats: of the pictures: png, pdf, svg.
        progress: told how far the computation is.

    Raises:
        OSError: where the folder cannot be written; found out before anything is computed.
    """
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".{spec.name}.probe"
    probe.touch()
    probe.unlink()
    data = spec.compute(config, progress).assign_attrs(
        command=command, title=spec.title, caption=spec.caption
    )
    stored = save(data, out / f"{spec.name}.nc")
    return draw_from(spec, stored, out, formats=formats)


def draw_from(spec: FigureSpec, stored: Path, out: Path, *, formats: Sequence[str] = FORMATS) -> Made:
    """Draw a figure from its netCDF file: the pictures, the CSV, and the provenance in each."""
    data = load(stored)
    if data.attrs.get("figure") != spec.name:
        raise ValueError(f"{stored}: holds {data.attrs.get('figure', 'no figure')!r}, expected {spec.name!r}")
    provenance = _provenance(data, stored)
    table = out / f"{spec.name}.csv"
    spec.table(data).to_csv(table, index=False, float_format="%.9g")
    picture = spec.draw(data)
    pictures = [_write(picture, out / f"{spec.name}.{kind}", provenance, spec.title) for kind in formats]
    return Made((stored, table, *pictures), spec.summary(data), tuple(spec.claims(data)))


def _provenance(data: xr.Dataset, stored: Path) -> str:
    """Return the conventions, the command and the data file's SHA-256 as JSON."""
    digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    attrs = {key: value for key, value in data.attrs.items() if key not in ("caption", "title")}
    return json.dumps({**attrs, "data_file": stored.name, "data_sha256": digest}, ensure_ascii=True)


def _write(picture: Picture, path: Path, provenance: str, title: str) -> Path:
    """Save one picture without dates, so that the same data gives the same bytes."""
    fields: dict[str, dict[str, Any]] = {
        ".png": {"Title": title, "Description": provenance},
        ".pdf": {"Title": title, "Subject": provenance, "CreationDate": None},
        ".svg": {"Title": title, "Description": provenance, "Date": None},
    }
    with style():
        picture.savefig(path, metadata=fields[path.suffix])
    return path
