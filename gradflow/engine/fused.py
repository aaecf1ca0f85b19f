"""The fused engine: a whole layer over a whole sequence as one differentiable operation, on CPU.

Same signature and results as `reference`, at the cost of its matrix products or less. The forward pass keeps
u alone; the backward pass is the adjoint of design §2, in which spikes and φ are computed again:

    g[t] = φ[t] ∘ ( e[t] + Σ_d p_d Vᵀ gate[t+d] g[t+d] ) + a[t] ∘ g[t+1]
    ∂L/∂V = Σ_t gate[t] g[t] ŝ[t]ᵀ,    ∂L/∂p_d = Σ_t gate[t] g[t] · V s[t−d]

A single span λ is run in blocks of up to λ steps, whose products with V depend on other blocks only; a
mixture of spans reads a short history of V s. Samples are divided among threads, started anew for every
pass, so that nothing outlives a fork. Axes: time batch neuron.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine import operands
from gradflow.engine.memory import empty
from gradflow.engine.observation import Observation
from gradflow.engine.passes import Fixed, Plan, Wanted, backward_pass, forward_pass
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence
from gradflow.surrogate import Surrogate


def unsupported(drive: Tensor, dynamics: Dynamics) -> str | None:
    """Say why this layer cannot be fused, or return None where it can."""
    if drive.device.type != "cpu":
        return f"tensors on {drive.device.type}"
    if drive.dtype not in (torch.float32, torch.float64):
        return f"dtype {drive.dtype}"
    if type(dynamics.surrogate).spike is not Surrogate.spike:
        return f"the spikes of {type(dynamics.surrogate).__name__}, which are not 0 or 1"
    return None


def run_layer(
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    *,
    observation: Observation | None = None,
    reach: int | None = None,
) -> LayerTrace:
    """Run one layer over a whole sequence; arguments and result as `engine.reference.run_layer`.

    Taps whose weights together are below the rounding of the dtype (2⁻²³ or 2⁻⁵² of their sum) are not
    read: that changes ŝ by no more than this share, and likewise the gradient of their softmax logits, which
    is proportional to their weight. Where one tap is left, the mixture has become a single span.

    Args:
        drive: see there.
        V: see there.
        dynamics: see there.
        taps: see there.
        observation: filled with the measures of the adjoint when the backward pass runs.
        reach: hand on c[T−1] and the spikes of this many last steps, for a segment that goes on from here.

    Raises:
        ValueError: for what `unsupported` names, or NaN or infinity in V.

    Cost, per step and sample: at a share r of firing neurons, r H² additions forward, H² (1 + r)
    multiplications backward, and for a mixture H per tap three times; memory 2 T B H numbers and, for the
    backward pass, as many again.
    """
    reason = unsupported(drive, dynamics)
    if reason:
        raise ValueError(f"the fused engine cannot run {reason}; use engine=gradflow.engine.reference")
    plan = Plan(
        taps.spans if V is not None else (),
        dynamics.surrogate,
        not dynamics.detach_reset,
        observation,
        -1 if reach is None else min(reach, len(drive)),
    )
    u, s, carry, tail = _Layer.apply(  # type: ignore[no-untyped-call]
        drive,
        V,
        dynamics.leak,
        dynamics.multiplied,
        dynamics.subtracted,
        dynamics.threshold,
        dynamics.gate,
        taps.weights,
        plan,
    )
    return LayerTrace(u, s, "fused", carry, tail)


class _Layer(torch.autograd.Function):
    """The operation: drive, V, κ, m, r, θ, gate, p → u, s, and where asked for c[T−1] and the last spikes."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, V: Tensor | None, *rest: Any) -> tuple[Tensor | None, ...]:
        *coefficients, gate, weights, plan = rest
        ctx.set_materialize_grads(False)
        if V is not None:
            operands.require_finite("V", V)
        x = operands.padded(drive)
        u, s = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
        spans, p = operands.acting_taps(plan.spans, weights, len(x), x.dtype)
        fixed = Fixed.of(V, tuple(coefficients), gate, drive.shape[2], x)
        forward_pass(x, u, s, spans, p, fixed)
        potentials, spikes = operands.narrowed(u, drive.shape[2]), operands.narrowed(s, drive.shape[2])
        ctx.plan, ctx.spans, ctx.p = plan, spans, p
        ctx.save_for_backward(potentials, V, *coefficients, gate, weights)
        if plan.reach < 0:
            return potentials, spikes, None, None
        leak, multiplied, subtracted, _ = coefficients
        last, fired = potentials[-1], spikes[-1]
        carry = leak * last * (1.0 - multiplied * fired) - subtracted * fired
        return potentials, spikes, carry, spikes[len(spikes) - plan.reach :].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        potentials, V, *coefficients, gate, weights = ctx.saved_tensors
        neurons = potentials.shape[2]
        needs = ctx.needs_input_grad
        u = operands.padded(potentials)
        fixed = Fixed.of(V, tuple(coefficients), gate, neurons, u)
        wanted = Wanted(V=needs[1], neuron=any(needs[2:6]), p=needs[7])
        back = backward_pass(u, grads, ctx.spans, ctx.p, fixed, ctx.plan, wanted, neurons)
        found: list[Tensor | None] = [None] * len(ctx.needs_input_grad)
        found[0] = operands.narrowed(back.g, neurons)
        if needs[1]:
            found[1] = torch.from_numpy(back.V_grad[:neurons, :neurons].astype(u.dtype))
        for k, coefficient in enumerate(coefficients):
            if needs[2 + k]:
                by_neuron = torch.from_numpy(back.neuron_grads[k, :neurons]).to(potentials.dtype)
                found[2 + k] = by_neuron.sum() if coefficient.ndim == 0 else by_neuron
        if needs[6] and found[0] is not None:
            taps = Taps(ctx.plan.spans, weights)
            found[6] = gate_gradient(gate, found[0], potentials - coefficients[3], V, taps)
        if needs[7]:
            by_tap = torch.zeros(len(weights), dtype=torch.float64)
            for span, value in zip(ctx.spans.tolist(), back.p_grad.tolist(), strict=True):
                by_tap[ctx.plan.spans.index(span)] = value
            found[7] = by_tap.to(weights.dtype)
        return tuple(found)


def gate_gradient(gate: Tensor, g: Tensor, over: Tensor, V: Tensor | None, taps: Taps) -> Tensor:
    """Return ∂L/∂gate[t] = Σ g[t] ∘ V ŝ[t] over what shares it: samples, and the neurons of one gate."""
    found = torch.zeros_like(gate)
    if V is not None:
        recurrent = taps.read((over >= 0).to(g.dtype)) @ V.T
        by_neuron = (g * recurrent).sum(dim=1)
        found[: len(g)] = by_neuron if gate.ndim == 2 else by_neuron.sum(dim=1)
    return found
