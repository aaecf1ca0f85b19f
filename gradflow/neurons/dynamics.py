"""What all neuron models have in common: one update rule, of which each model sets the coefficients.

    u[t] = c[t−1] + offset + gate[t] (I[t] + V ŝ[t])        membrane potential
    s[t] = 1(u[t] ≥ θ)                                      spike
    c[t] = κ u[t] (1 − m s[t]) − r s[t]                     what the next step inherits

==================  =======  =====  ===========  =================  ====================
model               leak κ   gate   multiplied   subtracted by      offset
                                    by reset m   reset r
==================  =======  =====  ===========  =================  ====================
LIF, soft reset     α        1      0            α θ                0
LIF, hard reset     α        1      1            0                  0
PLIF                σ(w)     1      as LIF       as LIF             0
GLIF                1−α(1−τ) 1−β(1−g[t])  γ      (1−γ) r            −(1−α) l
==================  =======  =====  ===========  =================  ====================
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from jaxtyping import Float
from torch import Tensor

from gradflow.shapes import PerNeuron, Step
from gradflow.surrogate import Surrogate


class Reset(StrEnum):
    """What a spike does to the potential: subtract the threshold (soft) or set it to 0 (hard)."""

    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True)
class Dynamics:
    """The coefficients of one layer for one pass; gradients flow through them to the parameters.

    Shapes: every coefficient is () for a layer that shares it or (neuron,); `gate` has a leading time
    axis when it changes from step to step, and is None where it is 1 throughout.
    """

    leak: PerNeuron
    multiplied: PerNeuron
    subtracted: PerNeuron
    threshold: PerNeuron
    surrogate: Surrogate
    detach_reset: bool
    gate: Float[Tensor, "time *neuron"] | None = None
    offset: PerNeuron | None = None

    def detached(self) -> "Dynamics":
        """Return the same coefficients cut off from the parameters they were computed from."""
        cut: dict[str, Any] = {
            key: value.detach() for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **cut)

    def since(self, first: int, steps: int) -> "Dynamics":
        """Return the coefficients for `steps` steps from step `first` on: gates change from step to step.

        Raises ValueError when the sequence has more steps than there are conductances.
        """
        if self.gate is None:
            return self
        self.require_gates(first + steps)
        return replace(self, gate=self.gate[first : first + steps])

    def spike(self, u: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return s = 1(u ≥ θ), with the surrogate derivative φ(u − θ) backward."""
        return self.surrogate.spike(u - self.threshold)

    def phi(self, u: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return φ[t] = φ(u[t] − θ)."""
        return self.surrogate.derivative(u - self.threshold)

    def carry(self, u: Step, s: Step) -> Step:
        """Return c = κ u (1 − m s) − r s; a detached reset lets no gradient through its s."""
        s_reset = s.detach() if self.detach_reset else s
        return self.leak * u * (1.0 - self.multiplied * s_reset) - self.subtracted * s_reset

    def local(
        self, u: Float[Tensor, "*axes"], s: Float[Tensor, "*axes"], phi: Float[Tensor, "*axes"]
    ) -> Float[Tensor, "*axes"]:
        """Return a[t] = ∂c[t]/∂u[t], the neuron path of the Jacobian.

        a = κ (1 − m s)                          reset detached
        a = κ (1 − m s) − (κ m u + r) φ          reset attached
        """
        direct = self.leak * (1.0 - self.multiplied * s)
        return direct if self.detach_reset else direct + self.through_reset(u) * phi

    def through_reset(self, u: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return ∂c[t]/∂s[t] = −(κ m u + r) of an attached reset, 0 of a detached one."""
        if self.detach_reset:
            return u.new_zeros(u.shape)
        return -(self.leak * self.multiplied * u + self.subtracted)

    def drive(self, current: Float[Tensor, "time batch neuron"]) -> Float[Tensor, "time batch neuron"]:
        """Return gate[t] I[t] + offset, the part of u[t] that comes from outside the layer."""
        gated = current if self.gate is None else self.gate_steps(current) * current
        return gated if self.offset is None else gated + self.offset

    def gate_steps(self, current: Float[Tensor, "time batch neuron"]) -> Float[Tensor, "time _ _"]:
        """Return the gate of every step of `current`, broadcastable over batch and neurons.

        Raises ValueError when the sequence has more steps than there are conductances.
        """
        assert self.gate is not None
        steps = current.shape[0]
        self.require_gates(steps)
        return self.gate[:steps].reshape(steps, 1, -1)

    def require_gates(self, steps: int) -> None:
        """Raise ValueError when a sequence of so many steps has more than there are conductances."""
        if self.gate is not None and steps > self.gate.shape[0]:
            raise ValueError(
                f"GLIF: the sequence has {steps} steps but the layer has conductances for "
                f"{self.gate.shape[0]}; build it with GLIF(steps={steps}) or shorten the sequence"
            )
