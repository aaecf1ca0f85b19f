"""All pairs of times, swept at once: log ‖P(T,t)‖² with its error, and averages over the ends T."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gradflow import seeds
from gradflow.jacobian import scaled
from gradflow.jacobian.column import Column, column_bytes
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.sweep import AnyTransition, size_of
from gradflow.jacobian.walk import Walk, element_bytes
from gradflow.transition import Transition


@dataclass(frozen=True)
class Start:
    """The rows that start at each end of one layer: all of them, or so many random probes.

    Attributes:
        neurons: of the layer.
        probes: 0 for exact.
        seed: of the probes.
        index: the layer's number, which names the stream.
    """

    neurons: int
    probes: int
    seed: int
    index: int

    @property
    def rows(self) -> int:
        """Return how many rows each end takes."""
        return self.probes or self.neurons

    def at(self, end: int, samples: slice) -> Float[np.ndarray, "*sample row neuron"]:
        """Return the rows that start at an end."""
        if not self.probes:
            return np.eye(self.neurons)
        streams = [("probes", self.index, b, end) for b in range(samples.start, samples.stop)]
        shape = (self.probes, self.neurons)
        return np.stack([seeds.normal(self.seed, *name, shape=shape) for name in streams])

    def write(
        self,
        P: Scaled,
        t: int,
        ends: Int[np.ndarray, " end"],
        out: Float[np.ndarray, "quantity sample end lag"],
    ) -> None:
        """Write log ‖P‖_F² and the relative standard error of ‖P‖² for the ends that t does not follow."""
        under_way = int(np.count_nonzero(ends >= t))
        if not under_way:
            return
        m = self.rows
        sums = scaled.sums(P, m * under_way)[0]
        rows = sums.m.shape[0], under_way, m
        each = Scaled(sums.m.reshape(rows), sums.e.reshape(rows))
        total = each.sum(axis=2)
        place = len(ends) - 1 - np.arange(under_way), ends[::-1][:under_way] - t
        out[0][:, place[0], place[1]] = total.log() - (np.log(m) if self.probes else 0.0)
        if self.probes:
            share = np.nan_to_num(m * each.over(total[..., None]), nan=1.0)
            out[1][:, place[0], place[1]] = np.std(share, axis=2, ddof=1) / np.sqrt(m)
        else:
            out[1][:, place[0], place[1]] = 0.0


@dataclass(frozen=True)
class Pairs:
    """One layer with itself."""

    layer: AnyTransition
    start: Start

    @property
    def sizes(self) -> tuple[int, list[int]]:
        """Return samples, and the neurons of each layer below and with the top one."""
        return size_of(self.layer)[1], [self.start.neurons]

    def end_bytes(self, last: int) -> int:
        """Return the working memory of one end."""
        return self.start.rows * self.start.neurons * element_bytes(self.layer, last)

    def measure(
        self,
        samples: slice,
        ends: Int[np.ndarray, " end"],
        out: Float[np.ndarray, "layer quantity sample end lag"],
    ) -> None:
        """Write what `Start.write` writes for these samples and ends."""
        last = int(ends[-1])
        walk = Walk(self.layer, last, samples, self.start.rows * len(ends))
        for t in range(last, -1, -1):
            active = self.start.rows * int(np.count_nonzero(ends >= t))
            walk.advance(t, active, self.start.at(t, samples) if t in ends else None)
            self.start.write(walk.P, t, ends, out[0])
            walk.store(t, active)


@dataclass(frozen=True)
class StackPairs:
    """A layer with each one below it, and with itself."""

    found: Transition
    target: int
    start: Start

    @property
    def sizes(self) -> tuple[int, list[int]]:
        """Return samples, and the neurons of each layer below and with the top one."""
        found = [size_of(layer) for layer in self.found.layers[: self.target + 1]]
        return found[0][1], [neurons for _, _, neurons in found]

    def end_bytes(self, last: int) -> int:
        """Return the working memory of one end."""
        return self.start.rows * column_bytes(self.found, self.target, last)

    def measure(
        self,
        samples: slice,
        ends: Int[np.ndarray, " end"],
        out: Float[np.ndarray, "layer quantity sample end lag"],
    ) -> None:
        """Write what `Start.write` writes for these samples and ends."""
        last = int(ends[-1])
        column = Column(self.found, self.target, last, samples, self.start.rows * len(ends))
        for t in range(last, -1, -1):
            active = self.start.rows * int(np.count_nonzero(ends >= t))
            above, begin = None, self.start.at(t, samples) if t in ends else None
            for layer in range(self.target, -1, -1):
                P = column.advance(layer, t, begin, above, active=active)
                self.start.write(P, t, ends, out[layer])
                above = column.below(layer, t, active=active) if layer else None
                begin = None


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
