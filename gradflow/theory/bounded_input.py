"""Inputs between two bounds with a given mean and covariance: clipped Gaussians.

Axes: time input. Pixels lie in [0, 1] and most are 0; a Gaussian with their mean and variance is negative a
third of the time. The bounds are known beforehand, and with them x = clip(z, low, high), z Gaussian. Its mean
and deviation at each place are chosen so that x has the mean and variance given, its correlations so that x
has the covariances given (as Macke et al. 2009 do for spikes). With c_k the Hermite coefficients of clipping,

    Cov(clip z, clip z') = Σ_{k ≥ 1} c_k c'_k ρ^k,
    c_1 = σ (Φ(β) − Φ(α)),    c_k = σ (h_{k−2}(α) − h_{k−2}(β)) / √(k!)  for k ≥ 2,

h_k(x) = He_k(x) e^{−x²/2} / √(2π), and α, β the bounds in units of σ.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from gradflow.theory.input_law import InputLaw, draw

ORDERS = 40
"""Terms of the series: at |ρ| = 0.9 the rest is below 1e-3 of the variance."""
HALVINGS = 60
NEWTON = 12
STILL = 1e-9
"""Share of the largest possible variance below which a place is taken as constant."""


@dataclass(frozen=True)
class BoundedInput:
    """Clipped Gaussian inputs; made by `bounded`.

    Attributes:
        mean, factor: of x, as for `GaussianInput`.
        low, high: the bounds.
        centre, spread: mean and deviation of z at each place (time, input).
        latent: factor of the correlations of z, (source, time, input).
        misfit: root mean square over pairs of Cov(x) − the covariance given, as a share of the mean variance.
    """

    mean: Float[np.ndarray, "time input"]
    factor: Float[np.ndarray, "source time input"]
    low: float
    high: float
    centre: Float[np.ndarray, "time input"]
    spread: Float[np.ndarray, "time input"]
    latent: Float[np.ndarray, "latent time input"]
    misfit: float

    def sample(self, count: int, seed: int) -> Float[np.ndarray, "time sample input"]:
        """Draw sequences from the stream "input law" of the seed."""
        z = self.centre[:, None] + self.spread[:, None] * draw(self.latent, count, seed)
        x: Float[np.ndarray, "time sample input"] = np.clip(z, self.low, self.high)
        return x


def bounded(law: InputLaw, low: float, high: float) -> BoundedInput:
    """Return clipped Gaussian inputs with the mean and covariance of `law`.

    Correlations that no pair of Gaussians can give are cut at ±0.999, and a matrix of them that is not
    positive is replaced by the nearest that its eigenvectors allow: `misfit` says how far off that leaves
    the covariance.

    Raises ValueError where a mean lies outside the bounds, or a variance is larger than bounds allow.

    Cost: 500 (T · inputs)² + 10 (T · inputs)³ operations; memory 100 (T · inputs)² bytes.

    >>> from gradflow.theory.input_law import GaussianInput
    >>> law = GaussianInput(np.full((2, 1), 0.2), np.full((1, 2, 1), 0.3))
    >>> x = bounded(law, 0.0, 1.0).sample(20000, seed=0)[0, :, 0]
    >>> [round(float(v), 2) for v in (x.mean(), x.std(), x.min(), x.max())]
    [0.2, 0.3, 0.0, 1.0]
    """
    width = high - low
    mean = (law.mean.ravel() - low) / width
    flat = law.factor.reshape(len(law.factor), mean.size) / width
    variance = np.einsum("rn,rn->n", flat, flat)
    limit = mean * (1.0 - mean)
    still = variance <= STILL
    if (mean < -STILL).any() or (mean > 1.0 + STILL).any() or (variance[~still] >= limit[~still]).any():
        raise ValueError(
            f"bounded(low={low:g}, high={high:g}): means reach from {law.mean.min():.3g} to "
            f"{law.mean.max():.3g}, and variances must stay below (mean − low)(high − mean); widen the bounds"
        )
    centre, spread = mean.copy(), np.zeros_like(mean)
    centre[~still], spread[~still] = clipped_gaussian(mean[~still], variance[~still])
    latent = np.zeros((int((~still).sum()), mean.size))
    misfit = 0.0
    if latent.size:
        target = flat[:, ~still].T @ flat[:, ~still]
        series = coefficients(centre[~still], spread[~still])
        latent[:, ~still], misfit = correlations(target, series)
    shape = law.mean.shape
    return BoundedInput(
        mean=law.mean,
        factor=law.factor,
        low=low,
        high=high,
        centre=low + width * centre.reshape(shape),
        spread=width * spread.reshape(shape),
        latent=latent.reshape(-1, *shape),
        misfit=misfit,
    )


def clipped_moments(
    centre: Float[np.ndarray, " n"], spread: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return mean and variance of clip(centre + spread z, 0, 1).

    >>> [round(float(part[0]), 4) for part in clipped_moments(np.array([0.5]), np.array([0.5]))]
    [0.5, 0.129]
    """
    a, b = -centre / spread, (1.0 - centre) / spread
    inside, over = ndtr(b) - ndtr(a), ndtr(-b)
    at_a, at_b = density(a), density(b)
    mean = centre * inside + spread * (at_a - at_b) + over
    square = (centre**2 + spread**2) * inside + spread * (centre * at_a - (centre + 1.0) * at_b) + over
    return mean, square - mean**2


def density(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the standard normal density."""
    found: Float[np.ndarray, " n"] = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    return found


def clipped_gaussian(
    mean: Float[np.ndarray, " n"], variance: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return centre and spread with which clip(z, 0, 1) has this mean and variance, by bisection in both.

    At a given spread the mean grows with the centre; along that line the variance grows with the spread.
    """
    low, high = np.full_like(mean, np.log(1e-6)), np.full_like(mean, np.log(1e6))
    centre = mean
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        centre = centre_of(mean, np.exp(middle))
        wide = clipped_moments(centre, np.exp(middle))[1] > variance
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    spread = np.exp(0.5 * (low + high))
    return centre_of(mean, spread), spread


def centre_of(mean: Float[np.ndarray, " n"], spread: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the centre with which clip(z, 0, 1) has this mean at this spread."""
    low, high = -12.0 * spread, 1.0 + 12.0 * spread
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        above = clipped_moments(middle, spread)[0] > mean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return 0.5 * (low + high)


def coefficients(
    centre: Float[np.ndarray, " n"], spread: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "order n"]:
    """Return c_1 … c_ORDERS of every place."""
    a, b = -centre / spread, (1.0 - centre) / spread
    found = np.empty((ORDERS, len(centre)))
    found[0] = spread * (ndtr(b) - ndtr(a))
    at_a, at_b = density(a), density(b)
    before_a, before_b = np.zeros_like(a), np.zeros_like(b)
    for k in range(2, ORDERS + 1):
        # at_a is He_{k−2} times the density over √((k−2)!): normalised, it neither grows nor vanishes
        found[k - 1] = spread * (at_a - at_b) / np.sqrt(k * (k - 1.0))
        n = k - 2
        at_a, before_a = (a * at_a - np.sqrt(n) * before_a) / np.sqrt(n + 1.0), at_a
        at_b, before_b = (b * at_b - np.sqrt(n) * before_b) / np.sqrt(n + 1.0), at_b
    return found


def correlations(
    target: Float[np.ndarray, "n n"], series: Float[np.ndarray, "order n"]
) -> tuple[Float[np.ndarray, "latent n"], float]:
    """Return a factor of the correlations of z that give x these covariances, and the misfit left."""
    rho = np.clip(target / np.sqrt(np.outer(np.diag(target), np.diag(target))), -0.9, 0.9)
    for _ in range(NEWTON):
        value, slope = summed(series, rho)
        rho = np.clip(rho - (value - target) / np.maximum(slope, 1e-300), -0.999, 0.999)
    np.fill_diagonal(rho, 1.0)
    values, vectors = np.linalg.eigh(rho)
    latent = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    latent /= np.sqrt(np.einsum("rn,rn->n", latent, latent))
    off = summed(series, latent.T @ latent)[0] - target
    np.fill_diagonal(off, 0.0)
    return latent, float(np.sqrt(np.mean(off**2)) / np.mean(np.diag(target)))


def summed(
    series: Float[np.ndarray, "order n"], rho: Float[np.ndarray, "n n"]
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """Return Σ_k c_k c'_k ρ^k and its slope in ρ, by Horner's rule."""
    value, slope = np.zeros_like(rho), np.zeros_like(rho)
    for c in series[::-1]:
        slope *= rho
        slope += value
        value *= rho
        value += np.outer(c, c)
    slope = slope * rho + value
    return value * rho, slope
