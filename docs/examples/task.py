"""Temporal order: two letters are shown far apart, and the answer is which they were, in their order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, UInt64

from gradflow.readout import Readout
from gradflow.tasks import Classification, Objective, Split, Task
from gradflow.tasks.memory import HELD_OUT, Generated

LETTERS = 2


@dataclass(frozen=True, eq=False, repr=False)
class TemporalOrder(Generated):
    """Show X or Y, wait, show X or Y, ask for the pair: XX, XY, YX or YY."""

    distractors: int = 4
    name: ClassVar[str] = "temporal-order"

    @property
    def objective(self) -> Objective:
        """Ask for the pair at the last step."""
        return Classification(Readout.LAST)

    @property
    def shape(self) -> tuple[int, int]:
        """Return delay + 1 steps of one input a letter and a distractor."""
        return self.delay + 1, LETTERS + self.distractors

    @property
    def outputs(self) -> int:
        """Return one output a pair."""
        return LETTERS**2

    @property
    def words(self) -> int:
        """Return one word for each letter, and one for each step between."""
        return 2 + self.delay - 1

    def fill(self, x: Float32[np.ndarray, "time input"], words: UInt64[np.ndarray, " word"]) -> Any:
        """Light a letter's input in the first step and in the last, a distractor's in every step between."""
        first, second = (int(word % LETTERS) for word in words[:2])
        x[0, first] = 1
        x[-1, second] = 1
        between = LETTERS + (words[2:] % np.uint64(self.distractors)).astype(np.int64)
        x[1 + np.arange(self.delay - 1), between] = 1
        return LETTERS * first + second


def temporal_order(
    delay: int = 20, *, distractors: int = 4, examples: int = 5000, data_seed: int = 0
) -> Task:
    """Build the task of naming, at the last step, the letter shown `delay` steps before and that shown now.

    Inputs 0 and 1 are the letters; one of the other `distractors` inputs is 1 at every step between. Memory
    demand: `delay`. Without it the best accuracy is ½: the second letter is seen, the first must be guessed.
    A relative of the temporal order problem of Hochreiter & Schmidhuber (1997).

    Raises ValueError for counts below 1, or a delay below 2, which leaves no step between.

    >>> task = temporal_order(delay=30)
    >>> task.steps, task.inputs, task.classes, task.memory_demand, task.sample(6).targets.tolist()
    (31, 6, 4, 30, [3, 2, 3, 0, 1, 2])
    """
    for name, value, least in (
        ("delay", delay, 2),
        ("distractors", distractors, 1),
        ("examples", examples, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: got {value!r}, expected a whole number, at least {least}")
    train = TemporalOrder(Split.TRAIN, examples, data_seed, delay, distractors)
    held_out = max(1, examples // HELD_OUT)
    steps, inputs = train.shape
    return Task(
        name=train.name,
        steps=steps,
        inputs=inputs,
        classes=train.outputs,
        train=train,
        validation=replace(train, split=Split.VALIDATION, count=held_out),
        test=replace(train, split=Split.TEST, count=held_out),
        source="generated",
        memory_demand=delay,
        settings={"distractors": distractors, "data_seed": data_seed, "examples": examples},
    )


TASKS: dict[str, Callable[..., Task]] = {"temporal-order": temporal_order}
"""The entry that goes into `TASKS` of `gradflow/tasks/__init__.py`."""
