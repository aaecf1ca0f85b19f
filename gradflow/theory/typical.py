"""From the average product to the typical one: the spread of log ‖P‖, by fourth moments closed in pairs.

Axes: lag; state, the D neurons · spans numbers of z in `steady`. The transfer operator gives ½ log E ‖P‖²,
and log-norms that scatter with variance s² leave E log ‖P‖ lower by s² if they are normal. For that E ‖P‖⁴
is needed, the sum over pairs of rows r, r' of E[z_r z_r z_r' z_r'], H⁴ numbers for each pair of blocks.
They are projected onto the pairings of Gaussian vectors of covariance G: either each row with itself (its
weight: d), or the rows with each other (x, twice; all of it where the rows have become parallel). With M_t
= J_tᵀ Λ J_t, J_t the one-step map of the state, and tr(Λ G) = 1, one step back does, in the left pairings
of Λ,

    (1 + w B) (d, x)' = (q₁ + q₂ B) (d, x),    B = [[0, 2], [1, 1]],    w = tr(ΛGΛG)
    q₁ = E (tr M_t G)² / μ²,    q₂ = E tr(M_t G M_t G) / μ²

B has the eigenvalues 2 and −1, hence r₊ = (q₁ + 2 q₂) / (1 + 2 w), r₋ = (q₁ − q₂) / (1 − w) ≤ r₊ (else
the sum of (v_r · v_r')² over rows would become negative), and from P(T,T) = 1,

    E ‖P‖⁴ / (E ‖P‖²)² = ⅓ (1 + 2 w) r₊ⁿ + ⅔ (1 − w) r₋ⁿ,      E log ‖P‖ = ½ log E ‖P‖² − ¼ log of this.

The typical rate is therefore L(2)/2 − ¼ log r₊: half the variance of log ‖P‖² per step is what a sum of
squares over many parallel rows cannot average away. (L(q): generalised Lyapunov exponents, Paladin &
Vulpiani 1987.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.theory.factors import Factors, LayerFactors, acting, fitted_rate, joined, last_step, layers_of
from gradflow.theory.memory import gated, memory, one_step
from gradflow.theory.moments import second_moments
from gradflow.theory.steady import State, SteadyState, steady_state
from gradflow.theory.transfer_curve import Matrix, transfer_curve

DRAWS = 400
"""Steps over which q₁ and q₂ are averaged: they are known to about 5 % of what they exceed 1 and w by."""

WINDOW, WINDOWS = 24, 120
"""Steps in a window, and windows: rates at α ≤ 0.9 settle within 24 steps, to about 1 %."""
SMALL = 1e-9
"""1 − w below this is rounding: all rows are parallel."""


@dataclass(frozen=True)
class Spread:
    """q₁, q₂ and w of the module's equations, and ½ log μ in nats per step."""

    direct: float
    exchange: float
    overlap: float
    average_rate: float

    @property
    def growth(self) -> tuple[float, float]:
        """Return r₊ and r₋."""
        w = self.overlap
        apart = 1.0 - w
        plus = (self.direct + 2.0 * self.exchange) / (1.0 + 2.0 * w)
        return plus, min((self.direct - self.exchange) / apart, plus) if apart > SMALL else plus

    @property
    def variance(self) -> float:
        """Return σ² = ¼ log r₊, the variance of log ‖P‖ per step, nats²: the typical rate is lower by it."""
        return 0.25 * float(np.log(self.growth[0]))

    def gap(self, length: int) -> Float[np.ndarray, " lag"]:
        """Return ½ log E ‖P‖² − E log ‖P‖ in nats at lag 0 … length − 1.

        >>> Spread(direct=1.0, exchange=0.02, overlap=0.01, average_rate=-0.1).gap(3).round(5).tolist()
        [0.0, 0.0, 5e-05]
        """
        (plus, minus), w, n = self.growth, self.overlap, np.arange(length)
        with np.errstate(divide="ignore"):  # one pairing alone where all rows are parallel from the start
            parts = np.log([(1.0 + 2.0 * w) / 3.0, max(2.0 * (1.0 - w) / 3.0, 0.0)])
            grown = parts[:, None] + np.log([[plus], [max(minus, SMALL)]]) * n
        return np.asarray(0.25 * np.logaddexp(*grown))


def spread(
    layer: LayerFactors,
    taps: Mapping[int, float],
    *,
    state: SteadyState | None = None,
    end: int = -1,
    draws: int = DRAWS,
    seed: int = 0,
) -> Spread:
    """Return how the log-norm of a layer's product spreads in the steady state, from `draws` of its steps.

    Raises ValueError as `steady_state` does, or for fewer than one draw.

    Cost: `steady_state`, 4 λ³ H³ operations once and 8 H³ for each draw; memory 40 λ² H² bytes.
    """
    if draws < 1:
        raise ValueError(f"draws: got {draws}, expected 1 or more steps")
    moments = second_moments(layer, end=end)
    state = steady_state(moments, layer.V, taps) if state is None else state
    step = Step(state, gated(layer, end), taps or {1: 0.0})
    random = np.random.default_rng(seed)
    times = random.integers(0, last_step(layer, end), draws)
    samples = random.integers(0, layer.a.shape[1], draws)
    found = np.array([step(layer.a[t, b], layer.phi[t, b]) for t, b in zip(times, samples, strict=True)])
    one, two = found.T
    direct = float((one_step(layer, taps or {1: 0.0}, state, end=end) ** 2).mean())
    return Spread(
        direct=direct,
        # a ratio: what draws get wrong is common to both, and q₁ − q₂ is small where rows are parallel
        exchange=direct * float(two.mean() / (one**2).mean()),
        overlap=twice(state.left, state.right),
        average_rate=0.5 * state.log_mu,
    )


def typical_product(
    source: Factors | LayerFactors, *, window: int = WINDOW, windows: int = WINDOWS, end: int = -1
) -> xr.Dataset:
    """Return the typical product of each layer of a transition: the transfer operator, scatter and memory.

    `log_frobenius` (layer, lag) = E log ‖P(T,t)‖_F in nats, over the lags of `jacobian_products` with the
    same `end`: ½ log E ‖P‖² − gap (`Spread.gap`) + lag · shift (`memory`, from so many `windows` of
    `window` steps; 1: steps that remember nothing). `rate` (layer) is its slope, fitted as `fit_decay` fits
    the measured curve, and `rate_error` its standard error over windows, in nats per step; `memory` and
    `scatter` (layer), nats per step, are what the two add to the rate of the average product
    (`rate_average`).

    Raises ValueError as `transfer_operator`, `spread` and `memory` do.

    Cost: `transfer_operator`, `spread` and `memory`; λ³ H³ of it is paid once.

    >>> from types import SimpleNamespace
    >>> a, phi = np.full((40, 1, 2), 0.5), np.full((40, 1, 2), 0.5)
    >>> skip = SimpleNamespace(a=a, phi=phi, V=0.5 * np.eye(2), spans=(4,), weights=(1.0,), gate=None)
    >>> typical_product(skip, window=8, windows=2).rate.round(4).values.tolist()
    [-0.1347]
    """
    layers, conventions = layers_of(source)
    parts = []
    for layer in layers:
        last = last_step(layer, end)
        taps = acting(layer, last) or {1: 0.0}
        moments = second_moments(layer, end=end)
        average = transfer_curve(moments, layer.V, taps, last + 1)
        state = steady_state(moments, layer.V, taps)
        rows = spread(layer, taps, end=end, state=state)
        held = memory(layer, taps, state, rows.gap(window + 1), windows=windows, end=end)
        curve = average - rows.gap(last + 1) + held.shift * np.arange(last + 1)
        found = {
            "rate": float(fitted_rate(curve, taps)),
            "rate_error": held.error,
            "rate_average": float(fitted_rate(average, taps)),
            "memory": held.shift,
        }
        found["scatter"] = found["rate"] - found["rate_average"] - held.shift
        parts.append(xr.Dataset({"log_frobenius": ("lag", curve)} | {k: ((), v) for k, v in found.items()}))
    return joined(parts, "typical product", conventions)


def twice(left: State, right: State) -> float:
    """Return tr(Λ G Λ G)."""
    product = left @ right
    return float(np.sum(product * product.T))


class Step:
    """tr(M G) and tr(M G M G) of one step, at a few H³ operations: only the first block of z is new.

    After a step the state's covariance is [[S, R], [Rᵀ, K]], with K what was shifted on, R = A U + Φ W, and
    S the step of the transfer operator with the a and φ of that step alone; Λ = [[l, m], [mᵀ, n]].
    """

    def __init__(self, state: SteadyState, V: Matrix, taps: Mapping[int, float]) -> None:
        n, depth = len(V), max(taps)
        blocks = state.right.reshape(depth, n, depth, n)
        hop = sum((p * blocks[d - 1] for d, p in taps.items()), np.zeros((n, depth, n)))
        self.kept, self.hopped = blocks[0, :, 0], V.T @ sum(p * hop[:, d - 1] for d, p in taps.items()) @ V
        self.mixed = hop[:, 0].T @ V
        self.l, m, rest = state.left[:n, :n], state.left[:n, n:], state.left[n:, n:]
        shifted = state.right[: (depth - 1) * n, : (depth - 1) * n]
        U = blocks[0, :, :-1].reshape(n, -1)
        W = V.T @ hop[:, :-1].reshape(n, -1)
        self.constant = float(np.sum(rest * shifted)), twice(rest, shifted)
        self.Um, self.Wm = U @ m.T, W @ m.T
        self.linear = np.sum(m * U, axis=1), np.sum(m * W, axis=1)
        across = rest @ (shifted @ m.T)
        self.across = np.sum(U * across.T, axis=1), np.sum(W * across.T, axis=1)
        self.mKm = m @ (shifted @ m.T)
        self.UU, self.UW, self.WW = U @ rest @ U.T, U @ rest @ W.T, W @ rest @ W.T

    def __call__(
        self, a: Float[np.ndarray, " neuron"], phi: Float[np.ndarray, " neuron"]
    ) -> tuple[float, float]:
        """Return tr(M G) and tr(M G M G) of a step with these factors."""
        S = both(a, phi, self.kept, self.mixed, self.hopped)
        inner = both(a, phi, self.UU, self.UW, self.WW)
        Z = a[:, None] * self.Um + phi[:, None] * self.Wm
        lS, lZ = self.l @ S, self.l @ Z
        one = np.trace(lS) + self.constant[0] + 2 * (a @ self.linear[0] + phi @ self.linear[1])
        two = np.sum(lS * lS.T) + self.constant[1] + 4 * (a @ self.across[0] + phi @ self.across[1])
        two += (
            2 * np.sum(self.mKm * S) + 2 * np.sum(Z * Z.T) + 2 * np.sum(self.l * inner) + 4 * np.sum(lZ * S)
        )
        return float(one), float(two)


def both(
    a: Float[np.ndarray, " neuron"],
    phi: Float[np.ndarray, " neuron"],
    kept: Matrix,
    mixed: Matrix,
    hopped: Matrix,
) -> Matrix:
    """Return A X A + A Y Φ + (A Y Φ)ᵀ + Φ Z Φ."""
    cross = (a[:, None] * mixed) * phi
    found: Matrix = (a[:, None] * kept) * a + cross + cross.T + (phi[:, None] * hopped) * phi
    return found
