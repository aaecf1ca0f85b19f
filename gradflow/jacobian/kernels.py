"""Compiled row kernels of the Jacobian sweep. Each row of P(T,t) is one adjoint vector, and stands alone.

A row is stored as mantissas x and one binary exponent E, meaning x · 2^E; P, its history (`ring`) and the
sums under way (`ahead`) share it. Rows whose elements lie too far apart for that move to `wide`, so no
product of any length under- or overflows. Kernels release the interpreter lock and are called on disjoint
row ranges.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float, Int

ZERO_ROW = -(2**60)
"""Exponent of an element, and level of a row, that is exactly zero."""

SMALL, LARGE = 2.0**-100, 2.0**100
"""A row is rescaled when its largest mantissa leaves this range."""

FLOAT16_ZERO, BFLOAT16_ZERO, FLOAT32_ZERO, FLOAT64_ZERO = -25, -134, -150, -1075
"""Base-2 exponents at and below which a number rounds to zero in each format: half of its smallest subnormal
number, which is a tie and goes to the even neighbour, zero."""

SQUARES, ZEROS, TINY16, TINYB16, TINY32, TINY64, OWN = range(7)
"""Columns of a row's statistics: the sum of squares of its mantissas, then counts of elements that are zero,
that float16, bfloat16, float32 and float64 would round to zero though they are not, and that carry an
exponent of their own."""

MAGNITUDE = np.int64(2**63 - 1)
"""The bits of |x|: all but the sign."""

# no NaN can arise: factors are finite and mantissas bounded, which `sweep.limits` sees to
compiled = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz", "nnan"})


@compiled
@no_type_check
def power_of_two(exponent: int) -> float:
    """Return 2^exponent, 0 below and infinity above the range of float64."""
    if exponent > 1023:
        return np.inf
    if exponent >= -1022:
        return np.int64((exponent + 1023) << 52).view(np.float64)
    # a subnormal number is one bit; 2.0**exponent would be 1 / infinity
    return 0.0 if exponent < -1074 else np.int64(1 << (exponent + 1074)).view(np.float64)


@compiled
@no_type_check
def exponent_of(x: float) -> int:
    """Return the e with 2^(e−1) ≤ x < 2^e, for a normal x > 0."""
    return (np.float64(x).view(np.int64) >> 52) - 1022


@compiled
@no_type_check
def scale(x: Float[np.ndarray, " neuron"], shift: int) -> None:
    """Multiply by 2^shift in place, |shift| up to 2000: in two factors, because one could overflow."""
    half, rest = power_of_two(shift // 2), power_of_two(shift - shift // 2)
    for j in range(x.size):
        x[j] = x[j] * half * rest


@compiled
@no_type_check
def magnitudes(x: Float[np.ndarray, " neuron"]) -> tuple[float, float, int]:
    """Return the largest |x|, the least |x| that is not zero (infinity if all are) and the number of zeros.

    Compares bit patterns: those of positive numbers are ordered as the numbers are, and integers vectorise.
    """
    bits = x.view(np.int64)
    top, below, zeros = np.int64(0), MAGNITUDE, np.int64(0)
    for j in range(bits.size):
        size = bits[j] & MAGNITUDE
        top = max(top, size)
        less = size - np.int64(1)  # puts zero out of the way
        below = min(below, less if less >= 0 else MAGNITUDE)
        zeros += size == 0
    least = np.inf if top == 0 else np.int64(below + 1).view(np.float64)
    return np.int64(top).view(np.float64), least, zeros


@compiled
@no_type_check
def fits(x: Float[np.ndarray, " neuron"], shift: int, low: float, high: float) -> bool:
    """Return whether every non-zero |x| · 2^shift lies in [low, high]."""
    top, least, _ = magnitudes(x)
    # compared by exponents, because the products themselves could leave the range
    return top == 0.0 or (np.log2(least) + shift >= np.log2(low) and np.log2(top) + shift <= np.log2(high))


@compiled
@no_type_check
def count_tiny(x: Float[np.ndarray, " neuron"], limit: int, top: float, least: float, zeros: int) -> int:
    """Return how many elements are not zero but at most 2^limit."""
    bar = power_of_two(limit)
    if least > bar:
        return 0
    if top <= bar:
        return x.size - zeros
    tiny = 0
    for j in range(x.size):
        tiny += abs(x[j]) <= bar
    return tiny - zeros


@compiled
@no_type_check
def advance_rows(
    P: Float[np.ndarray, "row neuron"],
    drive: Float[np.ndarray, "row neuron"],
    a: Float[np.ndarray, "sample neuron"],
    phi: Float[np.ndarray, "sample neuron"],
    gate: Float[np.ndarray, " neuron"],
    ring: Float[np.ndarray, "slot row neuron"],
    slot: int,
    ahead: Float[np.ndarray, "ahead row neuron"],
    slots: Int[np.ndarray, " tap"],
    weights: Float[np.ndarray, " tap"],
    exponents: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"],
    stats: Float[np.ndarray, "row statistic"],
    wide: Bool[np.ndarray, " row"],
    bounds: Float[np.ndarray, "2"],
    per_sample: int,
    first: int,
    last: int,
) -> int:
    """P ← P diag a + drive diag φ for rows first … last−1, in place; return how many rows became wide.

    `drive` is Σ_d p_d P(T,t+d) diag gate[t+d] V. The new P diag gate goes to `ring[slot]`, and what the next
    step reads within its block, Σ_k weights[k] ring[slots[k]], is added to `ahead[0]`; `ahead` holds what is
    ready for the steps ahead in the block, and is rescaled with its row. A row whose non-zero elements, past
    ones included, leave `bounds` is marked in `wide` and left to `wide.widen_rows`; rows marked before are
    skipped.
    """
    neurons, depth = P.shape[1], ring.shape[0]
    low, high = bounds[0], bounds[1]
    found = 0
    for r in range(first, last):
        if wide[r]:
            continue
        x, q, A, F = P[r], drive[r], a[r // per_sample], phi[r // per_sample]
        squares = 0.0
        for j in range(neurons):
            value = x[j] * A[j] + q[j] * F[j]
            x[j] = value
            squares += value * value
        if depth:
            newest = ring[slot, r]
            for j in range(neurons):
                newest[j] = x[j] * gate[j]
        top, least, zeros = magnitudes(x)
        kept = least >= low
        if kept and top > 0.0 and (top < SMALL or top > LARGE):
            shift = -exponent_of(top)
            kept = fits(x, shift, low, high)
            for k in range(depth):
                kept = kept and fits(ring[k, r], shift, low, high)
            for k in range(ahead.shape[0]):
                kept = kept and fits(ahead[k, r], shift, low, high)
            if kept:
                scale(x, shift)
                for k in range(depth):
                    scale(ring[k, r], shift)
                for k in range(ahead.shape[0]):
                    scale(ahead[k, r], shift)
                exponents[r] -= shift
                top, least, zeros = magnitudes(x)
                squares = 0.0
                for j in range(neurons):
                    squares += x[j] * x[j]
        if not kept:
            wide[r] = True
            found += 1
            continue
        levels[r] = ZERO_ROW if top == 0.0 else exponents[r] + exponent_of(top)
        stats[r, SQUARES], stats[r, ZEROS], stats[r, OWN] = squares, zeros, 0
        stats[r, TINY16] = count_tiny(x, FLOAT16_ZERO - exponents[r], top, least, zeros)
        stats[r, TINYB16] = count_tiny(x, BFLOAT16_ZERO - exponents[r], top, least, zeros)
        stats[r, TINY32] = count_tiny(x, FLOAT32_ZERO - exponents[r], top, least, zeros)
        stats[r, TINY64] = count_tiny(x, FLOAT64_ZERO - exponents[r], top, least, zeros)
        for k in range(slots.size):
            past, weight, total = ring[slots[k], r], weights[k], ahead[0, r]
            for j in range(neurons):
                total[j] += weight * past[j]
    return found


@compiled
@no_type_check
def summarise(
    exponents: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"],
    stats: Float[np.ndarray, "row statistic"],
    per_sample: int,
    log_squares: Float[np.ndarray, " sample"],
    counts: Float[np.ndarray, "sample count"],
    first: int,
    last: int,
) -> None:
    """Write log Σ P² and the counts of samples first … last−1 from their rows' statistics."""
    for b in range(first, last):
        rows = range(b * per_sample, (b + 1) * per_sample)
        level = ZERO_ROW
        for r in rows:
            level = max(level, levels[r])
        counts[b] = 0.0
        total = 0.0
        for r in rows:
            if levels[r] != ZERO_ROW:
                total += stats[r, SQUARES] * power_of_two(2 * (exponents[r] - level))
            for k in range(counts.shape[1]):
                counts[b, k] += stats[r, ZEROS + k]
        log_squares[b] = -np.inf if level == ZERO_ROW else np.log(total) + 2.0 * level * np.log(2.0)
