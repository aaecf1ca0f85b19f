"""What a user names on the command line: a netCDF file, or the folder of a training run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import xarray as xr

from gradflow.findings.findings import KINDS, told
from gradflow.storage import load

GRADIENTS, LOOKS = "gradients.nc", "gradients"
"""Of a training run: the file of one that is finished, the folder of one that goes on."""


@dataclass(frozen=True)
class Source:
    """A dataset with the path it was read from."""

    path: Path
    data: xr.Dataset

    @property
    def kind(self) -> str:
        """What the dataset is."""
        return str(self.data.attrs.get("kind", ""))

    def require(self, needs: Sequence[str]) -> None:
        """Raise ValueError where the dataset lacks a variable."""
        missing = [name for name in needs if name not in self.data]
        if missing:
            held = ", ".join(sorted(map(str, self.data.data_vars)))
            raise ValueError(
                f"{self.path}: lacks {', '.join(missing)} (it holds {held}); record again with all that is "
                "needed"
            )

    def sha256(self) -> str:
        """Return the hash of the file; of a run's folder, that of its data, once there is such a file."""
        file = self.path / GRADIENTS if self.path.is_dir() else self.path
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "a run that goes on"


def read_source(
    path: str | PathLike[str], *, kinds: Sequence[str] = tuple(KINDS), needs: Sequence[str] = ()
) -> Source:
    """Read a file, or a training run's folder, and check that it holds what is asked for.

    Args:
        path: of the file or folder.
        kinds: the kinds of dataset that will do.
        needs: variables that must be there.

    Raises:
        FileNotFoundError: where there is no such file, or a folder holds no training run.
        ValueError: for a damaged file, another kind of dataset, or a variable that is missing.
    """
    place = Path(path)
    data = _read_run(place) if place.is_dir() else load(place)
    if data.attrs.get("kind") not in kinds:
        raise ValueError(f"{place}: {told(data)}; expected {' or '.join(kinds)}{_cure(kinds)}")
    source = Source(place, data)
    source.require(needs)
    return source


def _read_run(folder: Path) -> xr.Dataset:
    if (folder / GRADIENTS).is_file():
        return load(folder / GRADIENTS)
    if (folder / LOOKS).is_dir():
        from gradflow.train import read_watch

        return read_watch(folder / LOOKS)
    raise FileNotFoundError(
        f"{folder}: a folder without {GRADIENTS} or {LOOKS}/; expected a netCDF file, or the folder of a "
        "training run whose gradient was watched"
    )


def _cure(kinds: Sequence[str]) -> str:
    """Say how a file of the first of these kinds is made."""
    words = {"record": "record", "jacobian products": "products", "path products": "paths"}
    word = next((words[kind] for kind in kinds if kind in words), None)
    return f", as `gradflow record TASK --kind {word} -o FILE` writes" if word else ", as training writes"
