"""What steps remember of each other: the transfer operator over windows of consecutive steps, as they were.

Axes: step sample neuron; state, the D neurons · spans numbers of z in `steady`. The transfer operator draws
a[t] and φ[t] anew at each step. A network's are not independent: potentials decay slowly, all neurons see
one input, and activity goes around. Let G ↦ L_t G = J_t G J_tᵀ be the step with the a and φ of one time and
sample, and G, Λ the steady state of the mean of all L_t. Windows of b steps that were consecutive give

    y_b = tr(Λ L_{t−b+1} … L_t G) / μᵇ,    x_t = y_1 at t,    E x = 1

Had the steps no memory, E y_b would be 1 and E log y_b = −2 gap(b), the `gap` of `typical` (the pairings of
fourth moments, from the same start). What the windows have beyond that is memory, per step

    shift = (½ E log y_b + gap(b) − ½ E log y_h − gap(h)) / (b − h),    h = b/2

once h exceeds the time over which steps remember. It is a Rayleigh quotient: what the steps do together, to
first order in Λ and G. The logarithm is averaged, not y: what goes up and down for long together is no
growth. As log y scatters with the sum of the log x of its window, whose mean is cheap,

    E log y_b − E log y_h = E Σ log x + E[log y_b − log y_h − Σ log x],    Σ over the later b − h steps back,

the first over all windows there are, the second over those that are drawn. Both weigh a window by where it
is as the slope of a straight line through a curve weighs its increments, 6 u (1 − u) at the share u of its
length: a rate is fitted so, and the first steps of a sequence, which no current has reached, hardly count.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradflow.theory.factors import LayerFactors, last_step
from gradflow.theory.steady import SteadyState
from gradflow.theory.transfer_curve import Matrix


class Memory(NamedTuple):
    """What memory adds to the rate, and its standard error over windows (NaN for one), in nats per step."""

    shift: float
    error: float


def memory(
    layer: LayerFactors,
    taps: Mapping[int, float],
    state: SteadyState,
    gap: Float[np.ndarray, " lag"],
    *,
    windows: int,
    end: int = -1,
    seed: int = 0,
) -> Memory:
    """Return what memory adds to a layer's rate, from `windows` before the end, drawn at random.

    `gap` is that of steps without memory at lag 0 … b (`Spread.gap`): it says how long the windows are.
    With one step a window nothing is remembered.

    Raises ValueError for windows longer than the steps there are, fewer than one, or a step that lets nothing
    through.

    Cost: (2 λ H³ + 4 λ H²) operations for each step of a window, λ² H² for each window, 6 H² for each step
    and sample; memory 8 (λ + steps)² H² bytes.
    """
    last, steps = last_step(layer, end), len(gap) - 1
    if not 1 <= steps <= last or windows < 1:
        raise ValueError(
            f"memory: got {windows} windows of {steps} steps; expected one or more, of 1 … {last} steps"
        )
    if steps == 1:
        return Memory(0.0, 0.0)
    x = one_step(layer, taps, state, end=end)
    if not (x > 0.0).all():
        raise ValueError(
            f"memory: {np.count_nonzero(x <= 0.0)} of {x.size} steps let nothing through, so that the "
            "typical product is exactly 0; count its zeros instead (gradflow.analysis.zeros)"
        )
    log_x = np.log(x)
    random = np.random.default_rng(seed)
    places = np.arange(steps - 1, last)
    chance = (places - steps + 2.0) * (last - places)
    chance /= chance.sum()
    starts = random.choice(places, windows, p=chance)
    samples = random.integers(0, layer.a.shape[1], windows)
    frame = Frame(gated(layer, end), taps, state, steps)
    half, found = steps // 2, np.empty(windows)
    for k, (t, b) in enumerate(zip(starts, samples, strict=True)):
        back = slice(t, t - steps if t >= steps else None, -1)
        log_y = frame(layer.a[back, b], layer.phi[back, b], half)
        found[k] = log_y[1] - log_y[0] - log_x[back, b][half:].sum()
    span = steps - half
    error = found.std(ddof=1) / np.sqrt(windows) if windows > 1 else np.nan
    every = np.cumsum(np.pad(log_x, ((1, 0), (0, 0))), axis=0)
    alone = chance @ (every[span : last - half + 1] - every[: last - steps + 1]).mean(axis=1)
    shift = (0.5 * (alone + found.mean()) + gap[steps] - gap[half]) / span
    return Memory(float(shift), float(0.5 * error / span))


def gated(layer: LayerFactors, end: int) -> Matrix:
    """Return V behind the mean gate of the steps at which currents arrive."""
    if layer.gate is None:
        return np.asarray(layer.V)
    return np.asarray(layer.gate[1 : last_step(layer, end) + 1].mean(axis=0)[:, None] * layer.V)


def one_step(
    layer: LayerFactors, taps: Mapping[int, float], state: SteadyState, *, end: int = -1
) -> Float[np.ndarray, "time sample"]:
    """Return x of every step before the end: a form of second degree in a and φ, of mean 1."""
    last, V, depth = last_step(layer, end), gated(layer, end), max(taps)
    a, phi, n = layer.a[:last], layer.phi[:last], len(V)
    G, Lam = (part.reshape(depth, n, depth, n) for part in (state.right, state.left))
    hop = sum((p * G[d - 1] for d, p in taps.items()), np.zeros((n, depth, n)))
    twice = sum((p * hop[:, d - 1] for d, p in taps.items()), np.zeros((n, n)))
    now = Lam[0, :, 0]
    x = (a @ (now * G[0, :, 0]) * a).sum(axis=-1) + (phi @ (now * (V.T @ twice @ V)) * phi).sum(axis=-1)
    x += 2.0 * (a @ (now * (hop[:, 0].T @ V)) * phi).sum(axis=-1)
    for k in range(1, depth):  # what stays of the state, one place on
        x += 2.0 * (a @ (Lam[0, :, k] * G[0, :, k - 1]).sum(axis=1))
        x += 2.0 * (phi @ (Lam[0, :, k] * (V.T @ hop[:, k - 1])).sum(axis=1))
    rest = float(np.sum(state.left[n:, n:] * state.right[: (depth - 1) * n, : (depth - 1) * n]))
    return np.asarray((x + rest) / np.exp(state.log_mu))


class Frame:
    """The covariances of v at the D times before a window and at its own, filled in step by step."""

    def __init__(self, V: Matrix, taps: Mapping[int, float], state: SteadyState, steps: int) -> None:
        self.turned, self.taps, self.n, self.depth = np.ascontiguousarray(V.T), taps, len(V), max(taps)
        self.log_mu = state.log_mu
        self.begin, self.left = (self.by_time(part) for part in (state.right, state.left))
        self.cov = np.zeros(((self.depth + steps) * self.n,) * 2)

    def by_time(self, part: Float[np.ndarray, "state state"]) -> Float[np.ndarray, "state state"]:
        """Return the state in the order in which the sweep goes, the latest time first."""
        blocks = part.reshape(self.depth, self.n, self.depth, self.n)
        return np.ascontiguousarray(blocks[::-1, :, ::-1]).reshape(part.shape)

    def __call__(
        self, a: Float[np.ndarray, "step neuron"], phi: Float[np.ndarray, "step neuron"], half: int
    ) -> tuple[float, float]:
        """Return log y after `half` of the steps and after all; steps go back in time."""
        n, wide, cov = self.n, self.depth * self.n, self.cov
        cov[:wide, :wide] = self.begin
        found = []
        for k in range(len(a)):
            low, new = k * n, wide + k * n
            old, fresh = slice(low, new), slice(new, new + n)
            cov[fresh, old] = self.step(a[k], phi[k], new, old)
            cov[old, fresh] = cov[fresh, old].T
            cov[fresh, fresh] = self.step(a[k], phi[k], new, fresh)
            if k + 1 in (half, len(a)):
                seen = cov[low + n : new + n, low + n : new + n]
                found.append(float(np.log(np.sum(self.left * seen)) - (k + 1) * self.log_mu))
        return found[0], found[1]

    def step(
        self, a: Float[np.ndarray, " neuron"], phi: Float[np.ndarray, " neuron"], new: int, columns: slice
    ) -> Float[np.ndarray, "neuron column"]:
        """Return the covariance of the new v with the columns: of A v(t+1) + Φ Vᵀ Σ p_d v(t+d)."""
        n, cov = self.n, self.cov
        hop = sum(p * cov[new - d * n : new - (d - 1) * n, columns] for d, p in self.taps.items())
        found: Float[np.ndarray, "neuron column"] = a[:, None] * cov[new - n : new, columns]
        return found + phi[:, None] * (self.turned @ hop)
