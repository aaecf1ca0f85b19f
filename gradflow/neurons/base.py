"""What a neuron model must offer: a frozen description, and a module that owns its parameters."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.neurons.dynamics import Dynamics, Reset
from gradflow.shapes import PerNeuron
from gradflow.surrogate import Surrogate, Triangle


@dataclass(frozen=True, kw_only=True)
class Neuron(ABC):
    """The description of a neuron model, shared freely: it holds numbers, never tensors.

    Attributes:
        detach_reset: stop the gradient at the spike that resets the potential (default: attached,
            as the ASRC authors and SpikingJelly do; snnTorch and norse detach).
        surrogate: spike function (default: triangle of width 1, as published with ASRC).
    """

    detach_reset: bool = False
    surrogate: Surrogate = field(default_factory=Triangle)

    @abstractmethod
    def build(self, neurons: int, steps: int | None) -> "NeuronParameters":
        """Return a fresh parameter module for a layer of `neurons` and sequences of up to `steps`."""

    @abstractmethod
    def conventions(self) -> dict[str, str | float]:
        """Return what a record must say about this neuron (design §3)."""

    def _common(self) -> dict[str, str | float]:
        return {
            "neuron": type(self).__name__,
            "detach_reset": "detached" if self.detach_reset else "attached",
            "surrogate": self.surrogate.name,
            "surrogate_scale": float(self.surrogate.scale),
        }


class NeuronParameters(nn.Module, ABC):
    """The learned numbers of one layer's neurons."""

    spec: Neuron

    @abstractmethod
    def dynamics(self, like: Tensor) -> Dynamics:
        """Return the coefficients of the update rule in the dtype and device of `like`."""


def require_between(owner: str, name: str, value: Any, low: float, high: float, *, closed: bool) -> None:
    """Raise ValueError unless `value` is a number between `low` and `high` (ends allowed if `closed`)."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low <= value <= high if closed else low < value < high):
        ends = "from {} to {}" if closed else "strictly between {} and {}"
        raise ValueError(f"{owner}({name}={value!r}): expected a number {ends.format(low, high)}")


def require_reset(owner: str, reset: Any) -> Reset:
    """Return `reset` as a Reset, or raise ValueError naming the two kinds."""
    try:
        return Reset(reset)
    except ValueError:
        raise ValueError(f"{owner}(reset={reset!r}): expected Reset.SOFT or Reset.HARD") from None


def logit_parameter(probability: float, *shape: int) -> nn.Parameter:
    """Return a parameter filled with log(p / (1 − p)), so that its sigmoid starts at p.

    It is kept in float64 until the network casts it, so that float32 and float64 networks agree.
    """
    value = math.log(probability) - math.log1p(-probability)
    return nn.Parameter(torch.full(shape, value, dtype=torch.float64))


def reset_coefficients(reset: Reset, leak: PerNeuron, threshold: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
    """Return (m, r) of the update rule: soft reset subtracts α θ, hard reset multiplies by 1 − s."""
    if reset is Reset.SOFT:
        return torch.zeros_like(leak), leak * threshold
    return torch.ones_like(leak), torch.zeros_like(leak)
