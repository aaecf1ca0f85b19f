"""Statistics of u, s, φ and a without samples: the density of every neuron's u, step by step.

Axes: neuron, source neuron, and (for autocovariances) lag neuron. With the input x = E x + Σ_r ε_r f_r,

    u[t] = c[t−1] + ξ[t],    ξ = offset + gate (W x + b + V ŝ),    ŝ[t] = Σ_d p_d s[t−d]

is a step of each neuron's own density: move it by c, stretch it for what ξ shares with c, blur it by the rest
of ξ. What this takes from the network is self-consistent: statistics of s that the densities themselves give.

*Mean*:  E ξ = offset + gate (W E x + b + V E ŝ).

*Shared* with the input, S_y = Cov(ε, y):  S_u = S_c[t−1] + S_ξ,  S_ξ = gate (S_x Wᵀ + S_ŝ Vᵀ).

*Own* is what is left of s, taken as independent between neurons but not over time: R_m = Cov(s[t], s[t−m])
less the shared part. Past spikes are felt through the potential alone, to first order, κ_f being the slope of
f's regression on u:

    Cov(u[t], s[t−m]) = Cov(c[t−1], s[t−m]),
    Cov(c[t], s[t−m]) = κ_c Cov(u[t], s[t−m]),    R_m = κ_s Cov(u[t], s[t−m])

*Together*, with Q_m = (W∘W) R_m of x + (V∘V) R_m of ŝ:

    Var ξ = Σ_r S_ξ² + gate² Q_0
    Cov(c[t−1], ξ[t]) = Σ_r S_c S_ξ + gate² Σ_{m ≥ 1} κ_c[t−1] ⋯ κ_c[t−m] Q_m

*Pairs*: each u is an increasing function of a Gaussian z; with f_k = E f(u) h_k(z) and ρ = Σ_r S_z S_z',

    S_f = f_1 S_z,    κ_f = f_1 / u_1,    E f(u) g(u') = Σ_{k ≤ K} f_k g'_k ρᵏ

Left out: correlations between neurons that the recurrence makes, what a spike does to its own neuron through
V, and that the input is not Gaussian. `sampled_closure` has the first two, and the third if its law has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.theory.closure import Closed, MomentSum, require_fit
from gradflow.theory.density import Density, PerNeuron
from gradflow.theory.input_law import InputLaw
from gradflow.theory.update_rule import LayerWeights, UpdateRule

CELLS = 128
"""Cells of a grid of ± REACH deviations: 9 to a deviation. Twice as many move rates by 1e-4 of themselves."""
REACH = 7.0
NARROWEST = 1e-9
"""Half width of the grid of a potential that does not vary."""
ORDERS = 6
"""K: at ρ = ½ the next term is at most 1 % of the first."""
LAGS = 32
"""Lags of own autocovariances. At α = 0.9 a potential keeps 3 % over them, without any reset."""
PAIRS = {"a_a": ("a", "a"), "a_phi": ("a", "phi"), "phi_phi": ("phi", "phi")}


@dataclass(frozen=True)
class Signal:
    """One step of an input, a current or spikes: mean, covariance with ε, own autocovariance."""

    mean: PerNeuron
    S: Float[np.ndarray, "source neuron"]
    own: Float[np.ndarray, "lag neuron"]

    @classmethod
    def silent(cls, neurons: int, sources: int) -> "Signal":
        """Return a signal that is 0."""
        return cls(np.zeros(neurons), np.zeros((sources, neurons)), np.zeros((LAGS + 1, neurons)))


class Ensemble:
    """The closure of one layer, one step at a time."""

    def __init__(self, layer: LayerWeights, sources: int, cells: int) -> None:
        neurons = layer.neurons
        self.layer, self.t, self.cells = layer, 0, cells
        self.c_where, self.c_mass = np.zeros((neurons, 1)), np.ones((neurons, 1))
        self.S_c = np.zeros((sources, neurons))
        self.tied = np.zeros((LAGS, neurons))  # Cov(c[t−1], s[t−m]), m = 1 …
        self.response = np.zeros((LAGS, neurons))  # κ_c[t−1] ⋯ κ_c[t−m]
        self.past = [Signal.silent(neurons, sources)] * layer.depth
        self.V_square, self.W_square = layer.V**2, layer.W**2
        self.mixing = mixing(layer.taps)

    @property
    def spikes(self) -> Signal:
        """The spikes of the last step."""
        return self.past[-1]

    def step(self, below: Signal) -> "Coefficients":
        """Go one step on with this input, and return what follows from the new density."""
        rule = self.layer.rule
        gate = rule.gate_at(self.t)
        current = self.current(below)
        S_x, own = gate * current.S, np.square(gate) * current.own
        noise = np.einsum("rn,rn->n", S_x, S_x) + own[0]
        c_mean = (self.c_mass * self.c_where).sum(axis=1)
        centred = self.c_where - c_mean[:, None]
        c_var = (self.c_mass * centred**2).sum(axis=1)
        shared = np.einsum("rn,rn->n", self.S_c, S_x) + (self.response * own[1:]).sum(axis=0)
        most = np.sqrt(c_var * noise)  # no covariance is larger; first order in time may say so
        shared = np.clip(shared, -most, most)
        slope = np.divide(shared, c_var, out=np.zeros_like(shared), where=c_var > 0.0)
        centre = c_mean + rule.offset + gate * current.mean
        deviation = np.sqrt(np.maximum(c_var + 2.0 * shared + noise, 0.0))
        half = np.maximum(REACH * deviation, NARROWEST)
        density = Density(centre, half, rule.threshold, self.cells)
        density.put(centre[:, None] + (1.0 + slope[:, None]) * centred, self.c_mass)
        density.blur(noise - slope * shared)
        found = Coefficients(density, rule, self.S_c + S_x)
        self.keep(density, found)
        return found

    def current(self, below: Signal) -> Signal:
        """Return the statistics of W x + b + V ŝ[t]."""
        layer = self.layer
        mean, S, own = layer.W @ below.mean + layer.b, below.S @ layer.W.T, below.own @ self.W_square.T
        if layer.taps:
            read = [(p, self.past[-d]) for d, p in layer.taps.items()]
            mean = mean + layer.V @ np.sum([p * spikes.mean for p, spikes in read], axis=0)
            S = S + np.sum([p * spikes.S for p, spikes in read], axis=0) @ layer.V.T
            nearest = self.past[-min(layer.taps)]
            own = own + self.mixing @ nearest.own @ self.V_square.T
        return Signal(mean, S, own)

    def keep(self, density: Density, found: "Coefficients") -> None:
        """Hold what later steps read: c, the spikes, and what c shares with ε and with past spikes."""
        rate = found.of["s"][0]
        S_s, self.S_c = found.shared("s"), found.shared("c")
        own = rate * (1.0 - rate) - np.einsum("rn,rn->n", S_s, S_s)
        autocovariance = np.vstack([np.maximum(own, 0.0), found.slope("s") * self.tied])
        self.past = [*self.past[1:], Signal(rate, S_s, autocovariance)]
        self.c_where = self.layer.rule.carry(density.points.T, density.fired.T).T
        self.c_mass = density.mass
        together = (density.mass * density.fired * self.c_where).sum(axis=1)
        same_step = together - found.of["c"][0] * rate - np.einsum("rn,rn->n", self.S_c, S_s)
        carries = found.slope("c")
        self.tied = np.vstack([same_step, (carries * self.tied)[:-1]])
        self.response = np.vstack([carries, (carries * self.response)[:-1]])
        self.t += 1


class Coefficients:
    """What follows from a density.

    Attributes:
        of: Hermite coefficients of u, s, φ, a and c, (order, neuron).
        same: E a², E aφ and E φ² of every neuron.
        S_z: Cov(ε, z), (source, neuron).
    """

    def __init__(self, density: Density, rule: UpdateRule, S_u: Float[np.ndarray, "source neuron"]) -> None:
        self.density = density
        u, s = density.points.T, density.fired.T
        phi = rule.phi(u)
        values = {"u": u, "s": s, "phi": phi, "a": rule.local(u, s, phi), "c": rule.carry(u, s)}
        weights = density.hermite(ORDERS)
        self.of = {name: np.einsum("knc,cn->kn", weights, value) for name, value in values.items()}
        self.same = {
            name: np.einsum("nc,cn->n", density.mass, values[f] * values[g]) for name, (f, g) in PAIRS.items()
        }
        self.S_z = S_u / np.maximum(self.of["u"][1], np.finfo(np.float64).tiny)
        # a u far from Gaussian may share more with ε than with z
        self.S_z /= np.maximum(1.0, np.sqrt(np.einsum("rn,rn->n", self.S_z, self.S_z)))

    def shared(self, name: str) -> Float[np.ndarray, "source neuron"]:
        """Return S_f = f_1 S_z."""
        S: Float[np.ndarray, "source neuron"] = self.of[name][1] * self.S_z
        return S

    def slope(self, name: str) -> PerNeuron:
        """Return κ_f = f_1 / u_1, 0 for a potential that does not vary."""
        u = self.of["u"][1]
        slope: PerNeuron = np.divide(self.of[name][1], u, out=np.zeros_like(u), where=u > 0.0)
        return slope

    def add_to(self, total: MomentSum) -> None:
        """Add this step to the moments: (2 · sources + 12 K) H² operations."""
        rho = self.S_z.T @ self.S_z
        for name, (left, right) in PAIRS.items():
            f, g = self.of[left], self.of[right]
            value = np.outer(f[ORDERS], g[ORDERS])
            for k in reversed(range(ORDERS)):
                value *= rho
                value += np.outer(f[k], g[k])
            np.fill_diagonal(value, self.same[name])
            total.pairs[name] += value
        for name in total.means:
            total.means[name] += self.of[name][0]
        total.steps += 1


def mixing(taps: Mapping[int, float]) -> Float[np.ndarray, "lag lag"]:
    """Return Q with Cov(ŝ[t], ŝ[t−m]) = Σ_l Q[m,l] Cov(s[t], s[t−l]), ŝ = Σ_d p_d s[t−d].

    >>> mixing({3: 1.0})[:2, :2].tolist(), mixing({1: 0.5, 2: 0.5})[0, :3].tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5, 0.0])
    """
    Q = np.zeros((LAGS + 1, LAGS + 1))
    lag = np.arange(LAGS + 1)
    for d, p in taps.items():
        for e, q in taps.items():
            far = np.abs(lag + e - d)
            near = far <= LAGS
            Q[lag[near], far[near]] += p * q
    return Q


def density_closure(law: InputLaw, layers: Sequence[LayerWeights], *, cells: int = CELLS) -> list[Closed]:
    """Return each layer's statistics from the density of every neuron's u: nothing is drawn.

    Args:
        law: of the input; its mean and factor are read.
        layers: from the input upwards.
        cells: of each neuron's grid, ± 7 deviations; 16 or more.

    Raises ValueError for fewer cells, or layers that do not fit.

    Cost: T · (H · cells · 200 + H² · (4 · sources + 4 · LAGS) + 2 · sources · H · inputs) operations a layer;
    memory 8 · H · (λ · sources + 20 · cells) bytes.

    >>> from gradflow.theory.input_law import GaussianInput
    >>> from gradflow.theory.update_rule import lif
    >>> law = GaussianInput(np.zeros((50, 1)), np.eye(50)[:, :, None])  # white noise of variance 1
    >>> layer = LayerWeights(np.ones((1, 1)), np.zeros(1), np.zeros((1, 1)), {}, lif(0.0))
    >>> density_closure(law, [layer])[0].firing_rate.round(3).tolist()  # 1 − Φ(1)
    [0.159]
    """
    if cells < 16:
        raise ValueError(f"cells: got {cells}, expected 16 or more")
    steps, inputs = law.mean.shape
    require_fit(steps, inputs, [layer.W.shape for layer in layers])
    ensembles = [Ensemble(layer, len(law.factor), cells) for layer in layers]
    sums = [MomentSum(layer.neurons) for layer in layers]
    for t in range(steps - 1):
        below = Signal(law.mean[t], law.factor[:, t], np.zeros((LAGS + 1, inputs)))
        for ensemble, total in zip(ensembles, sums, strict=True):
            ensemble.step(below).add_to(total)
            below = ensemble.spikes
    return [total.closed(layer.rule) for layer, total in zip(layers, sums, strict=True)]
