"""One layer's backward sweep: log-norms and zeros of P(T,t) for all t, in chunks that fit a memory budget.

    P(T,t) = P(T,t+1) diag a[t] + M[t] V diag φ[t],     M[t] = Σ_{d ≤ T−t} p_d P(T,t+d) diag gate[t+d]

Time runs as the lag n = T − t. P diag gate of the last `depth` lags is in a ring, lag n at slot n mod depth.
One span (vanilla, SRC): M is a slot of the ring, and V acts on up to λ of them at once. Several spans (ASRC):
what a block of steps reads of the time before it is one banded product, the rest is added within the block.
Axes: lag sample, and rows of samples one below the other.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float

from gradflow.jacobian import kernels, lanczos, wide
from gradflow.transition import DenseTransition, LayerTransition

AnyTransition: TypeAlias = LayerTransition | DenseTransition

BLOCK = 8
"""Steps of an adaptive recurrence whose older history is mixed in one product."""

ENOUGH_ROWS = 1024
"""Rows from which one more step in a product with V no longer makes it faster."""

COUNTS = 6
"""Counted elements: zero; rounded to zero in float16, bfloat16, float32 and float64; with an own exponent."""

PIECE = 2**17
"""Elements looked at together, so that no copy of a whole run is made."""

NOTHING = np.empty(0, dtype=np.int64), np.empty(0)


@dataclass(frozen=True)
class Part:
    """What one sweep works on: some samples, and of each the same rows of P."""

    samples: slice
    rows: slice


@dataclass(frozen=True)
class Swept:
    """What sweeps yield, (lag, sample): natural logs of Σ P² and of the largest singular value; counts."""

    log_squares: Float[np.ndarray, "lag sample"]
    log_spectral: Float[np.ndarray, "lag sample"]
    counts: Float[np.ndarray, "lag sample count"]


@dataclass(frozen=True)
class Taps:
    """The spans that reach into the sweep, and how far back they read."""

    spans: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def depth(self) -> int:
        """Return how many past P are kept."""
        return max(self.spans, default=0)

    @property
    def block(self) -> int:
        """Return how many steps share one banded product; 0 where there is nothing to mix."""
        return min(BLOCK, self.depth) if len(self.spans) > 1 else 0

    def at(self, lag: int, furthest: int) -> tuple[np.ndarray, np.ndarray]:
        """Return slots and weights that step `lag` reads, of spans up to `furthest`."""
        chosen = [((lag - d) % self.depth, p) for d, p in self.pairs() if d <= furthest]
        return np.array([s for s, _ in chosen], dtype=np.int64), np.array([p for _, p in chosen], dtype=float)

    def band(self, lag: int, block: int) -> Float[np.ndarray, "block slot"]:
        """Return what lags lag … lag + block − 1 read of the ring as it is before `lag`."""
        weights = np.zeros((block, self.depth))
        for k in range(block):
            for d, p in self.pairs():
                if d > k:
                    weights[k, (lag + k - d) % self.depth] = p
        return weights

    def pairs(self) -> Iterator[tuple[int, float]]:
        """Yield d and p_d."""
        return zip(self.spans, self.weights, strict=True)


def taps_of(layer: AnyTransition, last: int) -> Taps:
    """Return the spans of at most `last` steps; a dense Jacobian reads the step before it."""
    if isinstance(layer, DenseTransition):
        return Taps((1,), (1.0,)) if last else Taps((), ())
    chosen = [
        (d, float(p)) for d, p in zip(layer.spans, layer.weights, strict=True) if d <= last and p != 0.0
    ]
    return Taps(tuple(d for d, _ in chosen), tuple(p for _, p in chosen))


def size_of(layer: AnyTransition) -> tuple[int, int, int]:
    """Return steps, samples and neurons."""
    if isinstance(layer, DenseTransition):
        return len(layer.jacobians) + 1, layer.jacobians.shape[1], layer.jacobians.shape[2]
    steps, samples, neurons = layer.a.shape
    return steps, samples, neurons


def row_bytes(neurons: int, taps: Taps) -> int:
    """Return the working memory of one row: mantissas of P, V's output, history and sums; own exponents."""
    narrow = 8 * (taps.depth + 2 + taps.block)
    own = 16 * (taps.depth + 1)
    return neurons * (narrow + own)


def parts_of(layer: AnyTransition, taps: Taps, budget: int, spectral: bool) -> list[Part]:
    """Cut samples, and the rows of one sample where need be, so that each part fits the budget.

    Raises ValueError where not even one row fits, or where the spectral norm, which needs all rows of a
    sample at once, asks for more.
    """
    _, samples, neurons = size_of(layer)
    shared = 8 * neurons**2 * (1 + 2 * workers() * spectral)
    each = row_bytes(neurons, taps)
    rows = (budget - shared) // each
    if rows < 1 or (spectral and rows < neurons):
        least = shared + each * (neurons if spectral else 1)
        advice = "; the Frobenius norm alone goes by rows: norms=('frobenius',)" if spectral else ""
        raise ValueError(
            f"memory_budget={budget}: expected at least {least} bytes for {neurons} neurons and spans up to "
            f"{taps.depth}{advice}"
        )
    if rows >= neurons:
        step = rows // neurons
        return [Part(slice(k, min(k + step, samples)), slice(0, neurons)) for k in range(0, samples, step)]
    return [
        Part(slice(k, k + 1), slice(first, min(first + rows, neurons)))
        for k in range(samples)
        for first in range(0, neurons, rows)
    ]


def workers() -> int:
    """Return how many threads advance rows: torch's setting (`torch.set_num_threads`)."""
    return torch.get_num_threads()


def sweep_layer(layer: AnyTransition, last: int, spectral: bool, budget: int) -> Swept:
    """Sweep all parts and put them together."""
    _, samples, _ = size_of(layer)
    taps = taps_of(layer, last)
    log_squares = np.full((last + 1, samples), -np.inf)
    log_spectral = np.full((last + 1, samples), np.nan)
    counts = np.zeros((last + 1, samples, COUNTS))
    for part in parts_of(layer, taps, budget, spectral):
        found = Sweep(layer, last, part, taps, spectral).run()
        where = (slice(None), part.samples)
        log_squares[where] = np.logaddexp(log_squares[where], found.log_squares)
        log_spectral[where] = found.log_spectral
        counts[where] += found.counts
    return Swept(log_squares, log_spectral, counts)


def least_and_largest(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest magnitude of the non-zero elements, 1 among them.

    Raises ValueError for NaN and infinity, in arrays changed after the transition was made too.
    """
    least = largest = 1.0
    steps = max(1, PIECE // max(1, values[0].size)) if len(values) else 1
    for k in range(0, len(values), steps):
        sizes = np.abs(values[k : k + steps])
        largest = float(np.max(sizes, initial=largest))
        least = float(np.min(sizes, where=sizes > 0, initial=least))
        if not largest < np.inf:
            raise ValueError("the transition's factors hold NaN or infinity; the run it came from exploded")
    return least, largest


def limits(local: Sequence[np.ndarray], V: np.ndarray, taps: Taps) -> tuple[Float[np.ndarray, "2"], bool]:
    """Return the range that a row's non-zero elements must keep, and whether products with V are safe.

    A step multiplies an element by at most one p, one element of V, one φ, one a and one gate, and adds at
    most one for each neuron and span. In this range the result is a normal number; rows that leave it carry
    an exponent per element, and with factors so far apart that it is narrow, all rows do.
    """
    low, high = 1.0, 1.0 * V.shape[-1] * max(1, len(taps.spans))
    for factor in (*local, np.array(taps.weights)):
        least, largest = least_and_largest(factor)
        low, high = low * least, high * largest
    least, largest = least_and_largest(V)
    low, high = low * least, high * largest
    roomy = low > 2.0**-600 and high < 2.0**600
    bounds = (2.0**-960 / low, 2.0**960 / high) if roomy else (np.inf, np.inf)
    return np.array(bounds), least > 2.0**-500 and largest < 2.0**500


def flat(x: Float[np.ndarray, "slot row neuron"]) -> Float[np.ndarray, "slot _"]:
    """Return one line per slot, without a copy."""
    return x.reshape(len(x), -1)


class Sweep:
    """One part's sweep: what every step reads and writes."""

    def __init__(self, layer: AnyTransition, last: int, part: Part, taps: Taps, spectral: bool) -> None:
        steps, _, n = size_of(layer)
        samples, self.per_sample = (s.stop - s.start for s in (part.samples, part.rows))
        rows = samples * self.per_sample
        self.last, self.taps, self.spectral = last, taps, spectral
        gate = None
        if isinstance(layer, DenseTransition):
            # P J = P · 0 + (P J) · 1: the same recursion with V = J[t]
            self.V = layer.jacobians[:last, part.samples]
            a, phi = np.zeros((1, samples, n)), np.ones((1, samples, n))
        else:
            self.V = np.ascontiguousarray(layer.V)[None, None]
            a, phi, gate = layer.a[:, part.samples], layer.phi[:, part.samples], layer.gate
        gate = np.ones((1, n)) if gate is None else gate
        self.bounds, self.plain = limits((a, phi, gate), self.V, taps)
        self.a, self.phi = (np.broadcast_to(x, (steps, samples, n)) for x in (a, phi))
        self.gate = np.broadcast_to(gate, (steps, n))
        self.P = np.tile(np.eye(n)[part.rows], (samples, 1))
        self.ring = np.zeros((taps.depth, rows, n))
        self.mixed = np.zeros((taps.block, rows, n))
        several = len(taps.spans) == 1 and not isinstance(layer, DenseTransition)
        self.drive = np.zeros((max(1, min(taps.depth, ENOUGH_ROWS // rows)) if several else 1, rows, n))
        self.state = (
            np.zeros(rows, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
            np.zeros((rows, COUNTS + 1)),
        )
        self.wide = np.zeros(rows, dtype=bool)
        place = (rows, taps.depth + 1, n)
        self.own = np.empty(place), np.empty(place, dtype=np.int64)  # touched by wide rows only
        self.start, self.taken = np.zeros((samples, n)), np.full(samples, n)
        self.fresh = np.random.default_rng(0).normal(size=(8, n)) / np.sqrt(n)
        self.workers = max(1, min(workers(), samples))
        self.cuts = [k * samples // self.workers for k in range(self.workers + 1)]
        self.work = np.empty((self.workers, 2, n, n) if spectral else (self.workers, 2, 0, 0))
        self.log_squares = np.empty((last + 1, samples))
        self.log_spectral = np.full((last + 1, samples), np.nan)
        self.counts = np.empty((last + 1, samples, COUNTS))

    def run(self) -> Swept:
        """Go from lag 0, where P is the identity, to `last`."""
        local = np.ones(self.start.shape), np.zeros(self.start.shape)
        with ThreadPoolExecutor(max(1, self.workers - 1)) as pool:
            self.step(pool, 0, local, self.drive[0], self.mixed[:0], 0)
            for lag, drive, ahead, inside in self.driven():
                t = self.last - lag
                local = np.ascontiguousarray(self.a[t]), np.ascontiguousarray(self.phi[t])
                self.step(pool, lag, local, drive, ahead, inside)
        return Swept(self.log_squares, self.log_spectral, self.counts)

    def driven(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, int]]:
        """Yield each lag, its M V, what is ready for the lags ahead in its block, and its place in it."""
        lag = 1
        while lag <= self.last:
            if self.taps.block:
                block = min(self.taps.block, self.last + 1 - lag)
                np.matmul(self.taps.band(lag, block), flat(self.ring), out=flat(self.mixed[:block]))
                for k in range(block):
                    np.matmul(self.mixed[k], self.V[0, 0], out=self.drive[0])
                    yield lag + k, self.drive[0], self.mixed[k + 1 : block], k + 1
            else:
                slot = lag % max(1, self.taps.depth)
                block = min(len(self.drive), max(1, self.taps.depth - slot), self.last + 1 - lag)
                self.through_one(lag, slot, block)
                for k in range(block):
                    yield lag + k, self.drive[k], self.drive[k + 1 : block], 0
            lag += block

    def through_one(self, lag: int, slot: int, block: int) -> None:
        """Write p P diag gate V of `block` lags that read one span, in one product; 0 before the span."""
        if not self.taps.spans or lag + block <= self.taps.depth:
            return
        V = self.V[self.last - lag if len(self.V) > 1 else 0]
        weight = self.taps.weights[0]
        V = V if weight == 1.0 else weight * V
        n = self.P.shape[1]
        shape = (len(V), -1, n)
        np.matmul(self.ring[slot : slot + block].reshape(shape), V, out=self.drive[:block].reshape(shape))

    def step(
        self,
        pool: ThreadPoolExecutor,
        lag: int,
        local: tuple[np.ndarray, np.ndarray],
        drive: np.ndarray,
        ahead: np.ndarray,
        inside: int,
    ) -> None:
        """Advance and measure all rows, every worker those of its own samples."""
        job = partial(self.advance, lag, local, drive, ahead, inside)
        others = [pool.submit(job, k) for k in range(1, self.workers)]
        job(0)
        for other in others:
            other.result()

    def advance(
        self,
        lag: int,
        local: tuple[np.ndarray, np.ndarray],
        drive: np.ndarray,
        ahead: np.ndarray,
        inside: int,
        worker: int,
    ) -> None:
        """Advance the rows of one worker's samples, and measure P."""
        first, last = self.cuts[worker], self.cuts[worker + 1]
        rows = first * self.per_sample, last * self.per_sample
        slot = lag % max(1, self.taps.depth)
        gate = np.ascontiguousarray(self.gate[self.last - lag])
        before = self.marked(*rows)
        pulled = self.taps.at(lag + 1, inside) if len(ahead) else NOTHING
        found = kernels.advance_rows(
            self.P, drive, *local, gate, self.ring, slot, ahead, *pulled, *self.state,
            self.wide, self.bounds, self.per_sample, *rows,
        )  # fmt: skip
        if len(before):
            V = np.ascontiguousarray(self.V[self.last - lag if len(self.V) > 1 else 0])
            taps = self.taps.at(lag, self.taps.depth) if self.taps.depth else NOTHING
            wide.advance_wide(
                self.P, V, self.plain, *local, gate, slot, *taps, *self.state, before, *self.own,
                self.per_sample,
            )  # fmt: skip
        if found:
            marked = np.setdiff1d(self.marked(*rows), before)
            wide.widen_rows(self.P, self.ring, slot, gate, *self.state, marked, *self.own)
        kernels.summarise(*self.state, self.per_sample, self.log_squares[lag], self.counts[lag], first, last)
        if self.spectral:
            lanczos.log_spectral_norms(
                self.P, *self.state[:2], self.start, self.taken, self.fresh[lag % len(self.fresh)],
                self.work[worker], self.log_spectral[lag], first, last,
            )  # fmt: skip

    def marked(self, first: int, last: int) -> np.ndarray:
        """Return the wide rows among first … last−1."""
        return first + np.flatnonzero(self.wide[first:last])
