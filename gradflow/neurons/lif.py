"""LIF: the leaky integrate-and-fire neuron with a fixed decay."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.neurons.base import (
    Neuron,
    NeuronParameters,
    require_between,
    require_reset,
    reset_coefficients,
)
from gradflow.neurons.dynamics import Dynamics, Reset


@dataclass(frozen=True, kw_only=True)
class LIF(Neuron):
    """u[t] = α v[t−1] + I[t] + V ŝ[t], s = 1(u ≥ θ), v = u − θ s (soft) or u (1 − s) (hard).

    Attributes:
        decay: α, the factor by which the potential is carried to the next step (0 … 1; default 0.5,
            as published with ASRC).
        threshold: θ (positive; default 1).
        reset: soft (subtract θ; the default, as published) or hard (to 0).

    Raises ValueError for a decay outside 0 … 1 or a threshold that is not positive.

    >>> LIF(decay=0.9).conventions()["decay"]
    0.9
    """

    decay: float = 0.5
    threshold: float = 1.0
    reset: Reset = Reset.SOFT

    def __post_init__(self) -> None:
        require_between(type(self).__name__, "decay", self.decay, 0.0, 1.0, closed=True)
        require_between(type(self).__name__, "threshold", self.threshold, 0.0, math.inf, closed=False)
        object.__setattr__(self, "reset", require_reset(type(self).__name__, self.reset))

    def build(self, neurons: int, steps: int | None) -> NeuronParameters:
        """Return the (empty) parameter module."""
        return LIFParameters(self)

    def conventions(self) -> dict[str, str | float]:
        """Return neuron, decay, threshold, reset and surrogate for the record."""
        own = {"decay": self.decay, "threshold": self.threshold, "reset": self.reset.value}
        return {**self._common(), **own}


class LIFParameters(NeuronParameters):
    """A LIF layer learns nothing; its coefficients are constants."""

    def __init__(self, spec: LIF) -> None:
        super().__init__()
        self.spec: LIF = spec

    def dynamics(self, like: Tensor) -> Dynamics:
        """Return constant coefficients."""
        leak = torch.tensor(self.spec.decay, dtype=like.dtype, device=like.device)
        threshold = torch.tensor(self.spec.threshold, dtype=like.dtype, device=like.device)
        multiplied, subtracted = reset_coefficients(self.spec.reset, leak, threshold)
        return Dynamics(leak, multiplied, subtracted, threshold, self.spec.surrogate, self.spec.detach_reset)
