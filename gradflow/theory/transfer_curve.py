"""The second-moment transfer operator, step by step: E ‖P(T,t)‖_F² for every lag from the true end condition.

Axes: block neuron neuron, and lag. Let a[t], φ[t] be drawn at each step, independently of other steps, with
any correlation between neurons; V is one fixed matrix. Write P(t) for P(T,t), M for what recurrence adds:

    P(t) = P(t+1) A_t + M(t) V Φ_t,    M(t) = Σ_d p_d P(t+d) Γ_{t+d},    P(T) = 1, P(t) = 0 for t > T

P(t+1) and M(t) know only steps after t, so A_t and Φ_t average out of every product: E[A Y A] = E[a aᵀ] ∘ Y.
With G_k[t] = E P(t)ᵀ P(t+k), k = 0 … D−1, and B_k[t] = E M(t)ᵀ P(t+k), k = 1 … D:

    B_k[t] = Σ_{d ≤ k} p_d γ̄ G_{k−d}[t+d] + Σ_{d > k} p_d γ̄ G_{d−k}[t+k]ᵀ             (γ̄ scales rows)
    G_k[t] = diag(ā) G_{k−1}[t+1] + diag(φ̄) Vᵀ B_k[t],    1 ≤ k < D
    G₀[t]  = S_aa ∘ G₀[t+1] + X + Xᵀ + S_φφ ∘ (Vᵀ N[t] V),    X = S_aφ ∘ (B_1[t]ᵀ V)
    N[t]   = E M(t)ᵀ M(t) = Σ_d p_d B_d[t] γ̄ + Σ_d p_d² (S_γγ − γ̄ γ̄ᵀ) ∘ G₀[t+d]       (γ̄ scales columns)

since M(t) is a sum over d of P(t+d) Γ_{t+d}, and P(s)ᵀ P(s') is G_{s'−s}[s] or the transpose of G_{s−s'}[s'].
For one span N = S_γγ ∘ G₀[t+λ] and B_k = γ̄ G_{λ−k}[t+k]ᵀ. A gate is taken as drawn independently of a and φ,
and by several spans at each use: exact where it is constant in time, as it is at initialisation.
(Random matrix products: half the growth of G₀ is L(2)/2 of Paladin & Vulpiani 1987.)
"""

from collections.abc import Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float

from gradflow.theory.moments import RANGE, Moments
from gradflow.theory.transfer_pairs import one_span_traces

Matrix: TypeAlias = Float[np.ndarray, "neuron neuron"]
Blocks: TypeAlias = Float[np.ndarray, "block neuron neuron"]

LOW, HIGH = -200, 200
"""Binary exponents of the largest element of G₀ between which nothing is rescaled."""


@runtime_checkable
class Past(Protocol):
    """What the operator reads: G_block at so many steps after t, 0 beyond the end."""

    depth: int

    def read(self, block: int, back: int) -> Matrix:
        """Return G_block[t + back], for 1 ≤ back ≤ D − block."""


class History:
    """The blocks G_j of the last D − j steps, j = 0 … D−1; those after the end are 0."""

    def __init__(self, depth: int, neurons: int) -> None:
        self.depth, self.lag = depth, 0
        self.rings = [np.zeros((depth - j, neurons, neurons)) for j in range(depth)]

    def read(self, block: int, back: int) -> Matrix:
        """Return G_block[t + back], for 1 ≤ back ≤ D − block."""
        ring = self.rings[block]
        held: Matrix = ring[(self.lag - back) % len(ring)]
        return held

    def push(self, blocks: Blocks) -> None:
        """Put the blocks of t in the place of those no longer needed, and go on to t − 1."""
        for ring, block in zip(self.rings, blocks, strict=True):
            ring[self.lag % len(ring)] = block
        self.lag += 1

    def scale(self, power: int) -> None:
        """Multiply all blocks by 2^power."""
        for ring in self.rings:
            np.ldexp(ring, power, out=ring)


def transfer_curve(
    moments: Moments, V: Matrix, taps: Mapping[int, float], length: int
) -> Float[np.ndarray, " lag"]:
    """Return ½ log tr G₀ in nats at lag 0 … length − 1: ½ log E ‖P(T,t)‖_F², −∞ where it is 0.

    `taps` maps each span d to p_d. Exact for factors that are independent in time, at any span and length.

    Raises ValueError for a length below 1, a span below 1, or factors whose fourth powers leave float64.

    Cost: 2 (λ + 1) S³ operations per lag for one span λ and no gate, S the neurons that are not at rest
    (φ = 0, a constant: `transfer_pairs`); 2 (λ + 1) H³ with a gate, 2 (D + 2) H³ + 4 D² H² for spans up to D.
    Memory 4 λ (λ + 3) H² bytes: all pairs of the last λ steps are known; `transfer_rate` does with λ H².

    >>> quarter = np.full((2, 2), 0.25)
    >>> constant = Moments(quarter, quarter, quarter, np.full(2, 0.5), np.full(2, 0.5))
    >>> transfer_curve(constant, np.eye(2), {2: 1.0}, length=4).round(4).tolist()
    [0.3466, -0.3466, 0.0589, -0.1234]
    """
    if length < 1:
        raise ValueError(f"length: got {length}, expected 1 or more lags")
    check_factors(moments, V, taps)
    taps = {d: p for d, p in taps.items() if d < length and p != 0.0}
    if len(taps) == 1 and moments.gate is None:
        ((span, weight),) = taps.items()
        return 0.5 * np.fromiter(one_span_traces(moments, V, span, weight), np.float64, count=length)
    depth, neurons = max(taps, default=1), len(V)
    history = History(depth, neurons)
    blocks = np.zeros((depth, neurons, neurons))
    blocks[0] = np.eye(neurons)
    curve, power = np.empty(length), 0
    for lag in range(length):
        if lag:
            step(history, moments, V, taps, out=blocks)
        top = int(np.frexp(np.abs(blocks[0]).max())[1])
        if not LOW < top < HIGH:
            np.ldexp(blocks, -top, out=blocks)
            history.scale(-top)
            power += top
        history.push(blocks)
        with np.errstate(divide="ignore"):  # log 0 = −∞: no path of this length
            curve[lag] = 0.5 * (np.log(np.trace(blocks[0])) + power * np.log(2.0))
    return curve


def step(
    past: Past,
    moments: Moments,
    V: Matrix,
    taps: Mapping[int, float],
    *,
    out: Blocks,
) -> None:
    """Write G_0 … G_{D−1} of t into `out`, the highest index before 0, from those of later steps."""
    cross: Matrix | float = 0.0
    if taps:
        arrived = arriving(past, moments, taps)
        used = max(past.depth - 1, 1)
        turned = (arrived[:used].reshape(-1, len(V)) @ V).reshape(used, *V.shape)
        cross = moments.a_phi * turned[0]
        for k in range(1, past.depth):
            out[k] = moments.a[:, None] * past.read(k - 1, 1) + moments.phi[:, None] * turned[k - 1].T
    carried = moments.a_a * past.read(0, 1)
    carried += cross + np.transpose(cross)
    if taps:
        carried += moments.phi_phi * (V.T @ pairs(past, moments, taps, arrived) @ V)
    out[0] = carried


def arriving(past: Past, moments: Moments, taps: Mapping[int, float]) -> Blocks:
    """Return B_1ᵀ, B_2ᵀ, … as far as they are read: to λ − 1 for one span (at least one), else to D."""
    count = past.depth if len(taps) > 1 else max(past.depth - 1, 1)
    arrived = np.zeros((count, *past.read(0, 1).shape))
    for k, total in enumerate(arrived, 1):
        for d, p in taps.items():
            total += p * (past.read(k - d, d).T if d <= k else past.read(d - k, k))
    if moments.gate is not None:
        arrived *= moments.gate
    return arrived


def pairs(past: Past, moments: Moments, taps: Mapping[int, float], arrived: Blocks) -> Matrix:
    """Return N = E Mᵀ M of step t."""
    if len(taps) == 1:
        ((d, p),) = taps.items()
        same = p * p * past.read(0, d)
        return same if moments.gate_gate is None else moments.gate_gate * same
    both = np.tensordot(list(taps.values()), arrived[[d - 1 for d in taps]], axes=1)
    if moments.gate is None or moments.gate_gate is None:
        return both
    spread = moments.gate_gate - np.outer(moments.gate, moments.gate)
    alone = sum(p * p * past.read(0, d) for d, p in taps.items())
    return moments.gate[:, None] * both + spread * alone


def check_factors(moments: Moments, V: Matrix, taps: Mapping[int, float]) -> None:
    """Refuse spans below 1, a V of another size, and factors whose fourth powers leave float64."""
    if any(d < 1 for d in taps):
        raise ValueError(f"taps: got spans {sorted(taps)}, expected whole numbers of steps >= 1")
    if V.shape != moments.a_a.shape:
        raise ValueError(f"V: got {V.shape}, expected {moments.a_a.shape}, the size of the moments")
    size = {"V": np.abs(V).max(initial=0.0), "p": max(map(abs, taps.values()), default=0.0)}
    size |= {"a": np.sqrt(np.diag(moments.a_a).max()), "phi": np.sqrt(np.diag(moments.phi_phi).max())}
    for name, value in size.items():
        if value and not 1.0 / RANGE < value < RANGE:
            raise ValueError(
                f"{name}: its largest element is {value:.3g}; the transfer operator squares factors in "
                f"float64 and expects {1 / RANGE:g} … {RANGE:g}. Rescale the layer"
            )
