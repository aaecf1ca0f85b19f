"""Make one figure: compute → netCDF and CSV → PNG, PDF and SVG that carry where they come from."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure as Picture

from gradflow.figures.computed import computed
from gradflow.figures.provenance import carried, told
from gradflow.figures.registry import Claim, Config, FigureSpec, Progress, silent
from gradflow.plots.look import PAPER, Look, dress, fit_texts
from gradflow.plots.style import style
from gradflow.plots.writing import FORMATS, write_picture, write_text, write_whole
from gradflow.storage import load, save


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
    look: Look = PAPER,
    force: bool = False,
    progress: Progress = silent,
) -> Made:
    """Compute a figure's dataset, write it, and draw the pictures from the file alone.

    What was computed before, with the same options and code, is taken from the cache (see `computed`).

    Args:
        spec: the figure.
        config: its options.
        out: folder, made if it does not exist.
        command: what to run to make the figure again, but for its look; written into every file.
        formats: of the pictures: png, pdf, svg.
        look: style and width of the pictures.
        force: compute although the data are in the cache.
        progress: told how far the computation is.

    Raises:
        OSError: where the folder cannot be written; found out before anything is computed.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass
    kept = (out / f"{spec.name}-runs",) if spec.keeps else ()
    data = computed(spec, config, partial(spec.compute, config, progress, *kept), force=force)
    data = data.assign_attrs(command=command, title=spec.title, caption=spec.caption)
    stored = save(data, out / f"{spec.name}.nc")
    return draw_from(spec, stored, out, formats=formats, look=look)


def draw_from(
    spec: FigureSpec, stored: Path, out: Path, *, formats: Sequence[str] = FORMATS, look: Look = PAPER
) -> Made:
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
    carry = carried(data, stored, look)
    rows, picture = spec.table(data), spec.draw(data)
    dress(picture, look)
    _settle(picture, look)
    files = [write_whole(out / f"{spec.name}.csv", partial(rows.to_csv, index=False, float_format="%.9g"))]
    for kind in formats:
        path = out / f"{spec.name}.{kind}"
        provenance = json.dumps(carry, ensure_ascii=True)
        files.append(write_picture(picture, path, title=spec.title, provenance=provenance, look=look))
    about = json.dumps(told(carry, spec.title), indent=2, ensure_ascii=False) + "\n"
    files.append(write_text(out / f"{spec.name}.json", about))
    return Made((stored, *files), spec.summary(data), tuple(spec.claims(data)))


def _settle(picture: Picture, look: Look) -> None:
    """Lay a picture out once, and round where its panels lie.

    The solver's last digits vary from run to run, and the parts of an SVG bear names made of them.
    """
    with style(look.style):
        picture.set_dpi(rcParams["savefig.dpi"])  # widths of letters depend on it
        picture.draw_without_rendering()
        if look != PAPER:
            fit_texts(picture)
            picture.draw_without_rendering()
    picture.set_layout_engine("none")
    for ax in picture.axes:
        left, bottom, width, height = ax.get_position().bounds
        ax.set_position((round(left, 6), round(bottom, 6), round(width, 6), round(height, 6)))
