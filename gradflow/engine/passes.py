"""The two passes of the fused engine over arrays: what kernels get, and what the threads' shares add up to.

Axes: time batch neuron, the last padded to a multiple of 64.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gradflow.engine import operands
from gradflow.engine.kernels.backward import backward_many_spans, backward_one_span
from gradflow.engine.kernels.common import FLUSH
from gradflow.engine.kernels.forward import forward_many_spans, forward_one_span
from gradflow.engine.kernels.neuron import MEASURES
from gradflow.engine.kernels.vector import ROWS, tile_columns
from gradflow.engine.memory import empty
from gradflow.engine.observation import Observation
from gradflow.engine.operands import Shares, scratch, spike_lists
from gradflow.surrogate import TAIL, Surrogate

DENSE_SHARE = 0.5
"""Share of firing neurons from which a dense product beats adding the rows of those that fired."""
BLOCK_BYTES = 2**18
"""Size of a block's products, so that they stay in the second-level cache between product and scan."""


@dataclass(frozen=True)
class Plan:
    """What is fixed for one layer and one pass."""

    spans: tuple[int, ...]
    surrogate: Surrogate
    attached: bool
    observation: Observation | None
    reach: int


@dataclass(frozen=True)
class Fixed:
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
    ) -> "Fixed":
        """Return the arrays of one layer, in the dtype and padded width of `like`."""
        return cls(
            operands.matrix(V, like),
            operands.matrix(V, like, transposed=True),
            operands.rows_of(coefficients, neurons, like),
            operands.gates_of(gate, neurons, like),
            gate is not None,
        )


def forward_pass(
    x: np.ndarray, u: np.ndarray, s: np.ndarray, spans: np.ndarray, p: np.ndarray, fixed: Fixed
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
class Wanted:
    """Which gradients of parameters are asked for."""

    V: bool
    neuron: bool
    p: bool


@dataclass(frozen=True)
class Back:
    """What the adjoint yields; gradients that were not asked for are empty or 0."""

    g: np.ndarray
    V_grad: np.ndarray
    neuron_grads: np.ndarray
    p_grad: np.ndarray


def backward_pass(
    u: np.ndarray,
    grads: tuple[Tensor | None, ...],
    spans: np.ndarray,
    p: np.ndarray,
    fixed: Fixed,
    plan: Plan,
    wanted: Wanted,
    neurons: int,
) -> Back:
    """Run the adjoint, samples divided among threads, and add up what the threads accumulated."""
    wide, tile, single = u.shape[2], tile_columns(u.itemsize), len(spans) <= 1
    nothing = np.zeros((1, 1, wide), u.dtype)
    arriving, direct = (nothing if grad is None else operands.padded(grad) for grad in grads[:2])
    last = nothing if grads[2] is None else operands.padded(grads[2][None])
    tail = nothing[:0] if grads[3] is None else operands.padded(grads[3])
    kind, height, given = operands.slope(plan.surrogate, u, fixed.coefficients[3])
    limit = 0.0 if plan.surrogate.compact else TAIL * plan.surrogate.peak
    surrogate = (kind, *(u.dtype.type(number) for number in (height, plan.attached, limit)))
    g = empty(u.shape, u.dtype)
    gated = empty(u.shape, u.dtype) if single and fixed.gated else g
    measured = (len(MEASURES), *u.shape[:2]) if plan.observation is not None else (0, 0, 0)
    seen = empty(measured, np.dtype(np.float64))
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
    return Back(g, V_grad, neuron_shares.total(), p_grad)


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
