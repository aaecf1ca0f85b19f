"""The k largest singular values of P(T,t) at each lag of a sweep, by subspace iteration with a certificate.

    W = orth(Pᵀ G),   G ← orth(P W),   σ and vectors from the small matrix P W

starts from the left vectors of the lag before (which hardly turn: they are those of the end time T) and a
few random ones. A result is taken when its residuals are small and what W leaves of P, ‖P − P W Wᵀ‖_F, is
under σ_k, so that no larger singular value can be missing; else P is decomposed as a whole.
Axes: sample lag index.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian import kernels, lanczos
from gradflow.jacobian.sweep import AnyTransition, Part, Sweep, size_of, taps_of
from gradflow.seeds import normal

MORE, NEW = 8, 4
"""Vectors kept beyond the k asked for, and how many of all are drawn anew at each lag."""
ROUNDS = 6
"""Iterations tried before the whole matrix is decomposed."""
RESIDUAL = 1e-7
"""‖Pᵀu − σv‖ over σ; the error of σ goes with its square over the gap, and is at most it."""
SMALLEST = 2.0**-30
"""Share of σ_1 under which rounding, 1e-16 · H · σ_1, is no longer negligible beside σ_k."""


class LeadingSweep(Sweep):
    """A sweep that measures the k largest singular values at some lags."""

    def __init__(self, layer: AnyTransition, last: int, part: Part, k: int, at: Mapping[int, int]) -> None:
        super().__init__(layer, last, part, taps_of(layer, last), spectral=False)
        n, samples = self.P.shape[1], self.start.shape[0]
        self.k, self.at = k, at
        size = min(n, k + MORE)
        fresh = normal(0, "leading", shape=(NEW, n, size))
        self.draws = [np.linalg.qr(block)[0] for block in fresh]
        self.left = np.tile(self.draws[0], (samples, 1, 1))
        self.logs = np.full((samples, len(at), k), -np.inf)
        self.direction = np.full((samples, len(at), n), np.nan)
        self.bound = np.zeros((samples, len(at)), dtype=np.int64)
        self.participation = np.full((samples, len(at)), np.nan)

    def advance(self, lag: int, *step: Any) -> None:
        """Advance the rows of one worker's samples, and decompose P where the lag is asked for."""
        super().advance(lag, *step)
        worker = step[-1]
        if lag in self.at:
            for b in range(self.cuts[worker], self.cuts[worker + 1]):
                self.measure(lag, b)

    def measure(self, lag: int, b: int) -> None:
        """Write one sample's values."""
        n, at = self.P.shape[1], self.at[lag]
        levels = self.state[1][b * n : (b + 1) * n]
        level = int(levels.max())
        if level == kernels.ZERO_ROW:
            return
        S = np.empty((n, n))
        lanczos.load(self.P, *self.state[:2], b * n, level, S)
        values, right, left = self.leading(S, self.left[b], lag)
        self.left[b] = left
        self.direction[b, at] = right
        size = np.count_nonzero(S.any(axis=0)), np.count_nonzero(levels != kernels.ZERO_ROW)
        self.bound[b, at] = min(size)
        known = values > SMALLEST * values[0]
        logs = np.log(np.where(known, values, 1.0)) + level * np.log(2.0)
        logs = np.where(known, logs, np.where(np.arange(self.k) < min(size), np.nan, -np.inf))
        self.logs[b, at] = logs
        square = np.linalg.norm(S) ** 2
        self.participation[b, at] = (square / np.linalg.norm(S.T @ S)) ** 2

    def leading(
        self, S: Float[np.ndarray, "neuron neuron"], start: Float[np.ndarray, "neuron column"], lag: int
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " neuron"], Float[np.ndarray, "neuron column"]]:
        """Return the k largest singular values of S, its leading right vector and a basis to go on from."""
        k, size = self.k, start.shape[1]
        G = start.copy()
        new = min(NEW, size - k)
        if new:
            G[:, size - new :] = self.draws[lag % NEW][:, :new]
        for _ in range(ROUNDS if size < len(S) else 0):
            W = np.linalg.qr(S.T @ G)[0]
            image = S @ W
            G, values, small = np.linalg.svd(image, full_matrices=False)
            V = W @ small.T
            left = np.linalg.norm(S - image @ W.T)
            residual = np.linalg.norm(S.T @ G[:, :k] - V[:, :k] * values[:k], axis=0)
            needed = np.maximum(values[:k], SMALLEST * values[0])
            if np.all(residual <= RESIDUAL * needed) and left < needed[-1]:
                return values[:k], V[:, 0], G
        whole, values, rows = np.linalg.svd(S)
        return values[:k], rows[0], np.ascontiguousarray(whole[:, :size])


def sweep_leading(
    layer: AnyTransition, last: int, lags: Int[np.ndarray, " lag"], k: int
) -> tuple[
    Float[np.ndarray, "sample lag k"],
    Float[np.ndarray, "sample lag neuron"],
    Int[np.ndarray, "sample lag"],
    Float[np.ndarray, "sample lag"],
]:
    """Return logs of the k largest values, leading right vectors, bounds on the rank, participation ratios.

    Samples go one by one, so that memory is that of one.
    """
    _, samples, n = size_of(layer)
    at = {int(lag): place for place, lag in enumerate(lags)}
    found = []
    for b in range(samples):
        sweep = LeadingSweep(layer, last, Part(slice(b, b + 1), slice(0, n)), k, at)
        sweep.run()
        found.append((sweep.logs, sweep.direction, sweep.bound, sweep.participation))
    logs, direction, bound, participation = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return logs, direction, bound, participation
