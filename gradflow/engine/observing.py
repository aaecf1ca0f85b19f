"""An engine that measures the adjoint while it runs, for records: no gradient is stored for that."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from gradflow.engine.automatic import run_layer as automatic
from gradflow.engine.fused import Observation, unsupported
from gradflow.engine.fused import run_layer as fused
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence


@dataclass
class Observing:
    """The fused engine with an observation for each layer, in the order in which layers run.

    Attributes:
        observations: filled by the backward pass; None for a layer that could not be fused.
    """

    observations: list[Observation | None] = field(default_factory=list)

    def __call__(
        self, drive: Sequence, V: Float[Tensor, "neuron neuron"] | None, dynamics: Dynamics, taps: Taps
    ) -> LayerTrace:
        """Run one layer, and note what its adjoint will measure."""
        if unsupported(drive, dynamics):
            self.observations.append(None)
            return automatic(drive, V, dynamics, taps)
        self.observations.append(Observation())
        return fused(drive, V, dynamics, taps, observation=self.observations[-1])
