"""The slope of one curve of log-norms against lag: envelope, comb, and where to fit.

Axes: … lag. A rate is the slope of a curve's envelope, in nats per step; negative is decay.

A span λ makes the curve a comb and its envelope a staircase of steps λ long. A straight line through a
staircase is biased by where in a step the window begins and ends (25 % for two steps). So the line is fitted
with one intercept for each phase n mod λ: that is exact for every curve with f(n + λ) = f(n) + λ · rate,
whatever its teeth look like and wherever the window lies, and it is ordinary least squares for λ = 1. The
lags after the last tooth, where the envelope would depend on lags beyond the record, are left out.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gradflow.analysis.curves import envelope
from gradflow.analysis.schema import Array, Lags, Numbers, Spans, without

FITTED, TOO_FEW, NO_PERIOD = 0, 1, 2
"""Reasons: a rate was fitted; fewer than three finite lags; no phase of the comb is seen twice."""
MIN_LAGS = 3  # two points always lie on a line
NEGLIGIBLE = 0.05
"""Spans with less than this share of the largest weight do not lengthen the burn-in."""


class CurveFit(NamedTuple):
    """What is fitted to one curve.

    Attributes:
        rate: slope of the envelope, nats per step; NaN where `reason` is not 0.
        rate_curve: slope of the curve's own finite lags, nats per step.
        comb_depth: mean of envelope − curve over the fitted finite lags, nats.
        hole_share: share of the fitted lags at which the curve is −∞.
        finite_share: share of the lags from the burn-in to the end of the record at which it is finite.
        r_squared: share of the envelope's variance that one straight line of slope `rate` explains.
        burn_in: first lag of the fit.
        reason: FITTED, TOO_FEW or NO_PERIOD.
    """

    rate: float
    rate_curve: float
    comb_depth: float
    hole_share: float
    finite_share: float
    r_squared: float
    burn_in: float
    reason: float


def comb_period(weights: Float[np.ndarray, "*rest span"], spans: Spans, last: int) -> tuple[Array, Array]:
    """Return the period of the comb and the longest span that matters, of those that act within `last` lags.

    The period is the span of the largest |p_d| (the smaller of two equal ones); the longest span is the
    largest d with |p_d| ≥ 5 % of it. Both are 1 where there is no recurrence.

    >>> [value.item() for value in comb_period(np.array([0.02, 0.7, 0.28]), np.array([1, 4, 6]), last=100)]
    [4.0, 6.0]
    """
    # A first column for span 1 of weight 0 answers where no span acts at all.
    size = np.abs(weights) * (spans <= last)
    size = np.concatenate([np.zeros((*size.shape[:-1], 1)), size], axis=-1)
    steps = np.concatenate([[1], spans]).astype(np.float64)
    largest = size.max(axis=-1, keepdims=True)
    matters = (size > 0) & (size >= NEGLIGIBLE * largest)
    return np.asarray(steps[size.argmax(axis=-1)]), np.asarray(np.where(matters, steps, 1.0).max(axis=-1))


def default_burn_in(length: int, period: int, longest: int) -> int:
    """Return the first lag of a fit to `length` lags: two of the longest spans, at least a tenth of the lags.

    The first hops have not yet turned into the asymptotic mixture, hence two spans; singular vectors
    take some steps to align, hence the tenth. At least half of the lags and three periods are kept.

    >>> default_burn_in(784, 41, 41), default_burn_in(784, 1, 1), default_burn_in(100, 41, 41)
    (82, 78, 0)
    """
    return min(max(2 * longest, length // 10), length // 2, max(length - 3 * period, 0))


def phase_slope(lags: Lags, values: Float[np.ndarray, " lag"], period: int) -> float:
    """Return the least-squares slope of values = rate · lag + intercept[lag mod period].

    NaN where no phase occurs at two lags.

    >>> phase_slope(np.arange(6), np.array([0.0, -9.0, -2.0, -11.0, -4.0, -13.0]), period=2)
    -1.0
    """
    phase = lags % period
    count = np.maximum(np.bincount(phase), 1)
    lag = lags - (np.bincount(phase, lags) / count)[phase]
    value = values - (np.bincount(phase, values) / count)[phase]
    spread = float(lag @ lag)
    return float(lag @ value) / spread if spread > 0.0 else float("nan")


def fit_curve(
    log_norm: Float[np.ndarray, " lag"],
    lags: Lags | None = None,
    *,
    period: int = 1,
    longest: int | None = None,
    burn_in: int | None = None,
) -> CurveFit:
    """Fit the decay rate of one curve.

    `lags` are the lags of the entries (default 0, 1, …); `period` the span of the comb; `longest` the longest
    span that matters (default the period); `burn_in` the first lag to fit (default `default_burn_in`,
    counted on the lags up to the last finite one). Where the curve grows (its highest value within the last
    period exceeds that of the first) the envelope is the smallest non-decreasing majorant instead.
    −∞ is left out of the fit and counted. A curve that falls monotonically but is shorter than two periods is
    fitted with period 1.

    Raises ValueError for NaN, +∞, a negative burn-in or a period below 1.

    >>> tooth = np.where(np.arange(50) % 4 == 0, -0.25 * np.arange(50), -np.inf)
    >>> round(fit_curve(tooth, period=4).rate, 12)
    -0.25
    """
    without(log_norm, "log_norm")
    if period < 1 or (burn_in is not None and burn_in < 0):
        raise ValueError(f"fit_curve: got period {period}, burn_in {burn_in}; expected >= 1 and >= 0 steps")
    lag = np.arange(log_norm.size) if lags is None else lags
    finite = np.isfinite(log_norm)
    end = int(lag[finite][-1]) + 1 if finite.any() else 0
    period = period if period < end else 1  # the span never acted while the curve was alive
    start = default_burn_in(end, period, longest or period) if burn_in is None else burn_in
    after = lag >= start
    alive = after & (lag < end)
    share = float(finite[after].mean()) if after.any() else float("nan")
    x, y = lag[alive], log_norm[alive]
    if np.count_nonzero(np.isfinite(y)) < MIN_LAGS:
        return _unfitted(share, start, TOO_FEW)
    upper, known = _known_envelope(x, y, period)
    rate = phase_slope(x[known], upper[known], period)
    if np.isnan(rate) and (upper == y).all():
        period, known = 1, np.ones_like(known)
        rate = phase_slope(x, upper, period)
    if np.isnan(rate):
        return _unfitted(share, start, NO_PERIOD)
    own, there = np.isfinite(y), np.isfinite(y) & known
    depth = float((upper[there] - y[there]).mean())
    holes = float(1.0 - own[known].mean())
    r_squared = _r_squared(x[known], upper[known], rate)
    rate_curve = phase_slope(x[own], y[own], period)
    return CurveFit(rate, rate_curve, depth, holes, share, r_squared, start, FITTED)


def _known_envelope(
    lags: Lags, values: Float[np.ndarray, " lag"], period: int
) -> tuple[Float[np.ndarray, " lag"], Bool[np.ndarray, " lag"]]:
    """Return the envelope, and where it cannot depend on lags outside the window (see the module)."""
    first = lags[np.isfinite(values)][0]
    head = np.flatnonzero((lags >= first) & (lags < first + period))
    tail = np.flatnonzero(lags > lags[-1] - period)
    if values[tail].max() > values[head].max():
        return np.maximum.accumulate(values), lags >= lags[head[values[head].argmax()]]
    tail = tail[::-1]  # of equal teeth the last one, so that all of a flat curve is kept
    last_tooth = tail[values[tail].argmax()]
    return envelope(values), lags <= lags[last_tooth]


def _r_squared(lags: Lags, values: Float[np.ndarray, " lag"], rate: float) -> float:
    deviation = values - values.mean()
    total = float(deviation @ deviation)
    residual = deviation - rate * (lags - lags.mean())
    return 1.0 - float(residual @ residual) / total if total > 0.0 else 1.0


def _unfitted(share: float, start: int, reason: int) -> CurveFit:
    nothing = float("nan")
    return CurveFit(nothing, nothing, nothing, nothing, share, nothing, start, reason)


def fit_curves(
    log_norm: Float[np.ndarray, "*rest lag"],
    lags: Lags | None = None,
    *,
    period: Numbers = 1,
    longest: Numbers | None = None,
    burn_in: int | None = None,
) -> dict[str, Array]:
    """Fit every curve of an array with `fit_curve`; `period` and `longest` broadcast against leading axes.

    Returns one array (rest) for each field of `CurveFit`.

    >>> fit_curves(np.outer([-0.1, -0.5], np.arange(40.0)))["rate"].round(12).tolist()
    [-0.1, -0.5]
    """

    def one(curve: Array, span: np.generic, wide: np.generic) -> CurveFit:
        return fit_curve(curve, lags, period=int(span), longest=int(wide), burn_in=burn_in)

    fields = CurveFit._fields
    every = np.vectorize(
        one, otypes=[float] * len(fields), signature="(n),(),()->" + ",".join(["()"] * len(fields))
    )
    curves = np.asarray(log_norm, dtype=np.float64)
    return dict(
        zip(
            fields,
            map(np.asarray, every(curves, period, period if longest is None else longest)),
            strict=True,
        )
    )
