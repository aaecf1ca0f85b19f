"""What can disturb a network while it answers: each a frozen object with its strength, 0 for nothing at all.

A disturbance changes the inputs, or what a layer does with its drive, its spans or its spikes; never a
parameter. The network runs on its own engine but for lost spikes. Axes: time batch neuron (or input).
"""

import math
from abc import ABC
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine import LayerTrace, automatic
from gradflow.evaluation.deleting import run_deleting
from gradflow.evaluation.streams import Streams
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import AdaptiveSkip, NoRecurrence, Recurrence, Taps
from gradflow.shapes import Inputs, Sequence

INPUT = "input"
Matrix = Float[Tensor, "neuron neuron"]


class LayerPass(NamedTuple):
    """What an engine is given to run one layer over a whole sequence, and which layer it is."""

    layer: int
    recurrence: Recurrence
    drive: Sequence
    V: Matrix | None
    dynamics: Dynamics
    taps: Taps


@dataclass(frozen=True)
class Disturbance(ABC):
    """A kind of disturbance at one strength.

    `word` names it on the command line and, with _ for -, in files; `title` and `units` are those of its
    strength. One that is `inner` reaches inside a RecurrentSNN, others touch inputs alone, of any network.
    One that is not `random` is the same in every repetition.
    """

    strength: int | float
    word: ClassVar[str]
    title: ClassVar[str]
    units: ClassVar[str] = "1"
    inner: ClassVar[bool] = False
    random: ClassVar[bool] = True
    whole: ClassVar[bool] = False
    """Whether strengths are whole numbers."""
    ends: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __post_init__(self) -> None:
        given = self.strength
        number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
        fits = number and math.isfinite(given) and self.ends[0] <= given <= self.ends[1]
        if not fits or (self.whole and int(given) != given):
            low, high = self.ends
            kind = "a whole number" if self.whole else "a number"
            limits = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            wanted = kind if math.isinf(low) else f"{kind} {limits}"
            raise ValueError(f"{type(self).__name__}({given!r}): expected {wanted}, the {self.title}")
        object.__setattr__(self, "strength", int(given) if self.whole else float(given))

    @classmethod
    def dimension(cls) -> str:
        """Return the word as a name in files: `membrane_noise`."""
        return cls.word.replace("-", "_")

    def inputs(self, x: Inputs, streams: Streams) -> Inputs:
        """Return the inputs the network sees instead of x."""
        return x

    def run_layer(self, own: LayerPass, streams: Streams) -> LayerTrace:
        """Run one layer over a whole sequence, disturbed."""
        return automatic(own.drive, own.V, own.dynamics, own.taps)


@dataclass(frozen=True)
class SpikeDeletion(Disturbance):
    """Every spike of every recurrent layer is lost on its way out with this probability.

    A lost spike reaches neither the recurrence nor the next layer (or the readout); the neuron that sent it
    is reset all the same (`gradflow.evaluation.deleting`). A spike that a stronger deletion keeps, a weaker
    one keeps too.

    >>> SpikeDeletion(1.5)
    Traceback (most recent call last):
    ...
    ValueError: SpikeDeletion(1.5): expected a number from 0 to 1, the probability that a spike is lost
    """

    word = "delete"
    title = "probability that a spike is lost"
    inner = True
    ends = (0.0, 1.0)

    def run_layer(self, own: LayerPass, streams: Streams) -> LayerTrace:
        """Run the layer and hand on the spikes whose number, uniform on [0, 1), is at least the strength."""
        kept = streams.uniform(f"layer {own.layer}", own.drive, own.drive.shape[2]) >= self.strength
        return run_deleting(own.drive, own.V, own.dynamics, own.taps, kept)


@dataclass(frozen=True)
class MembraneNoise(Disturbance):
    """u[t] ← u[t] + σ θ ξ[t], ξ standard normal, anew for every neuron and step; θ is the neuron's threshold.

    The noise enters before the spike is decided and, like a current, is carried on by the leak: u holds
    noise of variance σ² θ² / (1 − α²) where neurons do not fire.
    """

    word = "membrane-noise"
    title = "standard deviation σ of the noise on u"
    units = "thresholds"
    inner = True

    def run_layer(self, own: LayerPass, streams: Streams) -> LayerTrace:
        """Run the layer with noise beside its drive."""
        noise = streams.normal(f"layer {own.layer}", own.drive, own.drive.shape[2])
        drive = own.drive + self.strength * own.dynamics.threshold * noise
        return automatic(drive, own.V, own.dynamics, own.taps)


@dataclass(frozen=True)
class InputNoise(Disturbance):
    """x[t] ← x[t] + σ ξ[t], ξ standard normal, anew for every input and step; σ in the units of the input."""

    word = "input-noise"
    title = "standard deviation σ of the noise on the input"
    units = "units of the input"

    def inputs(self, x: Inputs, streams: Streams) -> Inputs:
        """Return x with noise."""
        return x + self.strength * streams.normal(INPUT, x, x.shape[2])


@dataclass(frozen=True)
class TimeJitter(Disturbance):
    """x[t] ← x[t + δ[t]], δ uniform on −k … k, anew for every step: it reads a frame up to k steps off.

    All inputs of a step move together, as where the clock of a recorder jitters: a frame may be read twice
    or not at all. Beyond the ends the first and the last frame are read.
    """

    word = "jitter"
    title = "largest shift k of the frame a step reads"
    units = "steps"
    whole = True

    def inputs(self, x: Inputs, streams: Streams) -> Inputs:
        """Return the frames that the steps read instead of theirs."""
        shift = _shifts(streams.uniform(INPUT, x), int(self.strength))
        steps = torch.arange(len(x), device=x.device)[:, None]
        read = (steps + shift).clamp(0, len(x) - 1)
        return x.gather(0, read[:, :, None].expand_as(x))


@dataclass(frozen=True)
class EventJitter(Disturbance):
    """Every event moves by δ steps, uniform on −k … k, each on its own; none is lost, none leaves its input.

    For inputs that are counts of events. Beyond the ends events stay in the first and the last step.

    Raises ValueError, when it meets the inputs, for other inputs than counts.
    """

    word = "event-jitter"
    title = "largest shift k of an event"
    units = "steps"
    whole = True

    def inputs(self, x: Inputs, streams: Streams) -> Inputs:
        """Return the counts of the moved events."""
        counts = x.detach().cpu().numpy()
        if not is_count(counts):
            raise ValueError(
                f"EventJitter: the inputs (from {counts.min():g} to {counts.max():g}) are not whole counts "
                "of events; use TimeJitter (`jitter`), which moves frames"
            )
        moved = np.zeros_like(counts)
        for example in range(counts.shape[1]):
            steps, channels = np.nonzero(counts[:, example])
            each = counts[steps, example, channels].astype(np.int64)
            steps, channels = np.repeat(steps, each), np.repeat(channels, each)
            drawn = torch.from_numpy(streams.of_example(INPUT, example, len(steps)))
            to = np.clip(steps + _shifts(drawn, int(self.strength)).numpy(), 0, len(counts) - 1)
            np.add.at(moved[:, example], (to, channels), 1)
        return torch.from_numpy(moved).to(x)


@dataclass(frozen=True)
class SpanShift(Disturbance):
    """The span λ of every layer becomes λ + k (k of either sign, the sum at least 1): wired k steps off.

    Of an adaptive recurrence the span is that of its largest weight, and λ + k at most its largest span D;
    the vanilla recurrence has λ = 1. A layer without recurrence stays as it is.
    """

    word = "span-shift"
    title = "shift k of the span"
    units = "steps"
    inner = True
    random = False
    whole = True
    ends = (-math.inf, math.inf)

    def shifted(self, span: int, recurrence: Recurrence) -> int:
        """Return the span that is read instead.

        >>> SpanShift(-4).shifted(3, AdaptiveSkip(5)), SpanShift(4).shifted(3, AdaptiveSkip(5))
        (1, 5)
        """
        moved = max(1, span + int(self.strength))
        return min(moved, recurrence.max_span) if isinstance(recurrence, AdaptiveSkip) else moved

    def run_layer(self, own: LayerPass, streams: Streams) -> LayerTrace:
        """Run the layer with the span moved.

        Raises ValueError for a mixture of spans, of which none is the span.
        """
        if len(own.taps.spans) > 1:
            raise ValueError(
                f"SpanShift: layer {own.layer} reads a mixture of {len(own.taps.spans)} spans; expected one, "
                "as hard spans are (evaluation mode)"
            )
        spans = tuple(self.shifted(span, own.recurrence) for span in own.taps.spans)
        return automatic(own.drive, own.V, own.dynamics, replace(own.taps, spans=spans))


DISTURBANCES: dict[str, type[Disturbance]] = {
    kind.word: kind for kind in (SpikeDeletion, MembraneNoise, InputNoise, TimeJitter, EventJitter, SpanShift)
}
"""By their word."""


def require_applicable(
    disturbance: Disturbance, recurrences: tuple[Recurrence, ...] | None, owner: str
) -> None:
    """Raise ValueError where a disturbance has nothing to act on in a network.

    `recurrences` are those of a RecurrentSNN's layers, None for any other network; `owner` is its class.
    """
    if disturbance.inner and recurrences is None:
        outer = ", ".join(word for word, kind in DISTURBANCES.items() if not kind.inner)
        raise ValueError(
            f"{disturbance.word}: reaches inside a RecurrentSNN, and this is a {owner}; disturb what it "
            f"reads ({outer})"
        )
    if isinstance(disturbance, SpanShift) and all(isinstance(one, NoRecurrence) for one in recurrences or ()):
        raise ValueError("span-shift: this network has no recurrence whose span could be moved; leave it out")


def is_count(values: np.ndarray) -> bool:
    """Say whether all numbers are whole and none is negative.

    >>> is_count(np.array([0.0, 2.0])), is_count(np.array([0.5]))
    (True, False)
    """
    return bool((values >= 0).all() and (values == np.floor(values)).all())


def _shifts(uniform: Tensor, reach: int) -> Tensor:
    """Return whole numbers uniform on −reach … reach from numbers uniform on [0, 1)."""
    return torch.floor(uniform * (2 * reach + 1)).long() - reach
