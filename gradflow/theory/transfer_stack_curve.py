"""The second-moment transfer operator of a stack, step by step: E ‖∂u_m[T]/∂u_l[t]‖_F² for every lag.

Axes: neurons of all layers and kept lags one after the other. As in `transfer_curve`, let a[t], φ[t] be drawn
at each step independently of other steps, with any correlation within a layer; and those of different layers
independently of each other. Write P_l(t) for ∂u_m[T]/∂u_l[t] and C_l for what its layer's φ multiplies:

    P_l(t) = P_l(t+1) A_l + C_l(t) Φ_l,    C_l(t) = Σ_d p_d P_l(t+d) Γ_l V_l + P_l+1(t) Γ_l+1 L_l+1

with P_m(T) = 1. Let S hold the P_l(t), …, P_l(t+D_l−1) of all layers and Z = E Sᵀ S. C_l(t) is linear in S as
it is before layer l comes down to t (the layer above has), C_l = S M_l, and A_l, Φ_l are independent of it:

    E C_lᵀ S      = M_lᵀ Z
    E P_l(t)ᵀ S   = diag(ā) E P_l(t+1)ᵀ S + diag(φ̄) E C_lᵀ S                              other blocks
    E P_l(t)ᵀP_l(t) = S_aa ∘ E P_l(t+1)ᵀP_l(t+1) + X + Xᵀ + S_φφ ∘ (M_lᵀ Z M_l),    X = S_aφ ∘ E P_l(t+1)ᵀ C_l

The blocks between layers are needed: two paths that leave layer l at different steps are not independent.
Gates and layer norm vary from step to step; their means enter M, their variance the last line alone, as if it
were drawn anew at each use. Each layer's P has an exponent of its own.

That layers are not independent at a step matters little on digits: with 64-128-128 neurons, λ = 4 and 196
steps, products of steps drawn for all layers together and for each apart differ by less than 0.1 nats, in
curves that come down to e^−32 … e^−74, and the curve of the run itself is 0.3 away at most. Over 784 steps
the average product's rates from the three layers are −.0394, −.0688, −.1171 (predicted −.0403, −.0691,
−.1172) at λ = 16, and −.523, −.604, −.662 (−.531, −.605, −.662) at λ = 1. What is not in it is the memory of
φ: at α = 0.9, λ = 1, with a hard detached reset, the product grows by .160 a step, .148 with its steps
permuted in time, and .148 as predicted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.theory.moments import Moments
from gradflow.theory.transfer_curve import HIGH, LOW, Matrix, check_factors

MEMORY_BUDGET = 512 * 2**20
"""Bytes: three layers of 64, 128 and 128 neurons up to spans of 25."""


@dataclass(frozen=True)
class StackLayer:
    """What the operator reads of one layer.

    Attributes:
        moments: of a, φ and the gate.
        V, taps: recurrent matrix, and p_d by d.
        link: mean of the Jacobian of its currents by the spikes below, E L (target, source).
        spread: E L² over (E L)², elements taken together: 1 where it is constant.
    """

    moments: Moments
    V: Matrix
    taps: Mapping[int, float]
    link: Float[np.ndarray, "neuron source"]
    spread: float = 1.0

    @property
    def depth(self) -> int:
        """Return how many lags are kept."""
        return max(self.taps, default=1)

    @property
    def gate(self) -> Float[np.ndarray, " neuron"]:
        """Return the mean gate."""
        return np.ones(len(self.V)) if self.moments.gate is None else self.moments.gate


def transfer_stack_curve(
    layers: Sequence[StackLayer], length: int, *, memory_budget: int = MEMORY_BUDGET
) -> Float[np.ndarray, "layer lag"]:
    """Return ½ log E ‖∂u_m[T]/∂u_l[t]‖_F² in nats, l from the first layer given to the last, m.

    Exact for factors that are independent in time and between layers; −∞ where no path leads.

    Raises ValueError for no layers, a length below 1, what `transfer_curve` refuses, links that do not fit,
    or a memory budget under what Z takes.

    Cost: 2 K Σ_l H_l (H_l + H_l+1) operations per lag, K = Σ_l D_l H_l with D_l the longest span; memory
    8 K² bytes. (Its rate takes that of one layer alone: `transfer_stack`.)

    >>> quarter = np.full((1, 1), 0.25)
    >>> half = Moments(quarter, quarter, quarter, np.full(1, 0.5), np.full(1, 0.5))
    >>> layer = StackLayer(half, np.zeros((1, 1)), {}, np.ones((1, 1)))
    >>> np.exp(transfer_stack_curve([layer, layer], length=3)).round(9).tolist()
    [[0.5, 0.5, 0.375], [1.0, 0.5, 0.25]]
    """
    check_stack(layers, length, memory_budget)
    state = State(layers)
    curve = np.empty((len(layers), length))
    for lag in range(length):
        for index in range(len(layers) - 1, -1, -1):
            curve[index, lag] = state.advance(index, lag)
    return curve


class State:
    """Z, and how it is laid out: lag n of layer l in slot n mod D_l of its part."""

    def __init__(self, layers: Sequence[StackLayer]) -> None:
        self.layers = layers
        sizes = [layer.depth * len(layer.V) for layer in layers]
        self.starts = np.cumsum([0, *sizes])
        self.Z = np.zeros((self.starts[-1],) * 2)
        self.exponents: list[int | None] = [None] * len(layers)

    def block(self, index: int, lag: int) -> slice:
        """Return the place of one layer's P at a lag."""
        layer, n = self.layers[index], len(self.layers[index].V)
        start = int(self.starts[index]) + lag % layer.depth * n
        return slice(start, start + n)

    def advance(self, index: int, lag: int) -> float:
        """Bring one layer to this lag, after those above it, and return ½ log E ‖P‖²."""
        layer, moments = self.layers[index], self.layers[index].moments
        now, past = self.block(index, lag), self.block(index, lag - 1)
        if lag == 0 and index == len(self.layers) - 1:
            self.Z[now, now], self.exponents[index] = np.eye(len(layer.V)), 0
            return self.settle(index, now)
        arrived = self.arriving(index, lag)
        cross = moments.a_phi * arrived[:, past].T
        same = moments.a_a * self.Z[past, past] + cross + cross.T
        same += moments.phi_phi * self.pairs(index, lag, arrived)
        rows = moments.a[:, None] * self.Z[past] + moments.phi[:, None] * arrived
        self.Z[now], self.Z[:, now] = rows, rows.T
        self.Z[now, now] = same
        return self.settle(index, now)

    def arriving(self, index: int, lag: int) -> Float[np.ndarray, "neuron state"]:
        """Return E Cᵀ S."""
        layer = self.layers[index]
        found = np.zeros((len(layer.V), len(self.Z)))
        if layer.taps:
            mixed = sum(p * self.Z[self.block(index, lag - d)] for d, p in layer.taps.items())
            found += (layer.gate[:, None] * layer.V).T @ mixed
        climb = self.climb(index)
        if climb is not None:
            found += climb.T @ self.Z[self.block(index + 1, lag)]
        return found

    def climb(self, index: int) -> Float[np.ndarray, "above neuron"] | None:
        """Return Γ L of the layer above between the two layers' exponents; None where nothing comes."""
        if index + 1 == len(self.layers):
            return None
        above, exponent = self.layers[index + 1], self.exponents[index + 1]
        if exponent is None:
            return None
        own = self.exponents[index]
        if own is None:
            own = self.exponents[index] = exponent
        return np.asarray(np.ldexp(above.gate[:, None] * above.link, exponent - own))

    def pairs(self, index: int, lag: int, arrived: Float[np.ndarray, "neuron state"]) -> Matrix:
        """Return E Cᵀ C."""
        layer = self.layers[index]
        found = np.zeros_like(layer.V)
        for d, p in layer.taps.items():
            there = self.block(index, lag - d)
            found += p * (layer.gate[:, None] * layer.V).T @ arrived[:, there].T
            excess = gate_excess(layer.moments)
            if excess is not None:
                found += p * p * layer.V.T @ (excess * self.Z[there, there]) @ layer.V
        climb = self.climb(index)
        if climb is None:
            return found
        there, above = self.block(index + 1, lag), self.layers[index + 1]
        found += climb.T @ arrived[:, there].T
        second = self.Z[there, there]
        found += (above.spread - 1.0) * climb.T @ second @ climb
        excess = gate_excess(above.moments)
        if excess is not None:
            own, exponent = self.exponents[index], self.exponents[index + 1]
            assert own is not None
            assert exponent is not None
            link = np.ldexp(above.link, exponent - own)
            found += above.spread * link.T @ (excess * second) @ link
        return found

    def settle(self, index: int, now: slice) -> float:
        """Keep the layer's elements in range; return ½ log tr E PᵀP."""
        size = float(np.trace(self.Z[now, now]))
        if size <= 0.0:
            return -np.inf
        exponent, own = int(np.frexp(size)[1]), self.exponents[index]
        assert own is not None
        if not LOW < exponent < HIGH:
            part, shift = slice(self.starts[index], self.starts[index + 1]), exponent // 2
            self.Z[part] = np.ldexp(self.Z[part], -shift)
            self.Z[:, part] = np.ldexp(self.Z[:, part], -shift)
            self.exponents[index], size = own + shift, float(np.ldexp(size, -2 * shift))
            own += shift
        return float(0.5 * np.log(size) + own * np.log(2.0))


def gate_excess(moments: Moments) -> Matrix | None:
    """Return E[γ γᵀ] − E γ E γᵀ, None without a gate."""
    if moments.gate is None or moments.gate_gate is None:
        return None
    return moments.gate_gate - np.outer(moments.gate, moments.gate)


def check_stack(layers: Sequence[StackLayer], length: int, budget: int) -> None:
    """Refuse what cannot be computed."""
    if length < 1 or not layers:
        raise ValueError(f"got {len(layers)} layers, length {length}; expected 1 or more of both")
    for index, layer in enumerate(layers):
        check_factors(layer.moments, layer.V, layer.taps)
        wanted = (len(layer.V), len(layers[index - 1].V))
        if index and layer.link.shape != wanted:
            raise ValueError(f"link of layer {index}: got {layer.link.shape}, expected {wanted}")
    need = 8 * sum(layer.depth * len(layer.V) for layer in layers) ** 2
    if need > budget:
        raise ValueError(
            f"memory_budget={budget}: the second moments of all layers' last spans take {need} bytes; give "
            "more, or predict fewer layers or shorter spans"
        )
