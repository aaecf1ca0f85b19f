"""The steady state of the transfer operator, seen from both ends: its right and its left eigenvector.

Axes: block neuron neuron; state, D neurons. Write v(t) = P(T,t)ᵀ for the rows of a product, as columns:
v(t) = A_t v(t+1) + Φ_t Vᵀ Σ_d p_d γ̄ v(t+d), a map of the state z = (v(t), …, v(t+D−1)). Far from the end
E z zᵀ = G μ^(T−t). Far from the beginning, E ‖v(0)‖² = μ^t tr(Λ z zᵀ) for the state z at t. G is made of the
C_k of `transfer_rate`: G_kl = μ^(−k) C_{l−k} for l ≥ k. Λ is what a push at each part of z comes to. With
E(t) the map from a push of v(t) to v(0), E(t+1) = E(t) A_t + Σ_d p_d β_{d−1} Vᵀ, where β_i = E(t−i) Φ_{t−i},
and with the blocks, scaled by μ^t,

    L = E[E(t)ᵀ E(t)],   Y_j = E[E(t)ᵀ β_j],   W_0 = S_φφ ∘ L,   W_j = diag(φ̄) Y_j,
    B_ij = E[β_iᵀ β_j] = μ^(−i) W_{j−i} for j ≥ i, else B_jiᵀ,
    F_1 = S_aφ ∘ L,   F_j = diag(ā) Y_{j−1} for j ≥ 2,   Q = Σ_d p_d F_d Vᵀ:

    μ Y_j = F_j + V Σ_d p_d B_{d−1,j−1}
    μ L   = S_aa ∘ L + Q + Qᵀ + V Σ_dd' p_d p_d' B_{d−1,d'−1} Vᵀ

A gate is taken at its mean, exact where it is constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from gradflow.theory.moments import Moments
from gradflow.theory.transfer_curve import Blocks, Matrix, check_factors
from gradflow.theory.transfer_rate import settled, start, sweep

State: TypeAlias = Float[np.ndarray, "state state"]

TOLERANCE = 1e-6
"""Nats per step: what is read off the steady state depends on the square of its errors."""
SWEEPS = 3000


@dataclass(frozen=True)
class SteadyState:
    """G and Λ over the state z, of D neurons · spans numbers, and log μ; scaled to tr(Λ G) = 1."""

    right: State
    left: State
    log_mu: float


def steady_state(
    moments: Moments,
    V: Matrix,
    taps: Mapping[int, float],
    *,
    tolerance: float = TOLERANCE,
    max_sweeps: int = SWEEPS,
) -> SteadyState:
    """Return G, Λ and log μ of the transfer operator, by iteration.

    Iteration ends when the changes of the rate still to come are below `tolerance`, or after `max_sweeps`:
    where two eigenvalues lie close together (neuron path and recurrent path cross) the mixture then found
    is good enough for what `typical` reads off it.

    Raises ValueError as `transfer_curve` does, or where every product ends in 0.

    Cost: 4 (λ + 2) H³ operations a sweep for one span λ; memory 48 λ H² bytes while it iterates, 16 λ² H² for
    the result.

    >>> quarter = np.full((2, 2), 0.25)
    >>> constant = Moments(quarter, quarter, quarter, np.full(2, 0.5), np.full(2, 0.5))
    >>> state = steady_state(constant, 0.5 * np.eye(2), {4: 1.0})
    >>> state.right.shape, round(0.5 * state.log_mu, 4)
    ((8, 8), -0.1344)
    """
    check_factors(moments, V, taps)
    taps = {d: p for d, p in taps.items() if p != 0.0} or {1: 0.0}
    C, log_mu = start(len(V), taps)
    changes: list[float] = []
    while len(changes) < max_sweeps and not settled(changes, tolerance):
        change = sweep(C, log_mu, moments, V, taps)
        if not np.isfinite(change):
            raise ValueError("steady_state: every product ends in 0 (no path leads on); there is none")
        log_mu += change
        changes.append(abs(0.5 * change))
    right = joined_right(C, np.exp(log_mu))
    left = left_state(moments, V, taps, np.exp(log_mu), tolerance, max_sweeps)
    return SteadyState(right, left / np.sum(left * right), log_mu)


def joined_right(C: Blocks, mu: float) -> State:
    """Return G from its blocks C_k."""
    depth, n = C.shape[:2]
    G = np.empty((depth, n, depth, n))
    for k in range(depth):
        for m in range(k, depth):
            G[k, :, m] = mu**-k * C[m - k]
            G[m, :, k] = G[k, :, m].T
    return G.reshape(depth * n, depth * n)


def left_state(
    moments: Moments, V: Matrix, taps: Mapping[int, float], mu: float, tolerance: float, max_sweeps: int
) -> State:
    """Return Λ by sweeps of its equations, until its growth a sweep changes no more, as for G."""
    V = V if moments.gate is None else moments.gate[:, None] * V
    L, Y = np.eye(len(V)), np.zeros((max(taps), *V.shape))
    pairs = [(d, e, p * q) for d, p in taps.items() for e, q in taps.items()]
    changes: list[float] = []
    before = 1.0
    while len(changes) < max_sweeps and not settled(changes, tolerance):
        W = weighted(L, Y, moments)
        first = {
            d: moments.a_phi * L if d == 1 else moments.a[:, None] * Y[d - 1] for d in range(1, len(Y) + 1)
        }
        reached = [
            first[j] + V @ sum(p * between(W, d - 1, j - 1, mu) for d, p in taps.items())
            for j in range(1, len(Y))
        ]
        Q = sum(p * first[d] for d, p in taps.items()) @ V.T
        L = moments.a_a * L + Q + Q.T + V @ sum(w * between(W, d - 1, e - 1, mu) for d, e, w in pairs) @ V.T
        size = np.trace(L)
        L, Y[1:] = L / size, np.reshape(reached, (-1, *V.shape)) / size
        changes.append(abs(0.5 * float(np.log(size / before))))
        before = size
    return joined_left(L, Y, weighted(L, Y, moments), V, taps, mu)


def weighted(L: Matrix, Y: Blocks, moments: Moments) -> Blocks:
    """Return W_0 … W_{D−1}."""
    W: Blocks = moments.phi[:, None] * Y
    W[0] = moments.phi_phi * L
    return W


def between(W: Blocks, i: int, j: int, mu: float) -> Matrix:
    """Return B_ij."""
    found: Matrix = mu**-i * W[j - i] if i <= j else mu**-j * W[i - j].T
    return found


def joined_left(L: Matrix, Y: Blocks, W: Blocks, V: Matrix, taps: Mapping[int, float], mu: float) -> State:
    """Return Λ: part k ≥ 1 of the state goes on by the spans d > k alone, to t + k − d."""
    depth, n = Y.shape[:2]
    found = np.zeros((depth, n, depth, n))
    found[0, :, 0] = L
    for k in range(1, depth):
        beyond = {d - k: p for d, p in taps.items() if d > k}
        if not beyond:
            continue
        found[0, :, k] = sum(p * Y[j] for j, p in beyond.items()) @ V.T
        for m in range(k, depth):
            other = {d - m: p for d, p in taps.items() if d > m}
            terms = [p * q * between(W, i, j, mu) for i, p in beyond.items() for j, q in other.items()]
            found[k, :, m] = V @ sum(terms) @ V.T if terms else 0.0
    flat = found.reshape(depth * n, depth * n)
    return np.triu(flat) + np.triu(flat, 1).T
