"""Tasks: frozen descriptions of data with train, validation and test splits, from which batches are drawn.

`smnist()` and `psmnist()` work offline as they are; `by_name` is for the command line.
"""

import inspect
from collections.abc import Callable, Mapping
from os import PathLike
from types import MappingProxyType

from gradflow.tasks.base import Batch, Examples, Sizes, Split, Task
from gradflow.tasks.digits import psmnist, smnist
from gradflow.tasks.idx import InvalidFileError

__all__ = [
    "TASKS",
    "Batch",
    "Examples",
    "InvalidFileError",
    "Sizes",
    "Split",
    "Task",
    "by_name",
    "psmnist",
    "smnist",
]

TASKS: Mapping[str, Callable[..., Task]] = MappingProxyType({"smnist": smnist, "psmnist": psmnist})
"""The functions that build a task, by the name the command line knows them under."""


def by_name(name: str, folder: str | PathLike[str] | None = None, **options: int) -> Task:
    """Build the task of this name, with the options of its function: split_seed, pool, permutation_seed.

    Raises ValueError for a name that is not in TASKS or an option that its function does not take.

    >>> by_name("psmnist", pool=2).steps
    196
    """
    if name not in TASKS:
        raise ValueError(f"task: got {name!r}, expected one of {', '.join(TASKS)}")
    known = [option for option in inspect.signature(TASKS[name]).parameters if option != "folder"]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(f"{name}: got the option {', '.join(unknown)}, expected only {', '.join(known)}")
    return TASKS[name](folder, **options)
