"""Where the recurrent current reads: none, the last spikes, those of λ steps ago, or a learned mixture.

Every recurrence says its span weights p_1 … p_D as *taps*: the spans d with p_d ≠ 0 and their weights,

    ŝ[t] = Σ_d p_d s[t−d].
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow.shapes import Sequence


class SpanMode(StrEnum):
    """Which span weights an adaptive recurrence uses: the soft mixture or the one-hot (argmax) span."""

    SOFT = "soft"
    HARD = "hard"

    @classmethod
    def _missing_(cls, value: object) -> "SpanMode":
        raise ValueError(f"span mode {value!r}: expected soft or hard")


@dataclass(frozen=True)
class Taps:
    """The spans that are read, in increasing order, and their weights p (shape (spans,))."""

    spans: tuple[int, ...]
    weights: Float[Tensor, " spans"]

    def read(self, s: Sequence) -> Sequence:
        """Return ŝ[t] = Σ_d p_d s[t−d] for all steps at once (s before the start is 0)."""
        mixed = torch.zeros_like(s)
        for span, weight in zip(self.spans, self.weights, strict=True):
            if span < len(s):
                mixed[span:] += weight * s[:-span]
        return mixed

    def spread(self, g: Sequence) -> Sequence:
        """Return Σ_d p_d g[t+d], the adjoint of `read` (g after the end is 0)."""
        gathered = torch.zeros_like(g)
        for span, weight in zip(self.spans, self.weights, strict=True):
            if span < len(g):
                gathered[:-span] += weight * g[span:]
        return gathered


class Recurrence(ABC):
    """The description of a recurrence; `build` makes the module that owns its parameters."""

    max_span: int
    """The largest span that can be read; 0 where nothing is."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The word of the command line, files and figures: `none`, `vanilla`, `skip:16`, `asrc:51`."""

    def build(self) -> "SpanParameters":
        """Return the module that says p."""
        return SpanParameters(self)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class NoRecurrence(Recurrence):
    """p = 0: a feed-forward layer, whose gradient takes the neuron path only."""

    max_span = 0

    @property
    def label(self) -> str:
        """The word `none`."""
        return "none"


@dataclass(frozen=True)
class Vanilla(Recurrence):
    """p_1 = 1: the recurrent current reads the spikes of the step before."""

    max_span = 1

    @property
    def label(self) -> str:
        """The word `vanilla`."""
        return "vanilla"


@dataclass(frozen=True)
class Skip(Recurrence):
    """SRC, p_λ = 1: the recurrent current reads the spikes of `span` = λ steps ago.

    A span of at least the length of the sequence is allowed: nothing is read then.

    Raises ValueError for a span that is not an integer of at least 1.

    >>> Skip(16).label
    'skip:16'
    """

    span: int

    def __post_init__(self) -> None:
        require_span("Skip", "span", self.span)
        object.__setattr__(self, "max_span", self.span)

    @property
    def label(self) -> str:
        """The word `skip:λ`."""
        return f"skip:{self.span}"


@dataclass(frozen=True)
class AdaptiveSkip(Recurrence):
    """ASRC: a learned mixture of the spans 1 … D, p = softmax(c / τ), annealed towards one span.

    Attributes:
        max_span: D, the largest span (at least 1).
        temperature: τ at the start (default 1, as published).
        temperature_decay: factor on τ at each call of `anneal`, once an epoch (default 0.96, as published).
        shared: one c for all layers that use this object's recurrence, instead of one per layer.

    Raises ValueError for spans below 1 or temperatures that are not positive.
    """

    max_span: int
    temperature: float = 1.0
    temperature_decay: float = 0.96
    shared: bool = False

    def __post_init__(self) -> None:
        require_span("AdaptiveSkip", "max_span", self.max_span)
        for name in ("temperature", "temperature_decay"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"AdaptiveSkip({name}={value!r}): expected a positive finite number")

    @property
    def label(self) -> str:
        """The word `asrc:D`."""
        return f"asrc:{self.max_span}"

    def build(self) -> "AdaptiveSpanParameters":
        """Return the module that owns c and τ."""
        return AdaptiveSpanParameters(self)


class SpanParameters(nn.Module):
    """The fixed taps of a recurrence that learns nothing."""

    def __init__(self, spec: Recurrence) -> None:
        super().__init__()
        self.spec = spec

    def taps(self, mode: SpanMode, like: Tensor) -> Taps:
        """Return the spans and weights; `mode` changes nothing for a fixed span."""
        spans = (self.spec.max_span,) if self.spec.max_span else ()
        return Taps(spans, torch.ones(len(spans), dtype=like.dtype, device=like.device))

    def anneal(self) -> None:
        """Do nothing: there is no temperature."""


class AdaptiveSpanParameters(SpanParameters):
    """Owns c (`span_logits`, 0 at the start) and the temperature τ, which training anneals, not learns."""

    spec: AdaptiveSkip
    temperature: Tensor

    def __init__(self, spec: AdaptiveSkip) -> None:
        super().__init__(spec)
        self.span_logits = nn.Parameter(torch.zeros(spec.max_span, dtype=torch.float64))
        self.register_buffer("temperature", torch.tensor(spec.temperature, dtype=torch.float64))

    def taps(self, mode: SpanMode, like: Tensor) -> Taps:
        """Return softmax(c / τ) over 1 … D (soft), or the span of the largest c alone (hard).

        Ties go to the shortest span, so that an untrained network's hard span is 1.
        """
        if mode is SpanMode.SOFT:
            weights = torch.softmax(self.span_logits / self.temperature, dim=0)
            return Taps(tuple(range(1, self.spec.max_span + 1)), weights)
        best = self.span_logits.detach()
        span = int((best == best.max()).nonzero()[0]) + 1
        return Taps((span,), torch.ones(1, dtype=like.dtype, device=like.device))

    def anneal(self) -> None:
        """Set τ ← temperature_decay · τ; the training loop calls this after each epoch."""
        self.temperature.mul_(self.spec.temperature_decay)


def parse_recurrence(text: str) -> Recurrence:
    """Return the recurrence that a word of the command line names.

    Raises ValueError listing the words that exist.

    >>> parse_recurrence("asrc:51")
    AdaptiveSkip(max_span=51, temperature=1.0, temperature_decay=0.96, shared=False)
    """
    word, _, number = text.strip().lower().partition(":")
    if not number and word in ("none", "vanilla"):
        return NoRecurrence() if word == "none" else Vanilla()
    if word in ("skip", "src", "asrc") and number.isdigit():
        return AdaptiveSkip(int(number)) if word == "asrc" else Skip(int(number))
    raise ValueError(
        f"recurrence {text!r}: expected none, vanilla, skip:SPAN or asrc:MAX_SPAN, as in skip:16"
    )


def require_span(owner: str, name: str, value: Any) -> None:
    """Raise ValueError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{owner}({name}={value!r}): a span is a whole number of steps, at least 1 "
            "(use NoRecurrence() for a layer without recurrence)"
        )
