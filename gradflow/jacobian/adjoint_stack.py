"""The adjoint's state: the last D products P(T,t)ᵀ, …, P(T,t+D−1)ᵀ, one below the other, as a graded matrix.

    P(T,t)ᵀ = diag a[t] P(T,t+1)ᵀ + diag φ[t] Vᵀ Σ_d p_d diag gate[t+d] P(T,t+d)ᵀ

acts on columns alone, so all blocks share their right factor diag(2^e) U, and block d is 2^x_d B_d times it.
Axes: block × neuron × column.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from gradflow.jacobian.graded import NOISE, graded, singular_rows
from gradflow.jacobian.sweep import AnyTransition, Taps
from gradflow.transition import DenseTransition

FADING, FAINTEST = 0.25, 2.0**-20
"""Weights of older blocks when columns are made orthogonal: the newest, which is read, is kept best."""

SMALLEST = 2.0**-900
"""Size near the end of float64, under which digits begin to be missing."""


@dataclass(frozen=True)
class Stack:
    """Blocks 2^x_d B_d diag(2^e) U, newest first; which of their rows structure leaves, and what rank."""

    B: Float[np.ndarray, "block neuron column"]
    x: Int[np.ndarray, " block"]
    e: Int[np.ndarray, " column"]
    U: Float[np.ndarray, "column neuron"]
    alive: Bool[np.ndarray, "block neuron"]
    rank: int

    @classmethod
    def start(cls, neurons: int, depth: int) -> "Stack":
        """Return the state at t = T: the identity, and nothing after it."""
        B = np.zeros((depth, neurons, neurons))
        B[0] = np.eye(neurons)
        alive = np.zeros((depth, neurons), dtype=bool)
        alive[0] = True
        zeros = np.zeros(depth, dtype=np.int64), np.zeros(neurons, dtype=np.int64)
        return cls(B, zeros[0], zeros[1], np.eye(neurons), alive, neurons)

    def step(
        self,
        layer: AnyTransition,
        sample: int,
        t: int,
        taps: Taps,
        noise: np.random.Generator | None = None,
    ) -> "Stack":
        """Go from t+1 to t; with noise, coarsely (see `graded`)."""
        new, exponent, alive = self.newest(layer, sample, t, taps, noise)
        B = np.concatenate([new[None], self.B[:-1]])
        x = np.concatenate([[exponent], self.x[:-1]])
        fading = np.maximum(FADING ** np.arange(len(B)), FAINTEST)
        weights = np.repeat(fading, B.shape[1])
        found = graded(B.reshape(weights.size, B.shape[2]), self.e, self.U, weights=weights, noise=noise)
        B = found.Q.reshape(*B.shape[:2], found.Q.shape[1])
        shift = np.frexp(np.abs(B).max(axis=(1, 2), initial=0.0))[1].astype(np.int64)
        rows = np.concatenate([alive[None], self.alive[:-1]])
        rank = min(self.rank, int(rows.sum()))
        return Stack(np.ldexp(B, -shift[:, None, None]), x + shift, found.e, found.U, rows, rank)

    def newest(
        self,
        layer: AnyTransition,
        sample: int,
        t: int,
        taps: Taps,
        noise: np.random.Generator | None,
    ) -> tuple[Float[np.ndarray, "neuron column"], int, Bool[np.ndarray, " neuron"]]:
        """Return the block at t, its exponent, and which of its rows are not zero by structure."""
        if isinstance(layer, DenseTransition):
            J = layer.jacobians[t, sample].T
            new, top = J @ self.B[0], int(self.x[0])
            if noise is not None:
                new += coarse(noise, np.abs(J) @ np.abs(self.B[0]))
            return *scaled(new, top), (J != 0.0) @ self.alive[0]
        a, phi = layer.a[t, sample], layer.phi[t, sample]
        reach = [(d, p) for d, p in taps.pairs() if self.alive[d - 1].any() and t + d < len(layer.a)]
        top = int(max([self.x[0], *(self.x[d - 1] for d, _ in reach)]))
        mixed, lit = np.zeros_like(self.B[0]), np.zeros(len(a), dtype=bool)
        for d, p in reach:
            gate = np.full(len(a), p) if layer.gate is None else p * layer.gate[t + d]
            mixed += gate[:, None] * np.ldexp(self.B[d - 1], max(int(self.x[d - 1]) - top, -4000))
            lit |= self.alive[d - 1] & (gate != 0.0)
        past = np.ldexp(self.B[0], max(int(self.x[0]) - top, -4000))
        new = a[:, None] * past + phi[:, None] * (layer.V.T @ mixed)
        if noise is not None:
            sizes = np.abs(phi[:, None]) * (np.abs(layer.V.T) @ np.abs(mixed)) + np.abs(a[:, None] * past)
            new += coarse(noise, sizes)
        alive = ((a != 0.0) & self.alive[0]) | ((phi != 0.0) & ((layer.V.T != 0.0) @ lit))
        return *scaled(new, top), alive

    def read(
        self, noise: np.random.Generator | None = None
    ) -> tuple[Float[np.ndarray, " neuron"], Float[np.ndarray, " neuron"], int]:
        """Return log singular values, leading right vector and structural rank bound of P(T,t)."""
        n = self.B.shape[1]
        bound = min(self.rank, int(self.alive[0].sum()))
        logs, direction = np.full(n, -np.inf), np.full(n, np.nan)
        logs[:bound] = np.nan
        P = graded(self.B[0], self.e, self.U, noise=noise)
        if P.e.size:
            found, left = singular_rows(P.e, P.U)
            found = found[:bound]  # what is more than structure leaves is rounding
            logs[: found.size] = found + float(self.x[0]) * np.log(2.0)
            # P z / σ for the leading left vector z, in numbers near one
            image = P.Q @ (np.ldexp(P.U, (P.e - P.e.max())[:, None]) @ left[0])
            direction = image / np.linalg.norm(image)
        return logs, direction, bound


def scaled(block: Float[np.ndarray, "neuron column"], exponent: int) -> tuple[np.ndarray, int]:
    """Return the block with elements up to 1, and its exponent.

    Raises ValueError where the largest element is near the end of float64, where digits are missing.
    """
    largest = float(np.abs(block).max(initial=0.0))
    if 0.0 < largest < SMALLEST:
        raise ValueError(
            f"the transition's factors are too far apart: one step takes all that is left to {largest:.3g}, "
            "expected at least 2^−900"
        )
    shift = int(np.frexp(largest)[1])
    return np.ldexp(block, -shift), exponent + shift


def coarse(noise: np.random.Generator, sizes: Float[np.ndarray, "neuron column"]) -> np.ndarray:
    """Return the rounding of sums of terms of these sizes, at NOISE."""
    return np.asarray(NOISE * noise.uniform(-1.0, 1.0, sizes.shape) * sizes)
