"""The update rule of a layer's neurons, in arrays: what a theory of u, s, φ and a must know of a neuron.

    u[t] = c[t−1] + offset + gate[t] (I[t] + V ŝ[t]),    ŝ[t] = Σ_d p_d s[t−d]
    s[t] = 1(u[t] ≥ θ),    φ[t] = φ(u[t] − θ),    c[t] = κ u[t] (1 − m s[t]) − r s[t]
    a[t] = ∂c[t]/∂u[t] = κ (1 − m s) − (κ m u + r) φ     (the second term only where the reset is attached)

LIF: κ = α, no gate, no offset; soft reset m = 0, r = α θ; hard reset m = 1, r = 0. Axes: … neuron.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Array: TypeAlias = Float[np.ndarray, "..."]
PerNeuron: TypeAlias = Float[np.ndarray, "*neuron"] | float


def triangle(x: Array) -> Array:
    """Return the default surrogate derivative, max(0, 1 − |x|).

    >>> triangle(np.array([-0.5, 0.0, 2.0])).tolist()
    [0.5, 1.0, 0.0]
    """
    height: Array = np.maximum(0.0, 1.0 - np.abs(x))
    return height


@dataclass(frozen=True)
class UpdateRule:
    """The coefficients of the equations above, each one number or one for every neuron.

    Attributes:
        leak: κ.
        multiplied: m.
        subtracted: r.
        threshold: θ.
        derivative: φ(x) of an array x = u − θ.
        detached: whether the gradient stops at the spike that resets.
        gate: factor on all currents, (time, 1 or neuron), or None where it is 1.
        offset: added at every step.

    Raises ValueError for coefficients that are not finite.
    """

    leak: PerNeuron
    multiplied: PerNeuron
    subtracted: PerNeuron
    threshold: PerNeuron = 1.0
    derivative: Callable[[Array], Array] = triangle
    detached: bool = False
    gate: Float[np.ndarray, "time _"] | None = None
    offset: PerNeuron = 0.0

    def __post_init__(self) -> None:
        for name in ("leak", "multiplied", "subtracted", "threshold", "offset", "gate"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise ValueError(f"UpdateRule: {name} holds NaN or infinity; expected finite coefficients")

    def carry(self, u: Array, s: Array) -> Array:
        """Return c = κ u (1 − m s) − r s."""
        carried: Array = self.leak * u * (1.0 - self.multiplied * s) - self.subtracted * s
        return carried

    def phi(self, u: Array) -> Array:
        """Return φ(u − θ)."""
        return self.derivative(u - self.threshold)

    def local(self, u: Array, s: Array, phi: Array) -> Array:
        """Return a = ∂c/∂u."""
        direct: Array = self.leak * (1.0 - self.multiplied * s)
        return direct if self.detached else direct - (self.leak * self.multiplied * u + self.subtracted) * phi

    def gate_at(self, t: int) -> Float[np.ndarray, " _"] | float:
        """Return the gate of step t.

        Raises ValueError for a step that has none.
        """
        if self.gate is None:
            return 1.0
        if t >= len(self.gate):
            raise ValueError(
                f"UpdateRule: step {t} has no gate; there are {len(self.gate)} of them. Shorten the input"
            )
        gate: Float[np.ndarray, " _"] = self.gate[t]
        return gate


def lif(
    decay: float,
    threshold: float = 1.0,
    *,
    hard: bool = False,
    detached: bool = False,
    derivative: Callable[[Array], Array] = triangle,
) -> UpdateRule:
    """Return the rule of a LIF neuron: v = u − θ s (soft reset, the default) or u (1 − s) (hard).

    >>> lif(0.5).carry(np.array([0.8, 1.2]), np.array([0.0, 1.0])).round(3).tolist()
    [0.4, 0.1]
    """
    subtracted = 0.0 if hard else decay * threshold
    return UpdateRule(decay, float(hard), subtracted, threshold, derivative, detached)


@dataclass(frozen=True)
class LayerWeights:
    """One layer as its equations name it: I = W x + b, the recurrence V and p, and the neurons' rule.

    Attributes:
        W: (neuron, input), b: (neuron,).
        V: (target, source) and taps, the p_d by span d; no taps where there is no recurrence.
        rule: of the neurons.

    Raises ValueError for shapes that do not fit, spans below 1, NaN or infinity.

    >>> LayerWeights(np.ones((2, 1)), np.zeros(2), np.eye(2), {1: 1.0}, lif(0.5)).neurons
    2
    """

    W: Float[np.ndarray, "neuron input"]
    b: Float[np.ndarray, " neuron"]
    V: Float[np.ndarray, "neuron neuron"]
    taps: Mapping[int, float] = field(default_factory=dict)
    rule: UpdateRule = field(default_factory=lambda: lif(0.5))

    def __post_init__(self) -> None:
        neurons = len(self.W)
        if self.b.shape != (neurons,) or self.V.shape != (neurons, neurons):
            raise ValueError(
                f"LayerWeights: W is {self.W.shape}, b {self.b.shape} and V {self.V.shape}; expected "
                f"(neuron, input), ({neurons},) and {(neurons, neurons)}"
            )
        if any(d < 1 for d in self.taps):
            raise ValueError(f"taps: got spans {sorted(self.taps)}, expected whole numbers of steps >= 1")
        for name, value in (("W", self.W), ("b", self.b), ("V", self.V), ("taps", list(self.taps.values()))):
            if not np.isfinite(value).all():
                raise ValueError(f"LayerWeights: {name} holds NaN or infinity; expected finite weights")

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return len(self.W)

    @property
    def depth(self) -> int:
        """Longest span that is read; 1 where there is none."""
        return max(self.taps, default=1)
