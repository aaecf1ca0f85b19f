"""Statistics of u, s, φ and a from inputs drawn from their law: a forward pass, and no data.

Axes: time sample neuron. Exact but for the law (a Gaussian has the input's mean and covariance, not its other
moments) and the sampling error, which independent parts of the samples measure.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gradflow.theory.closure import Closed, MomentSum, require_fit
from gradflow.theory.input_law import InputLaw
from gradflow.theory.moments import Moments
from gradflow.theory.update_rule import LayerWeights

PARTS = 4


class Population:
    """Samples of one layer, one step at a time."""

    def __init__(self, layer: LayerWeights, samples: int) -> None:
        self.layer, self.t = layer, 0
        self.carried = np.zeros((samples, layer.neurons))
        self.past = np.zeros((layer.depth, samples, layer.neurons))

    def step(
        self, x: Float[np.ndarray, "sample input"]
    ) -> tuple[Float[np.ndarray, "sample neuron"], Float[np.ndarray, "sample neuron"]]:
        """Return u[t] and s[t] from the input x[t], and go on to t + 1."""
        layer, depth = self.layer, len(self.past)
        current = x @ layer.W.T + layer.b
        if layer.taps:
            read = sum(p * self.past[(self.t - d) % depth] for d, p in layer.taps.items())
            current = current + read @ layer.V.T
        u = self.carried + layer.rule.offset + layer.rule.gate_at(self.t) * current
        s = (u >= layer.rule.threshold).astype(np.float64)
        self.carried = layer.rule.carry(u, s)
        self.past[self.t % depth] = s
        self.t += 1
        return u, s


def sampled_closure(
    law: InputLaw, layers: Sequence[LayerWeights], *, samples: int = 64, parts: int = PARTS, seed: int = 0
) -> list[Closed]:
    """Return each layer's statistics over samples drawn from the law of its input, in `parts` equal groups.

    Raises ValueError for samples that do not divide into two or more parts, or layers that do not fit.

    Cost: T · samples · (8 H² + 2 H · inputs) operations a layer; memory 8 · samples · (T · inputs + λ H)
    bytes.

    >>> from gradflow.theory.input_law import GaussianInput
    >>> from gradflow.theory.update_rule import lif
    >>> law = GaussianInput(np.full((50, 1), 0.4), np.zeros((0, 50, 1)))  # a constant current of 0.4
    >>> layer = LayerWeights(np.ones((1, 1)), np.zeros(1), np.zeros((1, 1)), {}, lif(0.5))
    >>> sampled_closure(law, [layer])[0].firing_rate.tolist()  # u goes to 0.8 and never fires
    [0.0]
    """
    if parts < 2 or samples < parts or samples % parts:
        raise ValueError(f"samples: got {samples} in {parts} parts; expected a multiple of two parts or more")
    steps, inputs = law.mean.shape
    require_fit(steps, inputs, [layer.W.shape for layer in layers])
    x = law.sample(samples, seed)
    size = samples // parts
    populations = [Population(layer, samples) for layer in layers]
    sums = [[MomentSum(layer.neurons) for _ in range(parts)] for layer in layers]
    for below in x[:-1]:
        for population, totals in zip(populations, sums, strict=True):
            u, s = population.step(below)
            phi = population.layer.rule.phi(u)
            a = population.layer.rule.local(u, s, phi)
            for part, total in enumerate(totals):
                group = slice(part * size, (part + 1) * size)
                total.add_samples(a[group], phi[group], s[group])
            below = s
    return [
        pooled([total.closed(layer.rule) for total in totals])
        for layer, totals in zip(layers, sums, strict=True)
    ]


def pooled(parts: Sequence[Closed]) -> Closed:
    """Return the mean of the parts, which it keeps."""
    names = [name for name, value in vars(parts[0].moments).items() if value is not None]
    moments = {name: np.mean([getattr(part.moments, name) for part in parts], axis=0) for name in names}
    rate = np.mean([part.firing_rate for part in parts], axis=0)
    return Closed(Moments(**moments), rate, tuple(parts))
