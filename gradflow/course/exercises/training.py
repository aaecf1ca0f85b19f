"""Checks of notebook 5: horizons of a rate, and what a few seeds and test examples allow to say."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from gradflow.analysis import horizon, student_interval
from gradflow.course.checking import NotYet, close, exercise
from gradflow.evaluation import wilson_interval


@exercise("reach", "the norm after n steps is exp(rate · n): set that equal to the level and solve for n.")
def reach(steps: Callable[[float, float], float]) -> None:
    """Check (rate, level) → steps against the library's horizon of a straight curve of that rate."""
    for rate, level in ((-0.5, 1e-3), (-0.04, 1e-3), (-0.1, 0.05)):
        truth = float(horizon(rate * np.arange(400.0), level))
        close(
            float(steps(rate, level)), truth, what=f"the horizon at a rate of {rate} and a level of {level}"
        )


@exercise("by-luck", "each pair is a coin; all n agree if all show the first side, or all the second.")
def by_luck(chance: Callable[[int], float]) -> None:
    """Check n → the chance that n fair coins agree, against the binomial distribution."""
    for n in (1, 3, 7):
        truth = float(np.sum(stats.binom.pmf([0, n], n, 0.5)))
        close(float(chance(n)), truth, what=f"the chance for {n} seeds")


@exercise(
    "sampling-error",
    "one answer is right with probability p, variance p (1 − p); a mean of n has 1/n of that.",
)
def sampling_error(error: Callable[[float, int], float]) -> None:
    """Check (share, count) → standard error, against the library's interval for many examples."""
    for share, count in ((0.9, 500), (0.5, 200), (0.1, 10_000)):
        many = count * 10**6
        low, high = wilson_interval(share, many)
        half = float(high - low) / 2.0 / float(stats.norm.ppf(0.975))
        # Wilson's interval is that of the standard error where there are many examples
        close(float(error(share, count)), half * 10**3, what=f"the error of {share} in {count}", rtol=1e-4)


@exercise(
    "interval",
    "mean ± t · s/√n: s has n − 1 below (ddof=1), t is scipy.stats.t.ppf(0.975, n − 1).",
)
def interval(bounds: Callable[[Any], Any]) -> None:
    """Check values → (low, high) against the library's interval."""
    for seed, n in ((1, 3), (2, 8)):
        values = np.random.default_rng(seed).normal(5.0, 3.0, n)
        _, low, high = student_interval(values)
        close(bounds(values), [float(low), float(high)], what="the ends of the interval: end")


@exercise(
    "seeds-needed",
    "try n = 2, 3, 4 …: the half-width is t(0.975, n − 1) · s/√n; stop when it is small enough.",
)
def seeds_needed(fewest: Callable[[float, float], int]) -> None:
    """Check (difference, spread) → the smallest n whose half-width does not exceed the difference."""
    for difference, spread in ((5.0, 4.0), (1.0, 4.0), (10.0, 3.0)):
        said = int(fewest(difference, spread))
        if said < 2:
            raise NotYet(f"for {difference} ± {spread} you said {said}: one network has no spread.")

        def half(n: int, spread: float = spread) -> float:
            values = np.linspace(-1.0, 1.0, n)
            values *= spread / values.std(ddof=1)
            _, low, high = student_interval(values)
            return float(high - low) / 2.0

        if half(said) > difference:
            raise NotYet(
                f"for {difference} ± {spread} you said {said}, but its half-width is {half(said):.3g}."
            )
        if said > 2 and half(said - 1) <= difference:
            raise NotYet(f"for {difference} ± {spread} you said {said}, but {said - 1} are enough.")
