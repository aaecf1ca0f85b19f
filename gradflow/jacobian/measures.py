"""What is measured of matrices in `scaled` numbers: zeros by structure and format, and singular values.

Axes: part sample row neuron; a matrix of rows and neurons may have any shape.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian import scaled
from gradflow.jacobian.kernels import (
    BFLOAT16_ZERO,
    FLOAT16_ZERO,
    FLOAT32_ZERO,
    FLOAT64_ZERO,
    ZERO_ROW,
    compiled,
)
from gradflow.jacobian.lanczos import log_spectral_norms
from gradflow.jacobian.scaled import LN2, Scaled

LIMITS = np.array([FLOAT16_ZERO, BFLOAT16_ZERO, FLOAT32_ZERO, FLOAT64_ZERO], dtype=np.int64)
"""What the formats of `products.ZEROS` round to zero, in that order, after structural zeros."""

FRESH = 8
"""Unrelated directions, by turns: one that misses the leading vector at every lag is not to be had."""


@compiled
@no_type_check
def count_zeros(
    Pm: Float[np.ndarray, "part sample row neuron"],
    Pe: Int[np.ndarray, "part sample row neuron"],
    limits: Int[np.ndarray, " format"],
    counts: Float[np.ndarray, "kind sample"],
) -> None:
    """Add to `counts` how many elements of part 0 are zero, and how many are not but are in each format."""
    for b in range(Pm.shape[1]):
        for r in range(Pm.shape[2]):
            for j in range(Pm.shape[3]):
                if Pm[0, b, r, j] == 0.0:
                    counts[0, b] += 1.0
                    continue
                for k in range(limits.size):
                    # |m| 2^e ≤ 2^limit, with ½ the smallest |m|
                    e = Pe[0, b, r, j] - limits[k]
                    if e <= 0 or (e == 1 and abs(Pm[0, b, r, j]) == 0.5):
                        counts[1 + k, b] += 1.0


def zero_counts(P: Scaled) -> Float[np.ndarray, "kind sample"]:
    """Return how many elements are zero by structure, and only in each format, in the order of `ZEROS`."""
    counts = np.zeros((1 + len(LIMITS), P.m.shape[1]))
    count_zeros(P.m, P.e, LIMITS, counts)
    return counts


def squares(P: Scaled) -> Scaled:
    """Return Σ P² of each sample."""
    return scaled.sums(P, P.m.shape[2])[0].sum(axis=1)


def plain(P: Scaled) -> tuple[Float[np.ndarray, "sample row neuron"], Int[np.ndarray, " sample"]]:
    """Return part 0 over 2^top as plain numbers, and each sample's top, ZERO_ROW where all is zero.

    What lies 2^1074 under the largest element is lost, which no singular value near the largest sees.
    """
    m, e = P.m[0], P.e[0]
    top = e.max(axis=(1, 2))
    shift = np.maximum(e - np.where(top == ZERO_ROW, 0, top)[:, None, None], -1100)
    return np.ldexp(m, shift.astype(np.int32)), top


class Largest:
    """Log of the largest singular value of one product after another, each from the vector of the last."""

    def __init__(self, samples: int, rows: int, columns: int) -> None:
        n = max(rows, columns)
        self.start, self.taken = np.zeros((samples, n)), np.full(samples, n)
        self.fresh = np.random.default_rng(0).normal(size=(FRESH, n)) / np.sqrt(n)
        self.work, self.turn = np.empty((2, n, n)), 0

    def log(self, P: Scaled) -> Float[np.ndarray, " sample"]:
        """Return the log of the largest singular value of each sample's P, to about 1e-12; −∞ where P is 0.

        Cost: 4 n² operations a Lanczos step, some ten steps, n the larger side; as `lanczos` does it.
        """
        values, top = plain(P)
        samples, rows, columns = values.shape
        n = len(self.work[0])
        square = np.zeros((samples, n, n))
        square[:, :rows, :columns] = values
        levels = np.repeat(np.where(top == ZERO_ROW, ZERO_ROW, 0), n)
        out = np.empty(samples)
        fresh = self.fresh[self.turn % FRESH]
        self.turn += 1
        log_spectral_norms(
            square.reshape(-1, n), np.zeros(samples * n, dtype=np.int64), levels, self.start, self.taken,
            fresh, self.work, out, 0, samples,
        )  # fmt: skip
        return np.where(top == ZERO_ROW, -np.inf, out + np.where(top == ZERO_ROW, 0, top) * LN2)
