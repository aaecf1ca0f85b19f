"""Where data live: in the folder the user names, or in gradflow's own (downloads, cached features)."""

import os
from pathlib import Path

from gradflow.caches import cache_folder

FOLDER_VARIABLE = "GRADFLOW_DATA"


def data_folder() -> Path:
    """Return gradflow's own folder: $GRADFLOW_DATA, else the one among the platform's caches.

    It need not be there yet. Nothing is written outside it, except to a folder that the user names.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    return cache_folder()


def state_of(folder: Path, missing: list[str]) -> str:
    """Return what is wrong with a folder, for an error: that it is none, or which files it lacks."""
    if folder.is_dir():
        return "has no " + ", ".join(missing)
    return "is a file" if folder.exists() else "does not exist"
