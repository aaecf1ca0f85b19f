"""The density of every neuron's potential, as masses on a grid of its own.

Axes: neuron cell. Grids follow the neurons: each is centred on its neuron's mean and as wide as its deviation
asks, so that a hundred cells resolve a potential that hardly varies and one that varies a lot alike.
"""

import numpy as np
from jaxtyping import Float
from scipy import fft
from scipy.special import ndtri

Cells = Float[np.ndarray, "neuron cell"]
PerNeuron = Float[np.ndarray, " neuron"]

WIDE = 2.0
"""Deviation in cells from which a sampled Gaussian is positive to 1e-8."""


class Density:
    """Masses at the middle of cells of equal width, centre ± half, zero until `put`.

    Grids are moved by up to half a cell so that the threshold, where it lies within, parts two cells: what
    jumps there is then summed exactly. `fired` says which cells lie above it.
    """

    def __init__(
        self, centre: PerNeuron, half: PerNeuron, threshold: Float[np.ndarray, "*neuron"] | float, cells: int
    ) -> None:
        self.width = 2.0 * half / cells
        off = (threshold - (centre - half)) / self.width
        off = np.where(np.abs(off) < 2.0 * cells, off - np.rint(off), 0.0)
        low = centre - half + off * self.width
        self.points = low[:, None] + self.width[:, None] * (np.arange(cells) + 0.5)
        edge = np.broadcast_to(np.asarray(threshold, dtype=np.float64), centre.shape)
        self.fired = (self.points >= edge[:, None]).astype(np.float64)
        self.mass = np.zeros_like(self.points)
        self.added = np.zeros(len(centre))

    def put(self, where: Float[np.ndarray, "neuron n"], mass: Float[np.ndarray, "neuron n"]) -> None:
        """Add masses at any places, each shared by two points so that its mean stays.

        The variance that the sharing adds is noted in `added`. What lies beyond the ends goes to the ends.
        """
        neurons, cells = self.points.shape
        place = np.clip((where - self.points[:, :1]) / self.width[:, None], 0.0, cells - 1.0)
        left = np.minimum(place.astype(np.int64), cells - 2)
        share = place - left
        index = left + cells * np.arange(neurons)[:, None]
        for shift, part in ((0, 1.0 - share), (1, share)):
            total = np.bincount((index + shift).ravel(), (part * mass).ravel(), minlength=self.mass.size)
            self.mass += total.reshape(self.mass.shape)
        self.added += self.width**2 * (share * (1.0 - share) * mass).sum(axis=1)

    def blur(self, variance: PerNeuron) -> None:
        """Convolve with a kernel of this variance, less what `put` added.

        The kernel is a Gaussian, or, where that covers less than WIDE cells, a random walk over the points in
        continuous time: positive, and of exactly this variance, however narrow.
        """
        rest = np.maximum(variance - self.added, 0.0) / self.width**2
        cells = self.mass.shape[1]
        frequency = 2.0 * np.pi * np.arange(cells // 2 + 1) / cells
        walk, gaussian = 1.0 - np.cos(frequency), 0.5 * frequency**2
        kernel = np.exp(-rest[:, None] * np.where(rest[:, None] > WIDE**2, gaussian, walk))
        self.mass = np.maximum(fft.irfft(fft.rfft(self.mass) * kernel, n=cells), 0.0)
        self.mass /= self.mass.sum(axis=1, keepdims=True)
        self.added[:] = 0.0

    def hermite(self, orders: int) -> Float[np.ndarray, "order neuron cell"]:
        """Return ∫ h_k(z) dΦ(z) over each cell, k = 0 … orders: u is an increasing function of a Gaussian z.

        h_k = He_k / √(k!), so that Σ f(u) times these are the coefficients E f(u) h_k(z).
        """
        z = ndtri(np.clip(np.cumsum(self.mass, axis=1)[:, :-1], 1e-300, 1.0 - 1e-16))
        now, before = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi), np.zeros_like(z)
        found = np.empty((orders + 1, *self.mass.shape))
        found[0] = self.mass
        ends = np.zeros((len(z), 1))
        for k in range(1, orders + 1):
            # the integral of h_k dΦ is −h_{k−1} φ / √k
            found[k] = -np.diff(np.hstack([ends, now, ends]), axis=1) / np.sqrt(k)
            now, before = (z * now - np.sqrt(k - 1.0) * before) / np.sqrt(k), now
        return found
