"""Tasks: frozen descriptions of data with train, validation and test splits, from which batches are drawn.

`smnist()`, `psmnist()` and the generated tasks work offline as they are; `shd()`, `ssc()` and `gsc()` read
published files from a folder, or fetch them. `by_name` is for the command line.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType

from gradflow.tasks.base import Batch, Examples, Sizes, Split, Task
from gradflow.tasks.digits import psmnist, smnist
from gradflow.tasks.event_files import CHANNELS
from gradflow.tasks.events import SHD_CLASSES, SHD_FILES, SSC_CLASSES, SSC_FILES, shd, ssc
from gradflow.tasks.folders import data_folder
from gradflow.tasks.idx import InvalidFileError
from gradflow.tasks.mel import LogMel
from gradflow.tasks.memory import adding, copy, delayed_recall, delayed_xor
from gradflow.tasks.objectives import Classification, Objective, Regression, StepClassification
from gradflow.tasks.recordings import LISTS, NOISE
from gradflow.tasks.speech_commands import CLASSES as COMMANDS
from gradflow.tasks.speech_commands import gsc

__all__ = [
    "DOWNLOADED",
    "TASKS",
    "Batch",
    "Classification",
    "Downloaded",
    "Examples",
    "InvalidFileError",
    "LogMel",
    "Objective",
    "Regression",
    "Sizes",
    "Split",
    "StepClassification",
    "Task",
    "adding",
    "by_name",
    "copy",
    "data_folder",
    "delayed_recall",
    "delayed_xor",
    "gsc",
    "psmnist",
    "shd",
    "smnist",
    "ssc",
]

TASKS: Mapping[str, Callable[..., Task]] = MappingProxyType(
    {
        "smnist": smnist,
        "psmnist": psmnist,
        "shd": shd,
        "ssc": ssc,
        "gsc": gsc,
        "delayed-recall": delayed_recall,
        "delayed-xor": delayed_xor,
        "copy": copy,
        "adding": adding,
    }
)
"""The functions that build a task, by the name the command line knows them under."""


@dataclass(frozen=True)
class Downloaded:
    """What is known of a task whose data are not shipped: its sizes by default, and what its folder holds."""

    name: str
    sizes: Sizes
    files: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Return its place in gradflow's own folder."""
        return data_folder() / self.name

    def is_here(self) -> bool:
        """Return whether that folder has everything; its content is not looked at."""
        return all((self.folder / file).exists() for file in self.files)


DOWNLOADED: Mapping[str, Downloaded] = MappingProxyType(
    {
        "shd": Downloaded("shd", Sizes(CHANNELS // 5, SHD_CLASSES, 250), SHD_FILES),
        "ssc": Downloaded("ssc", Sizes(CHANNELS // 5, SSC_CLASSES, 250), SSC_FILES),
        "gsc": Downloaded("gsc", Sizes(LogMel().bands, len(COMMANDS), 101), (*LISTS.values(), NOISE)),
    }
)
"""The tasks that read a folder of published files, by their name."""


def by_name(
    name: str, folder: str | PathLike[str] | None = None, **options: str | int | float | bool
) -> Task:
    """Build the task of this name, with the options of its function: split_seed, pool, permutation_seed.

    Raises ValueError for a name that is not in TASKS, an option that its function does not take, or a folder
    where the data are generated.

    >>> by_name("psmnist", pool=2).steps
    196
    """
    if name not in TASKS:
        raise ValueError(f"task: got {name!r}, expected one of {', '.join(TASKS)}")
    taken = inspect.signature(TASKS[name]).parameters
    known = [option for option in taken if option != "folder"]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(f"{name}: got the option {', '.join(unknown)}, expected only {', '.join(known)}")
    if "folder" in taken:
        return TASKS[name](folder, **options)
    if folder is not None:
        raise ValueError(f"{name}: got the folder {folder}, expected none, as its data are generated")
    return TASKS[name](**options)
