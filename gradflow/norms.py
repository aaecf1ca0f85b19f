"""Optional normalisation of the feed-forward currents: over the neurons of a step, or over the batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow.shapes import Sequence


@dataclass(frozen=True)
class Norm(ABC):
    """The description of a normalisation.

    Attributes:
        epsilon: added to the variance before the square root (default 1e-5, torch's).
    """

    epsilon: float = 1e-5

    @abstractmethod
    def build(self, neurons: int) -> "NormParameters":
        """Return the module with scale (1 at the start) and shift (0)."""

    @property
    def label(self) -> str:
        """The word of files and figures."""
        return type(self).__name__.removesuffix("Norm").lower()


@dataclass(frozen=True)
class LayerNorm(Norm):
    """Normalise the currents of each step and sample over the neurons (Ba et al. 2016)."""

    def build(self, neurons: int) -> "NormParameters":
        """Return the module with its scale and shift."""
        return LayerNormParameters(self, neurons)


@dataclass(frozen=True)
class BatchNorm(Norm):
    """Normalise the currents of each neuron over the time steps and samples of a batch.

    In training the batch's own mean and variance are used and handed back with the run; the running
    averages that evaluation uses change only when `RecurrentSNN.update_norms(run)` is called, so that a
    forward pass leaves nothing behind.

    Attributes:
        momentum: weight of a new batch in the running averages (default 0.1, torch's).
    """

    momentum: float = 0.1

    def build(self, neurons: int) -> "NormParameters":
        """Return the module with scale, shift and running averages."""
        return BatchNormParameters(self, neurons)


@dataclass(frozen=True)
class NormStatistics:
    """Mean and unbiased variance of one batch, per neuron."""

    mean: Float[Tensor, " neuron"]
    variance: Float[Tensor, " neuron"]


class Moments(NamedTuple):
    """Mean per neuron, currents less it, their variance (not unbiased), and over how many terms."""

    mean: Float[Tensor, " neuron"]
    centred: Sequence
    variance: Float[Tensor, " neuron"]
    terms: int


class NormParameters(nn.Module, ABC):
    """Owns the scale and shift of one layer."""

    def __init__(self, spec: Norm, neurons: int) -> None:
        super().__init__()
        self.epsilon = spec.epsilon
        self.scale = nn.Parameter(torch.ones(neurons, dtype=torch.float64))
        self.shift = nn.Parameter(torch.zeros(neurons, dtype=torch.float64))

    @abstractmethod
    def forward(self, current: Sequence) -> tuple[Sequence, NormStatistics | None]:
        """Return the normalised currents and, in training, the statistics of the batch."""

    def update(self, statistics: NormStatistics) -> None:
        """Move the running averages towards a batch's statistics."""


class LayerNormParameters(NormParameters):
    """Layer norm keeps no statistics."""

    def forward(self, current: Sequence) -> tuple[Sequence, NormStatistics | None]:
        """Return scale (I − mean) / √(variance + ε) + shift over the neurons."""
        normed = torch.nn.functional.layer_norm(
            current, current.shape[-1:], self.scale, self.shift, self.epsilon
        )
        return normed, None


class BatchNormParameters(NormParameters):
    """Batch norm owns running averages as buffers, which only `update` changes."""

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, spec: BatchNorm, neurons: int) -> None:
        super().__init__(spec, neurons)
        self.momentum = spec.momentum
        self.register_buffer("running_mean", torch.zeros(neurons, dtype=torch.float64))
        self.register_buffer("running_variance", torch.ones(neurons, dtype=torch.float64))

    def forward(self, current: Sequence) -> tuple[Sequence, NormStatistics | None]:
        """Normalise with the batch's statistics (training) or the running averages (evaluation)."""
        if not self.training:
            mean, variance = self.running_mean, self.running_variance
            return (current - mean) * (self.scale / torch.sqrt(variance + self.epsilon)) + self.shift, None
        mean, centred, variance, count = self.moments(current)
        if count < 2:
            raise ValueError(
                "BatchNorm in training needs at least two time steps or samples to take a variance over, "
                "got one; use eval() or LayerNorm()"
            )
        normed = centred * (self.scale / torch.sqrt(variance + self.epsilon)) + self.shift
        unbiased = variance.detach() * (count / (count - 1))
        return normed, NormStatistics(mean.detach(), unbiased)

    def moments(self, current: Sequence) -> Moments:
        """Return mean, centred currents and variance over the steps and samples of the batch."""
        mean = current.mean(dim=(0, 1))
        centred = current - mean
        return Moments(mean, centred, centred.square().mean(dim=(0, 1)), current.shape[0] * current.shape[1])

    @torch.no_grad()
    def update(self, statistics: NormStatistics) -> None:
        """Set running ← (1 − momentum) running + momentum · batch."""
        self.running_mean.lerp_(statistics.mean, self.momentum)
        self.running_variance.lerp_(statistics.variance, self.momentum)
