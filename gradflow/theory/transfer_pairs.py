"""The transfer operator's curve where one span is read: pair of times by pair, without the neurons at rest.

Axes: neuron neuron (those that act), and lag. For one span λ all pairs (τ − k, τ), k < λ, follow from what is
known at τ, so that they are written as soon as τ is reached, and read once, when τ − k is:

    G_k[τ−k] = diag(ā) G_{k−1}[τ−k+1] + diag(φ̄) T_k[τ],    T_k[τ] = E (p P(τ−k+λ) V)ᵀ P(τ)

These are the equations of `transfer_curve` in the order of memory. A neuron i at rest, with φ = 0 and one
a = c at every step, is known in advance: P(t) e_i = cⁿ e_i, n = T − t. With R(t) = E P(t), its rows those of
neurons at rest (r), its columns those that act (s), and m = T − (t + λ) the lag of what t reads (if m ≥ 0),

    T_k[τ] = p V_ssᵀ G_{λ−k}[τ]ᵀ + c^m p V_rsᵀ R(τ),    t = τ − k
    N[t]   = p² (V_ssᵀ G₀[t+λ] V_ss + c^m (Y + Yᵀ) + c^{2m} V_rsᵀ V_rs),    Y = (R(t+λ) V_ss)ᵀ V_rs
    R(t)   = R(t+1) diag(ā) + p (R(t+λ) V_ss + c^m V_rs) diag(φ̄)

hold exactly: a third of the neurons at rest leave less than a third of the work.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from gradflow.theory.moments import Moments

ROOM = 200
"""Binary exponents of the largest element of G₀ up to which nothing is rescaled."""
CONSTANT = 1e-13
"""Relative difference, or variance, that is none: moments are sums of rounded numbers."""


def at_rest(moments: Moments) -> tuple[Bool[np.ndarray, " neuron"], float]:
    """Return which neurons have φ = 0 and a = c at every step, and c: of several, that of most neurons.

    >>> first, quarter = np.diag([1.0, 0.0, 0.0]), np.full((3, 3), 0.25)
    >>> at_rest(Moments(quarter, first, first, np.full(3, 0.5), np.diag(first)))
    (array([False,  True,  True]), 0.5)
    """
    a = moments.a
    rest = abs(np.diag(moments.a_a) - a * a) <= CONSTANT * a * a
    rest &= np.diag(moments.phi_phi) == 0.0
    if not rest.any():
        return rest, 0.0
    same = abs(a[rest] - a[rest, None]) <= CONSTANT * abs(a[rest])
    constant = float(a[rest][same.sum(axis=0).argmax()])
    return rest & (abs(a - constant) <= CONSTANT * abs(constant)), constant


def one_span_traces(
    moments: Moments, V: Float[np.ndarray, "neuron neuron"], span: int, weight: float
) -> Iterator[float]:
    """Yield log tr G₀ = log E ‖P(T,t)‖_F² in nats for lag 0, 1, …, without end; −∞ where it is 0.

    There must be no gate. Cost: 2 (λ + 1) S³ operations per lag for the S neurons that are not at rest;
    memory 4 λ (λ + 3) S² bytes.

    >>> quarter = np.full((2, 2), 0.25)
    >>> constant = Moments(quarter, quarter, quarter, np.full(2, 0.5), np.full(2, 0.5))
    >>> traces = one_span_traces(constant, np.eye(2), 2, 1.0)
    >>> [round(0.5 * next(traces), 4) for _ in range(4)]
    [0.3466, -0.3466, 0.0589, -0.1234]
    """
    rest, constant = at_rest(moments)
    acting, resting = np.flatnonzero(~rest), np.flatnonzero(rest)
    block = np.ix_(acting, acting)
    a_a, a_phi, phi_phi = moments.a_a[block], moments.a_phi[block], moments.phi_phi[block]
    a, phi = moments.a[acting], moments.phi[acting]
    within, into = weight * V[block], weight * V[np.ix_(resting, acting)]
    size, count = len(acting), len(resting)
    G = np.eye(size)
    R, power_of_c = np.zeros((count, size)), 1.0
    pairs = [np.zeros((k, size, size)) for k in range(span)]  # G_k, written k steps before it is read
    squares, means, powers = np.zeros((span, size, size)), np.zeros((span, count, size)), np.zeros(span)
    turned = np.zeros((span, size, size))
    scale, lag = 0, 0
    while True:
        if lag:
            slot = lag % span
            through, c_m = means[slot] @ within, powers[slot]
            mixed = c_m * (through.T @ into)
            N = within.T @ squares[slot] @ within + mixed + mixed.T + c_m**2 * (into.T @ into)
            cross = a_phi * turned[-1].T
            G = a_a * G + cross + cross.T + phi_phi * N
            R = R * a + (through + c_m * into) * phi
            power_of_c *= constant
        top = int(np.frexp(max(np.abs(G).max(initial=0.0), power_of_c**2))[1])
        if abs(top) > ROOM:
            half = -(top // 2)
            for part in (G, squares, *pairs):
                np.ldexp(part, 2 * half, out=part)
            for part in (R, means, powers):
                np.ldexp(part, half, out=part)
            power_of_c = float(np.ldexp(power_of_c, half))
            scale -= 2 * half
        squares[lag % span], means[lag % span], powers[lag % span] = G, R, power_of_c
        with np.errstate(divide="ignore"):  # log 0 = −∞: no path of this length
            yield float(np.log(np.trace(G) + count * power_of_c**2) + scale * np.log(2.0))
        arrived = into.T @ R
        for j in range(0 if span == 1 else 1, min(span, lag + 1)):
            later = pairs[j][lag % j] if j else G
            np.matmul(within.T, later.T, out=turned[j])
            turned[j] += powers[(lag - j) % span] * arrived
        before = G
        for k in range(1, span):
            before = np.multiply(a[:, None], before, out=pairs[k][lag % k])
            before += phi[:, None] * turned[span - k]
        lag += 1
