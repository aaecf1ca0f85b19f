"""All pairs of times of one layer, swept at once: log ‖P(T,t)‖² with its error, and averages over ends T."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gradflow import seeds
from gradflow.jacobian import scaled
from gradflow.jacobian.sweep import AnyTransition, size_of
from gradflow.jacobian.walk import Walk


@dataclass(frozen=True)
class Pairs:
    """One layer, the ends wanted and the probes: 0 for exact, or so many."""

    layer: AnyTransition
    ends: Int[np.ndarray, " end"]
    probes: int
    seed: int
    index: int

    @property
    def rows(self) -> int:
        """Return how many rows each end takes."""
        return self.probes or size_of(self.layer)[2]

    def start(self, end: int, samples: slice) -> Float[np.ndarray, "*sample row neuron"]:
        """Return the rows that start at an end."""
        neurons = size_of(self.layer)[2]
        if not self.probes:
            return np.eye(neurons)
        streams = [("probes", self.index, b, end) for b in range(samples.start, samples.stop)]
        return np.stack([seeds.normal(self.seed, *name, shape=(self.probes, neurons)) for name in streams])

    def measure(
        self, samples: slice, ends: Int[np.ndarray, " end"], out: Float[np.ndarray, "quantity sample end lag"]
    ) -> None:
        """Write log ‖P‖_F² and the relative standard error of ‖P‖² for these samples and ends."""
        falling, m = ends[::-1], self.rows
        walk = Walk(self.layer, int(ends[-1]), samples, m * len(ends))
        for t in range(int(ends[-1]), -1, -1):
            under_way = int(np.count_nonzero(ends >= t))
            active = m * under_way
            walk.advance(t, active, self.start(t, samples) if t in ends else None)
            sums = scaled.sums(walk.P, active)[0]
            rows = sums.m.shape[0], under_way, m
            each = scaled.Scaled(sums.m.reshape(rows), sums.e.reshape(rows))
            total = each.sum(axis=2)
            place = len(ends) - 1 - np.arange(under_way), falling[:under_way] - t
            out[0][:, place[0], place[1]] = total.log() - (np.log(m) if self.probes else 0.0)
            if self.probes:
                share = np.nan_to_num(m * each.over(total[..., None]), nan=1.0)
                out[1][:, place[0], place[1]] = np.std(share, axis=2, ddof=1) / np.sqrt(m)
            else:
                out[1][:, place[0], place[1]] = 0.0
            walk.store(t, active)


def over_ends(
    log: Float[np.ndarray, "sample end lag"], error: Float[np.ndarray, "sample end lag"]
) -> dict[str, Float[np.ndarray, "sample lag"]]:
    """Return averages over the ends that reach each lag; errors of different ends are independent."""
    reach, known = ~np.isnan(log), np.isfinite(log)
    top = np.max(log, axis=1, initial=-np.inf, where=known)
    shift = np.where(np.isneginf(top), 0.0, top)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.where(known, np.exp(2.0 * (log - shift)), 0.0)
        total = squares.sum(axis=1)
        noise = np.sqrt(np.square(squares * np.where(known, error, 0.0)).sum(axis=1)) / total
        count, zeros = known.sum(axis=1), (reach & ~known).sum(axis=1)
        mean = np.where(known, log, 0.0).sum(axis=1) / count
        spread = np.where(known, log - mean[:, None], 0.0)
        deviation = np.sqrt(np.square(spread).sum(axis=1) / (count - 1))
        return {
            "log_average": 0.5 * np.log(total / reach.sum(axis=1)) + shift[:, 0],
            "average_standard_error": np.where(total > 0, noise, 0.0),
            "log_mean": np.where(count > 0, mean, np.nan),
            "log_deviation": np.where(count > 1, deviation, np.nan),
            "share_zero": zeros / reach.sum(axis=1),
        }
