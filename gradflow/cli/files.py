"""Files that commands write: found out beforehand whether they can be, whole afterwards, and said."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def require_writable(path: Path) -> bool:
    """Make the folder of a file to be and try to write there; return whether the file is there already.

    Raises OSError, naming the folder and what to do, before anything is computed.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file in it, as in {path / 'run.nc'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path.parent}: cannot write {path.name} there ({error.strerror}); choose another folder",
        ) from error
    return path.exists()


def as_csv(rows: "pd.DataFrame", path: Path) -> tuple[Path, bool]:
    """Write a table as CSV, whole or not at all; return the path and whether a file was replaced."""
    from gradflow.plots.writing import write_whole

    there = require_writable(path)
    write_whole(path, lambda draft: rows.to_csv(draft, index=False, float_format="%.9g"))
    return path, there


def printed_path(written: tuple[Path, bool]) -> str:
    """Return the line that says what was written.

    >>> printed_path((Path("run.nc"), True))
    'replaced run.nc'
    """
    path, replaced = written
    return f"{'replaced' if replaced else 'wrote'} {path}"
