"""GLIF: the gated leaky integrate-and-fire neuron (Yao et al. 2022)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.neurons.base import Neuron, NeuronParameters, logit_parameter, require_between
from gradflow.neurons.dynamics import Dynamics

SQUASHED = ("alpha", "beta", "gamma", "leak", "linear_decay", "reset_voltage", "conductance")


@dataclass(frozen=True, kw_only=True)
class GLIF(Neuron):
    """Gates choose between two kinds of leak, of input and of reset, and all of it is learned.

        u[t] = (1 − α(1 − τ)) u[t−1] (1 − γ s[t−1]) − (1 − α) l
               + (1 − β(1 − g[t])) (I[t] + V ŝ[t]) − (1 − γ) r s[t−1]
        s[t] = 1(u[t] ≥ θ)

    α, β, γ (gates), τ (leak), l (linear decay), r (reset voltage) and g[t] (conductance of step t)
    are sigmoids of free parameters; the threshold θ is a free parameter itself. The reset of step t
    uses the spike of step t−1. There is no choice of soft or hard reset: γ is that choice, learned.

    Attributes:
        alpha, beta, gamma: gates at the start (default ½: undecided).
        leak: τ at the start (default 0.25, as published).
        linear_decay: l at the start (default: θ / 2T as published, kept inside 0 … ½).
        reset_voltage: r at the start (default 0.5, the published r = θ at the published θ = 0.5).
        conductance: g[t] at the start (default 0.5, as published).
        threshold: θ at the start (default 1, gradflow's; published 0.5).
        steps: number of conductances (default: the steps of the task the network is built for).
        per_neuron: one set of parameters per neuron instead of one per layer.

    Raises ValueError for a value that a sigmoid cannot take, or when the number of steps is unknown.
    """

    alpha: float = 0.5
    beta: float = 0.5
    gamma: float = 0.5
    leak: float = 0.25
    linear_decay: float | None = None
    reset_voltage: float = 0.5
    conductance: float = 0.5
    threshold: float = 1.0
    steps: int | None = None
    per_neuron: bool = False

    def __post_init__(self) -> None:
        for name in SQUASHED:
            value = getattr(self, name)
            if value is not None:
                require_between("GLIF", name, value, 0.0, 1.0, closed=False)
        require_between("GLIF", "threshold", self.threshold, -1e300, 1e300, closed=True)
        if self.steps is not None and (type(self.steps) is not int or self.steps < 1):
            raise ValueError(f"GLIF(steps={self.steps!r}): expected a whole number of steps, at least 1")

    def build(self, neurons: int, steps: int | None) -> NeuronParameters:
        """Return a module with one parameter per gate and coefficient, shape () or (neuron,)."""
        steps = self.steps or steps
        if steps is None:
            raise ValueError("GLIF: the number of steps is unknown; give GLIF(steps=T) or a task with steps")
        return GLIFParameters(self, neurons, steps)

    def conventions(self) -> dict[str, str | float]:
        """Return neuron, initial coefficients and surrogate for the record."""
        own: dict[str, str | float] = {
            "decay": 1.0 - self.alpha * (1.0 - self.leak),
            "threshold": self.threshold,
            "reset": f"gated, gamma {self.gamma:g}",
            "neuron_parameters": "per neuron" if self.per_neuron else "shared by the layer",
        }
        return {**self._common(), **own}


class GLIFParameters(NeuronParameters):
    """Owns the free parameters behind the sigmoids (`raw_…`) and the threshold."""

    def __init__(self, spec: GLIF, neurons: int, steps: int) -> None:
        super().__init__()
        self.spec: GLIF = spec
        shape = [neurons] if spec.per_neuron else []
        linear_decay = spec.linear_decay
        if linear_decay is None:
            linear_decay = min(0.5, max(abs(spec.threshold), 1e-6) / (2 * steps))
        self.raw_alpha = logit_parameter(spec.alpha, *shape)
        self.raw_beta = logit_parameter(spec.beta, *shape)
        self.raw_gamma = logit_parameter(spec.gamma, *shape)
        self.raw_leak = logit_parameter(spec.leak, *shape)
        self.raw_linear_decay = logit_parameter(linear_decay, *shape)
        self.raw_reset_voltage = logit_parameter(spec.reset_voltage, *shape)
        self.raw_conductance = logit_parameter(spec.conductance, steps, *shape)
        self.threshold = nn.Parameter(torch.full(shape, spec.threshold, dtype=torch.float64))

    def dynamics(self, like: Tensor) -> Dynamics:
        """Return the coefficients of the gated update."""
        alpha, beta, gamma, tau, linear, voltage, conductance = (
            torch.sigmoid(getattr(self, f"raw_{name}")) for name in SQUASHED
        )
        return Dynamics(
            leak=1.0 - alpha * (1.0 - tau),
            multiplied=gamma,
            subtracted=(1.0 - gamma) * voltage,
            threshold=self.threshold,
            surrogate=self.spec.surrogate,
            detach_reset=self.spec.detach_reset,
            gate=1.0 - beta * (1.0 - conductance),
            offset=-(1.0 - alpha) * linear,
        )
