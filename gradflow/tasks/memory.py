"""Generated tasks whose demand on memory is exact: delayed recall, delayed XOR, copy and the adding problem.

Each is answered at steps that are fixed, and the answer depends on an input exactly `delay` steps before:
that lag is the task's `memory_demand`, and the lag n of a Jacobian product ∂u[T]/∂u[T−n] that must not
vanish.

Every example is generated from the stream (task, split, number of the example) of its data seed, when its
batch is asked for: it depends on nothing else, batch size and order included. Axes: time batch input.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, UInt64
from torch import Tensor

from gradflow import seeds
from gradflow.readout import Readout
from gradflow.tasks.base import Batch, Examples, Split, Task, check_seed, require_count
from gradflow.tasks.objectives import Classification, Objective, Regression, StepClassification

HELD_OUT = 5  # one validation and one test example for each five training examples
WITHIN = 0.04
"""An answer to the adding problem is right within this distance (Hochreiter & Schmidhuber 1997)."""


@dataclass(frozen=True, eq=False, repr=False)
class Generated(Examples):
    """Hold the recipe of a split; generate its examples when a batch is made.

    Subclasses say how many raw 64-bit words an example takes, and what it is made of them.
    """

    split: Split
    count: int
    data_seed: int
    delay: int
    name: ClassVar[str]

    def __len__(self) -> int:
        return self.count

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Return the number of steps and of inputs."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Return the number of outputs a network needs."""

    @property
    @abstractmethod
    def words(self) -> int:
        """Return the number of raw words an example takes."""

    @abstractmethod
    def fill(self, x: Float32[np.ndarray, "time input"], words: UInt64[np.ndarray, " word"]) -> Any:
        """Write an example into x, which is 0, and return its target."""

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Return these examples as inputs (time, batch, input), float32, with the targets of their objective.

        Raises ValueError for indices outside 0 … len−1, or none.
        """
        rows = self.rows(indices)
        steps, inputs = self.shape
        x = np.zeros((len(rows), steps, inputs), dtype=np.float32)
        targets = []
        for place, row in zip(x, rows.tolist(), strict=True):
            stream = seeds.bit_generator(self.data_seed, self.name, self.split.value, row)
            targets.append(self.fill(place, stream.random_raw(self.words)))
        array = np.ascontiguousarray(np.moveaxis(np.asarray(targets), 0, -1))
        inputs_first = np.ascontiguousarray(x.transpose(1, 0, 2))
        return Batch(torch.from_numpy(inputs_first), torch.from_numpy(array), objective=self.objective)


@dataclass(frozen=True, eq=False, repr=False)
class DelayedRecall(Generated):
    """Show a class, wait, ask for it."""

    classes: int = 4
    shown: int = 5
    noise: float = 0.0
    name: ClassVar[str] = "delayed-recall"

    @property
    def objective(self) -> Objective:
        """Ask for the class at the last step."""
        return Classification(Readout.LAST)

    @property
    def shape(self) -> tuple[int, int]:
        """Return shown + delay steps of one input a class and the cue."""
        return self.shown + self.delay, self.classes + 1

    @property
    def outputs(self) -> int:
        """Return one output a class."""
        return self.classes

    @property
    def words(self) -> int:
        """Return one word for the class, and one for each input of the wait that may be noise."""
        return 1 + (self.classes * (self.delay - 1) if self.noise else 0)

    def fill(self, x: Float32[np.ndarray, "time input"], words: UInt64[np.ndarray, " word"]) -> Any:
        """Light the class's input in the first steps and the cue in the last; noise between."""
        chosen = int(words[0]) % self.classes
        x[: self.shown, chosen] = 1
        x[-1, -1] = 1
        if self.noise:
            x[self.shown : -1, :-1] = _fractions(words[1:]).reshape(-1, self.classes) < self.noise
        return chosen


@dataclass(frozen=True, eq=False, repr=False)
class DelayedXor(Generated):
    """Show a bit, wait, show another, ask whether they differ."""

    shown: int = 5
    name: ClassVar[str] = "delayed-xor"

    @property
    def objective(self) -> Objective:
        """Ask for the class at the last step."""
        return Classification(Readout.LAST)

    @property
    def shape(self) -> tuple[int, int]:
        """Return shown + delay steps of one input for each value of a bit."""
        return self.shown + self.delay, 2

    @property
    def outputs(self) -> int:
        """Return one output for equal, one for different."""
        return 2

    @property
    def words(self) -> int:
        """Return one word for each bit."""
        return 2

    def fill(self, x: Float32[np.ndarray, "time input"], words: UInt64[np.ndarray, " word"]) -> Any:
        """Light the input of the first bit's value in the first steps, of the second's in the last."""
        first, second = (int(word) % 2 for word in words)
        x[: self.shown, first] = 1
        x[-self.shown :, second] = 1
        return first ^ second


@dataclass(frozen=True, eq=False, repr=False)
class Copy(Generated):
    """Show a list of symbols, wait, ask for them one by one in the same order."""

    items: int = 10
    symbols: int = 8
    name: ClassVar[str] = "copy"

    @property
    def objective(self) -> Objective:
        """Ask for a symbol at each of the last steps."""
        return StepClassification(self.items)

    @property
    def shape(self) -> tuple[int, int]:
        """Return items + delay steps of one input a symbol and the cue."""
        return self.items + self.delay, self.symbols + 1

    @property
    def outputs(self) -> int:
        """Return one output a symbol."""
        return self.symbols

    @property
    def words(self) -> int:
        """Return one word an item."""
        return self.items

    def fill(self, x: Float32[np.ndarray, "time input"], words: UInt64[np.ndarray, " word"]) -> Any:
        """Light each item's input in its step, and the cue while they are asked for."""
        chosen = (words % np.uint64(self.symbols)).astype(np.int64)
        x[np.arange(self.items), chosen] = 1
        x[-self.items :, -1] = 1
        return chosen


@dataclass(frozen=True, eq=False, repr=False)
class Adding(Generated):
    """Show a number each step, mark two of them, ask for their sum."""

    name: ClassVar[str] = "adding"

    @property
    def objective(self) -> Objective:
        """Ask for the sum at the last step."""
        return Regression(WITHIN, Readout.LAST)

    @property
    def shape(self) -> tuple[int, int]:
        """Return delay + 1 steps of a number and its mark."""
        return self.delay + 1, 2

    @property
    def outputs(self) -> int:
        """Return the only output."""
        return 1

    @property
    def words(self) -> int:
        """Return one word for the place of the second mark, and one a step."""
        return 2 + self.delay

    def fill(self, x: Float32[np.ndarray, "time input"], words: UInt64[np.ndarray, " word"]) -> Any:
        """Write numbers uniform on [0, 1), and mark the first and another one."""
        x[:, 0] = _fractions(words[1:])
        second = 1 + int(words[0]) % self.delay
        x[[0, second], 1] = 1
        return np.float32(x[0, 0]) + np.float32(x[second, 0])


def delayed_recall(
    delay: int = 20,
    *,
    classes: int = 4,
    shown: int = 5,
    noise: float = 0.0,
    examples: int = 5000,
    data_seed: int = 0,
) -> Task:
    """Build the task of naming, at the last step, a class shown `delay` steps before.

    Input c is 1 in steps 0 … shown − 1 where the class is c; then all are 0 (with `noise`, each is 1 with
    that probability, at random in every step: distractors), and at the last step, T − 1 = shown − 1 + delay,
    the last input is 1: the cue. Memory demand: `delay`. Without it the best accuracy is 1 / classes.

    Raises ValueError for counts below 1, fewer than two classes, or noise outside 0 … <1.

    >>> task = delayed_recall(delay=30)
    >>> task.steps, task.inputs, task.classes, task.memory_demand, task.sample(6).targets.tolist()
    (35, 5, 4, 30, [0, 0, 1, 0, 0, 3])
    """
    for name, value in (("delay", delay), ("shown", shown)):
        require_count(name, value)
    _require_at_least("classes", classes, 2)
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < 1:
        raise ValueError(f"noise: got {noise!r}, expected a probability from 0 to less than 1")
    settings: dict[str, str | int | float] = {"shown": shown, "noise": noise}
    return _task(
        DelayedRecall, delay, examples, data_seed, settings, classes=classes, shown=shown, noise=noise
    )


def delayed_xor(delay: int = 20, *, shown: int = 5, examples: int = 5000, data_seed: int = 0) -> Task:
    """Build the task of telling, at the last step, whether a bit shown `delay` steps before is another now.

    Input b is 1 in steps 0 … shown − 1 where the first bit is b, and in the last `shown` steps where the
    second is b; all else is 0, and T − 1 = shown − 1 + delay. Class 1: the bits differ. Memory demand:
    `delay`. Without it the best accuracy is ½: neither bit alone says anything.

    Raises ValueError for counts below 1, or a delay shorter than a bit is shown.

    >>> task = delayed_xor(delay=30)
    >>> task.steps, task.inputs, task.classes, task.memory_demand, task.sample(6).targets.tolist()
    (35, 2, 2, 30, [1, 0, 0, 0, 1, 1])
    """
    require_count("shown", shown)
    _require_at_least("delay", delay, shown, why=f", so that bits shown for {shown} steps do not overlap")
    return _task(DelayedXor, delay, examples, data_seed, {"shown": shown}, shown=shown)


def copy(
    delay: int = 20, *, items: int = 10, symbols: int = 8, examples: int = 5000, data_seed: int = 0
) -> Task:
    """Build the task of repeating a list of symbols, each `delay` steps after it was shown.

    Input c is 1 in step i where item i is symbol c, i = 0 … items − 1; the last input, the cue, is 1 in the
    last `items` steps, T = items + delay, in which item i is asked for at step i + delay. Targets:
    (item, batch). Memory demand: `delay`, of every item. Without it the best accuracy is 1 / symbols.
    The task of Hochreiter & Schmidhuber (1997) and Arjovsky, Shah & Bengio (2016, arXiv:1511.06464) with the
    loss on the steps of recall alone: blanks need no memory and would hide the answer in the mean.

    Raises ValueError for counts below 1, fewer than two symbols, or a delay shorter than the list.

    >>> task = copy(delay=30, items=3)
    >>> task.steps, task.inputs, task.classes, task.memory_demand, task.sample(2).targets.tolist()
    (33, 9, 8, 30, [[6, 7], [5, 7], [7, 3]])
    """
    require_count("items", items)
    _require_at_least("symbols", symbols, 2)
    _require_at_least("delay", delay, items, why=f", so that {items} items do not overlap with their recall")
    return _task(Copy, delay, examples, data_seed, {"items": items}, items=items, symbols=symbols)


def adding(delay: int = 50, *, examples: int = 5000, data_seed: int = 0) -> Task:
    """Build the adding problem: name, at the last step, the sum of two marked numbers.

    Input 0 is uniform on [0, 1) at each of T = delay + 1 steps; input 1 marks two of them: step 0, so that
    the first summand always lies `delay` steps back, and one of the others, at random. (In Hochreiter &
    Schmidhuber, 1997, the first mark is at random too, and the demand only bounded.) Memory demand: `delay`.
    Target: a number, float32; loss: squared error; right within 0.04. Always answering 1 costs 1/6; knowing
    the second summand alone, 1/12.

    Raises ValueError for counts below 1.

    >>> task = adding(delay=30)
    >>> task.steps, task.inputs, task.classes, task.memory_demand, task.sample(2).targets.tolist()
    (31, 2, 1, 30, [1.4309229850769043, 1.2853630781173706])
    """
    require_count("delay", delay)
    return _task(Adding, delay, examples, data_seed, {})


def _task(
    kind: Callable[..., Generated],
    delay: int,
    examples: int,
    data_seed: int,
    settings: dict[str, str | int | float],
    **options: Any,
) -> Task:
    require_count("examples", examples)
    check_seed("data_seed", data_seed)
    train = kind(Split.TRAIN, examples, data_seed, delay, **options)
    held_out = max(1, examples // HELD_OUT)
    validation, test = (
        replace(train, split=split, count=held_out) for split in (Split.VALIDATION, Split.TEST)
    )
    steps, inputs = train.shape
    return Task(
        name=train.name,
        steps=steps,
        inputs=inputs,
        classes=train.outputs,
        train=train,
        validation=validation,
        test=test,
        source="generated",
        memory_demand=delay,
        settings={**settings, "data_seed": data_seed, "examples": examples},
    )


def _require_at_least(name: str, value: int, least: int, *, why: str = "") -> None:
    require_count(name, value)
    if value < least:
        raise ValueError(f"{name}: got {value}, expected at least {least}{why}")


def _fractions(words: UInt64[np.ndarray, " word"]) -> np.ndarray:
    """Return numbers uniform on [0, 1), of 24 random bits each: exact in float32, and never rounded to 1."""
    return (words >> np.uint64(40)).astype(np.float64) * 2.0**-24
