"""Pictures to files: whole or not at all, the same bytes from the same data, their provenance within."""

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gradflow.plots.look import PAPER, Look
from gradflow.plots.style import style

FORMATS = ("png", "pdf", "svg")


def write_picture(picture: Figure, path: Path, *, title: str, provenance: str, look: Look = PAPER) -> Path:
    """Write a picture in the format of its suffix, with title and provenance in its metadata, without dates.

    Its dots per inch are those of the look's style.

    Raises ValueError for a suffix other than png, pdf or svg; OSError, with what to do, where the file cannot
    be written; an older file is then kept.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"{path}: got the suffix {path.suffix!r}, expected .png, .pdf or .svg")
    return write_whole(
        path, partial(_save, picture, kind=kind, title=title, provenance=provenance, look=look)
    )


def write_whole(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a draft beside `path` and put it in its place: a file that exists is whole."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file in it")
    draft = path.with_name(f".gradflow-{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"{path.parent}: cannot write {path.name} there ({reason}); choose another folder"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8; raises as `write_whole`."""

    def write(draft: Path) -> None:
        draft.write_text(text, encoding="utf-8")

    return write_whole(path, write)


def _save(picture: Figure, draft: Path, *, kind: str, title: str, provenance: str, look: Look) -> None:
    fields: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Description": provenance},
        "pdf": {"Title": title, "Subject": provenance, "CreationDate": None},
        "svg": {"Title": title, "Description": provenance, "Date": None},
    }
    with style(look.style):
        picture.savefig(draft, format=kind, metadata=fields[kind])
