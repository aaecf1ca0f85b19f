"""An engine that measures the adjoint while it runs, for records: no gradient is stored for that."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from gradflow.engine.automatic import run_layer as automatic
from gradflow.engine.automatic import unfused
from gradflow.engine.observation import Observation
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence


@dataclass
class Observing:
    """The fused engine of the device with an observation for each layer, in the order in which layers run.

    Attributes:
        observations: filled by the backward pass; None for a layer that could not be fused.
        complete: set after the forward pass: layers that run again, to be recomputed, are not observed again.
    """

    observations: list[Observation | None] = field(default_factory=list)
    complete: bool = False

    def __call__(
        self,
        drive: Sequence,
        V: Float[Tensor, "neuron neuron"] | None,
        dynamics: Dynamics,
        taps: Taps,
        *,
        reach: int | None = None,
    ) -> LayerTrace:
        """Run one layer, and note what its adjoint will measure."""
        observation = None if unfused(drive, dynamics) else Observation()
        if not self.complete:
            self.observations.append(observation)
        return automatic(drive, V, dynamics, taps, observation=observation, reach=reach)
