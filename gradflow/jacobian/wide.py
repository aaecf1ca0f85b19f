"""Rows of P(T,t) whose elements lie too far apart for one exponent: every element carries its own.

A neuron out of its window for a thousand steps multiplies its element by α at each of them, while the other
elements of the row live on: with one exponent a row, it would be lost and pass for a structural zero. Several
times slower than `kernels`, and safe for any factors. An element is m · 2^e with ½ ≤ |m| < 1.
"""

from math import frexp
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian.kernels import (
    BFLOAT16_ZERO,
    FLOAT16_ZERO,
    FLOAT32_ZERO,
    FLOAT64_ZERO,
    OWN,
    SQUARES,
    TINY16,
    TINY32,
    TINY64,
    TINYB16,
    ZERO_ROW,
    ZEROS,
    compiled,
    power_of_two,
)

NEAR = 200
"""Elements within 2^−200 of a row's largest are multiplied by V as one vector, the others one by one."""


@compiled
@no_type_check
def normal(m: float, e: int) -> tuple[float, int]:
    """Return m · 2^e with ½ ≤ |m| < 1, or the one representation of zero."""
    if m == 0.0:
        return 0.0, ZERO_ROW
    part, shift = frexp(m)
    return part, e + shift


@compiled
@no_type_check
def times(m: float, e: int, factor: float) -> tuple[float, int]:
    """Return (m · 2^e) · factor, subnormal factors included."""
    if m == 0.0 or factor == 0.0:
        return 0.0, ZERO_ROW
    part, shift = frexp(factor)
    return normal(m * part, e + shift)


@compiled
@no_type_check
def plus(m: float, e: int, n: float, f: int) -> tuple[float, int]:
    """Return m · 2^e + n · 2^f."""
    if n == 0.0:
        return m, e
    if m == 0.0:
        return n, f
    if e >= f:
        return normal(m + n * power_of_two(f - e), e)
    return normal(n + m * power_of_two(e - f), f)


@compiled
@no_type_check
def through(
    M: Float[np.ndarray, " neuron"],
    E: Int[np.ndarray, " neuron"],
    V: Float[np.ndarray, "neuron neuron"],
    plain: bool,
    out_m: Float[np.ndarray, " neuron"],
    out_e: Int[np.ndarray, " neuron"],
) -> None:
    """Write the row M · 2^E times V; `plain` says that products with V keep within float64."""
    n = M.size
    top = E.max()
    total = np.zeros(n)
    for i in range(n):
        if plain and E[i] > top - NEAR:
            x = M[i] * power_of_two(E[i] - top)
            for j in range(n):
                total[j] += x * V[i, j]
    for j in range(n):
        out_m[j], out_e[j] = normal(total[j], top)
    for i in range(n):
        if M[i] != 0.0 and not (plain and E[i] > top - NEAR):
            for j in range(n):
                m, e = times(M[i], E[i], V[i, j])
                out_m[j], out_e[j] = plus(out_m[j], out_e[j], m, e)


@compiled
@no_type_check
def settle(
    M: Float[np.ndarray, " neuron"],
    E: Int[np.ndarray, " neuron"],
    x: Float[np.ndarray, " neuron"],
    stats: Float[np.ndarray, " statistic"],
) -> int:
    """Write the row at its largest exponent to x, for the norms, and its statistics; return its level."""
    top = E.max()
    stats[:] = 0.0
    stats[OWN] = M.size
    for j in range(M.size):
        x[j] = 0.0 if M[j] == 0.0 else M[j] * power_of_two(E[j] - top)
        stats[SQUARES] += x[j] * x[j]
        stats[ZEROS] += M[j] == 0.0
        for column, limit in (
            (TINY16, FLOAT16_ZERO),
            (TINYB16, BFLOAT16_ZERO),
            (TINY32, FLOAT32_ZERO),
            (TINY64, FLOAT64_ZERO),
        ):
            # |m| 2^e ≤ 2^limit, with ½ the smallest |m|
            under = E[j] <= limit or (E[j] == limit + 1 and abs(M[j]) == 0.5)
            stats[column] += M[j] != 0.0 and under
    return top


@compiled
@no_type_check
def widen_rows(
    P: Float[np.ndarray, "row neuron"],
    ring: Float[np.ndarray, "slot row neuron"],
    slot: int,
    gate: Float[np.ndarray, " neuron"],
    exponents: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"],
    stats: Float[np.ndarray, "row statistic"],
    marked: Int[np.ndarray, " marked"],
    M: Float[np.ndarray, "row place neuron"],
    E: Int[np.ndarray, "row place neuron"],
) -> None:
    """Give the marked rows an exponent per element: the history at places 0 … depth−1, P at the last."""
    depth = ring.shape[0]
    for r in marked:
        for j in range(P.shape[1]):
            for k in range(depth):
                M[r, k, j], E[r, k, j] = normal(ring[k, r, j], exponents[r])
                ring[k, r, j] = 0.0
            m, e = normal(P[r, j], exponents[r])
            M[r, depth, j], E[r, depth, j] = m, e
            if depth:
                M[r, slot, j], E[r, slot, j] = times(m, e, gate[j])
        levels[r] = settle(M[r, depth], E[r, depth], P[r], stats[r])
        exponents[r] = levels[r]


@compiled
@no_type_check
def advance_wide(
    P: Float[np.ndarray, "row neuron"],
    V: Float[np.ndarray, "matrix neuron neuron"],
    plain: bool,
    a: Float[np.ndarray, "sample neuron"],
    phi: Float[np.ndarray, "sample neuron"],
    gate: Float[np.ndarray, " neuron"],
    slot: int,
    slots: Int[np.ndarray, " tap"],
    weights: Float[np.ndarray, " tap"],
    exponents: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"],
    stats: Float[np.ndarray, "row statistic"],
    marked: Int[np.ndarray, " marked"],
    M: Float[np.ndarray, "row place neuron"],
    E: Int[np.ndarray, "row place neuron"],
    per_sample: int,
) -> None:
    """Do for the marked rows what `advance_rows` does, sums over all taps and products with V included.

    V has one matrix for all samples or one for each.
    """
    n, depth = P.shape[1], M.shape[1] - 1
    mixed_m, mixed_e = np.empty(n), np.empty(n, dtype=np.int64)
    drive_m, drive_e = np.empty(n), np.empty(n, dtype=np.int64)
    for r in marked:
        b = r // per_sample
        mixed_m[:], mixed_e[:] = 0.0, ZERO_ROW
        for k in range(slots.size):
            past_m, past_e = M[r, slots[k]], E[r, slots[k]]
            for j in range(n):
                if past_m[j] != 0.0:
                    m, e = times(past_m[j], past_e[j], weights[k])
                    mixed_m[j], mixed_e[j] = plus(mixed_m[j], mixed_e[j], m, e)
        through(mixed_m, mixed_e, V[b if V.shape[0] > 1 else 0], plain, drive_m, drive_e)
        now_m, now_e = M[r, depth], E[r, depth]
        for j in range(n):
            m, e = times(now_m[j], now_e[j], a[b, j])
            f, g = times(drive_m[j], drive_e[j], phi[b, j])
            m, e = plus(m, e, f, g)
            now_m[j], now_e[j] = m, e
            if depth:
                M[r, slot, j], E[r, slot, j] = times(m, e, gate[j])
        levels[r] = settle(now_m, now_e, P[r], stats[r])
        exponents[r] = levels[r]
