"""Make one figure: compute → netCDF and CSV → PNG, PDF and SVG that carry where they come from."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib import rcParams
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
    with tempfile.TemporaryFile(dir=out):
        pass
    kept = (out / f"{spec.name}-runs",) if spec.keeps else ()
    data = spec.compute(config, progress, *kept).assign_attrs(
        command=command, title=spec.title, caption=spec.caption
    )
    stored = save(data, out / f"{spec.name}.nc")
    return draw_from(spec, stored, out, formats=formats)


def draw_from(spec: FigureSpec, stored: Path, out: Path, *, formats: Sequence[str] = FORMATS) -> Made:
    """Draw a figure from its netCDF file alone: the CSV and the pictures, with the provenance in each.

    Raises:
        ValueError: where the file is no netCDF, or holds something else than this figure.
    """
    data = load(stored)
    if data.attrs.get("figure") != spec.name:
        kind = data.attrs.get("figure") or data.attrs.get("kind") or "no figure"
        raise ValueError(
            f"{stored}: holds {kind}, expected figure {spec.name}; `gradflow figures {spec.name}` makes one"
        )
    out.mkdir(parents=True, exist_ok=True)
    provenance = _provenance(data, stored)
    rows, picture = spec.table(data), _settled(spec.draw(data))
    files = [
        _whole(out / f"{spec.name}.csv", lambda path: rows.to_csv(path, index=False, float_format="%.9g"))
    ]
    for kind in formats:
        draw = partial(_write, picture, kind=kind, provenance=provenance, title=spec.title)
        files.append(_whole(out / f"{spec.name}.{kind}", draw))
    return Made((stored, *files), spec.summary(data), tuple(spec.claims(data)))


def _provenance(data: xr.Dataset, stored: Path) -> str:
    """Return the conventions, the command and the data file's SHA-256 as JSON."""
    digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    attrs = {key: value for key, value in data.attrs.items() if key not in ("caption", "title")}
    return json.dumps({**attrs, "data_file": stored.name, "data_sha256": digest}, ensure_ascii=True)


def _settled(picture: Picture) -> Picture:
    """Lay a picture out once, and round where its panels lie.

    The solver's last digits vary from run to run, and the parts of an SVG bear names made of them.
    """
    with style():
        picture.set_dpi(rcParams["savefig.dpi"])  # widths of letters depend on it
        picture.draw_without_rendering()
    picture.set_layout_engine("none")
    for ax in picture.axes:
        left, bottom, width, height = ax.get_position().bounds
        ax.set_position((round(left, 6), round(bottom, 6), round(width, 6), round(height, 6)))
    return picture


def _whole(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a draft beside `path` and put it in its place: a file that exists is whole."""
    draft = path.with_name(f".{path.name}.part")
    try:
        write(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path


def _write(picture: Picture, path: Path, *, kind: str, provenance: str, title: str) -> None:
    """Save one picture without dates, so that the same data gives the same bytes."""
    fields: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Description": provenance},
        "pdf": {"Title": title, "Subject": provenance, "CreationDate": None},
        "svg": {"Title": title, "Description": provenance, "Date": None},
    }
    with style():
        picture.savefig(path, format=kind, metadata=fields[kind])
