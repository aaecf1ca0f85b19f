"""Times of several jobs in interleaved rounds (A B C, A B C, …), so that other load falls on all alike.

Axes: round.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Job = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of `count` values."""

    median: float
    least: float
    greatest: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Summarise values, at least one."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        """Return three digits, as in `1.23 (1.20–1.31)`.

        >>> print(Spread.of([1.0, 1.25, 2.0]))
        1.25 (1.00–2.00)
        """
        digits = 2 if self.median >= 1 else 3
        if self.count == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.least:.{digits}f}–{self.greatest:.{digits}f})"


@dataclass(frozen=True)
class Rounds:
    """Seconds of every job in every round it took part in; slow jobs take part in the first rounds only."""

    seconds: Mapping[str, list[float]]

    def spread(self, name: str) -> Spread:
        """Return the seconds of one job."""
        return Spread.of(self.seconds[name])

    def ratio(self, above: str, below: str) -> Spread:
        """Return above / below, each value from the two neighbours of one round.

        >>> Rounds({"a": [3.0, 9.0], "b": [1.0, 3.0, 2.0]}).ratio("a", "b").median
        3.0
        """
        pairs = zip(self.seconds[above], self.seconds[below], strict=False)
        return Spread.of([high / low for high, low in pairs])


def seconds_of(job: Job) -> float:
    """Return the wall time of one call."""
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


def interleave(
    jobs: Mapping[str, Job],
    *,
    budget: float = 20.0,
    least: int = 3,
    most: int = 15,
    warm: Mapping[str, Job] | None = None,
) -> Rounds:
    """Warm every job up, then time them in turn.

    Args:
        jobs: name → what is timed.
        budget: seconds for the rounds of one job; how many fit is told from its first round.
        least: rounds of a job, even where they take more than the budget.
        most: rounds of a job, even where more would fit.
        warm: what warms a job up, instead of one call of it: a slow job needs no whole call for that.

    The garbage collector runs between the jobs and never within one: graphs of autograd hold reference
    circles, and whose turn it would otherwise be is chance.
    """
    for name, job in jobs.items():
        (warm or {}).get(name, job)()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    collecting = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()  # what is there already need not be looked through again and again
    try:
        for turn in range(most):
            for name, job in jobs.items():
                first = seconds[name][:1]
                if not first or turn < max(least, budget / first[0]):
                    gc.collect()
                    seconds[name].append(seconds_of(job))
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
    return Rounds(seconds)
