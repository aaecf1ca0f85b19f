"""What every engine takes and returns: one layer, one whole sequence."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Past, Sequence, Step


@dataclass(frozen=True)
class LayerTrace:
    """Potentials u[t] (before the reset) and spikes s[t] of one layer, t = 0 … T−1.

    Attributes:
        engine: the word for the engine that ran; empty for one that does not say.
        carry, tail: c[T−1] and the last spikes, for the segment that goes on from here, from engines that can
            tell what comes back through them from the direct path.
    """

    u: Sequence
    s: Sequence
    engine: str = ""
    carry: Step | None = None
    tail: Past | None = None


@runtime_checkable
class Engine(Protocol):
    """A function that runs one layer over a whole sequence, differentiably.

    The returned `s` is what the layer above reads: the gradient that arrives at it is the direct path
    only, because recurrent paths stay inside the layer. The gradient that arrives at `drive` is
    g[t] = ∂L/∂u[t], because drive[t] is added to u[t].
    """

    def __call__(
        self, drive: Sequence, V: Float[Tensor, "neuron neuron"] | None, dynamics: Dynamics, taps: Taps
    ) -> LayerTrace:
        """Return the potentials and spikes that `drive` causes."""
