"""How often and on how many sequences the gradient is watched: from a count of operations, before training.

The plan must not depend on a clock, or a run that was stopped and resumed would look at other epochs than one
that was not. So costs are counted in multiplications and additions of dense products,

    an epoch    (6 N + 2 N') T Σ_l (m_l H_l + H_l² + D_l H_l)
    a look      n Σ_l (2 K H_l³ + 2 K D_l H_l² + 14 T (m_l H_l + H_l²)) S + F

with N training and N' validation examples, m inputs, H neurons and D spans read in layer l, T steps, K lags
and n sequences; S says how much longer an
operation of a look takes (float64, small products), F what a look costs however small it is. What watching
then really took is measured and said in the summary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradflow.train.config import WatchPart

SLOWNESS = {"cpu": 4.0, "cuda": 150.0}
"""S: on a CPU 3.5 to 4.7 was measured on networks at their start, whose few spikes make training quick, and
3.2 over a whole training; on a GPU, where products stay on the CPU, it is a guess on the safe side."""
FIXED = 1e10
"""F, in operations: 7e9 to 1.2e10 was measured for fitting and labelling, 0.05 to 0.1 s."""


@dataclass(frozen=True)
class Sizes:
    """What the costs depend on.

    Attributes:
        train, validation: examples. steps: T. inputs: m of the first layer. hidden: neurons of each layer.
        spans: how many spans each layer reads in training.
    """

    train: int
    validation: int
    steps: int
    inputs: int
    hidden: Sequence[int]
    spans: Sequence[int]

    def layers(self) -> list[tuple[int, int, int]]:
        """Return inputs, neurons and spans of each layer."""
        return list(zip((self.inputs, *self.hidden[:-1]), self.hidden, self.spans, strict=True))

    def epoch(self) -> float:
        """Return the operations of one epoch, validation included."""
        each = sum(m * H + H * H + D * H for m, H, D in self.layers())
        return self.steps * each * (6.0 * self.train + 2.0 * self.validation)

    def look(self, lags: int | None) -> float:
        """Return the operations of looking at one sequence."""
        K = self.steps - 1 if lags is None else min(lags, self.steps - 1)
        products = sum(2.0 * K * H**3 + 2.0 * K * D * H * H for _, H, D in self.layers())
        return products + 14.0 * self.steps * sum(m * H + H * H for m, H, _ in self.layers())


@dataclass(frozen=True)
class WatchPlan:
    """When the gradient is looked at, and how.

    Attributes:
        every: steps of the optimiser between two looks; 0 for no looks.
        samples: sequences of a look. lags: longest lag, None for all.
        expected: estimated share of the time of training.
        note: what was given up to keep within the budget; "" for nothing.
    """

    every: int
    samples: int
    lags: int | None
    expected: float
    note: str = ""

    def due(self, step: int) -> bool:
        """Return whether the gradient is looked at after so many steps."""
        return self.every > 0 and step % self.every == 0


def plan_watch(part: WatchPart, sizes: Sizes, *, epochs: int, batches: int, device: str = "cpu") -> WatchPlan:
    """Return the plan that comes nearest to what is wished and costs no more than its budget.

    Sequences are given up first, then looks; where even a look before and one after training cost too much,
    there are none.

    Args:
        part: what is wished.
        sizes: of task and network.
        epochs: of the training.
        batches: steps of an epoch.
        device: cpu or cuda.

    >>> small = Sizes(train=4000, validation=500, steps=196, inputs=1, hidden=(64, 128, 128), spans=(1, 1, 1))
    >>> plan_watch(WatchPart(), small, epochs=20, batches=80).every
    80
    """
    if part.every == 0:
        return WatchPlan(0, 0, part.lags, 0.0, "watch.every is 0")
    total = epochs * batches
    wished = part.every * (batches if part.unit == "epochs" else 1)
    allowed = part.budget * epochs * sizes.epoch()
    per_sample = SLOWNESS[device] * sizes.look(part.lags)

    def cost(samples: int, every: int) -> float:
        return (-(-total // every) + 1) * (samples * per_sample + FIXED)

    samples, every = part.samples, min(wished, total)
    looks = -(-total // every) + 1
    if cost(samples, every) > allowed:
        samples = max(1, min(samples, math.floor((allowed / looks - FIXED) / per_sample)))
    if cost(samples, every) > allowed:
        looks = math.floor(allowed / (per_sample + FIXED))
        if looks < 2:
            return WatchPlan(0, 0, part.lags, 0.0, _note(part, "no looks"))
        every = -(-total // (looks - 1))
        # whole epochs, where epochs were wished for
        every = min(-(-every // batches) * batches, total) if part.unit == "epochs" else every
    expected = part.budget * cost(samples, every) / allowed
    if (samples, every) == (part.samples, min(wished, total)):
        return WatchPlan(every, samples, part.lags, expected)
    note = _note(part, _rhythm(samples, every, "steps"))
    return WatchPlan(every, samples, part.lags, expected, note)


def _note(part: WatchPart, instead: str) -> str:
    wished = _rhythm(part.samples, part.every, part.unit)
    return (
        f"{instead} instead of {wished}, to stay within {part.budget:.0%} of training's time: raise "
        "watch.budget, or lower watch.lags"
    )


def _rhythm(samples: int, every: int, unit: str) -> str:
    """Return how many sequences are looked at how often.

    >>> _rhythm(1, 80, "steps"), _rhythm(4, 1, "epochs")
    ('1 sequence every 80 steps', '4 sequences every epoch')
    """
    how_many = "1 sequence" if samples == 1 else f"{samples} sequences"
    return f"{how_many} every {unit.removesuffix('s') if every == 1 else f'{every} {unit}'}"
