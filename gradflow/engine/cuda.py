"""The fused engine on GPUs: a whole layer over a whole sequence as one differentiable operation.

Same signature and results as `fused`, of which it is the twin: blocks of steps whose products with V are
dense (`blocks`), between them the neuron scan as a Triton kernel (`scan_triton`) or, without Triton, as
steps in plain torch (`scan_torch`), which run on any device. The forward pass keeps u alone; the backward
pass is the adjoint of design §2, in which spikes and φ are computed again. Axes: time batch neuron.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gradflow.engine import blocks, operands
from gradflow.engine.fused import gate_gradient
from gradflow.engine.fused import unsupported as unsupported_on_cpu
from gradflow.engine.measuring import measure
from gradflow.engine.observation import Observation
from gradflow.engine.scan_torch import TORCH, Cells, Scans
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence
from gradflow.surrogate import Surrogate, Triangle

log = logging.getLogger("gradflow")


@dataclass(frozen=True)
class Plan:
    """What is fixed for one layer and one pass."""

    spans: tuple[int, ...]
    surrogate: Surrogate
    attached: bool
    observation: Observation | None
    reach: int
    scans: Scans


def unsupported(drive: Tensor, dynamics: Dynamics) -> str | None:
    """Say why this layer cannot be fused on its device, or return None where it can."""
    # the dtypes and spikes of the engine on CPU; the device is no reason here
    return unsupported_on_cpu(torch.empty(0, dtype=drive.dtype), dynamics)


def scans_for(device: torch.device) -> Scans:
    """Return the scans for a device: Triton's on CUDA wherever a kernel can be launched, else plain torch."""
    return _scans_on_cuda(device) if device.type == "cuda" else TORCH


@lru_cache
def _scans_on_cuda(device: torch.device) -> Scans:
    """Return Triton's scans if they run one step on this device, else those of torch, and say why once."""
    try:
        from gradflow.engine.scan_triton import TRITON, triton

        if triton is None:
            raise ModuleNotFoundError("No module named 'triton'")
        drive, u, s = torch.ones(3, 1, 1, 1, device=device).unbind()
        cells = Cells(torch.ones(4, 1, device=device), Triangle(), attached=True)
        with _current(device):
            TRITON.advance(drive, u, s, drive[0].clone(), cells, gate=None, reads=False, ahead=None)
            torch.cuda.synchronize()
    except Exception as error:  # whatever a compiler or driver may raise: there is another way to the result
        log.warning(
            "Triton cannot be used on %s (%s: %s): the slower scans in torch are",
            device,
            type(error).__name__,
            error,
        )
        return TORCH
    return TRITON


def run_layer(
    drive: Sequence,
    V: Float[Tensor, "neuron neuron"] | None,
    dynamics: Dynamics,
    taps: Taps,
    *,
    observation: Observation | None = None,
    reach: int | None = None,
    scans: Scans | None = None,
) -> LayerTrace:
    """Run one layer over a whole sequence; arguments and result as `engine.fused`, on any device.

    Negligible taps are left out by the rule of `engine.fused`. Products are in the precision that torch is
    set to (`torch.backends.cuda.matmul`: float32 by default, not TF32).

    Args:
        drive: see there.
        V: see there.
        dynamics: see there.
        taps: see there.
        observation: see there.
        reach: see there.
        scans: what runs the steps of a block (default: Triton on CUDA where it works, else plain torch).

    Raises:
        ValueError: for what `unsupported` names.

    Cost: for a single span λ two launches a block of λ steps, for a mixture two a step and one more a block
    of 16 (with Triton; a dozen a step without); memory 2 T B H numbers and, for the backward pass, twice as
    many, three times for a mixture.
    """
    reason = unsupported(drive, dynamics)
    if reason:
        raise ValueError(f"the fused engine cannot run {reason}; use engine=gradflow.engine.reference")
    scans = scans or scans_for(drive.device)
    spans = taps.spans if V is not None else ()
    handed = -1 if reach is None else min(reach, len(drive))
    plan = Plan(spans, dynamics.surrogate, not dynamics.detach_reset, observation, handed, scans)
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
    return LayerTrace(u, s, scans.engine, carry, tail)


class _Layer(torch.autograd.Function):
    """The operation: drive, V, κ, m, r, θ, gate, p → u, s, and where asked for c[T−1] and the last spikes."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, V: Tensor | None, *rest: Any) -> tuple[Tensor | None, ...]:
        *coefficients, gate, weights, plan = rest
        ctx.set_materialize_grads(False)
        ctx.plan, ctx.taps = plan, _acting(plan.spans, weights, drive)
        layer = _layer(plan, ctx.taps, V, tuple(coefficients), gate, drive)
        with _current(drive.device):
            u, s, carry = blocks.forward(drive.contiguous(), layer)
        ctx.save_for_backward(u, V, *coefficients, gate, weights)
        if plan.reach < 0:
            return u, s, None, None
        return u, s, carry, s[len(s) - plan.reach :].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        u, V, *coefficients, gate, weights = ctx.saved_tensors
        plan: Plan = ctx.plan
        needs = ctx.needs_input_grad
        layer = _layer(plan, ctx.taps, V, tuple(coefficients), gate, u)
        arriving, direct, last, tail = (None if grad is None else grad.contiguous() for grad in grads)
        found: list[Tensor | None] = [None] * len(needs)
        with _current(u.device):
            adjoint = blocks.backward(
                u,
                direct,
                arriving,
                last,
                tail,
                layer,
                learns=any(needs[2:6]),
                keeps_recurrent=plan.observation is not None,
            )
            if plan.observation is not None:
                seen = measure(u, direct, adjoint.recurrent, adjoint.g, last, layer.cells)
                plan.observation.measures = seen.numpy()
            found[0] = adjoint.g
            found[1], found[7] = _recurrent_gradients(
                u, adjoint, layer, weights, plan.spans, needs[1], needs[7]
            )
            for k, coefficient in enumerate(coefficients):
                if needs[2 + k] and adjoint.sums is not None:
                    by_neuron = adjoint.sums[k].sum(dim=0)
                    found[2 + k] = (by_neuron.sum() if coefficient.ndim == 0 else by_neuron).to(u.dtype)
            if needs[6]:
                found[6] = gate_gradient(gate, adjoint.g, u - coefficients[3], V, Taps(plan.spans, weights))
        return tuple(found)


def _recurrent_gradients(
    u: Sequence,
    adjoint: blocks.Adjoint,
    layer: blocks.Layer,
    weights: Float[Tensor, " spans"],
    spans: tuple[int, ...],
    wants_V: bool,
    wants_p: bool,
) -> tuple[Float[Tensor, "neuron neuron"] | None, Float[Tensor, " spans"] | None]:
    """Return ∂L/∂V and ∂L/∂p where they are asked for; taps that do not act have a gradient of 0."""
    V_grad = u.new_zeros(u.shape[2], u.shape[2]) if wants_V else None
    p_grad = torch.zeros_like(weights) if wants_p else None
    if layer.V is None or not (wants_V or wants_p):
        return V_grad, p_grad
    s = (u - layer.cells.coefficients[3] >= 0).to(u.dtype)
    acting = [spans.index(span) for span in layer.spans]
    if len(layer.spans) > 1:
        if wants_V:
            V_grad = blocks.matrix_gradient(s, adjoint, layer)
        if p_grad is not None:
            p_grad[acting] = blocks.weight_gradients(s, adjoint, layer).to(p_grad.dtype)
        return V_grad, p_grad
    # Σ_t gate g[t] s[t−λ]ᵀ serves both: ∂L/∂V is its multiple, ∂L/∂p its product with V
    met = blocks.matrix_gradient(s, adjoint, layer)
    if p_grad is not None:
        p_grad[acting] = (met * layer.V).sum()
    return met * layer.p[0] if wants_V else None, p_grad


def _acting(
    spans: tuple[int, ...], weights: Float[Tensor, " spans"], drive: Sequence
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the taps that act as plain numbers; those that learn are read from the device for that."""
    if not spans:
        return (), ()
    kind = np.dtype(str(drive.dtype).removeprefix("torch."))
    kept, p = operands.acting_taps(spans, weights.detach().cpu(), len(drive), kind)
    return tuple(kept.tolist()), tuple(p.tolist())


def _layer(
    plan: Plan,
    taps: tuple[tuple[int, ...], tuple[float, ...]],
    V: Tensor | None,
    coefficients: tuple[Tensor, ...],
    gate: Tensor | None,
    like: Sequence,
) -> blocks.Layer:
    """Return what is fixed for a pass over a sequence `like` this one."""
    steps, _, neurons = like.shape
    rows = torch.stack([value.detach().expand(neurons) for value in coefficients]).to(like.dtype)
    gates = None
    if gate is not None:
        gates = gate.detach()[:steps].reshape(steps, -1).expand(steps, neurons).contiguous()
    return blocks.Layer(
        V if taps[0] else None,
        *taps,
        Cells(rows, plan.surrogate, plan.attached),
        gates,
        plan.scans,
    )


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the one on which kernels are launched, as torch's own operations do for their tensors."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
