"""Products of `scaled` rows with matrices, as dense products between bands of exponents.

Elements within 2^−BAND of their row's largest are multiplied at once; what lies further down, in rows or in
the matrix, in further products of the same kind, so that nothing is lost and dense arithmetic does the work.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian.kernels import ZERO_ROW, compiled, power_of_two
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.wide import normal, plus, times

BAND = 400
"""Bits of a band: two elements of bands and a sum of many stay normal numbers of float64."""


@dataclass(frozen=True)
class Banded:
    """A matrix, one for all samples or one for each, as a sum of mantissas · 2^exponent."""

    parts: tuple[tuple[Float[np.ndarray, "matrix row column"], int], ...]
    columns: int

    @classmethod
    def of(cls, matrix: Float[np.ndarray, "matrix row column"]) -> "Banded":
        """Cut a matrix into bands: nearly always one."""
        sizes = np.abs(matrix)
        top = float(sizes.max(initial=0.0))
        least = float(sizes.min(initial=top, where=sizes > 0))
        if top == 0.0:
            return cls((), matrix.shape[-1])
        high = int(np.frexp(top)[1])
        if np.frexp(least)[1] > high - BAND and -BAND < high < BAND:
            return cls(((np.ascontiguousarray(matrix), 0),), matrix.shape[-1])
        mantissas, exponents = np.frexp(matrix)
        parts = []
        for upper in range(high, int(np.frexp(least)[1]) - 1, -BAND):
            inside = (exponents <= upper) & (exponents > upper - BAND) & (matrix != 0)
            shift = np.where(inside, exponents - upper, 0)
            parts.append((np.where(inside, np.ldexp(mantissas, shift), 0.0), upper))
        return cls(tuple(parts), matrix.shape[-1])


@compiled
@no_type_check
def gather(
    Xm: Float[np.ndarray, "part sample row neuron"],
    Xe: Int[np.ndarray, "part sample row neuron"],
    gate: Float[np.ndarray, " neuron"],
    band: int,
    out: Float[np.ndarray, "part sample active neuron"],
    tops: Int[np.ndarray, "part sample active"],
) -> bool:
    """Write band number `band` of X diag gate at its row's exponent; return whether rows go on below it."""
    more = False
    n = Xm.shape[3]
    m, e = np.empty(n), np.empty(n, dtype=np.int64)
    for k in range(out.shape[0]):
        for b in range(out.shape[1]):
            for r in range(out.shape[2]):
                top = ZERO_ROW
                for j in range(n):
                    m[j], e[j] = times(Xm[k, b, r, j], Xe[k, b, r, j], gate[j])
                    top = max(top, e[j])
                top -= band * BAND
                tops[k, b, r] = top
                for j in range(n):
                    inside = m[j] != 0.0 and e[j] <= top and e[j] > top - BAND
                    out[k, b, r, j] = m[j] * power_of_two(e[j] - top) if inside else 0.0
                    more = more or (m[j] != 0.0 and e[j] <= top - BAND)
    return more


@compiled
@no_type_check
def scatter(
    values: Float[np.ndarray, "part sample active neuron"],
    tops: Int[np.ndarray, "part sample active"],
    exponent: int,
    fresh: bool,
    Ym: Float[np.ndarray, "part sample row neuron"],
    Ye: Int[np.ndarray, "part sample row neuron"],
) -> None:
    """Y ← values · 2^(tops + exponent), added to Y unless `fresh`."""
    for k in range(values.shape[0]):
        for b in range(values.shape[1]):
            for r in range(values.shape[2]):
                for j in range(values.shape[3]):
                    m, e = normal(values[k, b, r, j], tops[k, b, r] + exponent)
                    if not fresh:
                        m, e = plus(Ym[k, b, r, j], Ye[k, b, r, j], m, e)
                    Ym[k, b, r, j], Ye[k, b, r, j] = m, e


def through(X: Scaled, gate: Float[np.ndarray, " neuron"], matrix: Banded, active: int, out: Scaled) -> None:
    """Write X diag gate · matrix for the first `active` rows.

    Cost: 2 · row · column operations per row of X and band.
    """
    parts, samples, _, n = X.m.shape
    x = np.empty((parts, samples, active, n))
    tops = np.empty((parts, samples, active), dtype=np.int64)
    fresh, band, more = True, 0, True
    while more:
        more = gather(X.m, X.e, gate, band, x, tops)
        for values, exponent in matrix.parts:
            if len(values) == 1:
                y = (x.reshape(-1, n) @ values[0]).reshape(parts, samples, active, matrix.columns)
            else:
                y = np.matmul(x, values)
            scatter(y, tops, exponent, fresh, out.m, out.e)
            fresh = False
        band += 1
    if fresh:
        out.m[:, :, :active], out.e[:, :, :active] = 0.0, ZERO_ROW
