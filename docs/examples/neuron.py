"""SpreadLIF: a leaky integrate-and-fire layer whose neurons forget at different, fixed speeds."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.neurons import Dynamics, Neuron, NeuronParameters, Reset
from gradflow.neurons.base import require_between, require_reset, reset_coefficients
from gradflow.shapes import PerNeuron


@dataclass(frozen=True, kw_only=True)
class SpreadLIF(Neuron):
    """LIF with α_j = e^(−1/τ_j), the time constants τ_j spread evenly over their logarithm.

    Heterogeneous time constants were seen to help on tasks with several time scales (Perez-Nieves et al.
    2021).

    Attributes:
        shortest, longest: τ of the first and the last neuron, in steps (default 1.5 and 20: α from 0.51,
            about that of gradflow's other neurons, to 0.95). A single neuron has the shortest.
        threshold: θ (positive; default 1).
        reset: soft (subtract θ; the default) or hard (to 0).

    Raises ValueError for time constants that are not positive or not in this order, or a threshold that is
    not positive.

    >>> like = torch.zeros(1, dtype=torch.float64)
    >>> SpreadLIF(shortest=1.0, longest=4.0).build(3, None).dynamics(like).leak.numpy().round(3).tolist()
    [0.368, 0.607, 0.779]
    """

    shortest: float = 1.5
    longest: float = 20.0
    threshold: float = 1.0
    reset: Reset = Reset.SOFT

    def __post_init__(self) -> None:
        for name in ("shortest", "longest", "threshold"):
            require_between("SpreadLIF", name, getattr(self, name), 0.0, math.inf, closed=False)
        if self.shortest > self.longest:
            raise ValueError(
                f"SpreadLIF(shortest={self.shortest!r}, longest={self.longest!r}): expected shortest <= "
                "longest"
            )
        object.__setattr__(self, "reset", require_reset("SpreadLIF", self.reset))

    def build(self, neurons: int, steps: int | None) -> NeuronParameters:
        """Return the module, which has no parameters: the time constants are constants."""
        return SpreadLIFParameters(self, neurons)

    def conventions(self) -> dict[str, str | float]:
        """Return what a record must say; of the decays, the range."""
        slowest, fastest = (math.exp(-1.0 / tau) for tau in (self.longest, self.shortest))
        own: dict[str, str | float] = {
            "decay": f"{fastest:.4g} to {slowest:.4g}",
            "threshold": self.threshold,
            "reset": self.reset.value,
        }
        return {**self._common(), **own}


class SpreadLIFParameters(NeuronParameters):
    """Holds the decays of a layer, in float64 until a pass asks for another dtype."""

    decays: Tensor

    def __init__(self, spec: SpreadLIF, neurons: int) -> None:
        super().__init__()
        self.spec: SpreadLIF = spec
        ends = math.log(spec.shortest), math.log(spec.longest)
        tau = torch.exp(torch.linspace(*ends, neurons, dtype=torch.float64))
        # they follow from the specification: no checkpoint needs to hold them
        self.register_buffer("decays", torch.exp(-1.0 / tau), persistent=False)

    def dynamics(self, like: Tensor) -> Dynamics:
        """Return the coefficients of u[t] = α_j v[t−1] + I[t] + V ŝ[t], each (neuron,) or one number."""
        leak: PerNeuron = self.decays.to(like)
        threshold: PerNeuron = torch.full_like(leak, self.spec.threshold)
        multiplied, subtracted = reset_coefficients(self.spec.reset, leak, threshold)
        return Dynamics(leak, multiplied, subtracted, threshold, self.spec.surrogate, self.spec.detach_reset)
