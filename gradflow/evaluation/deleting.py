"""One layer whose spikes are lost on the way out: the loop of `engine.reference` with one line more.

    u[t] = c[t−1] + drive[t] + gate[t] V ŝ[t],      ŝ[t] = Σ_d p_d k[t−d] s[t−d]
    s[t] = 1(u[t] ≥ θ),       what is handed on:  k[t] s[t],      k = 1 where a spike is kept, else 0
    c[t] = κ u[t] (1 − m s[t]) − r s[t]             the reset is that of the true spike

The neuron has fired and is reset; nobody hears of it, neither the recurrence nor the next layer. A spike is
lost for all its targets at once, as where an axon fails, not synapse by synapse. Axes: time batch neuron.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradflow.engine import LayerTrace, spike_linear
from gradflow.engine.fused import unsupported
from gradflow.engine.reference import read_spans
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence, Step


def run_deleting(
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    kept: Bool[Tensor, "time batch neuron"],
) -> LayerTrace:
    """Run one layer over a whole sequence and hand on only the spikes that are kept.

    On CPU the products are those of the fused engine, sums over the neurons that fired in the order of their
    rows: with everything kept the result is the fused engine's bit for bit, and no example's depends on the
    batch it is computed in.

    `kept` says which spikes are handed on, should there be one; the other arguments are those of
    `engine.reference.run_layer`. The trace has the potentials u, and as `s` the spikes that were handed on.

    Cost: that of the reference engine without its graph: O(T B H²), O(T B H) memory.
    """
    fusible = unsupported(drive, dynamics) is None
    # a mixture of several spans is no longer of zeros and ones
    span = taps.spans[0] if fusible and len(taps.spans) == 1 else 0
    gates = None if dynamics.gate is None else dynamics.gate_steps(drive)
    carried = torch.zeros_like(drive[0])
    potentials: list[Step] = []
    handed: list[Step] = []
    for t, driven in enumerate(drive.unbind(0)):
        u = carried + driven
        recurrent: Step | None = None
        if V is not None and span:
            if t and t % span == 0:
                # what the spikes of the last λ steps do in the next λ
                ahead = spike_linear(torch.stack(handed[-span:]), V, None)
            recurrent = ahead[t % span] if t >= span else None
        elif V is not None:
            mixed = read_spans(handed, taps)
            recurrent = None if mixed is None else mixed @ V.T
        if recurrent is not None:
            u = u + (recurrent if gates is None else gates[t] * recurrent)
        s = dynamics.spike(u)
        carried = dynamics.carry(u, s)
        potentials.append(u)
        handed.append(s * kept[t])
    # the word of the engine whose sums these are: the next layer's product may be that of spikes too
    word = "fused" if fusible else "reference"
    return LayerTrace(torch.stack(potentials), torch.stack(handed), word)
