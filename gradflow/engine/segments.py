"""Run one layer over a segment of a sequence: what it inherits from the segment before, what it hands on.

u[t] = c[t−1] + drive[t] + gate[t] V ŝ[t]     c[−1] and s[t−d], t < d, are those of the segment before
"""

import inspect
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine.trace import Engine, LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Past, Sequence, Step


@dataclass(frozen=True)
class LayerState:
    """What a segment hands on: c of its last step, and the spikes of as many steps as the longest span."""

    carry: Step
    past: Past

    @classmethod
    def start(cls, like: Tensor, batch: int, neurons: int, reach: int) -> "LayerState":
        """Return the state before the first step: zeros."""
        return cls(like.new_zeros(batch, neurons), like.new_zeros(reach, batch, neurons))


def run_segment(
    engine: Engine,
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    state: LayerState,
) -> tuple[LayerTrace, LayerState]:
    """Run an engine over one segment from `state`; return its trace and the state after its last step.

    The trace is that of the whole sequence, and so are its gradients, to rounding. An engine that takes
    `reach` tells the gradient that comes back from the next segment from that of the layer above, so that
    records of segments are those of whole sequences; of other engines only the sum is right.
    """
    reach = len(state.past)
    driven = inherit(drive, V, dynamics, taps, state)
    if "reach" in inspect.signature(engine).parameters:
        trace = engine(driven, V, dynamics, taps, reach=reach)  # type: ignore[call-arg]
    else:
        trace = engine(driven, V, dynamics, taps)
    carry = dynamics.carry(trace.u[-1], trace.s[-1]) if trace.carry is None else trace.carry
    tail = trace.s if trace.tail is None else trace.tail
    past = torch.cat([state.past, tail])
    return trace, LayerState(carry, past[len(past) - reach :])


def inherit(
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    state: LayerState,
) -> Sequence:
    """Return the drive with what the segment before adds: c at the first step, V ŝ while spans reach back."""
    begun = torch.cat([drive[:1] + state.carry, drive[1:]])
    reach = min(len(state.past), len(drive))
    if V is None or not reach:
        return begun
    ahead = state.past.new_zeros(reach, *state.past.shape[1:])
    recurrent = taps.read(torch.cat([state.past, ahead]))[len(state.past) :] @ V.T
    if dynamics.gate is not None:
        recurrent = dynamics.gate_steps(recurrent) * recurrent
    return torch.cat([begun[:reach] + recurrent, begun[reach:]])
