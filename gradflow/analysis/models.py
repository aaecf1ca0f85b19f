"""Shapes of a curve of log-norms against lag: exponential, stretched, power law and comb, by likelihood.

    exponential   y = c + r n                       stretched   y = c − (n/τ)^β
    power         y = c − γ log n                   comb        y = c[n mod λ] + r n
    flat          y = c                             (the one that says that nothing can be told)

Residuals of neighbouring lags are alike, because products grow by factors: they are modelled as a stationary
AR(1) process, corr(n, m) = ρ^|n−m|, with ρ fitted for each shape (ρ near 1 is a random walk). Without it,
hundreds of dependent lags would pass for hundreds of observations. Axes: lag.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from gradflow.analysis.schema import Lags


class Shape(StrEnum):
    """What a curve may look like; see the module."""

    EXPONENTIAL = "exponential"
    STRETCHED = "stretched"
    POWER = "power"
    COMB = "comb"
    FLAT = "flat"


BETAS = (0.05, 4.0)
"""Range of the stretched exponent β."""
ALIKE = 1.0 - 1e-4
"""Largest ρ: residuals that stay alike over 10,000 lags are a random walk for every record."""
PRECISION = 1e-9
"""Residuals under this share of the curve's size count as none: rounding, not noise."""
EXTRA = 3  # lags beyond the parameters: with fewer AICc is not defined or says nothing


class ShapeFit(NamedTuple):
    """One shape fitted to one curve.

    Attributes:
        aicc: corrected information criterion; +∞ where there are too few lags for the shape.
        rate: r, nats per step (exponential, comb); NaN otherwise.
        exponent: β (stretched) or γ (power); NaN otherwise.
        scale: τ in steps (stretched); NaN otherwise.
        correlation: ρ of neighbouring lags' residuals.
        deviation: standard deviation of the residuals, nats.
    """

    aicc: float
    rate: float
    exponent: float
    scale: float
    correlation: float
    deviation: float


NOTHING = ShapeFit(np.inf, *[np.nan] * 5)
PARAMETERS = {Shape.EXPONENTIAL: 4, Shape.STRETCHED: 5, Shape.POWER: 4, Shape.FLAT: 3}
"""Fitted numbers, ρ and the deviation among them; a comb has 3 and one for each phase seen."""


def basis(shape: Shape, lags: Lags, period: int, beta: float = 1.0) -> Float[np.ndarray, "lag column"]:
    """Return the columns that the shape combines: first the decay, then the constants."""
    n = lags.astype(np.float64)
    ones = np.ones((n.size, 1))
    if shape is Shape.FLAT:
        return ones
    if shape is Shape.COMB:
        phases = np.unique(lags % period)
        return np.column_stack([n, (lags[:, None] % period == phases).astype(np.float64)])
    # lags relative to the last: powers of hundreds would not compare with ones
    decay = {
        Shape.EXPONENTIAL: n,
        Shape.POWER: np.log(np.maximum(n, 1.0)),
        Shape.STRETCHED: (n / n[-1]) ** beta,
    }
    return np.column_stack([decay[shape], ones])


def whiten(
    table: Float[np.ndarray, "lag column"], lags: Lags, correlation: float
) -> tuple[Float[np.ndarray, "lag column"], float]:
    """Return rows made independent under corr = ρ^|n−m|, gaps in the lags included, and Σ log variances."""
    alike = correlation ** np.diff(lags)
    share = 1.0 - alike**2
    rest = (table[1:] - alike[:, None] * table[:-1]) / np.sqrt(share)[:, None]
    return np.concatenate([table[:1], rest]), float(np.log(share).sum())


class Solved(NamedTuple):
    """Least squares of one shape at one ρ and β: −2 log likelihood, coefficients, deviation."""

    cost: float
    coefficients: Float[np.ndarray, " column"]
    deviation: float


def solve(
    shape: Shape, lags: Lags, values: Float[np.ndarray, " lag"], period: int, correlation: float, beta: float
) -> Solved:
    """Return the best coefficients; no residual is taken for smaller than rounding."""
    X = basis(shape, lags, period, beta)
    table, logs = whiten(np.column_stack([X, values]), lags, correlation)
    found = np.linalg.lstsq(table[:, :-1], table[:, -1])[0]
    residual = table[:, -1] - table[:, :-1] @ found
    least = PRECISION * max(float(np.ptp(values)), 1.0)
    variance = float(np.mean(residual**2)) + least**2
    return Solved(values.size * np.log(variance) + logs, found, float(np.sqrt(variance)))


def minimum(cost: Callable[[float], float], low: float, high: float, points: int) -> float:
    """Return where a smooth cost is least: the best of a grid, refined between its neighbours."""
    grid = np.linspace(low, high, points)
    best = int(np.argmin([cost(x) for x in grid]))
    bracket = grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]
    found = minimize_scalar(cost, bounds=bracket, method="bounded", options={"xatol": 1e-4})
    return float(found.x) if found.fun < cost(grid[best]) else float(grid[best])


def fit_shape(
    shape: Shape,
    lags: Lags,
    values: Float[np.ndarray, " lag"],
    *,
    period: int = 1,
    correlation: float | None = None,
) -> ShapeFit:
    """Fit one shape to the finite values of a curve by maximum likelihood.

        AICc = N log σ̂² + Σ log(1 − ρ^{2 gap}) + 2 k + 2 k (k + 1) / (N − k − 1),   k with ρ and σ

    `lags` begin at 1 or later (a power law has no lag 0); `period` is the comb's; `correlation` holds ρ
    fixed. Of a stretched curve β and ρ are fitted in turns. Cost: about 30 least squares, 90 for stretched.

    Source: Hurvich & Tsai, Biometrika 76 (1989) 297.

    >>> n = np.arange(1, 60)
    >>> noise = 0.01 * np.cos(37.0 * n**1.5)
    >>> round(fit_shape(Shape.STRETCHED, n, 2.0 - (n / 5.0) ** 0.5 + noise).exponent, 2)
    0.5
    """
    phases = np.unique(lags % period).size
    k = 3 + phases if shape is Shape.COMB else PARAMETERS[shape]
    if values.size < k + EXTRA or (shape is Shape.COMB and (period == 1 or np.ptp(lags) < 3 * period)):
        return NOTHING
    rho, beta = 0.0 if correlation is None else correlation, 1.0

    def of_rho(depth: float) -> float:
        return solve(shape, lags, values, period, 1.0 - np.exp(depth), beta).cost

    def of_beta(log_beta: float) -> float:
        return solve(shape, lags, values, period, rho, float(np.exp(log_beta))).cost

    for _ in range(3 if shape is Shape.STRETCHED and correlation is None else 1):
        if shape is Shape.STRETCHED:
            beta = float(np.exp(minimum(of_beta, np.log(BETAS[0]), np.log(BETAS[1]), 17)))
        if correlation is None:
            rho = 1.0 - float(np.exp(minimum(of_rho, np.log(1.0 - ALIKE), 0.0, 12)))
    found = solve(shape, lags, values, period, rho, beta)
    n = values.size
    aicc = found.cost + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
    slope = float(found.coefficients[0])
    rate = exponent = scale = np.nan
    if shape in {Shape.EXPONENTIAL, Shape.COMB}:
        rate = slope
    elif shape is Shape.POWER:
        exponent = -slope
    elif shape is Shape.STRETCHED:
        exponent = beta
        scale = float(lags[-1]) * (-slope) ** (-1.0 / beta) if slope < 0.0 else np.nan
    return ShapeFit(float(aicc), rate, exponent, scale, rho, found.deviation)
