"""Compiled row kernels of the Jacobian sweep. Each row of P(T,t) is one adjoint vector, and stands alone.

A row is stored as mantissas x and one binary exponent E, meaning x · 2^E, so that no product of any
length under- or overflows. Kernels release the interpreter lock and are called on disjoint row ranges.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

ZERO_ROW = -(2**60)
"""Exponent of a row whose elements are all exactly zero."""

SMALL, LARGE = 2.0**-64, 2.0**64
RISK = 2.0**-960
"""Elements this far under their row's largest could be lost to underflow; they are counted."""

FLOAT32_ZERO, FLOAT64_ZERO = -150, -1075
"""Base-2 exponents at and below which a number rounds to zero in float32 and float64."""

CLOSED = 1e-14
"""Share of the largest Ritz value under which the next Lanczos vector is nothing but rounding."""

compiled = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})


@compiled
@no_type_check
def power_of_two(exponent: int) -> float:
    """Return 2^exponent, 0 below and infinity above the range of float64."""
    if exponent < -1074:
        return 0.0
    if exponent > 1023:
        return np.inf
    return 2.0**exponent


@compiled
@no_type_check
def settle_row(x: Float[np.ndarray, " neuron"], exponent: int, stats: Float[np.ndarray, " statistic"]) -> int:
    """Rescale one row where needed and measure it; return its exponent.

    `stats` receives: sum of squares, largest magnitude (both of the mantissas), number of zeros, number
    of non-zeros that float32 and float64 would round to zero, number of elements at risk.
    """
    largest = 0.0
    for j in range(x.size):
        largest = max(largest, abs(x[j]))
    if largest == 0.0:
        stats[:] = 0.0
        stats[2] = x.size
        return ZERO_ROW
    if largest < SMALL or largest > LARGE:
        shift = int(np.floor(np.log2(largest)))
        # two factors, because 2^-shift alone overflows for subnormal rows
        half = power_of_two(-shift // 2)
        rest = power_of_two(-shift - (-shift // 2))
        for j in range(x.size):
            x[j] = x[j] * half * rest
        largest = largest * half * rest
        exponent += shift
    in32 = power_of_two(FLOAT32_ZERO - exponent)
    in64 = power_of_two(FLOAT64_ZERO - exponent)
    squares = 0.0
    zeros, tiny32, tiny64, risky = 0, 0, 0, 0
    for j in range(x.size):
        size = abs(x[j])
        squares += size * size
        zeros += size == 0.0
        tiny32 += size <= in32
        tiny64 += size <= in64
        risky += size < RISK
    stats[0], stats[1], stats[2] = squares, largest, zeros
    stats[3], stats[4], stats[5] = tiny32 - zeros, tiny64 - zeros, risky - zeros
    return exponent


@compiled
@no_type_check
def settle_rows(
    P: Float[np.ndarray, "row neuron"],
    exponents: Int[np.ndarray, " row"],
    stats: Float[np.ndarray, "row statistic"],
    first: int,
    last: int,
) -> None:
    """Rescale and measure rows first … last−1 in place."""
    for r in range(first, last):
        exponents[r] = settle_row(P[r], exponents[r], stats[r])


@compiled
@no_type_check
def advance_rows(
    P: Float[np.ndarray, "row neuron"],
    exponents: Int[np.ndarray, " row"],
    a: Float[np.ndarray, "sample neuron"],
    phi: Float[np.ndarray, "sample neuron"],
    ring: Float[np.ndarray, "slot row neuron"],
    ring_exponents: Int[np.ndarray, "slot row"],
    slots: Int[np.ndarray, " tap"],
    weights: Float[np.ndarray, " tap"],
    stats: Float[np.ndarray, "row statistic"],
    first: int,
    last: int,
) -> None:
    """P(T,t) = P(T,t+1) A_t + Σ_d p_d [P(T,t+d) G V] Φ_t for rows first … last−1, in place.

    `ring[slot]` holds P(T,t+d) G V with its own exponents, for the taps d whose t+d ≤ T.
    """
    neurons = P.shape[1]
    factors = np.zeros(slots.size)
    mixed = np.zeros(neurons)
    for r in range(first, last):
        sample = r // neurons
        top = exponents[r]
        for k in range(slots.size):
            top = max(top, ring_exponents[slots[k], r])
        if top == ZERO_ROW:
            exponents[r] = settle_row(P[r], ZERO_ROW, stats[r])
            continue
        own = 0.0 if exponents[r] == ZERO_ROW else power_of_two(exponents[r] - top)
        dropped = own == 0.0 and exponents[r] != ZERO_ROW
        for k in range(slots.size):
            exponent = ring_exponents[slots[k], r]
            factors[k] = 0.0 if exponent == ZERO_ROW else weights[k] * power_of_two(exponent - top)
            dropped = dropped or (factors[k] == 0.0 and exponent != ZERO_ROW and weights[k] != 0.0)
        if slots.size == 1:
            q = ring[slots[0], r]
            for j in range(neurons):
                P[r, j] = own * P[r, j] * a[sample, j] + factors[0] * q[j] * phi[sample, j]
        else:
            mixed[:] = 0.0
            for k in range(slots.size):
                q = ring[slots[k], r]
                for j in range(neurons):
                    mixed[j] += factors[k] * q[j]
            for j in range(neurons):
                P[r, j] = own * P[r, j] * a[sample, j] + mixed[j] * phi[sample, j]
        exponents[r] = settle_row(P[r], top, stats[r])
        stats[r, 5] += dropped


@compiled
@no_type_check
def log_spectral_norms(
    P: Float[np.ndarray, "row neuron"],
    exponents: Int[np.ndarray, " row"],
    start: Float[np.ndarray, "sample neuron"],
    tolerance: float,
    out: Float[np.ndarray, " sample"],
    first: int,
    last: int,
) -> None:
    """Write the log of the largest singular value of samples first … last−1.

    Lanczos (1950) with full reorthogonalisation on S Sᵀ, where S is P at its largest row exponent. It
    starts from `start`, the leading left vector of the step before, which it overwrites with this one's;
    it ends when the residual of the leading Ritz pair, which bounds the error of σ², is under
    tolerance · σ², at the latest after as many steps as there are neurons, where it is exact.
    """
    n = P.shape[1]
    S = np.empty((n, n))
    basis = np.empty((n, n))
    image, z = np.empty(n), np.empty(n)
    diagonal, off = np.zeros(n), np.zeros(n)
    for b in range(first, last):
        top = exponents[b * n]
        for i in range(n):
            top = max(top, exponents[b * n + i])
        if top == ZERO_ROW:
            out[b] = -np.inf
            continue
        for i in range(n):
            e = exponents[b * n + i]
            factor = 0.0 if e == ZERO_ROW else power_of_two(e - top)
            for j in range(n):
                S[i, j] = P[b * n + i, j] * factor
        norm = 0.0
        for i in range(n):
            norm += start[b, i] * start[b, i]
        for i in range(n):
            basis[0, i] = start[b, i] / np.sqrt(norm)
        leading = 0.0
        for k in range(n):
            image[:] = 0.0
            for i in range(n):
                for j in range(n):
                    image[j] += basis[k, i] * S[i, j]
            for i in range(n):
                total = 0.0
                for j in range(n):
                    total += S[i, j] * image[j]
                z[i] = total
            diagonal[k] = 0.0
            for i in range(n):
                diagonal[k] += basis[k, i] * z[i]
            for _ in range(2):
                for m in range(k + 1):
                    overlap = 0.0
                    for i in range(n):
                        overlap += basis[m, i] * z[i]
                    for i in range(n):
                        z[i] -= overlap * basis[m, i]
            beta = 0.0
            for i in range(n):
                beta += z[i] * z[i]
            beta = np.sqrt(beta)
            off[k] = beta
            # an invariant subspace: its next vector would be rounding noise, not orthogonal to the others
            closed = beta <= CLOSED * diagonal[: k + 1].max()
            if k == n - 1 or closed or k % 4 == 3:
                small = np.zeros((k + 1, k + 1))
                for m in range(k + 1):
                    small[m, m] = diagonal[m]
                    if m < k:
                        small[m, m + 1] = off[m]
                        small[m + 1, m] = off[m]
                values, vectors = np.linalg.eigh(small)
                leading = values[k]
                if k == n - 1 or closed or beta * abs(vectors[k, k]) <= tolerance * leading:
                    for i in range(n):
                        total = 0.0
                        for m in range(k + 1):
                            total += vectors[m, k] * basis[m, i]
                        # a little of everything keeps the next start from missing a new leading direction
                        start[b, i] = total + 1e-3 * start[b, i] + 1e-3 * np.cos(1.0 + i * 2.399963)
                    break
            for i in range(n):
                basis[k + 1, i] = z[i] / beta
        out[b] = 0.5 * np.log(leading) + top * np.log(2.0)
