"""What is run: the shape of a network, its recurrence, its firing rate, and real digits of any length.

Axes: time batch input.
"""

import math
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch

from gradflow.bench.calibration import calibrate, scale
from gradflow.network import RecurrentSNN
from gradflow.recurrence import AdaptiveSkip, Recurrence, Skip, Vanilla
from gradflow.tasks import Batch, Sizes, psmnist

INPUTS, CLASSES = 1, 10
HIDDEN = (64, 128, 128)
CALIBRATION_BATCH, CALIBRATION_STEPS = 16, 784
"""What a network's firing rates are set on: the same digits whatever the workload's batch."""


@dataclass(frozen=True)
class Workload:
    """One training step: T steps of psmnist, a batch, a network; defaults are those of design §7.

    Attributes:
        recurrence: `vanilla`, `skip:λ` or `asrc:D` (soft: a network in training).
        rate: the firing rate every layer was brought to by `at_rate`; None for a network as initialised,
            whose upper layers are nearly silent on psmnist, which flatters an engine that uses sparseness.
        gains: factor on W and b of each layer that gives this rate, or () for none.

    Raises ValueError for sizes below 1, a recurrence that is none of these, or gains of another number of
    layers.

    >>> Workload(steps=100, hidden=(8,), batch=2).label
    'vanilla T=100 layers=8 batch=2'
    """

    steps: int = 784
    hidden: tuple[int, ...] = HIDDEN
    batch: int = 64
    recurrence: str = "vanilla"
    rate: float | None = None
    gains: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, len(self.hidden), *self.hidden) < 1:
            raise ValueError(f"{self}: expected at least one step, sample, layer and neuron")
        if self.gains and len(self.gains) != len(self.hidden):
            raise ValueError(f"gains={self.gains}: expected one for each of the {len(self.hidden)} layers")
        recurrence_of(self.recurrence)

    @property
    def label(self) -> str:
        """The workload in one line."""
        layers = "-".join(map(str, self.hidden))
        firing = "" if self.rate is None else f" rate={self.rate:g}"
        return f"{self.recurrence} T={self.steps} layers={layers} batch={self.batch}{firing}"

    @property
    def block(self) -> int:
        """Steps whose recurrent currents can be computed together: λ; 1 for a mixture, which reads d = 1."""
        kind, _, number = self.recurrence.partition(":")
        return int(number) if kind == "skip" else 1

    def at_rate(self, rate: float) -> "Workload":
        """Return the same with a gain for each layer, so that all fire at `rate` (0 … ½)."""
        if not 0.0 < rate < 0.5:
            raise ValueError(f"rate={rate}: expected a firing rate between 0 and 0.5")
        return replace(self, rate=rate, gains=_gains(self.hidden, self.recurrence, self.steps, rate))

    def data(self) -> Batch:
        """Return psmnist sequences of this length: the first T pixels, or the sequence over and over."""
        return sequences(self.batch, self.steps)

    def network(self) -> RecurrentSNN:
        """Return gradflow's network of this shape in float32, in training mode, from seed 0."""
        net = RecurrentSNN(
            Sizes(INPUTS, CLASSES, self.steps),
            hidden=self.hidden,
            recurrence=recurrence_of(self.recurrence),
            dtype=torch.float32,
        )
        if self.gains:
            scale(net, self.gains)
        return net

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {**asdict(self), "hidden": list(self.hidden), "gains": list(self.gains)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Workload":
        """Read back what `as_dict` wrote."""
        return cls(**{**fields, "hidden": tuple(fields["hidden"]), "gains": tuple(fields["gains"])})


@cache
def _gains(hidden: tuple[int, ...], recurrence: str, steps: int, rate: float) -> tuple[float, ...]:
    if steps > CALIBRATION_STEPS:
        return _gains(hidden, recurrence, CALIBRATION_STEPS, rate)
    net = Workload(steps, hidden, 1, recurrence).network()
    return calibrate(net, sequences(CALIBRATION_BATCH, steps), rate)


def sequences(batch: int, steps: int) -> Batch:
    """Return psmnist's first `steps` pixels, or its sequence over and over until there are so many."""
    whole = psmnist().sample(batch)
    copies = math.ceil(steps / len(whole.inputs))
    inputs = whole.inputs.repeat(copies, 1, 1)[:steps].contiguous()
    return Batch(inputs, whole.targets, {**whole.provenance, "steps": steps})


def recurrence_of(word: str) -> Recurrence:
    """Read a recurrence as the command line writes it.

    >>> recurrence_of("skip:12")
    Skip(span=12)
    """
    kind, _, number = word.partition(":")
    if word == "vanilla":
        return Vanilla()
    if kind in ("skip", "asrc") and number.isdecimal() and int(number) > 0:
        return Skip(int(number)) if kind == "skip" else AdaptiveSkip(int(number))
    raise ValueError(f"recurrence {word!r}: expected vanilla, skip:λ or asrc:D, as in skip:12")
