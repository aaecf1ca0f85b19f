"""Mean and covariance of a network's input, and Gaussian inputs that have them.

Axes: time input; `source` counts independent standard normal numbers ε. Every law here is

    x[t] = mean[t] + Σ_r ε_r factor_r[t],        Cov(x[t], x[t']) = Σ_r factor_r[t] factor_r[t']ᵀ,

the covariance over time as well as over inputs: a static image fed pixel by pixel is correlated in time.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from gradflow.seeds import normal

NEGATIVE = 1e-6
"""Share of the largest eigenvalue down to which a negative one is rounding of the covariance given."""


@runtime_checkable
class InputLaw(Protocol):
    """What a prediction reads: mean and factor, and samples whose mean and covariance these are."""

    @property
    def mean(self) -> Float[np.ndarray, "time input"]:
        """E x[t]."""

    @property
    def factor(self) -> Float[np.ndarray, "source time input"]:
        """Factor of the covariance."""

    def sample(self, count: int, seed: int) -> Float[np.ndarray, "time sample input"]:
        """Draw sequences."""


@dataclass(frozen=True)
class GaussianInput:
    """Inputs that are Gaussian with this mean and covariance.

    Attributes:
        mean: (time, input).
        factor: (source, time, input); no sources for an input that does not vary.

    Raises ValueError for shapes that do not fit, NaN or infinity.

    >>> law = GaussianInput(np.zeros((3, 1)), np.ones((1, 3, 1)))  # one number for all times
    >>> x = law.sample(2, seed=0)
    >>> x.shape, bool((x[0] == x[2]).all())
    ((3, 2, 1), True)
    """

    mean: Float[np.ndarray, "time input"]
    factor: Float[np.ndarray, "source time input"]

    def __post_init__(self) -> None:
        if self.mean.ndim != 2 or self.factor.shape[1:] != self.mean.shape:
            raise ValueError(
                f"GaussianInput: mean is {self.mean.shape} and factor {self.factor.shape}; expected "
                "(time, input) and (source, time, input)"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.factor).all()):
            raise ValueError("GaussianInput: mean or factor holds NaN or infinity; expected finite moments")

    @classmethod
    def of_covariance(
        cls, mean: Float[np.ndarray, "time input"], covariance: Float[np.ndarray, "time input time input"]
    ) -> "GaussianInput":
        """Return the law of a mean and a covariance.

        Raises ValueError for a covariance that is not symmetric or has negative eigenvalues.

        Cost: (T · inputs)³ operations, once.

        >>> covariance = np.array([[1.0, 0.5], [0.5, 1.0]])[:, None, :, None]
        >>> law = GaussianInput.of_covariance(np.zeros((2, 1)), covariance)
        >>> np.einsum("rti,rsi->ts", law.factor, law.factor).round(6).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
        """
        square = covariance.reshape(mean.size, mean.size)
        if not np.allclose(square, square.T, rtol=1e-9, atol=1e-12 * np.abs(square).max(initial=0.0)):
            raise ValueError("covariance: got one that is not symmetric; expected Cov(x[t], x[t'])")
        return cls(mean, root(square).reshape(-1, *mean.shape))

    def sample(self, count: int, seed: int) -> Float[np.ndarray, "time sample input"]:
        """Draw sequences from the stream "input law" of the seed.

        Cost: 2 · source · T · inputs operations a sequence.
        """
        drawn: Float[np.ndarray, "time sample input"] = self.mean[:, None] + draw(self.factor, count, seed)
        return drawn


def draw(
    factor: Float[np.ndarray, "source time input"], count: int, seed: int
) -> Float[np.ndarray, "time sample input"]:
    """Return Σ_r ε_r factor_r for `count` draws of ε."""
    drawn = normal(seed, "input law", shape=(count, len(factor)))
    return np.moveaxis(np.tensordot(drawn, factor, axes=1), 0, 1)


def root(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "source n"]:
    """Return F with Fᵀ F = covariance, directions of no variance left out.

    Raises ValueError for negative eigenvalues beyond rounding.
    """
    values, vectors = np.linalg.eigh(covariance)
    top = max(float(values.max(initial=0.0)), 0.0)
    if values.min(initial=0.0) < -NEGATIVE * top or (top == 0.0 and values.min(initial=0.0) < 0.0):
        raise ValueError(
            f"covariance: its eigenvalues reach from {values.min():.3g} to {top:.3g}; expected none below 0"
        )
    kept = values > 1e-12 * top
    found: Float[np.ndarray, "source n"] = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return found


def input_statistics(x: Float[np.ndarray, "time sample input"]) -> GaussianInput:
    """Return the law with the sample mean and the unbiased sample covariance of inputs.

    Raises ValueError for fewer than two samples.

    Cost: (T · inputs)³ operations, or samples² · T · inputs where that is less; the factor holds at most
    min(samples, T · inputs) sources.

    >>> x = np.array([[[0.0], [2.0]], [[1.0], [1.0]]])  # two steps, two samples
    >>> law = input_statistics(x)
    >>> law.mean.tolist(), np.einsum("rti,rti->t", law.factor, law.factor).round(6).tolist()
    ([[1.0], [1.0]], [2.0, 0.0])
    """
    samples = x.shape[1]
    if samples < 2:
        raise ValueError(f"x: got {samples} sample(s), expected two or more for a covariance")
    mean = x.mean(axis=1)
    centred = np.moveaxis(x - mean[:, None], 1, 0).reshape(samples, -1) / np.sqrt(samples - 1.0)
    if samples > centred.shape[1]:
        centred = root(centred.T @ centred)
    return GaussianInput(mean, np.ascontiguousarray(centred.reshape(-1, *mean.shape)))
