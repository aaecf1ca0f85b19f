"""The engine of networks by default: the fused one of the device wherever it applies, else the reference."""

import logging

from jaxtyping import Float
from torch import Tensor

from gradflow.engine.cuda import run_layer as cuda
from gradflow.engine.cuda import unsupported as unsupported_on_cuda
from gradflow.engine.fused import run_layer as fused
from gradflow.engine.fused import unsupported
from gradflow.engine.observation import Observation
from gradflow.engine.reference import run_layer as reference
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence

log = logging.getLogger("gradflow")
_said: set[str] = set()


def unfused(drive: Sequence, dynamics: Dynamics) -> str | None:
    """Say why no fused engine can run this layer on its device, or return None where one can."""
    return (unsupported if drive.device.type == "cpu" else unsupported_on_cuda)(drive, dynamics)


def run_layer(
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    *,
    observation: Observation | None = None,
    reach: int | None = None,
) -> LayerTrace:
    """Run one layer by the fused engine of its device, or by the reference where that cannot.

    What falls back is said once a reason, and observes nothing. `observation` and `reach` are those of the
    fused engine.
    """
    reason = unfused(drive, dynamics)
    if reason is None:
        engine = fused if drive.device.type == "cpu" else cuda
        return engine(drive, V, dynamics, taps, observation=observation, reach=reach)
    if reason not in _said:
        _said.add(reason)
        log.warning("the fused engine cannot run %s: the slower reference engine does", reason)
    return reference(drive, V, dynamics, taps)
