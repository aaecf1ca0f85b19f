"""The largest singular value of each sample's P, by Lanczos (1950) on P Pᵀ with full reorthogonalisation."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian.kernels import ZERO_ROW, compiled, power_of_two

TOLERANCE = 1e-12
"""Largest residual of the leading Ritz pair over its σ²: some σ² lies that near."""

FRESH = 0.1
"""Share of an unrelated direction in each start: one that misses the leading vector would find the second."""

CLOSED = 1e-14
"""Share of the largest Ritz value under which the next Lanczos vector is nothing but rounding."""


@compiled
@no_type_check
def times_left(y: Float[np.ndarray, " n"], S: Float[np.ndarray, "n n"], out: Float[np.ndarray, " n"]) -> None:
    """Write y S, four rows at a time."""
    n = y.size
    out[:] = 0.0
    full = n - n % 4
    for i in range(0, full, 4):
        y0, y1, y2, y3 = y[i], y[i + 1], y[i + 2], y[i + 3]
        S0, S1, S2, S3 = S[i], S[i + 1], S[i + 2], S[i + 3]
        for j in range(n):
            out[j] += (y0 * S0[j] + y1 * S1[j]) + (y2 * S2[j] + y3 * S3[j])
    for i in range(full, n):
        for j in range(n):
            out[j] += y[i] * S[i, j]


@compiled
@no_type_check
def times_right(
    S: Float[np.ndarray, "n n"], x: Float[np.ndarray, " n"], out: Float[np.ndarray, " n"]
) -> None:
    """Write S x, four rows at a time."""
    n = x.size
    full = n - n % 4
    for i in range(0, full, 4):
        S0, S1, S2, S3 = S[i], S[i + 1], S[i + 2], S[i + 3]
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            t0 += S0[j] * x[j]
            t1 += S1[j] * x[j]
            t2 += S2[j] * x[j]
            t3 += S3[j] * x[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = t0, t1, t2, t3
    for i in range(full, n):
        total = 0.0
        for j in range(n):
            total += S[i, j] * x[j]
        out[i] = total


@compiled
@no_type_check
def dot(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Return Σ x y."""
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@compiled
@no_type_check
def leading_pair(
    diagonal: Float[np.ndarray, " step"],
    off: Float[np.ndarray, " step"],
    steps: int,
    pivots: Float[np.ndarray, " step"],
    weights: Float[np.ndarray, " step"],
) -> float:
    """Return the largest eigenvalue θ of the first `steps` steps' tridiagonal matrix; write its unit vector.

    Newton's iteration from above all roots falls onto the largest one; det(x − T) is the product of the
    pivots x − d_i − o²_i / pivot_{i+1}, taken from the end: the first step is a start near the leading
    vector, so the steps after it have smaller roots and their pivots stay clear of zero. The vector follows
    along them.
    """
    x = 0.0
    for i in range(steps):
        left = off[i - 1] if i else 0.0
        x = max(x, diagonal[i] + left + (off[i] if i + 1 < steps else 0.0))
    least = 1e-16 * x
    for _ in range(200):
        slope, change, pivot = 0.0, 0.0, 1.0
        for i in range(steps - 1, -1, -1):
            coupling = off[i] if i + 1 < steps else 0.0
            ratio = coupling / pivot
            change = 1.0 + ratio * ratio * change
            pivot = max(x - diagonal[i] - ratio * coupling, least)
            pivots[i] = pivot
            slope += change / pivot
        if slope * x >= 1e14:
            break
        x -= 1.0 / slope
    weights[0], norm = 1.0, 1.0
    for i in range(1, steps):
        weights[i] = off[i - 1] / pivots[i] * weights[i - 1]
        norm += weights[i] * weights[i]
    for i in range(steps):
        weights[i] /= np.sqrt(norm)
    return x


@compiled
@no_type_check
def load(
    P: Float[np.ndarray, "row neuron"],
    exponents: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"],
    first: int,
    level: int,
    S: Float[np.ndarray, "n n"],
) -> None:
    """Write the sample's P over 2^level, whose rows start at `first`."""
    n = S.shape[0]
    for i in range(n):
        r = first + i
        # two factors: mantissas may exceed what 2^(E − level) alone can bring back
        shift = 0 if levels[r] == ZERO_ROW else exponents[r] - level
        half, rest = power_of_two(shift // 2), power_of_two(shift - shift // 2)
        for j in range(n):
            S[i, j] = P[r, j] * half * rest


@compiled
@no_type_check
def remove(basis: Float[np.ndarray, "step n"], last: int, z: Float[np.ndarray, " n"]) -> None:
    """Take the components along basis[0 … last] out of z."""
    for m in range(last, -1, -1):
        overlap, along = dot(basis[m], z), basis[m]
        for i in range(z.size):
            z[i] -= overlap * along[i]


@compiled
@no_type_check
def log_spectral_norms(
    P: Float[np.ndarray, "row neuron"],
    exponents: Int[np.ndarray, " row"],
    levels: Int[np.ndarray, " row"],
    start: Float[np.ndarray, "sample neuron"],
    taken: Int[np.ndarray, " sample"],
    fresh: Float[np.ndarray, " neuron"],
    work: Float[np.ndarray, "2 neuron neuron"],
    out: Float[np.ndarray, " sample"],
    first: int,
    last: int,
) -> None:
    """Write the log of the largest singular value of samples first … last−1.

    Lanczos runs on S Sᵀ, where S is P over 2^(its largest level). It starts from `start`, the leading left
    vector of the step before, and a share of `fresh`; it overwrites `start` with this step's and `taken` with
    the number of steps it took. It ends when the residual is under TOLERANCE, at the latest after as many
    steps as there are neurons, where it is exact.
    """
    n = P.shape[1]
    S, basis = work[0], work[1]
    image, z = np.empty(n), np.empty(n)
    diagonal, off, pivots, weights = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for b in range(first, last):
        level = levels[b * n : (b + 1) * n].max()
        if level == ZERO_ROW:
            out[b] = -np.inf
            continue
        load(P, exponents, levels, b * n, level, S)
        for i in range(n):
            basis[0, i] = start[b, i] + FRESH * fresh[i]
        norm = np.sqrt(dot(basis[0], basis[0]))
        for i in range(n):
            basis[0, i] /= norm
        for k in range(n):
            times_left(basis[k], S, image)
            times_right(S, image, z)
            diagonal[k] = dot(image, image)
            for m in range(max(0, k - 1), k + 1):
                along, part = basis[m], off[m] if m < k else diagonal[k]
                for i in range(n):
                    z[i] -= part * along[i]
            before = dot(z, z)
            remove(basis, k, z)
            off[k] = np.sqrt(dot(z, z))
            if off[k] * off[k] < 0.5 * before:  # twice is enough
                remove(basis, k, z)
                off[k] = np.sqrt(dot(z, z))
            # an invariant subspace: its next vector would be rounding noise, not orthogonal to the others
            closed = k == n - 1 or off[k] <= CLOSED * diagonal[: k + 1].max()
            if closed or k >= taken[b] - 1:
                leading = leading_pair(diagonal, off, k + 1, pivots, weights)
                if closed or off[k] * weights[k] <= TOLERANCE * leading:
                    start[b] = 0.0
                    for m in range(k + 1):
                        for i in range(n):
                            start[b, i] += weights[m] * basis[m, i]
                    taken[b] = k
                    out[b] = 0.5 * np.log(leading) + level * np.log(2.0)
                    break
            for i in range(n):
                basis[k + 1, i] = z[i] / off[k]
