"""The engine of networks by default: the fused one of the device wherever it applies, else the reference."""

import logging

from jaxtyping import Float
from torch import Tensor

from gradflow.engine.cuda import run_layer as cuda
from gradflow.engine.cuda import unsupported as unsupported_on_cuda
from gradflow.engine.fused import run_layer as fused
from gradflow.engine.fused import unsupported
from gradflow.engine.reference import run_layer as reference
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence

log = logging.getLogger("gradflow")
_said: set[str] = set()


def run_layer(
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    *,
    reach: int | None = None,
) -> LayerTrace:
    """Run one layer by the fused engine of its device, or by the reference where that cannot.

    What falls back is said once a reason. `reach` is that of the fused engine.
    """
    on_cpu = drive.device.type == "cpu"
    reason = (unsupported if on_cpu else unsupported_on_cuda)(drive, dynamics)
    if reason is None:
        return (fused if on_cpu else cuda)(drive, V, dynamics, taps, reach=reach)
    if reason not in _said:
        _said.add(reason)
        log.warning("the fused engine cannot run %s: the slower reference engine does", reason)
    return reference(drive, V, dynamics, taps)
