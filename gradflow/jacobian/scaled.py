"""Arrays whose every element carries a binary exponent of its own: sums and products of any length are exact.

An element is m · 2^e with ½ ≤ |m| < 1, or zero, m = 0 with e = ZERO_ROW (the numbers of `wide`). So parts of
one product can be added whatever their scales, each has its own log-norm, and only what is exactly zero is
zero. Some five times slower than the rows of `kernels`. Axes: part sample row neuron.
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian.kernels import ZERO_ROW, compiled, power_of_two
from gradflow.jacobian.wide import normal, plus, times

LN2 = float(np.log(2.0))


@dataclass(frozen=True)
class Scaled:
    """Mantissas and exponents, of one shape."""

    m: Float[np.ndarray, "*axes"]
    e: Int[np.ndarray, "*axes"]

    @classmethod
    def zeros(cls, *shape: int) -> "Scaled":
        """Return zeros."""
        return cls(np.zeros(shape), np.full(shape, ZERO_ROW, dtype=np.int64))

    @classmethod
    def of(cls, values: Float[np.ndarray, "*axes"], exponent: Int[np.ndarray, "*axes"] | int = 0) -> "Scaled":
        """Return values · 2^exponent."""
        m, shift = np.frexp(values)
        return cls(m, np.where(m == 0.0, ZERO_ROW, shift + np.asarray(exponent, dtype=np.int64)))

    def __getitem__(self, key: Any) -> "Scaled":
        return Scaled(self.m[key], self.e[key])

    def __setitem__(self, key: Any, value: "Scaled") -> None:
        self.m[key], self.e[key] = value.m, value.e

    def log(self) -> Float[np.ndarray, "*axes"]:
        """Return the natural log of the magnitudes, −∞ for zeros."""
        with np.errstate(divide="ignore"):
            return np.where(self.m == 0.0, -np.inf, np.log(np.abs(self.m)) + self.e * LN2)

    def sum(self, axis: int) -> "Scaled":
        """Return the sum along an axis."""
        if not self.m.shape[axis]:
            return Scaled.zeros(*np.delete(self.m.shape, axis))
        top = self.e.max(axis=axis, keepdims=True)
        # what lies 2^−1074 under the largest is beyond the digits of a sum
        parts = np.ldexp(self.m, np.maximum(self.e - top, -1100).astype(np.int32))
        return Scaled.of(parts.sum(axis=axis), np.squeeze(top, axis))

    def over(self, other: "Scaled") -> Float[np.ndarray, "*axes"]:
        """Return self / other as plain numbers (0 and ∞ beyond their range), NaN where other is zero."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            shift = np.clip(self.e - other.e, -4000, 4000).astype(np.int32)
            return np.where(other.m == 0.0, np.nan, np.ldexp(self.m / other.m, shift))


@compiled
@no_type_check
def advance(
    Pm: Float[np.ndarray, "part sample row neuron"],
    Pe: Int[np.ndarray, "part sample row neuron"],
    Dm: Float[np.ndarray, "part sample row neuron"],
    De: Int[np.ndarray, "part sample row neuron"],
    a: Float[np.ndarray, "sample neuron"],
    phi: Float[np.ndarray, "sample neuron"],
    weight: float,
    active: int,
) -> None:
    """P ← P diag a + weight D diag φ in place, for the first `active` rows of all parts and samples."""
    for k in range(Pm.shape[0]):
        for b in range(Pm.shape[1]):
            for r in range(active):
                for j in range(Pm.shape[3]):
                    m, e = times(Pm[k, b, r, j], Pe[k, b, r, j], a[b, j])
                    if Dm[k, b, r, j] != 0.0 and phi[b, j] != 0.0:
                        f, g = times(Dm[k, b, r, j], De[k, b, r, j], phi[b, j])
                        if weight != 1.0:
                            f, g = times(f, g, weight)
                        m, e = plus(m, e, f, g)
                    Pm[k, b, r, j], Pe[k, b, r, j] = m, e


@compiled
@no_type_check
def mix(
    Rm: Float[np.ndarray, "slot part sample row neuron"],
    Re: Int[np.ndarray, "slot part sample row neuron"],
    slots: Int[np.ndarray, " tap"],
    weights: Float[np.ndarray, " tap"],
    Dm: Float[np.ndarray, "part sample row neuron"],
    De: Int[np.ndarray, "part sample row neuron"],
    closed: bool,
    active: int,
    kept: bool = False,
) -> None:
    """D ← Σ weights R[slots], each part from the part before it; the last also from itself where `closed`.

    With one closed part this is the mixture of the whole product. Where `kept`, each part is from itself.
    """
    parts, n = Dm.shape[0], Dm.shape[3]
    taps = slots.size
    factor, shift = np.empty(taps), np.empty(taps, dtype=np.int64)
    for i in range(taps):
        factor[i], shift[i] = normal(weights[i], 0)
    total, top = np.empty(n), np.empty(n, dtype=np.int64)
    for k in range(parts):
        first, last = max(k - 1, 0), k if closed and k == parts - 1 else k - 1
        if kept:
            first, last = k, k
        for b in range(Dm.shape[1]):
            for r in range(active):
                total[:], top[:] = 0.0, ZERO_ROW
                for i in range(taps):
                    for c in range(first, last + 1):
                        past = Re[slots[i], c, b, r]
                        for j in range(n):
                            top[j] = max(top[j], past[j] + shift[i])
                for i in range(taps):
                    for c in range(first, last + 1):
                        m, e = Rm[slots[i], c, b, r], Re[slots[i], c, b, r]
                        for j in range(n):
                            down = e[j] + shift[i] - top[j]
                            # what is 2^1000 smaller is beyond the digits of a sum
                            unit = np.int64((max(down, -1000) + 1023) << 52).view(np.float64)
                            unit = unit if down >= -1000 else 0.0
                            total[j] += unit * (factor[i] * m[j])
                for j in range(n):
                    Dm[k, b, r, j], De[k, b, r, j] = normal(total[j], top[j])


@compiled
@no_type_check
def add(
    Xm: Float[np.ndarray, "part sample row neuron"],
    Xe: Int[np.ndarray, "part sample row neuron"],
    Ym: Float[np.ndarray, "part sample row neuron"],
    Ye: Int[np.ndarray, "part sample row neuron"],
    active: int,
) -> None:
    """X ← X + Y in place."""
    for k in range(Xm.shape[0]):
        for b in range(Xm.shape[1]):
            for r in range(active):
                for j in range(Xm.shape[3]):
                    Xm[k, b, r, j], Xe[k, b, r, j] = plus(
                        Xm[k, b, r, j], Xe[k, b, r, j], Ym[k, b, r, j], Ye[k, b, r, j]
                    )


@compiled
@no_type_check
def measure(
    Pm: Float[np.ndarray, "part sample row neuron"],
    Pe: Int[np.ndarray, "part sample row neuron"],
    active: int,
    squares: Float[np.ndarray, "quantity sample row"],
    exponents: Int[np.ndarray, "quantity sample row"],
) -> None:
    """Write of each row the sums over its neurons, as mantissas and exponents.

    Quantities, for K parts: 0 … K−1 Σ P_k²; K … 2K−1 Σ P_k P, where P = Σ_k P_k; 2K Σ P²; 2K + 1 the sum of
    (P − P_0)². With one part Σ P² alone.
    """
    parts, n = Pm.shape[0], Pm.shape[3]
    whole_m, whole_e = np.empty((2, n)), np.empty((2, n), dtype=np.int64)
    for b in range(Pm.shape[1]):
        for r in range(active):
            for k in range(parts):
                squares[k, b, r], exponents[k, b, r] = inner(
                    Pm[k, b, r], Pe[k, b, r], Pm[k, b, r], Pe[k, b, r]
                )
            if parts == 1:
                continue
            for j in range(n):
                m, e = 0.0, ZERO_ROW
                for k in range(1, parts):
                    m, e = plus(m, e, Pm[k, b, r, j], Pe[k, b, r, j])
                whole_m[1, j], whole_e[1, j] = m, e
                whole_m[0, j], whole_e[0, j] = plus(m, e, Pm[0, b, r, j], Pe[0, b, r, j])
            for k in range(parts):
                squares[parts + k, b, r], exponents[parts + k, b, r] = inner(
                    Pm[k, b, r], Pe[k, b, r], whole_m[0], whole_e[0]
                )
            for i in range(2):
                squares[2 * parts + i, b, r], exponents[2 * parts + i, b, r] = inner(
                    whole_m[i], whole_e[i], whole_m[i], whole_e[i]
                )


@compiled
@no_type_check
def inner(
    xm: Float[np.ndarray, " neuron"],
    xe: Int[np.ndarray, " neuron"],
    ym: Float[np.ndarray, " neuron"],
    ye: Int[np.ndarray, " neuron"],
) -> tuple[float, int]:
    """Return Σ x y."""
    top = 2 * ZERO_ROW
    for j in range(xm.size):
        if xm[j] != 0.0 and ym[j] != 0.0:
            top = max(top, xe[j] + ye[j])
    total = 0.0
    for j in range(xm.size):
        if xm[j] != 0.0 and ym[j] != 0.0:
            total += xm[j] * ym[j] * power_of_two(xe[j] + ye[j] - top)
    return normal(total, top)


def sums(P: Scaled, active: int) -> Scaled:
    """Return what `measure` measures of the first `active` rows, (quantity, sample, row)."""
    parts, samples = P.m.shape[:2]
    found = Scaled.zeros(1 if parts == 1 else 2 * parts + 2, samples, active)
    measure(P.m, P.e, active, found.m, found.e)
    return found
