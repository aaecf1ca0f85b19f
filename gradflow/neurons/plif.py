"""PLIF: a leaky integrate-and-fire neuron that learns its decay through a sigmoid (Fang et al. 2021)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.neurons.base import (
    Neuron,
    NeuronParameters,
    logit_parameter,
    require_between,
    require_reset,
    reset_coefficients,
)
from gradflow.neurons.dynamics import Dynamics, Reset


@dataclass(frozen=True, kw_only=True)
class PLIF(Neuron):
    """The LIF update with α = σ(w), w learned.

    Attributes:
        decay: α at the start (strictly between 0 and 1; default 0.5, where w = 0).
        threshold, reset: as for LIF.
        per_neuron: learn one w per neuron instead of one per layer.
    """

    decay: float = 0.5
    threshold: float = 1.0
    reset: Reset = Reset.SOFT
    per_neuron: bool = False

    def __post_init__(self) -> None:
        require_between("PLIF", "decay", self.decay, 0.0, 1.0, closed=False)
        require_between("PLIF", "threshold", self.threshold, 0.0, math.inf, closed=False)
        object.__setattr__(self, "reset", require_reset("PLIF", self.reset))

    def build(self, neurons: int, steps: int | None) -> NeuronParameters:
        """Return a module with the parameter `raw_decay`, shape () or (neuron,)."""
        return PLIFParameters(self, neurons)

    def conventions(self) -> dict[str, str | float]:
        """Return neuron, initial decay, threshold, reset and surrogate for the record."""
        shared = "per neuron" if self.per_neuron else "shared by the layer"
        own = {"decay": self.decay, "threshold": self.threshold, "reset": self.reset.value}
        return {**self._common(), **own, "neuron_parameters": shared}


class PLIFParameters(NeuronParameters):
    """Owns w (`raw_decay`)."""

    def __init__(self, spec: PLIF, neurons: int) -> None:
        super().__init__()
        self.spec: PLIF = spec
        self.raw_decay = logit_parameter(spec.decay, *([neurons] if spec.per_neuron else []))

    def dynamics(self, like: Tensor) -> Dynamics:
        """Return coefficients whose leak is σ(w)."""
        leak = torch.sigmoid(self.raw_decay)
        threshold = torch.full_like(leak, self.spec.threshold)
        multiplied, subtracted = reset_coefficients(self.spec.reset, leak, threshold)
        return Dynamics(leak, multiplied, subtracted, threshold, self.spec.surrogate, self.spec.detach_reset)
