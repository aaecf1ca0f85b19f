"""The shape of one table of curves: fitted to their mean, chosen by AICc, and fitted again to resamples.

Axes: seed sample lag. Curves are averaged lag by lag (means of log-norms: the typical product), over the lags
at which all are finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from gradflow.analysis.curves import envelope as envelope_of
from gradflow.analysis.fits import default_burn_in
from gradflow.analysis.models import BETAS, Shape, ShapeFit, fit_shape
from gradflow.analysis.schema import Array, Lags

IDENTIFIED, TOO_FEW, NO_DECAY, AMBIGUOUS, UNDETERMINED = range(5)
"""Reasons: identified; too few lags; no better than flat; a rival is as good; the parameter is open."""
CLEAR = 10.0
"""Difference in AICc under which two shapes are not told apart (Burnham & Anderson 2002: beyond it there is
essentially no support for the worse one). A straight random walk, whose ρ is underestimated, passes for a
stretched one in 5 % of all cases at this limit, in 25 % at the limit 2 of independent residuals, whatever its
length from 100 to 700 lags."""
SIMPLER = {
    Shape.STRETCHED: (Shape.EXPONENTIAL, Shape.POWER),  # β = 1, β → 0
    Shape.COMB: (Shape.EXPONENTIAL,),
}
VALUES = ("rate", "exponent", "scale")
QUALITIES = ("correlation", "deviation")


@dataclass(frozen=True)
class Plan:
    """How a table is fitted; see `fit_models`."""

    shapes: tuple[Shape, ...]
    envelope: bool
    burn_in: int | None
    confidence: float
    draws: int


class Selection(NamedTuple):
    """What is found: one number for each shape, or for the table (`chosen`, `reason`, `lags_fitted`)."""

    values: dict[str, Array]
    chosen: int
    reason: int
    lags_fitted: int


class Window(NamedTuple):
    """Which lags are fitted, and with which period."""

    used: Bool[np.ndarray, " lag"]
    period: int


def window_of(
    table: Float[np.ndarray, "seed sample lag"], lags: Lags, plan: Plan, period: int, longest: int
) -> Window:
    """Return the lags after the burn-in at which all curves are finite; of an envelope, one a period."""
    finite = np.isfinite(table).all(axis=(0, 1))
    end = int(lags[finite][-1]) + 1 if finite.any() else 0
    first = default_burn_in(end, period, longest) if plan.burn_in is None else plan.burn_in
    after = (lags >= max(1, first)) & (lags < end)
    if plan.envelope:
        return Window(after & (lags % period == 0), 1)
    return Window(after & finite, period)


def mean_curve(table: Float[np.ndarray, "seed sample lag"]) -> Float[np.ndarray, " lag"]:
    """Return the mean over all curves, −∞ where one of them is −∞."""
    finite = np.isfinite(table).all(axis=(0, 1))
    return np.where(finite, np.where(finite, table, 0.0).mean(axis=(0, 1)), -np.inf)


def fit_all(
    table: Float[np.ndarray, "seed sample lag"],
    lags: Lags,
    plan: Plan,
    window: Window,
    correlations: Sequence[float | None],
) -> list[ShapeFit]:
    """Fit all shapes, and flat as the last, to the mean curve; ρ of each is fitted where it is None."""
    curve = mean_curve(table)
    values = (envelope_of(curve) if plan.envelope else curve)[window.used]
    return [
        fit_shape(shape, lags[window.used], values, period=window.period, correlation=rho)
        for shape, rho in zip((*plan.shapes, Shape.FLAT), correlations, strict=True)
    ]


def select(
    table: Float[np.ndarray, "seed sample lag"],
    lags: Lags,
    plan: Plan,
    generator: np.random.Generator,
    *,
    period: int = 1,
    longest: int = 1,
) -> Selection:
    """Fit one table; draw it again for intervals where it has two curves or more."""
    window = window_of(table, lags, plan, period, longest)
    fits = fit_all(table, lags, plan, window, [None] * (len(plan.shapes) + 1))
    aicc = np.array([fit.aicc for fit in fits])
    chosen = choose(plan.shapes, aicc[:-1])
    values = {name: np.array([getattr(fit, name) for fit in fits[:-1]]) for name in (*VALUES, *QUALITIES)}
    relative = aicc - aicc.min() if chosen >= 0 else np.full(aicc.size, np.nan)
    relative = np.where(np.isfinite(relative), relative, np.nan)
    likely = np.nan_to_num(np.exp(-0.5 * relative))
    values |= {"aicc": relative[:-1], "weight": likely[:-1] / max(likely.sum(), 1e-300)}
    sides = np.full((2, len(plan.shapes), len(VALUES)), np.nan)
    values["support"] = np.full(len(plan.shapes), np.nan)
    if plan.draws and table.shape[0] * table.shape[1] > 1 and chosen >= 0:
        sides, values["support"] = bootstrap(table, lags, plan, window, fits, generator)
    for k, name in enumerate(VALUES):
        values[f"{name}_low"], values[f"{name}_high"] = sides[0, :, k], sides[1, :, k]
    reason = reason_of(plan.shapes, fits, chosen, sides)
    return Selection(values, chosen, reason, int(window.used.sum()))


def bootstrap(
    table: Float[np.ndarray, "seed sample lag"],
    lags: Lags,
    plan: Plan,
    window: Window,
    fits: list[ShapeFit],
    generator: np.random.Generator,
) -> tuple[Float[np.ndarray, "2 shape value"], Float[np.ndarray, " shape"]]:
    """Return low and high percentiles of the values, and how often each shape is chosen; ρ is held.

    Resamples of m curves vary by √((m − 1)/m) too little, and as if that variation were known: the tails are
    those of Φ at √(m/(m − 1)) t, t Student's quantile with m − 1 degrees of freedom (Hesterberg 2015), m the
    number of seeds, or of samples where there is one seed.
    """
    held = [fit.correlation if np.isfinite(fit.aicc) else None for fit in fits]
    found, votes = [], np.zeros(len(plan.shapes))
    for _ in range(plan.draws):
        again = fit_all(resample(table, generator), lags, plan, window, held)[:-1]
        found.append([[getattr(fit, name) for name in VALUES] for fit in again])
        votes[choose(plan.shapes, np.array([fit.aicc for fit in again]))] += 1.0
    units = table.shape[0] if table.shape[0] > 1 else table.shape[1]
    student = stats.t.ppf(0.5 + plan.confidence / 2.0, units - 1)
    tail = float(stats.norm.cdf(-student * np.sqrt(units / (units - 1.0))))
    return np.quantile(np.array(found), [tail, 1.0 - tail], axis=0), votes / plan.draws


def resample(
    table: Float[np.ndarray, "seed sample lag"], generator: np.random.Generator
) -> Float[np.ndarray, "seed sample lag"]:
    """Draw seeds with replacement, and within each its samples, whole curves at a time."""
    seeds, samples = table.shape[:2]
    rows = generator.integers(0, seeds, size=(seeds, 1))
    return table[rows, generator.integers(0, samples, size=(seeds, samples))]


def choose(shapes: Sequence[Shape], aicc: Float[np.ndarray, " shape"]) -> int:
    """Return the place of the least AICc, of a simpler nested shape within CLEAR of it, or −1 for none.

    >>> choose((Shape.EXPONENTIAL, Shape.STRETCHED, Shape.POWER), np.array([1.0, 0.0, 9.0]))
    0
    """
    if not np.isfinite(aicc).any():
        return -1
    best = int(np.argmin(aicc))
    nested = [k for k, shape in enumerate(shapes) if shape in SIMPLER.get(shapes[best], ())]
    close = [k for k in nested if aicc[k] < aicc[best] + CLEAR]
    return min(close, key=lambda k: aicc[k]) if close else best


def reason_of(
    shapes: Sequence[Shape], fits: list[ShapeFit], chosen: int, sides: Float[np.ndarray, "2 shape value"]
) -> int:
    """Return why the choice cannot be trusted, or IDENTIFIED."""
    if chosen < 0:
        return TOO_FEW
    shape, fit, flat = shapes[chosen], fits[chosen], fits[-1]
    if fit.aicc > flat.aicc - CLEAR:
        return NO_DECAY
    rivals = [
        other.aicc
        for name, other in zip(shapes, fits[:-1], strict=True)
        if name is not shape and shape not in SIMPLER.get(name, ())
    ]
    if min(rivals, default=np.inf) < fit.aicc + CLEAR:
        return AMBIGUOUS
    column, simpler = (0, 0.0) if shape in {Shape.EXPONENTIAL, Shape.COMB} else (1, 0.0)
    if shape is Shape.STRETCHED:
        simpler = 1.0
        if not BETAS[0] * 1.02 < fit.exponent < BETAS[1] / 1.02 or np.isnan(fit.scale):
            return UNDETERMINED
    low, high = sides[:, chosen, column]
    return UNDETERMINED if low <= simpler <= high else IDENTIFIED
