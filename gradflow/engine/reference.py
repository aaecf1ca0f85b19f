"""The reference engine: the loop over time in plain torch, one step at a time. Read this file first.

It is slow and obviously right; every faster engine must agree with it. Axes: time batch neuron.

    u[t] = c[t−1] + drive[t] + gate[t] V ŝ[t],     ŝ[t] = Σ_d p_d s[t−d]     (s before the start is 0)
    s[t] = 1(u[t] ≥ θ)                             backward: φ(u[t] − θ), the surrogate derivative
    c[t] = κ u[t] (1 − m s[t]) − r s[t]            what the next step inherits: α v[t] for a LIF neuron
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence, Step


def run_layer(
    drive: Sequence, V: Float[Tensor, "neuron neuron"] | None, dynamics: Dynamics, taps: Taps
) -> LayerTrace:
    """Run one layer over a whole sequence: the equations above, and nothing else.

    Args:
        drive: gate[t] I[t] + offset, the part of u[t] that comes from outside, (time, batch, neuron).
        V: recurrent matrix, (neuron, neuron), or None for a layer without recurrence.
        dynamics: coefficients of the neuron model.
        taps: spans d and weights p_d of the recurrence.

    Returns:
        The potentials u and the spikes s, both (time, batch, neuron).

    Cost: O(T B H²) operations and, with autograd, O(T B H (4 + spans)) memory.
    """
    gates = None if dynamics.gate is None else dynamics.gate_steps(drive)
    carried = torch.zeros_like(drive[0])
    potentials: list[Step] = []
    spikes: list[Step] = []
    # unbind: its backward is one stack, where indexing would cost a zero-filled sequence per step
    for t, driven in enumerate(drive.unbind(0)):
        u = carried + driven
        mixed = read_spans(spikes, taps)
        if V is not None and mixed is not None:
            recurrent = mixed @ V.T
            u = u + (recurrent if gates is None else gates[t] * recurrent)
        s = dynamics.spike(u)
        carried = dynamics.carry(u, s)
        potentials.append(u)
        spikes.append(s)
    return LayerTrace(torch.stack(potentials), torch.stack(spikes), "reference")


def read_spans(spikes: list[Step], taps: Taps) -> Step | None:
    """Return ŝ[t] = Σ_d p_d s[t−d] from the spikes of the steps before t, or None while there are none."""
    t = len(spikes)
    terms = [p * spikes[t - d] for d, p in zip(taps.spans, taps.weights, strict=True) if d <= t]
    return torch.stack(terms).sum(dim=0) if terms else None
