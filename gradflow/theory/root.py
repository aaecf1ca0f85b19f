"""The scalar recursion x_n = a x_{n−1} + b Σ_d p_d x_{n−d}: its characteristic root and its exact course.

Axes: … span, and lag n for the course. a, b and p are ≥ 0; leading axes broadcast.

Numbers are carried as mantissa · 2^exponent with an exponent of 64 bits, so that no product or power of
what comes in (1e-300 … 1e300) and no length of recursion under- or overflows, and no rounding is added.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gradflow.analysis.schema import Array, Numbers, steps

FAR = -(2**40)
"""The exponent of 0: below that of every number of a recursion of 10⁸ steps."""
LOST = -2000  # 2^LOST is less than any rounding error relative to the largest term
NEWTON_STEPS = 200  # about ten are needed; a hundred thousand spans took fifteen


class Terms(NamedTuple):
    """The terms coefficient_j · z^(−delay_j) of the recursion; the first is a z⁻¹.

    Attributes:
        delay: steps back, shape (term).
        mantissa: of the coefficient, ½ … 1 or 0, shape (term, …).
        exponent: of the coefficient; FAR where it is 0, shape (term, …).
    """

    delay: Int[np.ndarray, " term"]
    mantissa: Float[np.ndarray, "term *rest"]
    exponent: Int[np.ndarray, "term *rest"]


def terms(a: Numbers, b: Numbers, spans: Numbers, weights: Numbers) -> Terms:
    """Return a and b·p_d as terms, checked.

    Raises ValueError where a coefficient is negative or not finite, a span is not a whole number ≥ 1, spans
    do not increase, or there is not one weight for each span.

    >>> terms(0.5, 2.0, [3], [0.75]).delay.tolist()
    [1, 3]
    """
    one, gain = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    p = np.asarray(weights, dtype=np.float64)
    delay = steps(spans, "spans", smallest=1) if np.size(np.asarray(spans)) else np.zeros(0, dtype=np.int64)
    if p.ndim == 0 or p.shape[-1] != delay.size:
        raise ValueError(f"weights: got shape {p.shape}, expected one for each of {delay.size} spans")
    for name, value in (("a", one), ("b", gain), ("weights", p)):
        if not (np.isfinite(value) & (value >= 0)).all():
            raise ValueError(f"{name}: got {value}, expected finite numbers >= 0")
    shape = np.broadcast_shapes(one.shape, gain.shape, p.shape[:-1])
    (ma, ea), (mb, eb), (mp, ep) = np.frexp(one[..., None]), np.frexp(gain[..., None]), np.frexp(p)
    sizes = ((*shape, 1), (*shape, delay.size))
    mantissa = np.concatenate([np.broadcast_to(m, n) for m, n in zip((ma, mb * mp), sizes, strict=True)], -1)
    exponent = np.concatenate([np.broadcast_to(e, n) for e, n in zip((ea, eb + ep), sizes, strict=True)], -1)
    mantissa, extra = np.frexp(np.moveaxis(mantissa, -1, 0))
    exponent = np.moveaxis(exponent, -1, 0).astype(np.int64) + extra
    return Terms(np.concatenate([[1], delay]), mantissa, np.where(mantissa > 0, exponent, FAR))


def log_root(a: Numbers, b: Numbers, spans: Numbers, weights: Numbers) -> Array:
    """Return log ρ of the characteristic root ρ, in nats per step; −∞ where ρ = 0.

    Raises ValueError as `terms` does.

    >>> round(log_root(0.25, 0.5, [4], [1.0]).item(), 6)
    -0.0931
    """
    log_rest, power = _root(terms(a, b, spans, weights))
    return np.asarray(log_rest + power * np.log(2.0))


def characteristic_root(a: Numbers, b: Numbers, spans: Numbers, weights: Numbers) -> Array:
    """Return ρ, the one positive root of 1 = a z⁻¹ + b Σ_d p_d z⁻ᵈ, the growth of x_n per step.

    It is 0 where a = 0 and b p = 0, and +∞ where it is larger than a float64 can be. Relative error about
    1e-15. `a` and `b` (…), `weights` (…, span), `spans` increasing.

    Raises ValueError as `terms` does.

    >>> characteristic_root(0.5, 0.5, [1, 2], [0.0, 1.0]).item()
    1.0
    """
    log_rest, power = _root(terms(a, b, spans, weights))
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(np.exp(log_rest), power.astype(np.int32)))


def _root(recursion: Terms) -> tuple[Array, Array]:
    """Return r and k with ρ = e^r 2^k, r of order 1 (−∞ where ρ = 0).

    In y = log z the equation reads f(y) = log Σ_j c_j e^(−d_j y) = 0. f is convex and falls, so Newton's
    method from the left, y₀ = max log(c_j)/d_j, climbs to the root and cannot miss it. The power of two
    nearest to e^y₀ is divided out of z first: what is left is of order 1 for all coefficients and spans.
    """
    delay, mantissa, exponent = recursion
    d = delay.reshape(-1, *(1,) * (mantissa.ndim - 1))
    alive = (mantissa > 0).any(axis=0)
    with np.errstate(divide="ignore"):  # log 0 = −∞: a term that is not there
        log_mantissa = np.log(mantissa)
    power = np.where(alive, np.rint(((log_mantissa / np.log(2.0) + exponent) / d).max(axis=0)), 0.0)
    log_term = np.where(alive, log_mantissa + (exponent - d * power) * np.log(2.0), 0.0)
    y = (log_term / d).max(axis=0)
    for _ in range(NEWTON_STEPS):
        height = log_term - d * y
        top = height.max(axis=0)
        share = np.exp(height - top)
        total = share.sum(axis=0)
        step = (top + np.log(total)) * total / (share * d).sum(axis=0)
        y = y + step
        if (np.abs(step) <= 4.0 * np.finfo(np.float64).eps * np.maximum(1.0, np.abs(y))).all():
            break
    return np.asarray(np.where(alive, y, -np.inf)), power


def impulse_log(
    a: Numbers, b: Numbers, spans: Numbers, weights: Numbers, length: int
) -> Float[np.ndarray, "*rest lag"]:
    """Return log x_n for n = 0 … length − 1: x_0 = 1, x_n = a x_{n−1} + b Σ_d p_d x_{n−d}, x_n = 0 before.

    −∞ is returned where x_n is truly 0 (the holes of a comb with a = 0) and nowhere else.

    Raises ValueError as `terms` does, and for a length below 1.

    >>> impulse_log(0.0, 0.5, [2], [1.0], length=5).round(4).tolist()
    [0.0, -inf, -0.6931, -inf, -1.3863]
    """
    if length < 1:
        raise ValueError(f"length: got {length}, expected 1 or more lags")
    delay, mantissa, exponent = terms(a, b, spans, weights)
    acts = delay < max(length, 2)  # a term that reaches before the impulse adds nothing
    delay, curves = delay[acts], mantissa.shape[1:]
    mantissa = mantissa[acts].reshape(delay.size, -1)
    exponent = exponent[acts].reshape(delay.size, -1)
    past = int(delay.max())
    m = np.zeros((past + length, mantissa.shape[1]))
    e = np.full(m.shape, FAR, dtype=np.int64)
    m[past], e[past] = 0.5, 1
    for n in range(past + 1, past + length):
        power = e[n - delay] + exponent
        top = power.max(axis=0)
        shift = np.maximum(power - top, LOST).astype(np.int32)
        m[n], extra = np.frexp(np.ldexp(m[n - delay] * mantissa, shift).sum(axis=0))
        e[n] = np.where(m[n] > 0, top + extra, FAR)
    with np.errstate(divide="ignore"):  # log 0 = −∞ where x_n is 0
        log_x = np.log(m[past:]) + e[past:] * np.log(2.0)
    return np.moveaxis(log_x.reshape(length, *curves), 0, -1)
