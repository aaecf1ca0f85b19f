"""The fused engine: a whole layer over a whole sequence as one differentiable operation, on CPU.

Same signature and results as `reference`, at the cost of its matrix products or less. The forward pass keeps
u alone; the backward pass is the adjoint of design §2, in which spikes and φ are computed again:

    g[t] = φ[t] ∘ ( e[t] + Σ_d p_d Vᵀ gate[t+d] g[t+d] ) + a[t] ∘ g[t+1]
    ∂L/∂V = Σ_t gate[t] g[t] ŝ[t]ᵀ,    ∂L/∂p_d = Σ_t gate[t] g[t] · V s[t−d]

A single span λ is run in blocks of up to λ steps, whose products with V depend on other blocks only; a
mixture of spans reads a short history of V s. Samples are divided among threads, started anew for every
pass, so that nothing outlives a fork. Axes: time batch neuron.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine import operands
from gradflow.engine.kernels.backward import backward_many_spans, backward_one_span
from gradflow.engine.kernels.common import FLUSH
from gradflow.engine.kernels.forward import forward_many_spans, forward_one_span
from gradflow.engine.kernels.neuron import MEASURES
from gradflow.engine.kernels.vector import ROWS, tile_columns
from gradflow.engine.operands import Shares, scratch, spike_lists
from gradflow.engine.trace import LayerTrace
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Taps
from gradflow.shapes import Sequence
from gradflow.surrogate import TAIL, Surrogate

DENSE_SHARE = 0.5
"""Share of firing neurons from which a dense product beats adding the rows of those that fired."""
BLOCK_BYTES = 2**18
"""Size of a block's products, so that they stay in the second-level cache between product and scan."""


@dataclass
class Observation:
    """What the adjoint of one layer measured on its way, filled by the backward pass.

    Attributes:
        measures: (time, batch, measure) in float64, the measures named in `MEASURES`.
    """

    measures: Float[np.ndarray, "time batch measure"] | None = None

    @classmethod
    def joined(cls, parts: list["Observation"]) -> "Observation":
        """Return the observations of consecutive segments as one."""
        return cls(np.concatenate([part.measures for part in parts if part.measures is not None]))

    def of(self, name: str) -> Float[np.ndarray, "time batch"]:
        """Return one measure by its name."""
        if self.measures is None:
            raise ValueError(f"{name}: nothing was observed yet; run the backward pass first")
        found: np.ndarray = self.measures[..., MEASURES.index(name)]
        return found


@dataclass(frozen=True)
class Plan:
    """What is fixed for one layer and one pass."""

    spans: tuple[int, ...]
    surrogate: Surrogate
    attached: bool
    observation: Observation | None
    reach: int


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
        u, s = np.empty_like(x), np.empty_like(x)
        spans, p = operands.acting_taps(plan.spans, weights, len(x), x.dtype)
        fixed = _Fixed.of(V, tuple(coefficients), gate, drive.shape[2], x)
        _forward(x, u, s, spans, p, fixed)
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
        fixed = _Fixed.of(V, tuple(coefficients), gate, neurons, u)
        wanted = _Wanted(V=needs[1], neuron=any(needs[2:6]), p=needs[7])
        back = _backward(u, grads, ctx.spans, ctx.p, fixed, ctx.plan, wanted, neurons)
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


@dataclass(frozen=True)
class _Fixed:
    """V and its transpose, the coefficients and the gates as the kernels take them."""

    V: np.ndarray
    VT: np.ndarray
    coefficients: np.ndarray
    gates: np.ndarray
    gated: bool

    @classmethod
    def of(
        cls,
        V: Tensor | None,
        coefficients: tuple[Tensor, ...],
        gate: Tensor | None,
        neurons: int,
        like: np.ndarray,
    ) -> "_Fixed":
        return cls(
            operands.matrix(V, like),
            operands.matrix(V, like, transposed=True),
            operands.rows_of(coefficients, neurons, like),
            operands.gates_of(gate, neurons, like),
            gate is not None,
        )


def _forward(
    x: np.ndarray, u: np.ndarray, s: np.ndarray, spans: np.ndarray, p: np.ndarray, fixed: _Fixed
) -> None:
    """Fill u and s, samples divided among threads."""
    tile = tile_columns(x.itemsize)

    def one_span(b0: int, b1: int) -> None:
        span, weight = _single(spans, p)
        forward_one_span(
            x,
            fixed.VT,
            span,
            weight,
            fixed.gates,
            fixed.coefficients,
            u,
            s,
            scratch(ROWS + b1 - b0, x),
            spike_lists(x),
            tile,
            DENSE_SHARE * x.shape[2],
            b0,
            b1,
        )

    def many_spans(b0: int, b1: int) -> None:
        forward_many_spans(
            x,
            fixed.VT,
            spans,
            _offsets(spans, x),
            p,
            fixed.gates,
            fixed.coefficients,
            u,
            s,
            scratch(1 + ROWS, x),
            _history(spans, x),
            spike_lists(x),
            tile,
            b0,
            b1,
        )

    operands.run_slices(many_spans if len(spans) > 1 else one_span, x.shape[1], len(x) * x.shape[2])


@dataclass(frozen=True)
class _Wanted:
    """Which gradients of parameters are asked for."""

    V: bool
    neuron: bool
    p: bool


@dataclass(frozen=True)
class _Back:
    """What the adjoint yields; gradients that were not asked for are empty or 0."""

    g: np.ndarray
    V_grad: np.ndarray
    neuron_grads: np.ndarray
    p_grad: np.ndarray


def _backward(
    u: np.ndarray,
    grads: tuple[Tensor | None, ...],
    spans: np.ndarray,
    p: np.ndarray,
    fixed: _Fixed,
    plan: Plan,
    wanted: _Wanted,
    neurons: int,
) -> _Back:
    """Run the adjoint, samples divided among threads, and add up what the threads accumulated."""
    wide, tile, single = u.shape[2], tile_columns(u.itemsize), len(spans) <= 1
    nothing = np.zeros((1, 1, wide), u.dtype)
    arriving, direct = (nothing if grad is None else operands.padded(grad) for grad in grads[:2])
    last = nothing if grads[2] is None else operands.padded(grads[2][None])
    tail = nothing[:0] if grads[3] is None else operands.padded(grads[3])
    kind, height, given = operands.slope(plan.surrogate, u, fixed.coefficients[3])
    limit = 0.0 if plan.surrogate.compact else TAIL * plan.surrogate.peak
    surrogate = (kind, *(u.dtype.type(number) for number in (height, plan.attached, limit)))
    g = np.empty_like(u)
    gated = np.empty_like(u) if single and fixed.gated else g
    seen = np.empty((*u.shape[:2], len(MEASURES)) if plan.observation is not None else (0, 0, 0))
    taken = len(spans) > 0 and (wanted.V or (wanted.p and single))
    V_shares, neuron_shares, p_shares = Shares(), Shares(), Shares()

    def one_span(b0: int, b1: int) -> None:
        span, weight = _single(spans, p)
        block = max(1, min(span, BLOCK_BYTES // ((b1 - b0) * wide * u.itemsize)))
        backward_one_span(
            u,
            direct,
            arriving,
            given,
            last,
            tail,
            fixed.V,
            scratch(wide * taken, u),
            V_shares.add(b0, wide * taken, wide),
            span,
            weight,
            fixed.gates,
            fixed.coefficients,
            surrogate,
            neuron_shares.add(b0, 4 * wanted.neuron, wide),
            seen,
            neurons,
            g,
            gated,
            scratch(3 + block * (b1 - b0) + ROWS, u),
            spike_lists(u),
            tile,
            block,
            b0,
            b1,
        )

    def many_spans(b0: int, b1: int) -> None:
        taps = len(spans) * wanted.p
        backward_many_spans(
            u,
            direct,
            arriving,
            given,
            last,
            tail,
            fixed.V,
            fixed.VT,
            scratch(wide * taken, u),
            V_shares.add(b0, wide * taken, wide),
            spans,
            _offsets(spans, u),
            p,
            p_shares.add(b0, taps),
            fixed.gates,
            fixed.coefficients,
            surrogate,
            neuron_shares.add(b0, 4 * wanted.neuron, wide),
            seen,
            neurons,
            g,
            scratch(3 * ROWS, u),
            _history(spans, u),
            scratch(taps, u),
            spike_lists(u),
            tile,
            b0,
            b1,
        )

    operands.run_slices(one_span if single else many_spans, u.shape[1], len(u) * wide)
    if plan.observation is not None:
        plan.observation.measures = seen
    V_grad = V_shares.total().T if taken else np.zeros(fixed.V.shape)
    if single and taken:
        # Σ gated s ŝᵀ without p serves both: ∂L/∂p is its product with V, ∂L/∂V its multiple
        p_grad = np.array([np.sum(V_grad * fixed.V)])
        V_grad = V_grad * p[0]
    else:
        p_grad = p_shares.total() if wanted.p and len(spans) else np.zeros(len(spans))
    return _Back(g, V_grad, neuron_shares.total(), p_grad)


def _single(spans: np.ndarray, p: np.ndarray) -> tuple[int, Any]:
    """Return the one span and its weight; span 0 where none acts."""
    return (int(spans[0]), p[0]) if len(spans) else (0, p.dtype.type(1.0))


def _offsets(spans: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return where, relative to now, span d lies in a history of four samples."""
    offsets: np.ndarray = -spans * (ROWS * like.shape[2])
    return offsets


def _history(spans: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return room for the longest span and the steps until it must be moved, four samples wide."""
    depth = 3 * int(spans[-1]) + FLUSH
    return np.zeros((depth, ROWS * like.shape[2]), like.dtype)


def gate_gradient(gate: Tensor, g: Tensor, over: Tensor, V: Tensor | None, taps: Taps) -> Tensor:
    """Return ∂L/∂gate[t] = Σ g[t] ∘ V ŝ[t] over what shares it: samples, and the neurons of one gate."""
    found = torch.zeros_like(gate)
    if V is not None:
        recurrent = taps.read((over >= 0).to(g.dtype)) @ V.T
        by_neuron = (g * recurrent).sum(dim=1)
        found[: len(g)] = by_neuron if gate.ndim == 2 else by_neuron.sum(dim=1)
    return found
